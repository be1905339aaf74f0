"""What is measured of the kinds other than Lock and RLock, beside multiprocessing's and threading's."""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import statistics
import threading
import time
from functools import partial
from timeit import Timer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import fasteners
import filelock
import posix_ipc

import interlock
import interlock.mp
from benchmarks.measures import medians

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


class ReadOrWrite:
    """One side of a reader-writer lock that has a context manager for each, as a lock."""

    def __init__(self, side: Callable[[], Any]) -> None:
        self.side = side

    def __enter__(self) -> None:
        self.held = self.side()
        self.held.__enter__()

    def __exit__(self, *error: object) -> None:
        self.held.__exit__(*error)


def _peers_of_rwlock(scratch: Path) -> dict[str, Callable[[], tuple[Any, Any]]]:
    """Functions that give both sides, to be called in the process that uses them."""

    def of_fasteners(path: str) -> tuple[Any, Any]:
        lock = fasteners.InterProcessReaderWriterLock(path)
        return ReadOrWrite(lock.read_lock), ReadOrWrite(lock.write_lock)

    def of_filelock(path: str) -> tuple[Any, Any]:
        lock = filelock.ReadWriteLock(path)
        return ReadOrWrite(lock.read_lock), ReadOrWrite(lock.write_lock)

    def ours(name: str) -> tuple[Any, Any]:
        lock = interlock.RWLock(name)
        return lock.read, lock.write

    path = str(scratch / uuid4().hex)
    return {
        "interlock.RWLock": partial(ours, uuid4().hex),
        "fasteners.InterProcessReaderWriterLock": partial(of_fasteners, path + ".fasteners"),
        "filelock.ReadWriteLock": partial(of_filelock, path + ".db"),
    }


def _posix_semaphore(value: int) -> Any:
    """Unlinked at once: it goes with the last process that has it."""
    semaphore = posix_ipc.Semaphore(None, posix_ipc.O_CREX, initial_value=value)
    semaphore.unlink()
    return semaphore


