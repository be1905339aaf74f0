"""The selftest: what the library is for, proven on the user's own machine.

A counter in a plain file is incremented by unrelated programs of several threads each: without a lock, under a
multiprocessing.Lock that each program makes for itself, and under interlock. Then holders are killed and the time is taken
until the next program has the lock. Then the price of one acquire and release beside the standard library's locks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.lock import Lock
from interlock.space import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interlock.prices import AnyLock, Price

PROGRAMS = 4
THREADS = 2
INCREMENTS = 2000  # of each thread
KILLS = 60
PRICE_ROUNDS = 15
PRICE_CALLS = 100_000
HANG_SECONDS = 60  # nothing here takes this long unless it hangs

NAME = "interlock selftest"


@dataclass(frozen=True)
class Count:
    """One way of counting: what should have been counted, and what was."""

    lock: str
    expected: int
    counted: int
    seconds: float

    @property
    def lost(self) -> int:
        return self.expected - self.counted


@dataclass(frozen=True)
class Kills:
    """Holders killed, and milliseconds until the next program held the lock."""

    killed: int
    recovered: int
    told: int  # successors whose lock.recovered named the dead process
    median_ms: float
    worst_ms: float
    newcomer_worst_ms: float


class Progress:
    """A bar on a terminal, nothing elsewhere."""

    WIDTH = 30

    def __init__(self, steps: int, shown: bool) -> None:
        self.steps, self.done, self.shown = steps, 0, shown

    def step(self, doing: str) -> None:
        if self.shown:
            full = self.WIDTH * self.done // self.steps
            print(f"\r[{'#' * full}{'.' * (self.WIDTH - full)}] {doing:<44}", end="", flush=True)
        self.done += 1

    def clear(self) -> None:
        if self.shown:
            print("\r" + " " * (self.WIDTH + 48) + "\r", end="", flush=True)


# --- the programs that count, each a process of its own with nothing in common but its arguments ---


def count_in_file(path: str, kind: str, increments: int) -> None:
    """Body of a counting program: THREADS threads, each adding 1 to the number in the file, `increments` times."""
    lock: AnyLock
    if kind == "interlock":
        lock = Lock(NAME)
    elif kind == "multiprocessing":
        import multiprocessing

        lock = multiprocessing.Lock()
    else:
        from contextlib import nullcontext

        lock = nullcontext()
    file = os.open(path, os.O_RDWR)

    def count() -> None:
        for _ in range(increments):
            with lock:
                number = int(os.pread(file, 20, 0))
                os.sched_yield()  # any program does something between reading and writing
                os.pwrite(file, b"%020d" % (number + 1), 0)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    threads = [threading.Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def hold_until_killed() -> None:
    """Body of a program that takes the lock, says so, and never gives it back."""
    lock = Lock(NAME)
    lock.acquire()
    sys.stdout.write("held\n")
    sys.stdout.flush()
    time.sleep(HANG_SECONDS)


def wait_for_lock() -> None:
    """Body of a program that waits for the lock and says when it has it, and from whose death."""
    lock = Lock(NAME)
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    lock.acquire()
    now = time.monotonic_ns()
    owner = lock.recovered
    lock.release()
    print(now, owner.pid if owner else 0)


def program(call: str) -> subprocess.Popen[str]:
    """Starts a program of its own that runs one function of this module."""
    return subprocess.Popen(
        [sys.executable, "-c", f"from interlock import selftest; selftest.{call}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(started: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


# --- the three parts ---


def count_updates(kind: str, increments: int, directory: Path) -> Count:
    """Counts in a file from PROGRAMS programs at once, under one kind of lock."""
    path = directory / f"counter-{kind}"
    path.write_bytes(b"%020d" % 0)
    programs = [program(f"count_in_file({str(path)!r}, {kind!r}, {increments})") for _ in range(PROGRAMS)]
    for one in programs:
        line_of(one)
    started = time.monotonic()
    for one in programs:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in programs:
        one.communicate(timeout=HANG_SECONDS)
    return Count(kind, PROGRAMS * THREADS * increments, int(path.read_bytes()), time.monotonic() - started)


def kill_holders(rounds: int, step: Callable[[], None]) -> Kills:
    """Kills holders with SIGKILL while another program waits, then while nobody does."""
    waits: list[float] = []
    tries: list[float] = []
    told = 0
    lock = Lock(NAME, space=DEFAULT_URL)
    for number in range(rounds):
        step()
        holder = program("hold_until_killed()")
        line_of(holder)
        if number % 3 == 2:  # a newcomer's try, with nobody waiting
            holder.send_signal(signal.SIGKILL)
            holder.communicate(timeout=HANG_SECONDS)
            before = time.monotonic_ns()
            if lock.acquire(blocking=False):
                tries.append((time.monotonic_ns() - before) / 1e6)
                told += lock.recovered is not None and lock.recovered.pid == holder.pid
                lock.release()
            continue
        waiter = program("wait_for_lock()")
        line_of(waiter)
        time.sleep(0.05 + 0.01 * (number % 7))  # long enough to be asleep
        before = time.monotonic_ns()
        holder.send_signal(signal.SIGKILL)
        printed, _ = waiter.communicate(timeout=HANG_SECONDS)
        holder.communicate(timeout=HANG_SECONDS)
        after, dead = (int(word) for word in printed.split())
        waits.append((after - before) / 1e6)
        told += dead == holder.pid
    return Kills(
        killed=rounds,
        recovered=len(waits) + len(tries),
        told=told,
        median_ms=statistics.median(waits),
        worst_ms=max(waits),
        newcomer_worst_ms=max(tries, default=float("nan")),
    )


def measure_prices(rounds: int, calls: int) -> list[Price]:
    """Beside the standard library's locks, threading's first."""
    import multiprocessing

    from interlock.prices import measure

    locks: dict[str, AnyLock] = {
        "threading.Lock": threading.Lock(),
        "multiprocessing.Lock": multiprocessing.Lock(),
        "interlock.Lock": Lock(NAME, space=DEFAULT_URL),
    }
    return measure(locks, rounds, calls)


def selftest(*, quick: bool = False, as_json: bool = False) -> int:
    """Runs all parts and prints what came of them. Returns 0 only if interlock lost nothing."""
    scale = 10 if quick else 1
    kills = max(6, KILLS // scale)
    progress = Progress(3 + kills + 1, shown=sys.stdout.isatty() and not as_json)
    with Scratch() as directory:
        counts: list[Count] = []
        for kind in ("none", "multiprocessing", "interlock"):
            progress.step(f"counting, lock: {kind}")
            counts.append(count_updates(kind, INCREMENTS // scale, directory))
        killed = kill_holders(kills, lambda: progress.step("killing holders"))
        progress.step("measuring the price")
        prices = measure_prices(PRICE_ROUNDS, PRICE_CALLS // scale)
    progress.clear()
    passed = counts[-1].lost == 0 and killed.recovered == killed.told == killed.killed
    if as_json:
        report = {
            "passed": passed,
            "counts": [asdict(count) | {"lost": count.lost} for count in counts],
            "kills": asdict(killed),
            "prices": [asdict(price) for price in prices],
        }
        print(json.dumps(report, indent=2))
    else:
        for line in describe(counts, killed, prices, passed):
            print(line)
    return 0 if passed else 1


def describe(counts: list[Count], kills: Kills, prices: list[Price], passed: bool) -> Iterator[str]:
    """The report for a person, line by line."""
    titles = {
        "none": "without a lock",
        "multiprocessing": "multiprocessing.Lock, one per program",
        "interlock": f"interlock.Lock({NAME!r})",
    }
    yield f"1. A counter in a file, {PROGRAMS} unrelated programs of {THREADS} threads, {counts[0].expected} increments:"
    for count in counts:
        rate = count.expected / count.seconds
        yield f"   {titles[count.lock]:<40} {count.lost:>6} updates lost   ({rate:,.0f} a second)"
    yield f"2. {kills.killed} holders killed with SIGKILL while they held the lock:"
    yield f"   taken over {kills.recovered}, successor told of the death {kills.told}"
    yield f"   a sleeping waiter had it after {kills.median_ms:.1f} ms (median), {kills.worst_ms:.1f} ms (worst)"
    yield f"   a newcomer's first try had it after {kills.newcomer_worst_ms:.2f} ms (worst)"
    base = prices[0]
    yield "3. The price of one use, nobody waiting (and as a share of threading.Lock's):"
    yield f"   {'':<24}{'with lock:':>20}{'acquire(), release()':>26}"
    for price in prices:
        yield (
            f"   {price.lock:<24}{price.with_ns:>12.0f} ns {price.with_ns / base.with_ns:>4.2f}"
            f"{price.pair_ns:>18.0f} ns {price.pair_ns / base.pair_ns:>4.2f}"
        )
    yield "PASSED: nothing was lost under interlock." if passed else "FAILED: see above."


class Scratch:
    """A directory for a space of the selftest's own, on the file system where spaces live; removed at the end."""

    def __enter__(self) -> Path:
        from interlock.space import directory

        self.path = Path(tempfile.mkdtemp(prefix="interlock-selftest-", dir=directory()))
        self.before = {name: os.environ.pop(name, None) for name in ("INTERLOCK_DIR", "INTERLOCK_SPACE")}
        os.environ["INTERLOCK_DIR"] = str(self.path)
        return self.path

    def __exit__(self, *_: object) -> None:
        del os.environ["INTERLOCK_DIR"]
        os.environ.update({name: value for name, value in self.before.items() if value is not None})
        shutil.rmtree(self.path, ignore_errors=True)
