"""`interlock record`: who holds and who waits, for some time, as a trace.

Signals are blocked and waited for between two looks, so none comes in the middle of one, and the file is whole whatever
ends us but SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TextIO

from interlock.cli import say, status_of
from interlock.cli.table import Parser, answer, end_as_others_do
from interlock.errors import InterlockError, count
from interlock.pictures.recording import Observer
from interlock.pictures.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.pictures.recording import Recording
    from interlock.space import Space

DESCRIPTION = """\
Records who holds and who waits, until --seconds are over or Ctrl-C ends it, and writes a trace: open it at
https://ui.perfetto.dev, or at chrome://tracing. It only looks, and slows no lock down.
"""
EPILOG = """\
It looks every so many milliseconds, and what it tells is as coarse: a hold lasts from the look that first saw it to the
first one that did not. Holds that fit between two looks are not seen; "acquisitions a second" counts them. Waits are seen
once they have lasted for some milliseconds, and begin exactly. "looks" says in how many looks something was seen.

The file is written when it ends, also by SIGTERM or SIGHUP, and when the space goes. All is in memory until then; it ends
by itself after two million events.

Exit status: 0; 64 for wrong use, 65 for a space of another version, 66 if it cannot be used or has gone; 73 or 74 if the
file cannot be made or written.
"""
# Not those that nohup, or a shell with a background job, has us ignore: to whoever blocks them they come all the same.
ENDING = [
    each
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    if signal.getsignal(each) != signal.SIG_IGN
]


def number(low: float, high: float, what: str) -> Callable[[str], float]:
    """A type of argument."""

    def read(text: str) -> float:
        digits = text.replace(".", "", 1)
        if digits.isascii() and digits.isdecimal() and len(digits) < 12 and low <= float(text) <= high:
            return float(text)
        raise argparse.ArgumentTypeError(f"{what} from {low:g} to {high:g}, not {text!r}")

    return read


def parser() -> Parser:
    made = Parser("record", DESCRIPTION, EPILOG)
    made.add_argument("-o", "--output", metavar="FILE", default="trace.json", help="without this, trace.json; - for stdout")
    made.add_argument("--seconds", metavar="N", type=number(0.01, 86400, "seconds"), help="without this, until Ctrl-C")
    made.add_argument(
        "--interval",
        metavar="MS",
        type=number(1, 60000, "milliseconds"),
        default=10.0,
        help="between looks; without this, 10",
    )
    made.add_argument(
        "--match", metavar="PATTERN", default="*", help="only names that match, as file names match a shell's"
    )
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    return answer(given.space, lambda space: record(space, given))


def record(space: Space, given: argparse.Namespace) -> int:
    """Looks, and writes. Returns the exit status."""
    try:
        out = opened(given.output)
    except (OSError, ValueError) as error:
        say(f"cannot write {given.output!r}: {error.strerror if isinstance(error, OSError) else error}")
        return os.EX_CANTCREAT
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    observer = Observer(space, lambda name: fnmatchcase(name, given.match), round(given.interval * 1e6))
    until = "Ctrl-C" if given.seconds is None else f"{given.seconds:g} s are over"
    say(f"recording {space.url} every {given.interval:g} ms, until {until}")
    status, killed_by = os.EX_OK, 0
    try:
        killed_by = watch(observer, given.interval / 1000, given.seconds)
    except InterlockError as error:
        say(str(error))
        status = status_of(error)
    recording = observer.end()
    if status == os.EX_OK and recording.is_full:
        say("there are two million events: that is enough for one file")
    status = write(out, recording, given.output) or status
    if killed_by not in (0, signal.SIGINT):
        signal.signal(killed_by, signal.SIG_DFL)
        os.kill(os.getpid(), killed_by)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return status


def watch(observer: Observer, interval: float, seconds: float | None) -> int:
    """Looks until it is time. Returns the signal that ended it, or 0."""
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    while True:
        begun = time.monotonic()
        observer.look()
        spent = time.monotonic() - begun
        pause = max(interval - spent, spent)  # no more than half of a processor, whatever there is to see
        if begun >= end or observer.recording.is_full:
            return 0
        came = signal.sigtimedwait(ENDING, min(pause, max(0.0, end - time.monotonic())))
        if came is not None:
            observer.look()
            return came.si_signo


def opened(path: str) -> TextIO:
    if path != "-":
        return open(path, "w", encoding="utf-8")
    if sys.stdout is None:  # closed when we began; what has its number by now is no place for it
        raise OSError(0, "it is closed")
    return open(os.dup(1), "w", encoding="utf-8")


def write(out: TextIO, recording: Recording, name: str) -> int:
    """Writes the trace. What ends us from now on ends us at once: the reader of a pipe may never read it all."""
    while signal.sigtimedwait(ENDING, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        with out:
            out.writelines(trace(recording))
    except OSError as error:
        say(f"cannot write {name!r}: {error.strerror}")
        return os.EX_IOERR
    say(f"{told(recording)}; written to {'stdout' if name == '-' else name}")
    return os.EX_OK


def told(recording: Recording) -> str:
    """ "3.0 s, 300 looks: 12 holds, 5 waits, 1 deadlock"."""
    waits = sum(each.waits for each in recording.slices)
    late = f" ({recording.late} late)" if recording.late else ""
    seen = [(len(recording.slices) - waits, "hold"), (waits, "wait"), (len(recording.deadlocks), "deadlock")]
    seconds = (recording.ended - recording.began) / 1e9
    return f"{seconds:.1f} s, {count(recording.looks, 'look')}{late}: {', '.join(count(*each) for each in seen)}"
