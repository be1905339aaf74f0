"""Pictures of a space: the wait-for graph as DOT and SVG, and what a recorder saw as a trace."""

from __future__ import annotations

import os


def short(program: str) -> str:
    """A command line without the directory of its program."""
    first, blank, rest = program.partition(" ")
    return f"{os.path.basename(first) or first}{blank}{rest}" or "?"
