"""The pages of the site and the README, and the blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sybil.document import Document
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer
from sybil.parsers.myst.lexers import DirectiveInPercentCommentLexer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sybil import Region

ROOT = Path(__file__).parents[2]
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}

INFO = re.compile(r"(?P<info>[^\n]*)\n")
DIRECTIVE = re.compile(r"\{([\w-]+)\} *(.*)")
OPTION = re.compile(r":([\w-]+): *(.*)")
FILE = re.compile(r"[\w-]+\.[\w.-]+|Dockerfile|crontab")
INVISIBLE = "invisible-code-block"


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        directive: "literalinclude"; "" for a block of code.
        language: of code, "" if none is given; of another directive, its argument.
        source: what is in it.
        line: of the page, where that begins.
        options: of a directive.
    """

    directive: str
    language: str
    source: str
    line: int
    options: dict[str, str] = field(default_factory=dict)

    @property
    def caption(self) -> str:
        return self.options.get("caption", "")

    @property
    def file(self) -> str | None:
        """The file that it is, if its caption is the name of one."""
        return self.caption if FILE.fullmatch(self.caption) else None


def block_of(info: str, source: str, line: int) -> Block:
    found = DIRECTIVE.fullmatch(info.strip())
    if not found:
        return Block("", info.strip(), source, line)
    directive, argument = found.groups()
    lines = source.splitlines(keepends=True)
    options: dict[str, str] = {}
    while lines and (given := OPTION.fullmatch(lines[0].rstrip("\n"))):
        options[given[1]] = given[2]
        del lines[0]
    return Block("" if directive == "code-block" else directive, argument, "".join(lines), line + len(options), options)


def fenced(document: Document) -> Iterable[Region]:
    """All fenced blocks, and those in comments that readers do not see."""
    for region in RawFencedCodeBlockLexer(INFO)(document):
        line = document.text.count("\n", 0, region.start) + 2
        region.parsed = block_of(region.lexemes["info"], str(region.lexemes["source"]), line)
        yield region
    for lexer in (DirectiveInHTMLCommentLexer(INVISIBLE), DirectiveInPercentCommentLexer(INVISIBLE, ".+")):
        for region in lexer(document):
            line = document.text.count("\n", 0, region.start) + 2
            region.parsed = Block("", region.lexemes["arguments"], str(region.lexemes["source"]), line)
            yield region


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [region.parsed for _, region in Document.parse(str(PAGES[page]), fenced).regions]
