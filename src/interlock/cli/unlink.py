"""`interlock unlink`: names are forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from interlock.cli import say
from interlock.cli.show import look, party
from interlock.cli.table import Parser, answer, end_as_others_do
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from interlock.space import Space

DESCRIPTION = """\
Forgets names that nobody holds or waits for, and, of a Value or Array, that no process has open. Programs that use such a
name make it anew: a semaphore has its initial value again, an event is not set, a barrier is not broken.
"""
EPILOG = """\
A name that cannot be forgotten is told of, and the others are forgotten all the same.

Exit status: 0 if all are forgotten; 1 if one of them is unknown or in use; 64 for wrong use, 65 for a space of another
version, 66 if it cannot be used.
"""


def parser() -> Parser:
    made = Parser("unlink", DESCRIPTION, EPILOG)
    made.add_argument("names", metavar="NAME", nargs="+")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    for name in given.names:  # before any is forgotten
        try:
            name.encode()
        except UnicodeEncodeError:
            say(f"the name is not UTF-8: {name!r}; nothing was done")
            return os.EX_USAGE
    return answer(given.space, lambda space: max([unlink(space, name) for name in given.names]))


def unlink(space: Space, name: str) -> int:
    try:
        space.unlink(name)
    except InterlockError:
        raise
    except KeyError:
        say(f"{name!r} is no name in the space at {space.path}: nobody has made it, or it was forgotten since")
        return 1
    except RuntimeError:
        say(f"{name!r} was not unlinked: {why(space, name)}")
        return 1
    return os.EX_OK


def why(space: Space, name: str) -> str:
    """Who uses it, as far as that is known."""
    facts = look(space, name)
    owners: list[dict[str, Any]] = [owner for owner in facts["owners"] if owner] if facts else []
    waiters: list[dict[str, Any]] = facts["waiters"] if facts else []
    if owners:
        more = f" and {len(owners) - 1} more" if len(owners) > 1 else ""
        return f"it is held by {party(owners[0])}{more}; try again when it is released"
    if waiters:
        waits = f"and {len(waiters) - 1} more wait" if len(waiters) > 1 else "waits"
        return f"{party(waiters[0])} {waits} for it; try again when nobody does"
    if facts and facts["kind"] in ("Value", "Array"):
        return f"a process has the {facts['kind']} open; end the programs that use it, and try again"
    return "it is in use, or was a moment ago; try again when nobody holds it or waits for it"
