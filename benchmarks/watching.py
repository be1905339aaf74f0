"""What it costs to be looked at, and to be recorded."""

from __future__ import annotations

import statistics
import time
from timeit import Timer
from typing import TYPE_CHECKING

import interlock
from benchmarks.primitives import FORK

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from benchmarks.floor import Floor
    from benchmarks.measures import Rows

LOOKS_A_SECOND = 20
RECORD_EVERY_S = 0.01  # as `interlock record` does if nothing else is said
PROCESSORS_SECONDS = 3


def _watch(looks: Any, pace: Any) -> None:
    """Looks, or records, whenever it is told to."""
    from interlock.pictures.recording import Observer

    space = interlock.Space()
    lock = interlock.Lock("watched")
    while (what := looks.recv()) != "end":
        if what == "looked at":
            _ = lock.owner, lock.waiters, lock.statistics()
            space.objects()
            space.wait_graph()
            space.deadlocks()
            space.processes()
        elif what == "recorded":
            observer = Observer(space, lambda _: True, int(RECORD_EVERY_S * 1e9))
            observer.look()
            while not looks.poll(RECORD_EVERY_S):
                observer.look()
            looks.recv()
        else:
            pace.send(_processor_percent(space))
            continue
        pace.send(None)


def _processor_percent(space: interlock.Space) -> float:
    """Of one processor, what it takes to record."""
    from interlock.pictures.recording import Observer

    observer = Observer(space, lambda _: True, int(RECORD_EVERY_S * 1e9))
    begun = time.process_time()
    for _ in range(int(PROCESSORS_SECONDS / RECORD_EVERY_S)):
        observer.look()
        time.sleep(RECORD_EVERY_S)
    return (time.process_time() - begun) / PROCESSORS_SECONDS * 100


def watched(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of acquire+release of a lock that nobody else wants, while another process looks at it, or records, and
    while not, by turns; and what recording takes of a processor."""
    lock = interlock.Lock("watched")
    ours, theirs = FORK.Pipe()
    watcher = FORK.Process(target=_watch, args=(theirs, theirs))
    watcher.start()
    timer = Timer("acquire(); release()", globals={"acquire": lock.acquire, "release": lock.release})
    samples: dict[str, list[float]] = {"nobody looks": [], "looked at": [], "recorded": []}
    slice_s = 1 / LOOKS_A_SECOND
    count = max(1000, int(slice_s / (timer.timeit(10_000) / 10_000)))
    for _ in range(max(20, int(200 * scale))):
        for how, seen in samples.items():
            if how != "nobody looks":
                ours.send(how)
            seen.append(timer.timeit(count) / count * 1e9)
            if how == "recorded":
                ours.send("enough")
            if how != "nobody looks":
                ours.recv()
            time.sleep(0.001)
    rows = {name: {"pair_ns": statistics.median(seen)} for name, seen in samples.items()}
    ours.send("processor")
    rows["recorded"]["cpu_percent"] = ours.recv()
    ours.send("end")
    watcher.join()
    return rows


WATCH_MEASURES = {"watched": watched}
