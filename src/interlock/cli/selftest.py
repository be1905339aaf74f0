"""`interlock selftest`: see interlock.selftest."""

from __future__ import annotations

import sys

from interlock.cli.table import Parser

DESCRIPTION = """\
Counts in a plain file from several unrelated programs without a lock, under multiprocessing.Lock and under interlock; kills
holders; measures the price. Exits with 0 only if interlock lost nothing.
"""


def parser() -> Parser:
    made = Parser("selftest", DESCRIPTION, space=False)
    made.add_argument("--quick", action="store_true", help="a tenth of the work, in some seconds")
    made.add_argument("--json", action="store_true", help="print the results as JSON, without progress")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)

    from interlock.errors import InterlockError
    from interlock.selftest import selftest

    try:
        return selftest(quick=given.quick, as_json=given.json)
    except InterlockError as error:
        print(f"interlock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
