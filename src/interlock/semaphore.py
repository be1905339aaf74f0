"""Semaphore: a count by name, for signalling between threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from interlock.space import Space


class Semaphore(native.Semaphore):
    """Semaphore(name=None, value=1, *, space=None)

    A number of permits that anybody may take and anybody may give: one process may take what another gives. Nobody owns a
    permit. To limit how many do something at once, use BoundedSemaphore, whose permits come back when their owner dies.

    Args:
        name: as for Lock; None: anonymous.
        value: permits at first, 0 to 2^31 - 1; every opener must give the same. The space keeps a named semaphore, with the
            permits it has, until Space.unlink().
        space: a Space or its URL; None: the default space.

    Fairness: a newcomer may overtake a sleeping waiter.
    Fork: works in the child.
    Death of a process: the permits it took stay taken, those it gave stay given; it is never half done.

    Raises:
        ValueError, OverflowError: a value below 0 or above 2^31 - 1.
        ParameterMismatch: the name is in use with another initial value.
        KindMismatch, TypeError, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(cls, name: str | None = None, value: int = 1, *, space: Space | str | None = None) -> Self:
        return super().__new__(cls, name, value, None, space)

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take a permit in a task; wait for it at most `timeout` seconds (None: for ever). `async with` does it, too.

        The loop goes on meanwhile. Who is cancelled has taken none. release() gives it back. Returns whether it was
        taken; raises what acquire does.
        """
        from interlock.aio import acquire

        return await acquire(self, timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self._initial)

    def __repr__(self) -> str:
        return f"<{title(self)} at {id(self):#x} {self._name!r}: value={self.value}>"
