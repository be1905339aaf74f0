"""What it costs to be looked at."""

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


def _watch(looks: Any, pace: Any) -> None:
    """Asks for all that can be asked, whenever it is told to go on."""
    space = interlock.Space()
    lock = interlock.Lock("watched")
    while looks.recv():
        _ = lock.owner, lock.waiters, lock.statistics()
        space.objects()
        space.wait_graph()
        space.deadlocks()
        space.processes()
        pace.send(None)


def watched(_: Path, __: Floor, scale: float) -> Rows:
    """Nanoseconds of acquire+release of a lock that nobody else wants, while another process looks at it, and while not."""
    lock = interlock.Lock("watched")
    ours, theirs = FORK.Pipe()
    watcher = FORK.Process(target=_watch, args=(theirs, theirs))
    watcher.start()
    timer = Timer("acquire(); release()", globals={"acquire": lock.acquire, "release": lock.release})
    samples: dict[str, list[float]] = {"nobody looks": [], "looked at": []}
    slice_s = 1 / LOOKS_A_SECOND
    count = max(1000, int(slice_s / (timer.timeit(10_000) / 10_000)))
    for number in range(max(40, int(400 * scale))):
        looked_at = number % 2 == 1
        if looked_at:
            ours.send(True)
        samples["looked at" if looked_at else "nobody looks"].append(timer.timeit(count) / count * 1e9)
        if looked_at:
            ours.recv()
        time.sleep(0.001)
    ours.send(False)
    watcher.join()
    return {name: {"pair_ns": statistics.median(seen)} for name, seen in samples.items()}


WATCH_MEASURES = {"watched": watched}
