"""RWLock: many readers or one writer, by name, between threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import LockLike, pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from interlock.records import Owner
    from interlock.space import Space


class ReadLock(LockLike, native.ReadLock):
    """The reading side of an RWLock; as RWLock.read has it. `owner` is the writer, if there is one."""

    __slots__ = ()


class WriteLock(LockLike, native.WriteLock):
    """The writing side of an RWLock; as RWLock.write has it."""

    __slots__ = ()


class RWLock:
    """RWLock(name=None, *, space=None, on_recover=None)

    Many readers or one writer: `with lock.read:` and `with lock.write:`. Both sides are lock-like.

    Args:
        name: as for Lock; None: anonymous.
        space: a Space or its URL; None: the default space.
        on_recover: called as on_recover(owner) with the lock held for writing, before acquire returns on either side, when
            the last writer died writing.

    Fairness: a waiting writer stops new readers; a waiting reader is let in after the writers that wait already. Nobody
    starves.
    Re-entrance: a thread that reads may read again, also while a writer waits. One that writes goes on reading by
    downgrade(); to ask for `read` instead, or for `write` while reading, raises DeadlockDetected.
    Tasks: in asyncio each task is what a thread is elsewhere: `async with lock.read:`, `async with lock.write:`.
    Fork: a child neither reads nor writes because its parent does.
    Owner's death: a dead reader counts no longer; after a dead writer, `recovered` tells who it was.

    Raises:
        TypeError, ValueError, KindMismatch, SpaceError: as for Lock.
    """

    __slots__ = ("__weakref__", "read", "write")

    read: ReadLock
    write: WriteLock

    def __init__(
        self,
        name: str | None = None,
        *,
        space: Space | str | None = None,
        on_recover: Callable[[Owner], object] | None = None,
    ) -> None:
        self.write = WriteLock(name, space=space, on_recover=on_recover)
        self.read = ReadLock(self.write.name, space=self.write.space, on_recover=on_recover)

    @property
    def name(self) -> str:
        """The name, made up for an anonymous object."""
        return self.write.name

    @property
    def space(self) -> Space:
        """The Space the name lives in."""
        return self.write.space

    if not TYPE_CHECKING:  # for those it is no context manager

        def __enter__(self) -> None:
            raise TypeError("an RWLock has two sides: write `with lock.read:` or `with lock.write:`")

        def __aenter__(self) -> None:
            raise TypeError("an RWLock has two sides: write `async with lock.read:` or `async with lock.write:`")

        __exit__, __aexit__ = __enter__, __aenter__

    def downgrade(self) -> None:
        """From writing to reading, with nobody in between; `read.release()` ends it. So not inside `with lock.write`::

            lock.write.acquire(); ...; lock.downgrade(); ...; lock.read.release()

        Raises NotHeld when this process does not write.
        """
        self.write._downgrade()

    def __reduce__(self) -> tuple[Any, ...]:
        _, arguments = pickled(self.write, on_recover=self.write.on_recover)
        from interlock.space import reopen

        return (reopen, (type(self), *arguments[1:]))

    def __repr__(self) -> str:
        state = "writing" if self.write.locked() else "reading" if self.read.locked() else "unlocked"
        return f"<{state} {title(self)} object {self.write._name!r} at {id(self):#x}>"