def permits(scratch: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of `with x: pass` and of acquire() and release(), nobody waiting."""
    shared = interlock.RWLock()
    objects = {
        "interlock.Semaphore": interlock.Semaphore(value=5),
        "interlock.BoundedSemaphore": interlock.BoundedSemaphore(value=5),
        "interlock.RWLock.read": shared.read,
        "interlock.RWLock.write": shared.write,
        "multiprocessing.Semaphore": FORK.Semaphore(5),
        "multiprocessing.BoundedSemaphore": FORK.BoundedSemaphore(5),
        "posix_ipc.Semaphore": _posix_semaphore(5),
        "threading.Semaphore": threading.Semaphore(5),
    }
    statements = {"with_ns": "with x: pass", "pair_ns": "x.acquire(); x.release()"}
    subjects = {name: {c: (s, {"x": x}) for c, s in statements.items()} for name, x in objects.items()}
    sides: dict[str, Any] = {}
    for name, make in _peers_of_rwlock(scratch).items():
        if not name.startswith("interlock."):
            sides[f"{name}, read"], sides[f"{name}, write"] = make()
    slow = _turns({name: {"with_ns": ("with x: pass", {"x": side})} for name, side in sides.items()}, scale / 50)
    return {**_turns(subjects, scale), **slow}


def _take_permits(permit: Any, total: mmap.mmap, place: int, seconds: float, start: Any) -> None:
    start.wait()
    end, turns = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(20):
            with permit:
                pass
        turns += 20
    memoryview(total).cast("q")[place] = turns


def contended_permits(_: Path, __: Floor, scale: float) -> Rows:
    """Turns a second of 2 to 16 processes that all want the one permit, or to write."""
    samples: dict[str, dict[str, list[float]]] = {}
    seconds = 0.5 * scale
    for _ in range(3 if scale >= 0.5 else 1):
        for count in (2, 4, 8, 16):
            for name, permit in {
                "interlock.Semaphore": interlock.Semaphore(),
                "interlock.BoundedSemaphore": interlock.BoundedSemaphore(),
                "interlock.RWLock.write": interlock.RWLock().write,
                "multiprocessing.Semaphore": FORK.Semaphore(),
                "posix_ipc.Semaphore": _posix_semaphore(1),
            }.items():
                start, total = FORK.Barrier(count), mmap.mmap(-1, mmap.PAGESIZE)
                _run([FORK.Process(target=_take_permits, args=(permit, total, n, seconds, start)) for n in range(count)])
                rate = sum(memoryview(total).cast("q")[:count]) / seconds
                samples.setdefault(name, {}).setdefault(f"rate_{count}", []).append(rate)
    return medians(samples)


def _run(children: list[Any]) -> None:
    for child in children:
        child.start()
    for child in children:
        child.join()


def values(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of `+= 1` under the lock and of one atomic addition, nobody else there."""
    under_lock = "with x.get_lock(): x.value += 1"
    ours, theirs = interlock.Value(None, "q"), FORK.Value("q")
    return _turns(
        {
            "interlock.Value": {"add_ns": (under_lock, {"x": ours}), "read_ns": ("x.value", {"x": ours})},
            "interlock.Value.add()": {"add_ns": ("x.add()", {"x": ours})},
            "multiprocessing.Value": {"add_ns": (under_lock, {"x": theirs}), "read_ns": ("x.value", {"x": theirs})},
        },
        scale,
    )


def _count_under_lock(value: Any, seconds: float, start: Any) -> None:
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            with value.get_lock():
                value.value += 1


def _count_by_steps(value: Any, seconds: float, start: Any) -> None:
    start.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            value.add()


def counting(_: Path, __: Floor, scale: float) -> Rows:
    """Increments a second of one Value by 1 to 8 processes."""
    samples: dict[str, dict[str, list[float]]] = {}
    seconds = 0.5 * scale
    for _ in range(3 if scale >= 0.5 else 1):
        for count in (1, 2, 4, 8):
            for name, (value, work) in {
                "interlock.Value": (interlock.Value(None, "q"), _count_under_lock),
                "interlock.Value.add()": (interlock.Value(None, "q"), _count_by_steps),
                "multiprocessing.Value": (FORK.Value("q"), _count_under_lock),
            }.items():
                start = FORK.Barrier(count)
                _run([FORK.Process(target=work, args=(value, seconds, start)) for _ in range(count)])
                samples.setdefault(name, {}).setdefault(f"rate_{count}", []).append(value.value / seconds)
    return medians(samples)


def _wait_for_side(make: Callable[[], tuple[Any, Any]], side: int, seconds: float, results: Any, start: Any) -> None:
    lock = make()[side]
    start.wait()
    end = now = time.monotonic() + 0.0
    end, longest, turns = end + seconds, 0.0, 0
    while now < end:
        before = time.monotonic()
        with lock:
            now = time.monotonic()
            longest, turns = max(longest, now - before), turns + 1
            while time.monotonic() < now + 0.001:
                pass
    results.put((side, turns, longest))


def sides(scratch: Path, _: Floor, scale: float) -> Rows:
    """4 readers and 2 writers, 1 ms each, all the time: turns a second and the longest wait of each side."""
    rows: Rows = {}
    seconds = 4 * scale
    for name, make in _peers_of_rwlock(scratch).items():
        start, results = FORK.Barrier(6), FORK.SimpleQueue()
        children = [
            FORK.Process(target=_wait_for_side, args=(make, int(n >= 4), seconds, results, start)) for n in range(6)
        ]
        _run(children)
        seen = [results.get() for _ in children]
        for side, (turns, longest) in enumerate((("reads", "read_wait_ms"), ("writes", "write_wait_ms"))):
            row = rows.setdefault(name, {})
            row[turns] = sum(turn for at, turn, _ in seen if at == side) / seconds
            row[longest] = max(wait for at, _, wait in seen if at == side) * 1e3
    return rows


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
    for _ in range(max(1, int(30 * scale))):  # they are short, and where the scheduler puts the two is chance
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
    if callable(lock):
        lock = lock()[0]
    start.wait()
    end, reads = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for _ in range(200):
            with lock:
                pass
        reads += 200
    results.put(reads / seconds)


def readers(scratch: Path, __: Floor, scale: float) -> Rows:
    """Reads a second of 1 to 16 processes that only read, and the same under one lock for all."""
    peers = _peers_of_rwlock(scratch)
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(1, int(5 * scale))):
        for count in (1, 2, 4, 8, 16):
            for name, lock in {
                "interlock.RWLock.read": interlock.RWLock().read,
                "interlock.Lock": interlock.Lock(),
                "multiprocessing.Lock": FORK.Lock(),
                **{name: make for name, make in peers.items() if not name.startswith("interlock.")},
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


def _waits(wait: Callable[[], object], stamp: Any) -> None:
    """What a child does until it is killed or goes on."""
    with contextlib.suppress(threading.BrokenBarrierError):
        wait()
    stamp.put(time.monotonic_ns())


def _wait_notified(condition: Any) -> None:
    with condition:
        condition.wait()


def _take_and_stay(taker: Any) -> None:
    taker.acquire()
    time.sleep(600)


def deaths(_: Path, __: Floor, scale: float) -> Rows:
    """Milliseconds from the death of one until the others have gone on: median and longest."""
    samples: dict[str, list[float]] = {}
    for _ in range(max(5, int(60 * scale))):
        condition, barrier, event = interlock.Condition(), interlock.Barrier(parties=4), interlock.Event()
        limit, shared, value = interlock.BoundedSemaphore(), interlock.RWLock(), interlock.Value(None, "q")

        def notify(condition: Any = condition) -> None:
            with condition:
                condition.notify()

        # What the victim does, what the others do, how many they are, and what lets them go on if not the death itself.
        plays: dict[str, tuple[Callable[..., None], Any, Callable[[], object], int, Callable[[], object] | None]] = {
            "Condition: a waiter dies, one is notified": (
                _wait_notified,
                condition,
                partial(_wait_notified, condition),
                1,
                notify,
            ),
            "Event: a waiter dies, it is set": (lambda e: e.wait(), event, event.wait, 2, event.set),
            "Barrier: a party dies": (lambda b: b.wait(), barrier, barrier.wait, 2, None),
            "BoundedSemaphore: who has the permit dies": (_take_and_stay, limit, limit.acquire, 1, None),
            "RWLock: a reader dies, one waits to write": (_take_and_stay, shared.read, shared.write.acquire, 1, None),
            "Value: who has its lock dies": (_take_and_stay, value, value.acquire, 1, None),
        }
        for name, (act, thing, wait, count, then) in plays.items():
            stamp = FORK.SimpleQueue()
            victim = FORK.Process(target=act, args=(thing,))
            victim.start()
            time.sleep(0.03)
            others = [FORK.Process(target=_waits, args=(wait, stamp)) for _ in range(count)]
            for other in others:
                other.start()
            time.sleep(0.03)
            began = time.monotonic_ns()
            victim.kill()
            if then is not None:
                then()
            last = max(stamp.get() for _ in others)
            samples.setdefault(name, []).append((last - began) / 1e6)
            for process in (victim, *others):
                process.join()
    return {name: {"median_ms": statistics.median(seen), "longest": max(seen)} for name, seen in samples.items()}


PRIMITIVES = {
    "permits": permits,
    "contended_permits": contended_permits,
    "flags": flags,
    "pingpong": pingpong,
    "readers": readers,
    "sides": sides,
    "rounds": rounds,
    "values": values,
    "counting": counting,
    "deaths": deaths,
}
