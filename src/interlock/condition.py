"""Condition: threads, processes and programs wait for a notification, by name."""

from __future__ import annotations

from time import monotonic

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
        asked = _Asked(predicate, timeout)
        while not asked.is_over():
            self.wait(asked.left)
        result: T = asked.result
        return result

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
        asked = _Asked(predicate, timeout)
        while not asked.is_over():
            await self.wait_async(asked.left)
        result: T = asked.result
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self._lock)

    def __repr__(self) -> str:
        return f"<{title(self)} at {id(self):#x} {self._name!r}: waiters={self._waiters()}>"


class _Asked:
    """What a wait_for() asks, time after time, and how long it may wait before it asks again."""

    __slots__ = ("end", "left", "predicate", "result")

    def __init__(self, predicate: Callable[[], Any], timeout: float | None) -> None:
        self.predicate = predicate
        self.end = None if timeout is None else monotonic() + timeout

    def is_over(self) -> bool:
        """Asks. Whether it is so, or too late."""
        self.result = self.predicate()
        self.left = None if self.end is None else self.end - monotonic()
        return bool(self.result) or (self.left is not None and self.left <= 0)
