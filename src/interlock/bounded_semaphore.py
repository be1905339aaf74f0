"""BoundedSemaphore: a limit by name, over threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from interlock.space import Space


class BoundedSemaphore(native.BoundedSemaphore):
    """BoundedSemaphore(name=None, value=1, *, space=None)

    At most `value` at once, over all processes. A permit belongs to the process that took it: any of its threads may give
    it back, no other process may, and it comes back by itself when the process dies. To let one process take what another
    gives, use Semaphore.

    Args:
        name: as for Lock; None: anonymous.
        value: how many permits there are, 0 to 2^31 - 1; every opener must give the same.
        space: a Space or its URL; None: the default space.

    Fairness: a newcomer may overtake a sleeping waiter.
    Fork: a child has none of its parent's permits.
    Death of a process: its permits are free at once for a try, and within some milliseconds for whoever sleeps.

    Raises:
        ValueError, OverflowError: a value below 0 or above 2^31 - 1.
        ParameterMismatch: the name is in use with another value.
        KindMismatch, TypeError, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(cls, name: str | None = None, value: int = 1, *, space: Space | str | None = None) -> Self:
        return super().__new__(cls, name, value, space)

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Take a permit in a task; wait for it at most `timeout` seconds (None: for ever). `async with` does it, too.

        The loop goes on meanwhile. Who is cancelled has taken none. release() gives it back. Returns whether it was
        taken; raises what acquire does.
        """
        from interlock.aio import acquire

        return await acquire(self, timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self.bound)

    def __repr__(self) -> str:
        return f"<{title(self)} at {id(self):#x} {self._name!r}: value={self.value}/{self.bound}>"
