"""The wait-for graph as SVG: one that needs nothing else, in the colours that its reader prefers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.cli.table import cells
from interlock.pictures.layout import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.pictures.layout import Point
    from interlock.pictures.waits import Arrow, Box, Graph

# The advance of a monospaced font is 0.6 of its size nearly everywhere; a little more, so that nothing touches its box.
SIZE = 12
ADVANCE, LINE_HEIGHT, INSIDE = SIZE * 0.62, 16, 10
MARGIN, HEAD, FOOT = 24, 52, 44
LEAST_WIDTH = 690  # for the legend

STYLE = """\
text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1b2733; }
.title { font-size: 14px; font-weight: bold; } .faint { fill: #5b6b7a; } .strong { font-weight: bold; }
.paper { fill: #ffffff; } .party { fill: #ffffff; stroke: #78909c; } .object { fill: #dfe7ef; stroke: #546e7a; }
.line { fill: none; stroke: #455a64; stroke-width: 1.3; } .has { stroke-dasharray: 5 4; } .head { fill: #455a64; }
.alarm { stroke: #c62828; stroke-width: 2.2; } .head.alarm, text.alarm { fill: #c62828; stroke: none; }
@media (prefers-color-scheme: dark) {
text { fill: #dbe4ec; } .faint { fill: #93a4b3; }
.paper { fill: #11171d; } .party { fill: #1b242d; stroke: #78909c; } .object { fill: #2d3d4d; stroke: #90a4ae; }
.line { stroke: #a7b8c6; } .head { fill: #a7b8c6; }
.alarm { stroke: #ff6b60; } .head.alarm, text.alarm { fill: #ff6b60; stroke: none; }
}"""


def svg(graph: Graph) -> str:
    sizes = [size(box) for box in graph.boxes]
    placed = layout(sizes, [(arrow.tail, arrow.head) for arrow in graph.arrows], graph.circles)
    texts = max(width(graph.title), width(graph.summary)) * 14 / SIZE
    wide = max(placed.width, texts, LEAST_WIDTH) + 2 * MARGIN
    high = HEAD + placed.height + FOOT + 2 * MARGIN
    left, top = (wide - placed.width) / 2, MARGIN + HEAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high:.0f}" '
        f'viewBox="0 0 {wide:.0f} {high:.0f}" role="img">',
        f"<title>{escaped(graph.title)}</title><desc>{escaped(graph.summary)}</desc>",
        f"<style>\n{STYLE}\n</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        text(MARGIN, MARGIN + 14, graph.title, "title"),
        text(MARGIN, MARGIN + 36, graph.summary, "strong alarm" if graph.circles else "faint"),
        f'<g transform="translate({left:.1f} {top:.1f})">',
    ]
    for number, arrow in sorted(enumerate(graph.arrows), key=lambda each: each[1].alarm):  # red ones above the others
        parts.append(line(arrow, placed.routes[number], number in placed.upright))
    parts += [drawn(box, placed.boxes[number], sizes[number]) for number, box in enumerate(graph.boxes)]
    parts += ["</g>", *legend(high - MARGIN, bool(graph.circles)), "</svg>", ""]
    return "\n".join(parts)


def size(box: Box) -> Point:
    return max(map(width, box.lines)) + 2 * INSIDE, LINE_HEIGHT * len(box.lines) + INSIDE


def width(line: str) -> float:
    return cells(line) * ADVANCE


def drawn(box: Box, middle: Point, extent: Point) -> str:
    (x, y), (wide, high) = middle, extent
    kind = ("party" if box.party else "object") + (" alarm" if box.alarm else "")
    parts = [
        f"<g><title>{escaped(box.whole)}</title>",
        f'<rect class="{kind}" x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'rx="{12 if box.party else 2}"/>',
    ]
    for number, each in enumerate(box.lines):
        baseline = y - high / 2 + INSIDE / 2 + LINE_HEIGHT * (number + 0.75)
        parts.append(text(x, baseline, each, "strong" if number == 0 else "faint", "middle"))
    return "\n".join([*parts, "</g>"])


def line(arrow: Arrow, route: Sequence[Point], upright: bool) -> str:
    """Straight through the layers, in curves from one to the next; its end is where the arrow's head begins."""
    alarm = " alarm" if arrow.alarm else ""
    *most, before, (x, y) = route
    back, down = (-1 if (y < most[-1][1] if upright else x < most[-1][0]) else 1), upright
    length, half = 9, 4
    end = (x, y - back * length) if down else (x - back * length, y)
    corners = [(x, y), (x - half, end[1]), (x + half, end[1])] if down else [(x, y), (end[0], y - half), (end[0], y + half)]
    path = [f"M{most[0][0]:.1f} {most[0][1]:.1f}"]
    points = [*most, before, end]
    for number, (point, last) in enumerate(zip(points[1:], points, strict=False)):
        if number % 2 == 0:  # through a layer
            path.append(f"L{point[0]:.1f} {point[1]:.1f}")
        elif upright:
            half_way = (last[1] + point[1]) / 2
            path.append(f"C{last[0]:.1f} {half_way:.1f} {point[0]:.1f} {half_way:.1f} {point[0]:.1f} {point[1]:.1f}")
        else:
            half_way = (last[0] + point[0]) / 2
            path.append(f"C{half_way:.1f} {last[1]:.1f} {half_way:.1f} {point[1]:.1f} {point[0]:.1f} {point[1]:.1f}")
    head = " ".join(f"{at[0]:.1f},{at[1]:.1f}" for at in corners)
    return (
        f'<path class="line{" has" if arrow.has else ""}{alarm}" d="{" ".join(path)}"/>'
        f'<polygon class="head{alarm}" points="{head}"/>'
    )


def legend(y: float, deadlock: bool) -> list[str]:
    """Under the picture, from left to right."""
    parts: list[str] = []
    x: float = MARGIN
    for kind, what in (("party", "process, thread or task"), ("object", "object")):
        parts.append(
            f'<rect class="{kind}" x="{x}" y="{y - 13}" width="26" height="16" rx="{6 if kind == "party" else 2}"/>'
        )
        parts.append(text(x + 34, y, what, "faint"))
        x += 34 + width(what) + 20
    lines = [("", "waits for"), (" has", "is held by"), (" alarm", "deadlock")]
    for kind, what in lines if deadlock else lines[:2]:
        alarm = " alarm" if "alarm" in kind else ""
        parts.append(f'<path class="line{kind}" d="M{x:.1f} {y - 5} h24"/>')
        parts.append(
            f'<polygon class="head{alarm}" points="{x + 32:.1f},{y - 5} {x + 23:.1f},{y - 9} {x + 23:.1f},{y - 1}"/>'
        )
        parts.append(text(x + 40, y, what, "faint"))
        x += 40 + width(what) + 20
    return parts


def text(x: float, y: float, line: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" xml:space="preserve">{escaped(line)}</text>'
    )


def escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
