"""What every lock-like kind offers on top of its C methods."""

from __future__ import annotations

from interlock.engine import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from interlock.errors import AcquireTimeout
    from interlock.records import LockStatistics

    L = TypeVar("L", bound="LockLike")
    Base = native.Handle
else:
    Base = object


class LockLike(Base):
    """Python half of the lock-like kinds: hold(), statistics(), pickling, repr."""

    __slots__ = ()

    def hold(self: L, timeout: float | None = -1, blocking: bool = True) -> native.Hold[L]:
        """A context manager that takes the lock or raises AcquireTimeout.

        Args:
            timeout: seconds to wait at most; -1 or None: for ever.
            blocking: False to try once, without a timeout.
        """
        return native.Hold(self, timeout, blocking)

    def statistics(self) -> LockStatistics:
        """Counts since the name came into use, over all processes."""
        from interlock.records import LockStatistics

        return LockStatistics(*self._counts())

    def __reduce__(self) -> tuple[Any, ...]:
        from interlock.space import reopen

        return (reopen, (type(self), self.space.pickled(), self.name, self.on_recover, self._foreign_release))

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        kind = type(self)
        return f"<{state} {kind.__module__.partition('.')[0]}.{kind.__qualname__} object {self.name!r} at {id(self):#x}>"


def timeout_of(lock: LockLike, timeout: float | None, blocking: bool) -> AcquireTimeout:
    """What hold() raises when the lock was not to be had."""
    from interlock.errors import AcquireTimeout

    holder = lock.owner
    by = f"; held by {holder}" if holder else ""
    how = f"within {timeout} s" if blocking else "at once"
    return AcquireTimeout(
        f"{type(lock).__name__} {lock.name!r} could not be had {how}{by}", name=lock.name, path=lock.space.path
    )
