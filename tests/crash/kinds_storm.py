"""A kill storm over the kinds that are more than a lock: one process of several threads is killed and replaced every few
milliseconds, in the middle of whatever it does.

    python -m tests.crash.kinds_storm --seconds 30

Writers write two words, one after the other, under an RWLock; a reader that finds them different, with no dead writer to
blame, has seen a writer inside; the same with an Array under its lock. Nobody may get stuck. At the end exactly as many
permits are to be had as there were; what was added to a Value, and what producers made and consumers took, adds up but for
what the killed were just doing; and no file is left of data whose name was forgotten.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import multiprocessing
import os
import random
import sys
import threading
from pathlib import Path

import interlock
from tests.crash.killing import home, kill_at_random

PERMITS, PARTIES = 4, 3
FIRST, SECOND, TORN, TOLD = range(4)
BASE = 8
TALLIES = TURNS, ADDED, MADE, TAKEN = range(4)  # of each thread, written by nobody else
TEMPORARY = 4


def work(memory: mmap.mmap, threads: int, slot: int, seed: int) -> None:
    """One process: threads that do one thing after another, in random order, for ever."""
    words = memoryview(memory).cast("q")
    limit, table = interlock.BoundedSemaphore("limit", PERMITS), interlock.RWLock("table")
    changed, meeting = interlock.Condition("changed"), interlock.Barrier("meeting", PARTIES, timeout=0.02)
    tokens, alarm = interlock.Semaphore("tokens", 0), interlock.Event("alarm")
    hits, pair = interlock.Value("hits", "q"), interlock.Array("pair", "q", 2)
    stock, items = interlock.Condition("stock"), interlock.Value("items", "q", lock=False)
    mine = threading.local()

    def tally(which: int) -> None:
        words[BASE + mine.number * len(TALLIES) + which] += 1

    def add(rng: random.Random) -> None:
        hits.add()
        tally(ADDED)

    def write_pair(rng: random.Random) -> None:
        with pair:
            told = pair.recovered is not None
            words[TORN] += pair[0] != pair[1] and not told
            pair[0] = mark = rng.randrange(1 << 60)
            pair[1] = mark

    def produce(rng: random.Random) -> None:
        with stock:
            items.value += 1
            tally(MADE)
            stock.notify()

    def consume(rng: random.Random) -> None:
        with stock:
            if stock.wait_for(lambda: items.value > 0, timeout=0.01):
                items.value -= 1
                tally(TAKEN)

    def temporary(rng: random.Random) -> None:
        name = f"temporary-{rng.randrange(TEMPORARY)}"
        value = interlock.Value(name, "q")
        value.add()
        assert interlock.Value(name, "q").add() >= 2  # the same one
        del value
        with contextlib.suppress(KeyError, RuntimeError):
            hits.space.unlink(name)

    def permit(rng: random.Random) -> None:
        if limit.acquire(timeout=rng.choice([None, 0.01])):
            limit.release()

    def read(rng: random.Random) -> None:
        with table.read:
            told = table.read.recovered is not None
            first, second = words[FIRST], words[SECOND]
            if rng.random() < 0.2:
                with table.read:  # again, perhaps past a writer that waits
                    told = told or table.read.recovered is not None
            words[TORN] += first != second and not told

    def write(rng: random.Random) -> None:
        if not table.write.acquire(timeout=rng.choice([None, 0.01])):
            return
        words[TOLD] += table.write.recovered is not None
        words[FIRST] = mark = rng.randrange(1 << 60)
        os.sched_yield()
        words[SECOND] = mark
        if rng.random() < 0.3:
            table.downgrade()
            words[TORN] += words[FIRST] != words[SECOND]
            table.read.release()
        else:
            table.write.release()

    def wait(rng: random.Random) -> None:
        with changed:
            changed.wait(0.005)

    def notify(rng: random.Random) -> None:
        with changed:
            changed.notify(rng.randrange(1, 4))

    def meet(rng: random.Random) -> None:
        try:
            meeting.wait()
        except threading.BrokenBarrierError:
            meeting.reset()

    def signal_one(rng: random.Random) -> None:
        tokens.release()
        tokens.acquire(timeout=0.01)
        alarm.set()
        alarm.wait()
        alarm.clear()

    def go_on(thread: int) -> None:
        rng = random.Random(seed * 100 + thread)
        mine.number = slot * threads + thread
        deeds = [permit, permit, read, read, write, wait, notify, meet, signal_one]
        deeds += [add, write_pair, produce, consume, temporary]
        while True:
            rng.choice(deeds)(rng)
            tally(TURNS)

    bodies = [threading.Thread(target=go_on, args=(thread,), daemon=True) for thread in range(threads)]
    for body in bodies:
        body.start()
    for body in bodies:
        body.join()


def storm(seconds: float, processes: int, threads: int, every: float, seed: int) -> dict[str, object]:
    """Runs the storm in the current INTERLOCK_DIR. Returns what was seen."""
    context = multiprocessing.get_context("fork")
    rng = random.Random(seed)
    memory = mmap.mmap(-1, 8 * (BASE + processes * threads * len(TALLIES)))
    words = memoryview(memory).cast("q")
    progress, added, made, taken = (words[BASE + which :: len(TALLIES)] for which in TALLIES)

    def start(slot: int) -> multiprocessing.process.BaseProcess:
        child = context.Process(target=work, args=(memory, threads, slot, rng.randrange(1 << 30)))
        child.start()
        return child

    killed = kill_at_random(start, processes, progress, seconds, every, rng)
    limit, table = interlock.BoundedSemaphore("limit", PERMITS), interlock.RWLock("table")
    changed, meeting = interlock.Condition("changed"), interlock.Barrier("meeting", PARTIES, timeout=0.02)
    hits, pair = interlock.Value("hits", "q"), interlock.Array("pair", "q", 2)
    stock, items = interlock.Condition("stock"), interlock.Value("items", "q", lock=False)
    for number in range(TEMPORARY):
        with contextlib.suppress(KeyError):
            hits.space.unlink(f"temporary-{number}")
    interlock.Value("last", "q")  # this process's first: it looks for what the killed left
    files = {path.name for path in Path(hits.space.path).parent.glob("*.ilk.*")}
    permits = 0
    while limit.acquire(blocking=False):
        permits += 1
    wedged = [
        name
        for name, free in {
            "write": table.write.acquire(timeout=5) and table.write.release() is None,
            "read": table.read.acquire(timeout=5),
            "pair": pair.acquire(timeout=5) and pair.release() is None,
            "stock": stock.acquire(timeout=5) and stock.release() is None,
            "condition": changed.acquire(timeout=5) and changed.notify_all() is None,
            "waiters": changed._waiters() == 0,
            "barrier": meeting.reset() is None and meeting.n_waiting == 0 and not meeting.broken,
        }.items()
        if not free
    ]
    return {
        "killed": killed.count,
        "turns": sum(progress),
        "torn": words[TORN],
        "told": words[TOLD],
        "stuck": killed.stuck,
        "permits": permits,
        "added": hits.value,
        "unaccounted": [hits.value - sum(added), sum(made) - sum(taken) - items.value],
        "files": len(files),
        "wedged": wedged,
        "all_went_on_after_s": round(killed.longest, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", type=float, default=0.02, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    given = parser.parse_args()
    with home():
        seen = storm(given.seconds, given.processes, given.threads, given.every, given.seed)
    print(f"kill storm of kinds, seed {given.seed}: {seen}")
    passed = seen["torn"] == 0 and seen["stuck"] == 0 and not seen["wedged"] and seen["permits"] == PERMITS
    adds_up = all(abs(missing) <= (seen["killed"] + given.processes) * given.threads for missing in seen["unaccounted"])
    # hits, pair, items and last
    return 0 if passed and adds_up and seen["files"] == 4 and seen["told"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
