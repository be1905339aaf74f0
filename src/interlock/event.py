"""Event: a flag by name, that threads, processes and programs wait for."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from interlock.space import Space


class Event(native.Event):
    """Event(name=None, *, space=None)

    A flag, clear at first. wait() returns once it is set, or was set since the wait began, even if cleared at once.

    Args:
        name: as for Lock; None: anonymous. The space keeps a named event until Space.unlink().
        space: a Space or its URL; None: the default space.

    Fork: works in the child.
    Death of a process: who waits is not counted, so nobody's death matters to set(); what a dead process set stays set, and
    its waiters learn of it within some milliseconds.

    Raises:
        KindMismatch, TypeError, ValueError, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(cls, name: str | None = None, *, space: Space | str | None = None) -> Self:
        return super().__new__(cls, name, space)

    async def wait_async(self, timeout: float | None = None) -> bool:
        """As wait(), in a task, while its loop goes on: wait at most `timeout` seconds (None: for ever).

        Returns whether it was set; raises what wait does.
        """
        from interlock.aio import acquire

        return await acquire(self, timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self)

    def __repr__(self) -> str:
        return f"<{title(self)} at {id(self):#x} {self._name!r}: {'set' if self.is_set() else 'unset'}>"
