"""`interlock bench`: what locks cost on this machine, beside the standard library's."""

from __future__ import annotations

import mmap
import os
import signal
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import interlock
from interlock.cli import say
from interlock.cli.table import Parser, put, table, terminal
from interlock.errors import InterlockError
from interlock.prices import Price, measure
from interlock.selftest import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from interlock.prices import AnyLock

KINDS = ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition")  # which the standard library has twice
CROWDS = (1, 2, 4, 8)
DESCRIPTION = """\
Measures what one use of a lock costs here, beside the standard library's locks and flock: in one process when nobody waits,
and how many turns processes take at once. All take turns in one run, and the figures are medians: compare them with each
other, not with those of another run. Works in a space of its own, and takes about 20 seconds.
"""
EPILOG = """\
--json prints an object:
  python, machine, processors
  prices   of each lock: lock, with_ns, pair_ns: nanoseconds of `with lock: pass`, and of acquire() and release()
  rates    of each lock and so many processes: lock, processes, per_second: turns in all

Exit status: 0; 64 for wrong use, 66 if no space can be made.
"""


class Flock:
    """A lock on a file, used as carefully as it has to be: opened by each process for itself."""

    def __init__(self, path: Path) -> None:
        import fcntl

        self.flock, self.lock, self.unlock = fcntl.flock, fcntl.LOCK_EX, fcntl.LOCK_UN
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def acquire(self) -> None:
        self.flock(self.fd, self.lock)

    def release(self) -> None:
        self.flock(self.fd, self.unlock)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.release()


def parser() -> Parser:
    made = Parser("bench", DESCRIPTION, EPILOG, space=False)
    made.add_argument("--quick", action="store_true", help="in two seconds, and less exactly")
    made.add_argument("--json", action="store_true", help="print JSON: see below")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    scale = 0.1 if given.quick else 1.0
    try:
        with Scratch() as directory:
            found = prices(directory, scale), rates(directory, scale)
    except InterlockError as error:
        say(str(error))
        return os.EX_NOINPUT
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return put(as_json(*found) if given.json else as_tables(*found))


def prices(directory: Path, scale: float) -> list[Price]:
    import multiprocessing
    import threading

    locks: dict[str, AnyLock] = {}
    for kind in KINDS:
        for name, module in (("threading", threading), ("multiprocessing", multiprocessing), ("interlock", interlock)):
            locks[f"{name}.{kind}"] = getattr(module, kind)()
    table = interlock.RWLock()
    locks |= {
        "interlock.RWLock.read": table.read,
        "interlock.RWLock.write": table.write,
        "flock": Flock(directory / "file"),
    }
    return measure(locks, rounds=max(5, int(25 * scale)), calls=max(1000, int(20_000 * scale)))


def rates(directory: Path, scale: float) -> list[tuple[str, int, float]]:
    """(lock, processes, turns a second), the median of three turns each."""
    import multiprocessing

    inherited = multiprocessing.get_context("fork").Lock()
    openers: dict[str, Callable[[], AnyLock]] = {
        "multiprocessing.Lock": lambda: inherited,
        "flock": lambda: Flock(directory / "file"),
        "interlock.Lock": lambda: interlock.Lock("interlock bench"),
    }
    seen: dict[tuple[str, int], list[float]] = {(name, crowd): [] for name in openers for crowd in CROWDS}
    for _ in range(3):
        for name, crowd in seen:
            seen[name, crowd].append(rate(openers[name], crowd, 0.5 * scale))
    return [(name, crowd, sorted(found)[1]) for (name, crowd), found in seen.items()]


def rate(open_lock: Callable[[], AnyLock], processes: int, seconds: float) -> float:
    """Turns a second of so many processes together, each of which adds to one number."""
    import multiprocessing

    fork: Any = multiprocessing.get_context("fork")
    number = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
    start = fork.Barrier(processes)

    def add() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        lock = open_lock()
        start.wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(20):
                with lock:
                    number[0] += 1

    children = [fork.Process(target=add) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return number[0] / seconds


# --- the report ---


def as_json(found: list[Price], turns: list[tuple[str, int, float]]) -> str:
    import json
    import platform

    report = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "prices": [asdict(price) for price in found],
        "rates": [{"lock": name, "processes": crowd, "per_second": rate} for name, crowd, rate in turns],
    }
    return f"{json.dumps(report)}\n"


def as_tables(found: list[Price], turns: list[tuple[str, int, float]]) -> str:
    width, _ = terminal()
    base = {price.lock.rpartition(".")[2]: price for price in found if price.lock.startswith("threading.")}
    columns: list[list[str]] = [[], [], [], [], []]
    for price in found:
        peer = base.get(price.lock.rpartition(".")[2])
        row = (price.lock, f"{price.with_ns:.0f}", f"{price.pair_ns:.0f}")
        shares = (f"{price.with_ns / peer.with_ns:.2f}", f"{price.pair_ns / peer.pair_ns:.2f}") if peer else ("", "")
        for column, text in zip(columns, (row[0], row[1], shares[0], row[2], shares[1]), strict=True):
            column.append(text)
    header = ("LOCK", "WITH", "SHARE", "ACQUIRE+RELEASE", "SHARE")
    lines = ["One use, nobody waiting: nanoseconds, and their share of threading's", ""]
    lines += table(header, columns, width, right=header[1:])
    names = list(dict.fromkeys(name for name, *_ in turns))
    titles = ("LOCK", *(f"{crowd} PROCESSES" if crowd > 1 else "1 PROCESS" for crowd in CROWDS))
    by_crowd = [[f"{rate:,.0f}" for _, crowd, rate in turns if crowd == wanted] for wanted in CROWDS]
    lines += [
        "",
        "All of them at once: turns a second",
        "",
        *table(titles, [names, *by_crowd], width, right=titles[1:]),
        "",
    ]
    return "\n".join(lines)
