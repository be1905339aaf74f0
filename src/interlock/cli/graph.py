"""`interlock graph`: who waits for whom, as a picture."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from interlock.cli import say
from interlock.cli.table import Parser, answer, end_as_others_do, put
from interlock.pictures.waits import draw

if TYPE_CHECKING:
    from interlock.space import Space

DESCRIPTION = """\
Draws who waits for what, and who has that: processes, threads and tasks, and objects. Those who wait for each other in a
circle are red. A snapshot: it makes nothing, and holds nobody up.
"""
EPILOG = """\
Waits are seen once they have lasted for some milliseconds. Of those who wait for one object and have nothing that others
want, the 24 that have waited the longest are drawn, and the others counted. Given names, those that somebody has and nobody
waits for are drawn, too; a circle is drawn as a whole if it goes through one of them.

DOT is for Graphviz ('interlock graph | dot -Tpng > waits.png'); SVG needs nothing but a browser.

Exit status: 0, also if nobody waits; 1 if one of the names is unknown; 64 for wrong use, 65 for a space of another version,
66 if it cannot be used; 73 if the file cannot be written.
"""
ENDINGS = {".dot": "dot", ".gv": "dot", ".svg": "svg"}
GRAPHVIZ = {".gif", ".jpeg", ".jpg", ".pdf", ".png", ".ps", ".webp"}  # what it makes of DOT, and nobody reads as DOT


def parser() -> Parser:
    made = Parser("graph", DESCRIPTION, EPILOG)
    made.add_argument("names", metavar="NAME", nargs="*", help="what to draw; without any, all that somebody waits for")
    made.add_argument("--match", metavar="PATTERN", help="also the names that match it, as file names match a shell's")
    made.add_argument("--held", action="store_true", help="also what somebody has and nobody waits for")
    made.add_argument("--format", choices=("dot", "svg"), help="without this, as the file's name ends, else dot")
    made.add_argument("-o", "--output", metavar="FILE", default="-", help="where to; -, or without this, stdout")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    ending = os.path.splitext(given.output)[1].lower()
    if given.format is None and ending in GRAPHVIZ:
        how = f"'interlock graph | dot -T{ending[1:]} > FILE'"
        parser().error(f"-o: {ending} is for Graphviz to make ({how}), or take .svg")
    form = given.format or ENDINGS.get(ending, "dot")
    return answer(given.space, lambda space: graph(space, given.names, given.match, given.held, form, given.output))


def graph(space: Space, names: list[str], pattern: str | None, held: bool, form: str, output: str) -> int:
    for name in names:
        if space._look(name) is None:
            say(f"{name!r} is no name in the space at {space.path}: nobody has made it, or it was forgotten since")
            return 1
    some = bool(names) or pattern is not None

    def chosen(name: str) -> bool:
        return not some or name in names or (pattern is not None and fnmatchcase(name, pattern))

    picture = draw(space, chosen, held or some)
    if form == "svg":
        from interlock.pictures.svg import svg as written
    else:
        from interlock.pictures.dot import dot as written
    return put(written(picture)) if output == "-" else save(output, written(picture))


def save(path: str, text: str) -> int:
    """Writes a file. Returns the exit status."""
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        say(f"cannot write {path!r}: {error.strerror if isinstance(error, OSError) else error}")
        return os.EX_CANTCREAT
    return os.EX_OK
