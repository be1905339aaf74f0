"""Writes interlock.1 from what the commands say of themselves: python3 man/write.py, with the package to be imported."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from interlock import __version__
from interlock.cli import VERBS, module_of
from interlock.cli.run import HELP as RUN

PAGE = Path(__file__).with_name("interlock.1")
BEGIN = """\
interlock \\- locks between threads, processes and programs
.SH SYNOPSIS
.B interlock
.I COMMAND
[\\fIOPTIONS\\fR]
.br
.B interlock run
[\\fIOPTIONS\\fR] \\fINAME\\fR [\\-\\-] \\fICOMMAND\\fR [\\fIARGUMENT\\fR ...]
.SH DESCRIPTION
A name is one object for every thread, process and program of a user that says it: what
.B interlock run orders
holds is what
.B interlock.Lock("orders")
holds in Python, and
.B interlock_lock_open
in C. Names live in a space, a file in shared memory. No death of any process leaves a lock held: the next one has it within
milliseconds, and is told.
.SH COMMANDS
"""
END = """\
.SH ENVIRONMENT
.TP
.B INTERLOCK_SPACE
The default space;
.B shm:default
without it.
.TP
.B INTERLOCK_DIR
Where spaces live: an absolute path. Without it
.IR /dev/shm ,
else
.IR $XDG_RUNTIME_DIR ,
else the directory for temporary files.
.TP
.B INTERLOCK_SLOTS
How many processes may use a space at once; it counts when the space is made. 8191 without it.
.TP
.B NO_COLOR
No colours, if it is set to anything.
.SH FILES
.TP
.I /dev/shm/interlock-UID-NAME.ilk
The space
.BI shm: NAME
of a user. It may be deleted when no program uses it.
.SH EXIT STATUS
That of each command is told above. Common to all: 64 for wrong use, 65 for a name of another kind or a space of
another version, 66 if a space cannot be used, 71 and 73 if the system refuses a process or room.
.SH SEE ALSO
.BR flock (1),
.BR lockf (3),
.BR sem_overview (7)
"""


def escaped(text: str) -> str:
    """Text as roff prints it."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in plain.splitlines())


def as_it_stands(text: str) -> str:
    return f".nf\n{escaped(text.rstrip())}\n.fi\n"


def prose(text: str) -> str:
    """Paragraphs; those that are indented stay as they stand."""
    parts: list[str] = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines = paragraph.splitlines()
        stays = any(line.startswith(" ") for line in lines)
        parts.append(
            as_it_stands(textwrap.dedent(paragraph) if lines[0].startswith(" ") else paragraph)
            if stays
            else escaped(paragraph)
        )
    return "\n.PP\n".join(part.rstrip("\n") for part in parts) + "\n"


def option(action: argparse.Action) -> str:
    value = (
        f" \\fI{escaped(str(action.metavar or action.dest.upper()))}\\fR"
        if action.option_strings and action.nargs != 0
        else ""
    )
    title = (
        ", ".join(f"\\fB{escaped(text)}\\fR{value}" for text in action.option_strings)
        or f"\\fI{escaped(str(action.metavar))}\\fR"
    )
    return f".TP\n{title}\n{escaped(action.help or '')}\n"


def described(verb: str) -> str:
    title = f".SS interlock {verb}\n{escaped(VERBS[verb][0].upper() + VERBS[verb][1:])}.\n.PP\n"
    if verb == "run":
        return title + as_it_stands(RUN)
    parser = module_of(verb).parser()
    told = [action for action in parser._actions if action.help not in (None, argparse.SUPPRESS) and action.dest != "help"]
    usage = escaped(" ".join(parser.format_usage().removeprefix("usage: ").split()))
    return f"{title}.B {usage}\n.PP\n{prose(parser.description)}{''.join(map(option, told))}" + (
        f".PP\n{prose(parser.epilog)}" if parser.epilog else ""
    )


def page() -> str:
    head = f'.\\" Written by man/write.py.\n.TH INTERLOCK 1 "" "interlock {__version__}" "User Commands"\n.SH NAME\n'
    return head + BEGIN + "".join(map(described, sorted(VERBS))) + END


if __name__ == "__main__":
    PAGE.write_text(page())
