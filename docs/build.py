"""Builds the site into build/site. Whatever Sphinx warns of is an error: `python3 dev.py docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import main

ROOT = Path(__file__).resolve().parents[1]


def build(arguments: list[str]) -> int:
    """Builds, with more of sphinx-build's arguments. Returns the exit status."""
    site = ROOT / "build" / "site"
    options = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "-d", str(ROOT / "build" / "site-work")]
    options += ["--fresh-env", "--write-all"]  # docstrings and parsers are no files that Sphinx would find changed
    status = main(["-b", "html", *options, *arguments, str(ROOT / "docs"), str(site)])
    if status == 0:
        print(f"The first page is {site / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(build(sys.argv[1:]))
