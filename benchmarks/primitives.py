"""What is measured of the kinds other than Lock and RLock, beside multiprocessing's and threading's."""

from __future__ import annotations

import mmap
import multiprocessing
import statistics
import threading
import time
from timeit import Timer
from typing import TYPE_CHECKING, Any

import interlock
import interlock.mp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.floor import Floor
    from benchmarks.measures import Rows

FORK = multiprocessing.get_context("fork")
CALLS = 100_000


def _turns(subjects: dict[str, dict[str, tuple[str, dict[str, Any]]]], scale: float) -> Rows:
    """Medians of nanoseconds of statements, less an empty loop's, over rounds in which all take turns."""
    calls, samples = max(100, int(CALLS * scale)), {}
    for _ in range(max(3, int(15 * scale))):
        empty = Timer("pass").timeit(calls)
        for name, columns in subjects.items():
            for column, (statement, known) in columns.items():
                spent = Timer(statement, globals=known).timeit(calls) - empty
                samples.setdefault(name, {}).setdefault(column, []).append(spent / calls * 1e9)
    return {name: {column: statistics.median(seen) for column, seen in row.items()} for name, row in samples.items()}


def permits(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of `with x: pass` and of acquire() and release(), nobody waiting."""
    shared = interlock.RWLock()
    objects = {
        "interlock.Semaphore": interlock.Semaphore(value=5),
        "interlock.BoundedSemaphore": interlock.BoundedSemaphore(value=5),
        "interlock.RWLock.read": shared.read,
        "interlock.RWLock.write": shared.write,
        "multiprocessing.Semaphore": FORK.Semaphore(5),
        "multiprocessing.BoundedSemaphore": FORK.BoundedSemaphore(5),
        "threading.Semaphore": threading.Semaphore(5),
    }
    statements = {"with_ns": "with x: pass", "pair_ns": "x.acquire(); x.release()"}
    return _turns({name: {c: (s, {"x": x}) for c, s in statements.items()} for name, x in objects.items()}, scale)


def flags(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of Event.is_set() and Event.wait() when it is set."""
    events = {
        "interlock.Event": interlock.Event(),
        "multiprocessing.Event": FORK.Event(),
        "threading.Event": threading.Event(),
    }
    for event in events.values():
        event.set()
    statements = {"is_set_ns": "x.is_set()", "wait_ns": "x.wait()"}
    return _turns({name: {c: (s, {"x": x}) for c, s in statements.items()} for name, x in events.items()}, scale)


def _by_condition(condition: Any, turn: Any, mine: int, rounds: int) -> None:
    with condition:
        for _ in range(rounds):
            while turn[0] != mine:
                condition.wait()
            turn[0] = 1 - mine
            condition.notify()


def _by_event(events: Any, _: Any, mine: int, rounds: int) -> None:
    for _ in range(rounds):
        events[mine].wait()
        events[mine].clear()
        events[1 - mine].set()


def _by_semaphore(semaphores: Any, _: Any, mine: int, rounds: int) -> None:
    for _ in range(rounds):
        semaphores[mine].acquire()
        semaphores[1 - mine].release()


def pingpong(_: Path, floor: Floor, scale: float) -> Rows:
    """Microseconds from one process to another and back."""
    rounds = max(50, int(10_000 * scale))
    games: dict[str, tuple[Callable[..., None], Callable[[], Any]]] = {}
    for title, kinds in {"interlock": interlock.mp, "multiprocessing": FORK}.items():
        games[f"{title}.Condition"] = (_by_condition, kinds.Condition)
        games[f"{title}.Event"] = (_by_event, lambda kinds=kinds: (kinds.Event(), kinds.Event()))
        games[f"{title}.Semaphore"] = (_by_semaphore, lambda kinds=kinds: (kinds.Semaphore(0), kinds.Semaphore(0)))
    samples: dict[str, list[float]] = {}
    for _ in range(max(1, int(7 * scale))):
        for name, (play, make) in games.items():
            subject, turn = make(), memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
            other = FORK.Process(target=play, args=(subject, turn, 1, rounds))
            other.start()
            time.sleep(0.05)
            before = time.perf_counter()
            if play is _by_event:
                subject[0].set()
            elif play is _by_semaphore:
                subject[0].release()
            play(subject, turn, 0, rounds)
            spent = time.perf_counter() - before
            if play is _by_event:
                subject[1].set()
            other.join()
            samples.setdefault(name, []).append(spent / rounds * 1e6)
        samples.setdefault("raw futex, in C", []).append(floor.run("word", "pingpong", rounds)[0])
    rows = {name: {"round_us": statistics.median(seen)} for name, seen in samples.items()}
    # What the calls of one round cost when nobody is there to answer: half of it in each process.
    mine = interlock.Condition()
    calls = Timer("with c: c.wait(0); c.notify(); c.wait(0); c.notify()", globals={"c": mine}).timeit(rounds)
    rows["interlock.Condition"]["calls_us"] = calls / rounds * 1e6
    return rows


def _read(lock: Any, seconds: float, start: Any, results: Any) -> None:
    start.wait()
    end, reads = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(200):
            with lock:
                pass
        reads += 200
    results.put(reads / seconds)


def readers(_: Path, __: Floor, scale: float) -> Rows:
    """Reads a second of 1 to 16 processes that only read, and the same under one lock for all."""
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(1, int(5 * scale))):
        for count in (1, 2, 4, 8, 16):
            for name, lock in {
                "interlock.RWLock.read": interlock.RWLock().read,
                "interlock.Lock": interlock.Lock(),
                "multiprocessing.Lock": FORK.Lock(),
            }.items():
                start, results = FORK.Barrier(count), FORK.SimpleQueue()
                children = [FORK.Process(target=_read, args=(lock, 0.5 * scale, start, results)) for _ in range(count)]
                for child in children:
                    child.start()
                rate = sum(results.get() for _ in children)
                for child in children:
                    child.join()
                samples.setdefault(name, {}).setdefault(f"rate_{count}", []).append(rate)
    return {name: {column: statistics.median(seen) for column, seen in row.items()} for name, row in samples.items()}


def _meet(barrier: Any, rounds: int) -> None:
    for _ in range(rounds):
        barrier.wait()


def rounds(_: Path, __: Floor, scale: float) -> Rows:
    """Microseconds of one round of a barrier of 2 to 32 processes."""
    rows: Rows = {}
    for count in (2, 4, 8, 16, 32):
        turns = max(10, int(2000 * scale / count))
        for name, kind in {"interlock.Barrier": interlock.mp.Barrier, "multiprocessing.Barrier": FORK.Barrier}.items():
            barrier = kind(count)
            children = [FORK.Process(target=_meet, args=(barrier, turns + 1)) for _ in range(count - 1)]
            for child in children:
                child.start()
            barrier.wait()
            before = time.perf_counter()
            _meet(barrier, turns)
            rows.setdefault(name, {})[f"parties_{count}"] = (time.perf_counter() - before) / turns * 1e6
            for child in children:
                child.join()
    return rows


PRIMITIVES = {"permits": permits, "flags": flags, "pingpong": pingpong, "readers": readers, "rounds": rounds}
