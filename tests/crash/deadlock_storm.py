"""Deadlocks: none is told where there is none, and each that is planted is found.

    python -m tests.crash.deadlock_storm --acquisitions 1000000

First processes of several threads, and tasks, take one lock or several in one order, or in any order but not for long, are
cancelled, and now and then keep something for longer than a deadlock needs to be told. Nobody may be told of one. Then
parties wait for each other in a circle: 2 to 10 of them, threads of one process, processes, and both, over all kinds that
have owners. One of them is the victim, all others get what they wait for, and the deadlock is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import mmap
import multiprocessing
import os
import random
import sys
import threading
import time
from typing import Any

import interlock
from tests.crash.killing import home

FORK = multiprocessing.get_context("fork")
KINDS = ["Lock", "RLock", "RWLock", "Condition", "Value"]
LOCKS, PROCESSES, THREADS, TASKS = 40, 3, 4, 20
LONG = 1.3  # to be waited for longer than a second, of which one look is at the half
WORDS = TAKEN, TOLD = range(2)
HANG_SECONDS = 120


class Told(logging.Handler):
    """Counts the deadlocks that are logged."""

    def __init__(self, words: memoryview) -> None:
        super().__init__()
        self.words = words

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)
        self.words[TOLD] += 1


def pair(space: interlock.Space, kind: str, name: str) -> tuple[Any, Any]:
    """What to have and what to want, so that whoever has the one keeps others from the other."""
    match kind:
        case "RWLock":
            lock = space.RWLock(name)
            return lock.read, lock.write
        case "Value":
            value = space.Value(name, "q")
            return value, value
        case _:
            thing = getattr(space, kind)(name)
            return thing, thing


# --- where there is none ---


class Worker:
    """One process: threads, and tasks of one more."""

    def __init__(self, memory: mmap.mmap, base: int, manner: str, seed: int, most: int) -> None:
        self.words = memoryview(memory).cast("q")[base : base + len(WORDS)]
        logging.getLogger("interlock").addHandler(Told(self.words))
        space = interlock.Space("shm:storm", deadlock=manner)
        self.things = [pair(space, KINDS[number % len(KINDS)], f"thing {number}") for number in range(LOCKS)]
        self.permits = space.BoundedSemaphore("permits", 3)
        self.failed = False
        self.counts, self.seed, self.most = [0] * (THREADS + 1), seed, most
        self.slow_at = [most * part // 4 for part in (3, 2, 1)]

    def goes_on(self) -> bool:
        self.words[TAKEN] = sum(self.counts)
        return self.words[TAKEN] < self.most

    def told(self, error: interlock.DeadlockDetected) -> None:
        print(error, file=sys.stderr, flush=True)
        self.words[TOLD] += 1

    def choose(self, rng: random.Random) -> list[Any]:
        """One thing, or some in order."""
        return [rng.choice(self.things[at]) for at in sorted(rng.sample(range(LOCKS), rng.choice([1, 1, 1, 2, 3])))]

    def ordered(self, rng: random.Random, number: int) -> None:
        with contextlib.ExitStack() as stack:
            for thing in self.choose(rng):
                stack.enter_context(thing)
                self.counts[number] += 1
            if rng.random() < 0.05:
                stack.enter_context(self.permits)
                self.counts[number] += 1
            if number == 0 and self.slow_at and sum(self.counts) > self.slow_at[-1]:
                self.slow_at.pop()
                time.sleep(LONG)

    def timed(self, rng: random.Random, number: int) -> None:
        """In any order: in a circle perhaps, and not for long."""
        chosen = self.choose(rng)
        rng.shuffle(chosen)
        with contextlib.ExitStack() as stack:
            for thing in chosen:
                if not thing.acquire(timeout=rng.random() * 0.02):
                    break
                stack.callback(thing.release)
                self.counts[number] += 1

    def thread(self, number: int) -> None:
        rng = random.Random(self.seed * 100 + number)
        while self.goes_on() and not self.failed:
            try:
                (self.timed if rng.random() < 0.1 else self.ordered)(rng, number)
            except interlock.DeadlockDetected as error:
                self.told(error)
            except BaseException:
                self.failed = True
                raise

    async def task(self, rng: random.Random) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for thing in self.choose(rng):
                await stack.enter_async_context(thing)
                self.counts[THREADS] += 1
            await asyncio.sleep(0)

    async def tasks(self) -> None:
        rng = random.Random(self.seed * 100 + THREADS)
        while self.goes_on() and not self.failed:
            visits = [asyncio.create_task(self.task(rng)) for _ in range(TASKS)]
            await asyncio.sleep(rng.random() * 0.002)
            for visit in rng.sample(visits, TASKS // 2):
                visit.cancel()
            for error in await asyncio.gather(*visits, return_exceptions=True):
                if isinstance(error, interlock.DeadlockDetected):
                    self.told(error)
                elif error is not None and not isinstance(error, asyncio.CancelledError):
                    raise error

    def run(self) -> None:
        threads = [threading.Thread(target=self.thread, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        asyncio.run(self.tasks())
        for thread in threads:
            thread.join()
        self.goes_on()
        if self.failed:
            sys.exit(1)


def false_alarms(acquisitions: int, seed: int) -> bool:
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    words = memoryview(memory).cast("q")
    most = acquisitions // PROCESSES + 1
    workers = [
        FORK.Process(target=lambda n=number: Worker(memory, n * len(WORDS), ["raise", "log"][n % 2], seed + n, most).run())
        for number in range(PROCESSES)
    ]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = sum(words[number * len(WORDS) + TAKEN] for number in range(PROCESSES))
    told = sum(words[number * len(WORDS) + TOLD] for number in range(PROCESSES))
    print(f"{taken} acquisitions in {time.monotonic() - began:.0f} s: {told} deadlocks told", flush=True)
    return told == 0 and taken >= acquisitions and all(worker.exitcode == 0 for worker in workers)


# --- where there is one ---


def party(number: int, first: Any, second: Any, ready: Any, results: Any) -> None:
    with first:
        ready.wait()
        began = time.monotonic()
        try:
            with second:
                results.put((number, None))
        except interlock.DeadlockDetected as error:
            results.put((number, (time.monotonic() - began, len(error.cycle))))


def plant(count: int, layout: str, rng: random.Random, number: int) -> float:
    """A circle of so many parties. How long it took to be told; whatever else was to be is checked."""
    space = interlock.Space("shm:planted", deadlock="raise")
    kinds = [rng.choice(KINDS) for _ in range(count)]
    things = [pair(space, kind, f"{number}: {at}") for at, kind in enumerate(kinds)]
    ready, results = space.Barrier(f"{number}: ready", count), FORK.SimpleQueue()
    parties = []
    for at in range(count):
        arguments = (at, things[at][0], things[(at + 1) % count][1], ready, results)
        own_process = layout == "processes" or (layout == "both" and at % 2)
        parties.append((FORK.Process if own_process else threading.Thread)(target=party, args=arguments, daemon=True))
    for one in sorted(parties, key=lambda each: isinstance(each, threading.Thread)):  # forks before threads
        one.start()
    told = [result for _, result in (results.get() for _ in range(count)) if result is not None]
    for one in parties:
        one.join(HANG_SECONDS)
    assert len(told) == 1, f"{len(told)} victims of a circle of {kinds} in {layout}"
    (seconds, length) = told[0]
    assert length == count, f"a circle of {count} was told as one of {length}"
    assert space.deadlocks() == space.wait_graph() == []
    return seconds


def planted(rounds: int, most: int, seed: int) -> None:
    rng, number = random.Random(seed), 0
    seconds: list[float] = []
    for _ in range(rounds):
        for count in range(2, most + 1):
            for layout in ("threads", "processes", "both"):
                seconds.append(plant(count, layout, rng, number))
                number += 1
    print(
        f"{number} circles of 2 to {most} parties: each told once, after {min(seconds):.2f} to {max(seconds):.2f} s",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acquisitions", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--most", type=int, default=10, help="parties of a circle")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "little"))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with home():
        good = false_alarms(given.acquisitions, given.seed)
        planted(given.rounds, given.most, given.seed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
