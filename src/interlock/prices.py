"""What one use of a lock costs on this machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from timeit import Timer
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class AnyLock(Protocol):
    """What all that can be measured have in common."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> object: ...


@dataclass(frozen=True)
class Price:
    """Nanoseconds of one `with lock: pass`, and of one acquire() and release(); less those of a loop around nothing."""

    lock: str
    with_ns: float
    pair_ns: float


def measure(locks: Mapping[str, AnyLock], rounds: int, calls: int) -> list[Price]:
    """Medians over rounds in which all locks take turns, so that a noisy moment hits them alike."""
    statements = ("with lock: pass", "lock.acquire(); lock.release()", "pass")
    timers = {(name, s): Timer(s, globals={"lock": lock}) for name, lock in locks.items() for s in statements}
    spent: dict[tuple[str, str], list[float]] = {key: [] for key in timers}
    for _ in range(rounds):
        for key, timer in timers.items():
            spent[key].append(timer.timeit(calls) / calls * 1e9)
    cost = {key: statistics.median(values) for key, values in spent.items()}
    return [Price(name, *(cost[name, statement] - cost[name, "pass"] for statement in statements[:2])) for name in locks]
