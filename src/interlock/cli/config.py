"""interlock config: the compiler's options for programs in C."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from interlock.cli.table import Parser
from interlock.errors import SpaceUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = Path(__file__).resolve().parents[1]
DESCRIPTION = """\
Prints the options by which a program in C finds interlock.h and libinterlock:

    cc program.c $(interlock config --cflags --libs)

A path with spaces is quoted for a shell that reads the line:

    eval "cc program.c $(interlock config --cflags --libs)"
"""


def options(cflags: bool, libs: bool, static: bool, package: Path = PACKAGE) -> list[str]:
    """The options, one by one.

    Raises:
        SpaceUnavailable: the header or the libraries were not built here.
    """
    include, lib = package / "include", package / "lib"
    archive = lib / "libinterlock.a"
    if sys.platform != "linux":
        raise SpaceUnavailable(
            f"there are no libraries for programs in C: interlock's engine needs Linux; this is {sys.platform}"
        )
    for needed in (include / "interlock.h", lib / "libinterlock.so", archive):
        if not needed.exists():
            raise SpaceUnavailable(
                f"there are no libraries for programs in C: {needed} is missing; install interlock anew, or in its "
                "repository run: python setup.py build_ext --inplace",
                path=str(needed),
            )
    words: list[str] = []
    if cflags:
        words += [f"-I{include}"]
    if libs and static:
        words += [str(archive), "-pthread"]
    elif libs:
        # -Wl takes a comma for the end of a word.
        words += [f"-L{lib}", "-linterlock"]
        words += ["-Xlinker", "-rpath", "-Xlinker", str(lib)] if "," in str(lib) else [f"-Wl,-rpath,{lib}"]
        words += ["-pthread"]
    return words


def parser() -> Parser:
    made = Parser("config", DESCRIPTION, space=False)
    made.add_argument("--cflags", action="store_true", help="to compile")
    made.add_argument("--libs", action="store_true", help="to link")
    made.add_argument("--static", action="store_true", help="with --libs: link the archive, not the shared library")
    return made


def main(arguments: Sequence[str]) -> int:
    """Prints what is asked for; returns the exit status."""
    given = parser().parse_args(arguments)
    if not (given.cflags or given.libs):
        parser().error("say what for: --cflags, --libs or both")
    if given.static and not given.libs:
        parser().error("--static goes with --libs")
    try:
        words = options(given.cflags, given.libs, given.static)
    except SpaceUnavailable as error:
        print(f"interlock: {error}", file=sys.stderr)
        return 1
    print(shlex.join(words))
    return 0
