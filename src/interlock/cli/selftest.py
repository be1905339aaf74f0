"""`interlock selftest`: see interlock.selftest."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="interlock selftest",
        description="Counts in a plain file from several unrelated programs without a lock, under multiprocessing.Lock and "
        "under interlock; kills holders; measures the price. Exits with 0 only if interlock lost nothing.",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, in some seconds")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, without progress")
    given = parser.parse_args(arguments)

    from interlock.errors import InterlockError
    from interlock.selftest import selftest

    try:
        return selftest(quick=given.quick, as_json=given.json)
    except InterlockError as error:
        print(f"interlock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
