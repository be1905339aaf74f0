"""What every lock-like kind offers on top of its C methods."""

from __future__ import annotations

from interlock.engine import native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from interlock.errors import AcquireTimeout
    from interlock.records import LockStatistics

    L = TypeVar("L", bound="LockLike")
    Base = native.LockHandle
else:
    Base = object


class LockLike(Base):
    """Python half of the lock-like kinds: hold(), statistics(), pickling, repr."""

    __slots__ = ()

    def hold(self: L, timeout: float | None = -1, blocking: bool = True) -> native.Hold[L]:
        """A context manager, for `with` and `async with`, that takes the lock or raises AcquireTimeout.

        Args:
            timeout: seconds to wait at most; -1 or None: for ever.
            blocking: False to try once, without a timeout.
        """
        return native.Hold(self, timeout, blocking)

    async def acquire_async(self, timeout: float | None = -1) -> bool:
        """Take the lock in a task; wait for it at most `timeout` seconds (-1 or None: for ever). `async with` does it, too.

        The loop goes on meanwhile. Who is cancelled has not taken it. A timeout of 0: a try. release() gives it back.
        Returns whether it was taken; raises what acquire does.
        """
        from interlock.aio import acquire

        return await acquire(self, timeout)

    def statistics(self) -> LockStatistics:
        """Counts since the name came into use, over all processes."""
        from interlock.records import LockStatistics

        return LockStatistics(*self._counts())

    def __reduce__(self) -> tuple[Any, ...]:
        options: dict[str, Any] = {"foreign_release": True} if self._foreign_release else {}
        return pickled(self, on_recover=self.on_recover, **options)

    def __repr__(self) -> str:
        state = "locked" if self.locked() else "unlocked"
        return f"<{state} {title(self)} object {self._name!r} at {id(self):#x}>"


RULES_MULTIPROCESSING = 2  # of acquire(), as Handle._rules has them (src/binding/binding.h)


def pickled(handle: native.Handle, *arguments: object, **options: object) -> tuple[Any, ...]:
    """What __reduce__ returns for a handle that is made with these arguments after its name, and with these options."""
    from interlock.space import reopen

    handle._travels()
    return (reopen, (type(handle), handle.space.pickled(), (handle.name, *arguments), options))


def title(handle: object) -> str:
    """The kind's public name, for a repr."""
    kind = type(handle)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def own(handle: object, attribute: str) -> Any:
    """An attribute of the handle, and no field of its content: in a Value of interlock.mp that may have the same name."""
    kind = type(handle)
    return getattr(super(kind, handle) if "_class" in kind.__dict__ else handle, attribute)


def timeout_of(lock: LockLike, timeout: float | None, blocking: bool) -> AcquireTimeout:
    """What hold() raises when the lock was not to be had."""
    from interlock.errors import AcquireTimeout

    holder, name = own(lock, "owner"), own(lock, "name")
    by = f"; held by {holder}" if holder else ""
    how = f"within {timeout} s" if blocking else "at once"
    return AcquireTimeout(
        f"{type(lock).__name__} {name!r} could not be had {how}{by}", name=name, path=own(lock, "space").path
    )
