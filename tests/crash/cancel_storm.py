"""A cancel storm: a thousand tasks of one loop, cancelled at random moments, on names that other processes use, too.

    python -m tests.crash.cancel_storm --seconds 30

Whoever enters writes a mark and finds it unchanged when it leaves, and counts in memory that all share. At the end the
counts are as many as the visits, every lock and every permit can be had, and nothing of a wait is left. Of signalling
kinds: what was produced was consumed, and no notification got lost.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import mmap
import multiprocessing
import os
import random
import sys
import threading
import time

import interlock
from interlock import aio
from tests.crash.killing import home

KINDS = ["Lock", "RLock", "RWLock", "Condition", "Value", "Semaphore", "BoundedSemaphore"]
NAMES, PERMITS = 3, 2  # of each kind
WORDS = MARK, COUNTER, OVERLAPS, VISITS, ITEMS = range(5)
PLACES = len(KINDS) * NAMES


class Place:
    """A name that is visited by one at a time; permits are, by `permits` at a time."""

    def __init__(self, number: int, words: memoryview) -> None:
        self.kind, self.words, self.base = KINDS[number // NAMES], words, number * len(WORDS)
        name = f"{self.kind}-{number % NAMES}"
        match self.kind:
            case "RWLock":
                both = interlock.RWLock(name)
                self.thing, self.reading = both.write, both.read
            case "Value":
                self.thing = interlock.Value(name, "q")
            case "Semaphore" | "BoundedSemaphore":
                self.thing = getattr(interlock, self.kind)(name, PERMITS)
            case _:
                self.thing = getattr(interlock, self.kind)(name)
        self.alone = "Semaphore" not in self.kind
        self.lock = threading.Lock()

    def enter(self, mark: int) -> int:
        words = self.words
        words[self.base + OVERLAPS] += words[self.base + MARK] != 0
        words[self.base + MARK] = mark
        return words[self.base + COUNTER]

    def leave(self, mark: int, count: int) -> None:
        words = self.words
        words[self.base + COUNTER] = count + 1
        words[self.base + OVERLAPS] += words[self.base + MARK] != mark
        words[self.base + MARK] = 0
        words[self.base + VISITS] += 1


def work(memory: mmap.mmap, stop: int, seed: int) -> None:
    """Another process, without tasks."""
    words = memoryview(memory).cast("q")
    places = [Place(number, words) for number in range(PLACES)]

    def go_on(thread: int) -> None:
        rng = random.Random(seed * 10 + thread)
        mark = os.getpid() << 8 | thread + 1
        while not words[stop]:
            place = rng.choice(places)
            if not place.thing.acquire(timeout=rng.choice([0.001, 0.01, 10])):
                continue
            if place.kind == "Condition":
                words[place.base + ITEMS] += 1
                place.thing.notify()
            if place.alone:
                count = place.enter(mark)
                if rng.random() < 0.05:
                    time.sleep(rng.random() * 0.001)
                place.leave(mark, count)
            place.thing.release()

    threads = [threading.Thread(target=go_on, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Storm:
    """The tasks."""

    def __init__(self, words: memoryview, tasks: int, seed: int) -> None:
        self.words, self.rng, self.tasks = words, random.Random(seed), tasks
        self.places = [Place(number, words) for number in range(PLACES)]
        self.mark = os.getpid() << 8
        self.ended: dict[str, float] = {"went on": 0, "cancelled": 0, "late": 0}
        self.inside = 0
        self.unmoved: set[asyncio.Task[None] | None] = set()

    async def visit(self, place: Place) -> None:
        self.mark += 1
        mark, count = self.mark, place.enter(self.mark) if place.alone else 0
        self.inside += 1
        try:
            if self.rng.random() < 0.3:
                await asyncio.sleep(self.rng.random() * 0.0005)
        finally:
            self.inside -= 1
            if place.alone:
                place.leave(mark, count)

    async def consume(self, place: Place) -> None:
        async with place.thing:
            if await place.thing.wait_for_async(lambda: self.words[place.base + ITEMS] > 0, self.rng.choice([None, 0.02])):
                self.words[place.base + ITEMS] -= 1
            await self.visit(place)

    async def produce(self, place: Place) -> None:
        async with place.thing:
            count = place.thing._waiters()
            self.words[place.base + ITEMS] += count
            place.thing.notify(count)

    async def once(self) -> None:
        place, how = self.rng.choice(self.places), self.rng.random()
        if place.kind == "Condition" and how < 0.5:
            await self.consume(place)
        elif place.kind == "RWLock" and how < 0.5:
            async with place.reading:
                self.words[place.base + OVERLAPS] += self.words[place.base + MARK] != 0
                await asyncio.sleep(0)
        elif how < 0.8:
            async with place.thing:
                await self.visit(place)
        elif how < 0.9:
            async with asyncio.timeout(self.rng.random() * 0.02):
                async with place.thing:
                    await self.visit(place)
        elif await place.thing.acquire_async(self.rng.random() * 0.02):
            try:
                await self.visit(place)
            finally:
                place.thing.release()

    async def task(self) -> None:
        me = asyncio.current_task()
        while True:
            try:
                await self.once()
                self.ended["went on"] += 1
            except TimeoutError:
                self.ended["late"] += 1
            self.unmoved.discard(me)
            await asyncio.sleep(0)

    async def run(self, seconds: float) -> None:
        tasks = [asyncio.ensure_future(self.task()) for _ in range(self.tasks)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(self.rng.random() * 0.003)
            for _ in range(self.rng.randrange(30)):
                number = self.rng.randrange(len(tasks))
                gone, tasks[number] = tasks[number], asyncio.ensure_future(self.task())
                gone.cancel()
                self.ended["cancelled"] += 1
                if self.rng.random() < 0.1:
                    await asyncio.sleep(0)
        # All that are left go on; consumers once there is something for each.
        self.unmoved, began = set(tasks), time.monotonic()
        while self.unmoved and time.monotonic() - began < 30:
            for place in self.places:
                if place.kind == "Condition":
                    await self.produce(place)
            await asyncio.sleep(0.01)
        self.ended["all_went_on_after_s"] = round(time.monotonic() - began, 3)
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise result
        await asyncio.sleep(0.05)  # those replaced before

    def books(self) -> int:
        """How many waits the loop still knows of."""
        return sum(len(here.queues) for loop in aio._loops.values() for here in loop.values())


def storm(seconds: float, tasks: int, processes: int, seed: int) -> dict[str, object]:
    """Runs the storm in the current INTERLOCK_DIR. Returns what was seen."""
    context = multiprocessing.get_context("fork")
    memory = mmap.mmap(-1, 8 * (PLACES * len(WORDS) + 1))
    words, stop = memoryview(memory).cast("q"), PLACES * len(WORDS)
    children = [context.Process(target=work, args=(memory, stop, seed + number)) for number in range(processes)]
    for child in children:
        child.start()
    here = Storm(words, tasks, seed)
    books = 0
    errors: list[str] = []
    try:

        async def main() -> None:
            nonlocal books
            asyncio.get_running_loop().set_exception_handler(lambda _, what: errors.append(repr(what.get("exception"))))
            await here.run(seconds)
            books = here.books()

        asyncio.run(main())
    finally:
        words[stop] = 1
        for child in children:
            child.join(60)
        stuck = sum(child.exitcode is None for child in children)
        failed = sum(child.exitcode not in (None, 0) for child in children)
        for child in children:
            child.kill()
            child.join()
    gc.collect()
    wedged = []
    for place in here.places:
        name, permits = place.thing.name, 1 if place.alone else PERMITS
        if not all(place.thing.acquire(timeout=1) for _ in range(permits)):
            wedged.append(name)
            continue
        if not place.alone and place.thing.acquire(False):
            wedged.append(f"{name}: a permit too many")
        if place.kind == "Condition" and place.thing._waiters():
            wedged.append(f"{name}: waiters")
        for _ in range(permits):
            place.thing.release()
    columns = {
        name: sum(words[base + which] for base in range(0, stop, len(WORDS)))
        for name, which in [("visits", VISITS), ("counted", COUNTER), ("overlaps", OVERLAPS)]
    }
    return {
        **here.ended,
        **columns,
        "wedged": wedged,
        "inside": here.inside,
        "books": books,
        "unmoved": len(here.unmoved),
        "stuck": stuck,
        "failed": failed,
        "errors": errors[:3],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    with home():
        seen = storm(given.seconds, given.tasks, given.processes, given.seed)
    print(f"cancel storm, seed {given.seed}: {seen}")
    wrong = ("overlaps", "wedged", "inside", "books", "unmoved", "stuck", "failed", "errors")
    clean = not any(seen[what] for what in wrong)
    return 0 if clean and seen["visits"] == seen["counted"] and seen["went on"] and seen["cancelled"] else 1


if __name__ == "__main__":
    sys.exit(main())
