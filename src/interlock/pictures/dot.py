"""The wait-for graph in DOT, for Graphviz and what else reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interlock.pictures.waits import Graph

RED = "#c62828"


def dot(graph: Graph) -> str:
    title = quoted([graph.title, f"{graph.summary}; dashed: is held by"])
    lines = [
        "digraph waits {",
        f"  rankdir={'TB' if graph.circles else 'LR'}; label={title}; labelloc=t;",
        '  node [fontname="monospace", fontsize=11, style="filled,rounded", fillcolor=white]; edge [color="#455a64"];',
    ]
    for number, box in enumerate(graph.boxes):
        shape = "shape=box" if box.party else 'shape=box, style=filled, fillcolor="#dfe7ef"'
        colour = f', color="{RED}", penwidth=2' if box.alarm else ""
        lines.append(f"  n{number} [label={quoted(box.lines)}, tooltip={quoted([box.whole])}, {shape}{colour}];")
    for arrow in graph.arrows:
        style = "style=dashed" if arrow.has else "style=solid"
        colour = f', color="{RED}", penwidth=2' if arrow.alarm else ""
        lines.append(f"  n{arrow.tail} -> n{arrow.head} [{style}{colour}];")
    return "\n".join([*lines, "}", ""])


def quoted(texts: list[str]) -> str:
    """A quoted string of DOT, a line for each text. In one, backslashes and entities mean something."""
    escaped = [text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '"{}"'.format("\\n".join(escaped))
