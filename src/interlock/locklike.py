"""What every lock-like kind offers on top of its C methods."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Generic, TypeVar

    from interlock.engine import native
    from interlock.records import LockStatistics

    L = TypeVar("L", bound="LockLike")

    class Base(native.Handle):
        """What the C half of every lock-like kind brings."""

        def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool: ...
        def release(self) -> None: ...

    class HoldBase(Generic[L]):
        """At run time Hold is not generic: typing is dear to import."""
else:
    Base = object

    class HoldBase:
        """Lets the annotations say Hold[Lock]."""

        __slots__ = ()

        def __class_getitem__(cls, _item):
            return cls


class LockLike(Base):
    """Python half of the lock-like kinds: hold(), statistics(), pickling, repr."""

    __slots__ = ()

    def hold(self: L, timeout: float | None = -1, blocking: bool = True) -> Hold[L]:
        """A context manager that takes the lock or raises AcquireTimeout.

        Args:
            timeout: seconds to wait at most; -1 or None: for ever.
            blocking: False to try once, without a timeout.
        """
        return Hold(self, timeout, blocking)

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


class Hold(HoldBase["L"]):
    """`with lock.hold(timeout=2):` enters with the lock held, or raises AcquireTimeout."""

    __slots__ = ("_blocking", "_lock", "_timeout")

    def __init__(self, lock: L, timeout: float | None, blocking: bool) -> None:
        self._lock = lock
        self._timeout = timeout
        self._blocking = blocking

    def __enter__(self) -> L:
        if not self._lock.acquire(self._blocking, self._timeout):
            from interlock.errors import AcquireTimeout

            lock = self._lock
            holder = lock.owner
            by = f"; held by {holder}" if holder else ""
            how = f"within {self._timeout} s" if self._blocking else "at once"
            raise AcquireTimeout(
                f"{type(lock).__name__} {lock.name!r} could not be had {how}{by}", name=lock.name, path=lock.space.path
            )
        return self._lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()
