"""What is measured of waiting in asyncio tasks."""

from __future__ import annotations

import asyncio
import mmap
import os
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import filelock

import interlock
from benchmarks.primitives import FORK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from benchmarks.floor import Floor
    from benchmarks.measures import Rows

TASKS = 10_000


async def _pairs(lock: Any, count: int) -> float:
    before = time.perf_counter()
    for _ in range(count):
        async with lock:
            pass
    return (time.perf_counter() - before) / count * 1e9


def tasks_free(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of `async with` on what nobody else has."""
    lock = interlock.RWLock()
    subjects = {
        "interlock.Lock": interlock.Lock(),
        "interlock.RLock": interlock.RLock(),
        "interlock.RWLock.read": lock.read,
        "interlock.RWLock.write": lock.write,
        "interlock.Semaphore": interlock.Semaphore(),
        "interlock.BoundedSemaphore": interlock.BoundedSemaphore(),
        "asyncio.Semaphore": asyncio.Semaphore(),
        "asyncio.Lock": asyncio.Lock(),
    }
    samples: dict[str, list[float]] = {}

    async def turns() -> None:
        for _ in range(max(3, int(15 * scale))):
            for name, subject in subjects.items():
                samples.setdefault(name, []).append(await _pairs(subject, max(100, int(50_000 * scale))))

    asyncio.run(turns())
    return {name: {"async_with_ns": statistics.median(seen)} for name, seen in samples.items()}


def _hold(make: Callable[[], Any], orders: Any, taken: Any, stamp: Any) -> None:
    """Takes it when told, and notes when it gives it back, some milliseconds later."""
    lock = make()
    while orders.get():
        lock.acquire()
        taken.put(None)
        time.sleep(0.02)
        stamp[0] = time.monotonic()
        lock.release()


async def _turn() -> float:
    """Microseconds from a descriptor that becomes readable until a task goes on that waits for it, in a loop at rest."""
    loop = asyncio.get_running_loop()
    reader, writer = os.pipe()
    done = loop.create_future()
    stamps: list[float] = []

    def write() -> None:
        time.sleep(0.02)
        stamps.append(time.monotonic())
        os.write(writer, b"x")

    loop.add_reader(reader, lambda: done.done() or done.set_result(None))
    thread = threading.Thread(target=write)
    thread.start()
    await done
    spent = time.monotonic() - stamps[0]
    loop.remove_reader(reader)
    thread.join()
    os.close(reader)
    os.close(writer)
    return spent * 1e6


def tasks_handoff(scratch: Path, _: Floor, scale: float) -> Rows:
    """Microseconds from a release in another process until a waiter goes on."""
    lock = interlock.Lock()
    path = str(scratch / "handed over")
    ours = filelock.AsyncFileLock(path)

    async def by_thread() -> None:
        lock.acquire()

    async def by_task() -> None:
        await lock.acquire_async()

    async def by_file() -> None:
        await ours.acquire()

    async def by_file_back() -> None:
        await ours.release()

    async def back() -> None:
        lock.release()

    plays: dict[str, tuple[Callable[[], Any], Callable[[], Awaitable[None]], Callable[[], Awaitable[None]], int]] = {
        "interlock.Lock, a thread waits": (lambda: lock, by_thread, back, 1),
        "interlock.Lock, a task waits": (lambda: lock, by_task, back, 1),
        "filelock.AsyncFileLock": (lambda: filelock.FileLock(path), by_file, by_file_back, 10),
    }
    samples: dict[str, list[float]] = {}
    stamp = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
    others = {}
    for name, (make, *_) in plays.items():
        orders, taken = FORK.SimpleQueue(), FORK.SimpleQueue()
        process = FORK.Process(target=_hold, args=(make, orders, taken, stamp))
        process.start()
        others[name] = (process, orders, taken)

    async def rounds() -> None:
        for number in range(max(10, int(200 * scale))):
            samples.setdefault("a turn of the event loop", []).append(await _turn())
            for name, (_, wait, give_back, rarely) in plays.items():
                if number % rarely:
                    continue
                _, orders, taken = others[name]
                orders.put(True)
                taken.get()
                await wait()
                samples.setdefault(name, []).append((time.monotonic() - stamp[0]) * 1e6)
                await give_back()

    asyncio.run(rounds())
    for process, orders, _ in others.values():
        orders.put(False)
        process.join()
    return {name: {"median_us": statistics.median(seen)} for name, seen in samples.items()}


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE


def _crowd(kind: str, results: Any, scale: float) -> None:
    names = [interlock.Lock(f"crowd {number if kind == 'many' else 0}") for number in range(TASKS)]

    async def wait(number: int, event: asyncio.Event) -> None:
        if kind == "none":
            await event.wait()
        else:
            async with names[number]:
                pass

    async def main() -> None:
        event = asyncio.Event()
        await asyncio.sleep(0.1)
        before = _resident()
        tasks = [asyncio.create_task(wait(number, event)) for number in range(TASKS)]
        await asyncio.sleep(2)
        after = _resident()
        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.sleep(max(1, 6 * scale))
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
        results.put(((after - before) / TASKS, 100 * share, len(os.listdir("/proc/self/task"))))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def tasks_waiting(_: Path, __: Floor, scale: float) -> Rows:
    """10,000 tasks that wait: bytes of each beyond those of a task that waits for an asyncio.Event, and what they cost."""
    rows: Rows = {}
    base = 0.0
    for kind, title in {
        "none": "an asyncio.Event",
        "one": "one interlock.Lock",
        "many": "10,000 interlock.Locks",
    }.items():
        held = [interlock.Lock(f"crowd {number}") for number in range(TASKS if kind == "many" else 1)]
        for lock in held:
            lock.acquire()
        results = FORK.SimpleQueue()
        process = FORK.Process(target=_crowd, args=(kind, results, scale))
        process.start()
        size, share, threads = results.get()
        process.join()
        for lock in held:
            lock.release()
        base = size if kind == "none" else base
        rows[title] = {"bytes_more": size - base, "cpu_percent": share, "threads": float(threads)}
    return rows


TASK_MEASURES = {"tasks_free": tasks_free, "tasks_handoff": tasks_handoff, "tasks_waiting": tasks_waiting}
