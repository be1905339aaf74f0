"""Docstrings as the package writes them, for Sphinx.

What a docstring says of a kind ("Fairness: …", "Fork: …") stands in a line each, and what it says of several arguments
at once ("name, space: as for Lock") in one: enough for help(). Sphinx is given a field for each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TOPIC = re.compile(r"(Fairness|Re-entrance|Release|Tasks|Fork|Owner's death|Death of a process): (?=\S)")
SECTION = re.compile(r"(Args|Attributes):$")
SEVERAL = re.compile(r"    (\w+(?:, \w+)+): (?=\S)")


def topics(lines: list[str]) -> list[str]:
    """Each topic as a field, with the lines that go on with it."""
    made: list[str] = []
    inside = False
    for line in lines:
        found = TOPIC.match(line)
        if found:
            if not inside:
                made.append("")
            made.append(f":{found[1]}: {line[found.end() :]}")
            inside = True
        elif inside and line.strip():
            made.append(f"    {line}")
        else:
            inside = False
            made.append(line)
    return made


def one_by_one(lines: list[str]) -> list[str]:
    """What is said of several arguments or attributes, said of each."""
    made: list[str] = []
    inside, said, names = False, [""], [""]
    for line in [*lines, ""]:
        goes_on = line.startswith("        ")
        if len(names) > 1 and not goes_on:
            for name in names:
                made += [f"    {name}: {said[0]}", *said[1:]]
            names = [""]
        if SECTION.match(line):
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        found = SEVERAL.match(line) if inside else None
        if found:
            names, said = found[1].split(", "), [line[found.end() :]]
        elif len(names) > 1:
            said.append(line)
        else:
            made.append(line)
    return made[:-1]


def on_docstring(_app: Sphinx, _what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    lines[:] = topics(one_by_one(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", on_docstring, priority=400)  # before napoleon makes its own fields
    return {"parallel_read_safe": True}
