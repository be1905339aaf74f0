"""`interlock metrics`: a Prometheus exporter of a space."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from typing import TYPE_CHECKING

from interlock.cli import say, status_of, tell
from interlock.cli.table import Parser, end_as_others_do, put
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PORT = 9823
DESCRIPTION = """\
Serves the metrics of a space to Prometheus over HTTP, at /metrics, until Ctrl-C or SIGTERM. Each scrape is a snapshot: it
makes nothing, and holds nobody up. It needs prometheus_client: pip install 'interlock[prometheus]'.
"""
EPILOG = """\
The space may be made later, or anew: a scrape without it says interlock_up 0, and why is told here. Who can connect can
read the names, and there is no password: leave it on the loopback interface, or put something in front of it.

Each name makes up to seven series. Where there is one for each key, choose with --match.

Exit status: 0; 64 for wrong use, 69 if prometheus_client is missing or the address cannot be had; with --once, 65 for a
space of another version, 66 if it cannot be used.
"""
ENDING = (signal.SIGINT, signal.SIGTERM)


class Said(logging.Handler):
    """Says what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def port(text: str) -> int:
    """The value of --port."""
    if text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"a number from 0 to 65535, not {text!r}")


def address(text: str) -> str:
    """The value of --address."""
    if text:
        return text
    raise argparse.ArgumentTypeError("an empty one would be all there are; for that, write 0.0.0.0 or ::")


def parser() -> Parser:
    made = Parser("metrics", DESCRIPTION, EPILOG)
    made.add_argument("--port", metavar="N", type=port, default=PORT, help=f"0: any; without this, {PORT}")
    made.add_argument(
        "--address", metavar="HOST", type=address, default="127.0.0.1", help="to listen at; without this, 127.0.0.1"
    )
    made.add_argument(
        "--match", metavar="PATTERN", action="append", help="only names like this, 'order-*'; may be given several times"
    )
    made.add_argument("--all", action="store_true", help="anonymous objects, too")
    made.add_argument("--once", action="store_true", help="print the metrics instead")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    try:
        from interlock.metrics import Collector
    except ModuleNotFoundError as error:
        say(str(error))
        return os.EX_UNAVAILABLE
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    logging.getLogger("interlock").addHandler(Said())
    try:
        collector = Collector(given.space, given.match or "*", given.all)
        registry.register(collector)
    except (ValueError, InterlockError) as error:
        say(str(error))
        return status_of(error)
    return once(registry, collector.trouble) if given.once else serve(registry, given.address, given.port)


def once(registry: CollectorRegistry, trouble: dict[str, Exception]) -> int:
    """Prints the metrics, unless the space cannot be read."""
    from prometheus_client import generate_latest

    text = generate_latest(registry).decode()
    for error in trouble.values():
        return status_of(error)
    return put(text)


def serve(registry: CollectorRegistry, address: str, number: int) -> int:
    """Serves the metrics until it is told to end."""
    from prometheus_client import start_http_server

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # whoever scrapes may go at any time
    # Not those that nohup, or a shell with a background job, has us ignore. Blocked in the server's threads as well.
    ending = [each for each in ENDING if signal.getsignal(each) != signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        server, _ = start_http_server(number, address, registry)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host's name
        say(f"cannot listen at {address}, port {number}: {getattr(error, 'strerror', None) or error}")
        return os.EX_UNAVAILABLE
    host, found = str(server.server_address[0]), server.server_address[1]
    tell(1, f"http://{f'[{host}]' if ':' in host else host}:{found}/metrics\n")
    signal.sigwait(ending)
    server.shutdown()
    server.server_close()
    return os.EX_OK
