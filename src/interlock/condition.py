"""Condition: threads, processes and programs wait for a notification, by name."""

from __future__ import annotations

from time import monotonic

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Self, TypeVar

    from interlock.lock import Lock
    from interlock.rlock import RLock
    from interlock.space import Space

    T = TypeVar("T")


class Condition(native.Condition):
    """Condition(name=None, lock=None, *, space=None)

    Whoever holds its lock may wait() for a notification, or notify those who wait.

    Args:
        name: as for Lock; None: anonymous.
        lock: a Lock or RLock of the same space, named or not; all who use the condition must give the same. None: a
            re-entrant lock of the condition's own.
        space: a Space or its URL; None: the lock's space, or the default space.

    Fairness: who waits longest is notified first.
    Re-entrance: wait() lets go of a re-entrant lock however deep it is held, and takes it back as deep.
    Fork: works in the child, who holds nothing that its parent holds.
    Death of a process: a waiter that was killed is not notified, and what it was notified of and could not act on goes to
    the next one, within some milliseconds. The lock behaves as a lock does.

    Raises:
        TypeError: a lock of another library, which would exclude nobody in other processes.
        ValueError: a lock of another space.
        ParameterMismatch: the name is in use with another lock.
        KindMismatch, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(
        cls, name: str | None = None, lock: Lock | RLock | None = None, *, space: Space | str | None = None
    ) -> Self:
        return super().__new__(cls, name, lock, space)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until predicate() is true, at most `timeout` seconds. Returns what it returned last.

        Raises RuntimeError without the lock, unless predicate() is true at once.
        """
        waits = _waits_for(predicate, timeout)
        while True:
            try:
                left = next(waits)
            except StopIteration as end:
                result: T = end.value
                return result
            self.wait(left)

    async def acquire_async(self, timeout: float | None = -1) -> bool:
        """Take the condition's lock in a task, as the lock's acquire_async does. `async with` does it, too."""
        from interlock.aio import acquire

        return await acquire(self, timeout)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As wait(), in a task, while its loop goes on: wait at most `timeout` seconds (None: for ever).

        A task that is cancelled has the lock again before it goes, and what it was notified of goes to another. Returns
        whether it was notified; raises what wait does.
        """
        from interlock.aio import wait

        notified: bool = await wait(self, timeout)
        return notified

    async def wait_for_async(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """As wait_for(), in a task, while its loop goes on. Cancelled, it has the lock again, as after wait_async()."""
        waits = _waits_for(predicate, timeout)
        while True:
            try:
                left = next(waits)
            except StopIteration as end:
                result: T = end.value
                return result
            await self.wait_async(left)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self._lock)

    def __repr__(self) -> str:
        return f"<{title(self)} at {id(self):#x} {self._name!r}: waiters={self._waiters()}>"


def _waits_for(predicate: Callable[[], T], timeout: float | None) -> Generator[float | None, None, T]:
    """How long to wait, time after time, until predicate() is true; returns what that returned last."""
    end = None if timeout is None else monotonic() + timeout
    result = predicate()
    while not result:
        left = None if end is None else end - monotonic()
        if left is not None and left <= 0:
            break
        yield left
        result = predicate()
    return result
