"""A Python that a page's blocks run in, one after the other: what a reader has typed them into.

Reads a line of JSON for each block, {"source", "doctest", "file", "line"}, and answers with one: what went wrong, or null.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import json
import linecache
import sys
import traceback
import types
from typing import Any, TextIO

OPTIONS = doctest.ELLIPSIS | doctest.REPORT_NDIFF


class Session:
    """The namespace of a `__main__` of its own, so that what blocks define pickles for a forked child."""

    def __init__(self) -> None:
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names: dict[str, Any] = module.__dict__
        self.runner = asyncio.Runner()

    def run(self, source: str, file: str, line: int) -> str | None:
        """Runs statements; they may await."""
        text = "\n" * (line - 1) + source
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        try:
            code = compile(text, file, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(eval(code, self.names))
            else:
                exec(code, self.names)
        except BaseException:
            return traceback.format_exc()
        return None

    def run_doctest(self, source: str, file: str, line: int) -> str | None:
        """Runs what stands behind prompts, and compares what it prints."""
        test = doctest.DocTestParser().get_doctest(source, {}, file, file, line - 1)
        test.globs = self.names
        found: list[str] = []
        doctest.DocTestRunner(verbose=False, optionflags=OPTIONS).run(test, out=found.append, clear_globs=False)
        return "".join(found) or None


def main(asked: TextIO, answers: TextIO) -> None:
    session = Session()
    for line in asked:
        block = json.loads(line)
        run = session.run_doctest if block["doctest"] else session.run
        print(json.dumps(run(block["source"], block["file"], block["line"])), file=answers, flush=True)


if __name__ == "__main__":
    sys.path[0] = ""  # as of a Python that somebody types into
    with open(int(sys.argv[1])) as asked, open(int(sys.argv[2]), "w") as answers:
        main(asked, answers)
