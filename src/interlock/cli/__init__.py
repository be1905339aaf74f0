"""The command line: `interlock VERB …`. Each verb is a module here, imported when it is asked for."""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# What each verb does, in a line of the help. Its module has main(arguments), which returns the exit status,
# and parser(); but run, which has its own.
VERBS = {
    "bench": "measure what locks cost on this machine",
    "break": "take a lock away from whoever holds it",
    "completion": "make a shell complete these commands, their options and names",
    "config": "print the compiler's options for programs in C",
    "graph": "draw who waits for whom, as DOT or SVG",
    "list": "list the names of a space, and who holds them",
    "metrics": "serve the metrics of a space to Prometheus",
    "record": "record who holds and who waits for some time, as a trace",
    "run": "run a command while holding a lock, as flock(1) does",
    "selftest": "prove on this machine what the library is for",
    "show": "tell everything that is known of a name",
    "top": "show who holds what and who waits, as it changes",
    "unlink": "forget names that nobody uses",
}
WIDEST, LEAST_FILLED = 124, 24  # columns of a help text; of what is filled behind something


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns its exit status."""
    # No list(): the verb's module, once imported, has that name here.
    verb, *rest = (sys.argv[1:] if arguments is None else [*arguments]) or [""]
    if verb in VERBS:
        status: int = module_of(verb).main(rest)
        return status
    if verb in ("-h", "--help"):
        tell(1, folded(help_text()))
        return os.EX_OK
    if verb in ("-V", "--version"):
        from interlock import __version__

        tell(1, f"interlock {__version__}\n")
        return os.EX_OK
    say(f"unknown command {verb!r}: see 'interlock --help'" if verb else "no command: see 'interlock --help'")
    return os.EX_USAGE


def module_of(verb: str) -> Any:
    # No importlib.import_module: to import importlib takes as long as all that `run` needs.
    name = "break_" if verb == "break" else verb  # which is a keyword
    return __import__(f"interlock.cli.{name}", fromlist=["main"])


def help_text() -> str:
    lines = [f"  {verb:<11} {does}\n" for verb, does in VERBS.items()]
    return (
        "Usage: interlock COMMAND …\n\nLocks between threads, processes and programs.\n\nCommands:\n"
        f"{''.join(lines)}\n'interlock COMMAND --help' tells more, and so does 'man interlock'; "
        "'interlock --version' prints the version.\n"
    )


def folded(text: str, width: int = 0) -> str:
    """A help text for so many columns; 0: for the terminal's, of which the last two stay empty. Paragraphs are filled anew,
    and so is the second column of what is in two. What is indented by four is there to be copied, and stays as it is."""
    import re
    import shutil
    from textwrap import wrap

    width = max(LEAST_FILLED, min(width or shutil.get_terminal_size().columns - 2, WIDEST))
    entries: list[tuple[str, str]] = []  # what stays as it is, and what is filled behind it
    goes_on = -1  # the column in which a line begins that goes on with the last entry
    for line in text.splitlines():
        body = line.lstrip()
        indent = len(line) - len(body)
        columns = re.match(r" +\S.*?  +(?=\S)", line)
        if body and indent == goes_on:
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {body}")
            continue
        if not body or indent == 4:
            goes_on, entry = -1, (line, "")
        elif columns:
            goes_on, entry = columns.end(), (columns[0], line[columns.end() :])
        else:
            goes_on, entry = -1 if indent else 0, (" " * indent, body)
        entries.append(entry)
    done: list[str] = []
    for first, rest in entries:
        begin, indent = first, len(first) if first.strip() or not first else len(first) + 2
        if first.strip() and rest and width - indent < LEAST_FILLED:
            done.append(first.rstrip())
            begin, indent = " " * 8, 8
        done += wrap(rest, width, initial_indent=begin, subsequent_indent=" " * indent, break_on_hyphens=False) or [begin]
    return "".join([f"{line}\n" for line in done])


def say(message: str, descriptor: int = 2) -> None:
    """Prints one line, harmless in any terminal: what a name or a path has of control characters is escaped."""
    tell(descriptor, f"interlock: {plain(message)}\n")


def plain(text: str) -> str:
    """What a terminal may be given of any text: no control characters, none that turn the direction of writing."""
    return text if text.isprintable() else "".join([c if c.isprintable() else repr(c)[1:-1] for c in text])


def status_of(error: Exception) -> int:
    """The exit status for what went wrong, of sysexits(3)."""
    from interlock.errors import InterlockError, KindMismatch, LayoutMismatch, ParameterMismatch, SpaceError, SpaceFull

    match error:
        case KindMismatch() | ParameterMismatch() | LayoutMismatch():
            return os.EX_DATAERR
        case SpaceFull():
            return os.EX_CANTCREAT
        case SpaceError():
            if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):
                return os.EX_OSERR
            return os.EX_CANTCREAT if error.errno in (errno.EROFS, errno.ENOSPC) else os.EX_NOINPUT
        case InterlockError() | OSError():
            return os.EX_SOFTWARE
        case _:  # a name or URL that is none
            return os.EX_USAGE


def tell(descriptor: int, text: str) -> None:
    """Writes to stdout or stderr, if that is open and anybody reads it: no message is worth the command's exit status."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    if stream is None:  # closed when we began; what has its number by now is no place for messages
        return
    try:
        os.write(descriptor, text.encode(errors="backslashreplace"))
    except OSError:
        return
