"""What all storms share: a directory of their own, and the killing of processes at random."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess


class Killed(NamedTuple):
    """How many; whose progress ended with that; and seconds until all had gone on."""

    count: int
    stuck: int
    longest: float


def kill_at_random(
    start: Callable[[int], BaseProcess],
    processes: int,
    progress: Sequence[int],
    seconds: float,
    every: float,
    rng: random.Random,
    killed: Callable[[int], object] = lambda count: None,
) -> Killed:
    """Starts processes, kills one and starts it anew every so often; sees whether all go on afterwards; kills all."""
    children = [start(slot) for slot in range(processes)]
    count, stuck, longest = 0, 0, 0.0
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(every)
            slot = rng.randrange(processes)
            os.kill(children[slot].pid, signal.SIGKILL)
            children[slot].join()
            children[slot] = start(slot)
            count += 1
            killed(count)
        # Every survivor goes on, and soon.
        before, began = list(progress), time.monotonic()
        while any(now == then for now, then in zip(progress, before, strict=True)):
            longest = time.monotonic() - began
            if longest > 30:
                stuck = sum(now == then for now, then in zip(progress, before, strict=True))
                break
            time.sleep(0.005)
    finally:
        for child in children:
            child.kill()
            child.join()
    return Killed(count, stuck, longest)


@contextlib.contextmanager
def home() -> Iterator[None]:
    """A directory for spaces, in INTERLOCK_DIR, that is removed at the end."""
    path = tempfile.mkdtemp(prefix="interlock-storm-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.environ["INTERLOCK_DIR"] = path
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)
