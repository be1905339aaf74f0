"""`interlock break`: a lock is taken away from whoever holds it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from interlock.cli import plain, say, tell
from interlock.cli.show import look, party
from interlock.cli.table import Parser, answer, end_as_others_do
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from interlock.space import Space

DESCRIPTION = """\
Takes a lock away from the living process that holds it: the last resort when that is stuck. Nothing stops it, so it and the
next holder may both be inside for a while. The next one is told, as after a death; the former one by its release.
"""
EPILOG = """\
Exit status: 0 if it was taken away; 1 if the name is unknown, nobody holds it, or you said no; 64 for wrong use, 65 for a
space of another version, 66 if it cannot be used.
"""


def parser() -> Parser:
    made = Parser("break", DESCRIPTION, EPILOG)
    made.add_argument("name", metavar="NAME")
    made.add_argument("-y", "--yes", action="store_true", help="without a question")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    try:
        given.name.encode()
    except UnicodeEncodeError:
        say(f"the name is not UTF-8: {given.name!r}")
        return os.EX_USAGE
    if not given.yes and not (sys.stdin and sys.stdin.isatty()):
        say("there is no terminal to ask you at: say --yes, if the lock is to be broken")
        return os.EX_USAGE
    return answer(given.space, lambda space: break_lock(space, given.name, given.yes))


def break_lock(space: Space, name: str, yes: bool) -> int:
    facts = look(space, name)
    if facts is None:
        say(f"{name!r} is no name in the space at {space.path}: nobody has made it, or it was forgotten since")
        return 1
    owner = next((each for each in facts["owners"] if each), None)
    if not yes and owner is not None and not agreed(f"{facts['kind']} {name!r} is held by {party(owner)}. Take it away?"):
        return 1
    try:
        victim = space.break_lock(name)
    except InterlockError:
        raise
    except (KeyError, RuntimeError, TypeError) as error:
        say(f"{name!r} is not broken: {error.args[0] if not isinstance(error, KeyError) else 'it was forgotten since'}")
        return 1
    say(f"{name!r} was taken from {victim}; its release will say so")
    return os.EX_OK


def agreed(question: str) -> bool:
    tell(2, f"{plain(question)} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
