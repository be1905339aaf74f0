"""The directives `commands` and `metrics`: what each command, and each metric, says of itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import Directive

from interlock.cli import VERBS, folded, module_of
from interlock.metrics import Collector

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def help_of(verb: str) -> str:
    """What `interlock VERB --help` prints."""
    module = module_of(verb)
    if verb == "run":
        return folded(module.HELP, 98)
    os.environ["COLUMNS"] = "100"  # what argparse asks for the width
    return str(module.parser().format_help())


class Commands(Directive):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        sections: list[nodes.Node] = []
        for verb, does in VERBS.items():
            title = f"interlock {verb}"
            section = nodes.section(ids=[title.replace(" ", "-")], names=[title])
            section += nodes.title(title, title)
            section += nodes.paragraph(text=f"{does[0].upper()}{does[1:]}.")
            section += nodes.literal_block(help_of(verb), help_of(verb), language="text")
            self.state.document.note_explicit_target(section)
            sections.append(section)
        return sections


class Metrics(Directive):
    """A list of the metrics."""

    def run(self) -> list[nodes.Node]:
        entries = nodes.definition_list()
        for family in Collector().describe():
            total = "_total" if family.type == "counter" else ""
            term = nodes.term("", "", nodes.literal(text=f"{family.name}{total}"), nodes.Text(f", a {family.type}"))
            entries += nodes.definition_list_item(
                "", term, nodes.definition("", nodes.paragraph(text=family.documentation))
            )
        return [entries]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("commands", Commands)
    app.add_directive("metrics", Metrics)
    return {"parallel_read_safe": True}
