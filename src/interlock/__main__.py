"""python -m interlock: the command line."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="interlock", description="Locks between threads, processes and programs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    selftest = commands.add_parser(
        "selftest",
        help="prove on this machine what the library is for",
        description="Counts in a plain file from several unrelated programs without a lock, under multiprocessing.Lock and "
        "under interlock; kills holders; measures the price. Exits with 0 only if interlock lost nothing.",
    )
    selftest.add_argument("--quick", action="store_true", help="a tenth of the work, in some seconds")
    selftest.add_argument("--json", action="store_true", help="print the results as JSON, without progress")
    commands.add_parser("config", help="the compiler's options for programs in C", add_help=False)
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["config"]:
        from interlock.cli.config import main as config

        return config(words[1:])
    given = parser.parse_args(words)

    from interlock.errors import InterlockError
    from interlock.selftest import selftest as run

    try:
        return run(quick=given.quick, as_json=given.json)
    except InterlockError as error:
        print(f"interlock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
