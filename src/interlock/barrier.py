"""Barrier: threads, processes and programs wait until all are there, by name."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import pickled, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from interlock.space import Space


class Barrier(native.Barrier):
    """Barrier(name=None, parties=…, action=None, timeout=None, *, space=None)

    Parties wait() until all of them are there; then all go on, and the barrier is ready for the next round.

    Args:
        name: as for Lock; None: anonymous.
        parties: how many have to come, 1 to 2^31 - 1; every opener must give the same.
        action: called without arguments by the last party, while the others still wait. If it raises, the barrier is
            broken.
        timeout: seconds that wait() waits unless told otherwise; None: for ever.
        space: a Space or its URL; None: the default space.

    Fork: works in the child.
    Death of a process: when a party that waits dies, or the one that runs the action, the barrier is broken and all others
    get threading.BrokenBarrierError within some milliseconds; reset() makes it good again.

    Raises:
        ValueError, OverflowError, TypeError: a number of parties, an action or a timeout that is none.
        ParameterMismatch: the name is in use with another number of parties.
        KindMismatch, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str | None = None,
        parties: int = 0,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        space: Space | str | None = None,
    ) -> Self:
        return super().__new__(cls, name, parties, action, timeout, space)

    async def wait_async(self, timeout: float | None = None) -> int:
        """As wait(), in a task, while its loop goes on. The action, if this is the last party, is called in the loop.

        A task that is cancelled was not there: the barrier waits for another in its place, as asyncio.Barrier does. One
        that is late breaks it. Returns a place, 0 to parties - 1; raises what wait does.
        """
        from interlock.aio import wait

        place: int = await wait(self, timeout)
        return place

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self, self.parties, self._action, self._timeout)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return f"<{title(self)} at {id(self):#x} {self._name!r}: {state}>"
