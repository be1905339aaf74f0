"""multiprocessing's locks and shared memory, for code that was written for it: `from interlock.mp import Lock, Value`.

The classes have multiprocessing's signatures and argument rules, and are otherwise interlock's own: anonymous, picklable
anywhere (Pool arguments, queues, any start method), and free again when their holder is killed. Their exceptions are
RuntimeError and ValueError as multiprocessing's are, also where multiprocessing asserts.

One thing to know about recovery: multiprocessing lets one process take a semaphore's permit and another give it back (a
parent that admits work, a worker that finishes it). So the permits of these semaphores belong to nobody, and those that a
killed process had taken stay taken. Where the same process takes and gives, interlock.BoundedSemaphore brings them back.
"""

from __future__ import annotations

from time import monotonic

from interlock.engine import native
from interlock.locklike import RULES_MULTIPROCESSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeVar

    H = TypeVar("H", bound=native.Handle)
    T = TypeVar("T")

__all__ = [
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "Value",
]


def _made(handle: H) -> H:
    handle._rules = RULES_MULTIPROCESSING
    return handle


def _pickled(handle: native.Handle, *arguments: object, **options: object) -> tuple[Any, ...]:
    """What __reduce__ returns; the arguments are those of the native class, after the name."""
    handle._travels()
    return (_reopen, (type(handle), handle.space.pickled(), (handle.name, *arguments), options))


def _reopen(cls: Any, space: tuple[str, str, int, int], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    from interlock.space import reopen_space

    return _made(cls._open(*arguments, space=reopen_space(*space), **options))


class Lock(native.Lock):
    """multiprocessing.Lock(): any thread of any process may release it."""

    __slots__ = ()

    def __new__(cls, *, ctx: object = None) -> Self:
        return _made(cls._open())

    @classmethod
    def _open(cls, name: str | None = None, space: Any = None) -> Self:
        return super().__new__(cls, name, space=space, foreign_release=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self.owner})>"


class RLock(native.RLock):
    """multiprocessing.RLock(): the thread that has it may take it again, and only that one releases it."""

    __slots__ = ()

    def __new__(cls, *, ctx: object = None) -> Self:
        return _made(cls._open())

    @classmethod
    def _open(cls, name: str | None = None, space: Any = None) -> Self:
        return super().__new__(cls, name, space=space)

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self.owner}, count={self._recursion_count()})>"


class Semaphore(native.Semaphore):
    """multiprocessing.Semaphore(value=1): anybody takes a permit, anybody gives one."""

    __slots__ = ()

    def __new__(cls, value: int = 1, *, ctx: object = None) -> Self:
        return _made(cls._open(None, value))

    @classmethod
    def _open(cls, name: str | None, value: int, bound: int | None = None, space: Any = None) -> Self:
        return super().__new__(cls, name, value, bound, space)

    def get_value(self) -> int:
        """How many permits there are to be had. A snapshot."""
        return self.value

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self, self._initial)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.value})>"


class BoundedSemaphore(Semaphore):
    """multiprocessing.BoundedSemaphore(value=1): as Semaphore, but release() beyond the initial value raises ValueError."""

    __slots__ = ()

    def __new__(cls, value: int = 1, *, ctx: object = None) -> Self:
        return _made(cls._open(None, value, value))

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self, self._initial, self._initial)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.value}, maxvalue={self._initial})>"


class Event(native.Event):
    """multiprocessing.Event(): a flag, clear at first, to wait for."""

    __slots__ = ()

    def __new__(cls, *, ctx: object = None) -> Self:
        return _made(cls._open())

    @classmethod
    def _open(cls, name: str | None = None, space: Any = None) -> Self:
        return super().__new__(cls, name, space)

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"


class Condition(native.Condition):
    """multiprocessing.Condition(lock=None): over a Lock or RLock of this module or of interlock, or an RLock of its own."""

    __slots__ = ()

    def __new__(cls, lock: Any = None, *, ctx: object = None) -> Self:
        return _made(cls._open(None, lock))

    @classmethod
    def _open(cls, name: str | None, lock: Any = None, space: Any = None) -> Self:
        return super().__new__(cls, name, lock, space)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until predicate() is true, at most `timeout` seconds. Returns what it returned last."""
        end = None if timeout is None else monotonic() + timeout
        while not (result := predicate()):
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self, self._lock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} waiters={self._waiters()}>"


class Barrier(native.Barrier):
    """multiprocessing.Barrier(parties, action=None, timeout=None): parties wait until all are there; timeout in seconds."""

    __slots__ = ()

    def __new__(
        cls,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,
    ) -> Self:
        return _made(cls._open(None, parties, action, timeout))

    @classmethod
    def _open(
        cls,
        name: str | None,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        space: Any = None,
    ) -> Self:
        return super().__new__(cls, name, parties, action, timeout, space)

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self, self.parties, self._action, self._timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} waiters={self.n_waiting}/{self.parties}>"


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: object = None) -> Any:
    """multiprocessing.Value(): a number or another ctypes object, with its lock."""
    from interlock.value import Value, new_value

    return _made(new_value(Value, None, typecode_or_type, args, _checked(lock), fields_first=True))


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: object = None) -> Any:
    """multiprocessing.Array(): many of one type, with their lock."""
    from interlock.array import Array

    return _made(Array(None, typecode_or_type, size_or_initializer, lock=_checked(lock)))


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """multiprocessing.RawValue(): a Value without a lock."""
    return Value(typecode_or_type, *args, lock=False)


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """multiprocessing.RawArray(): an Array without a lock."""
    return Array(typecode_or_type, size_or_initializer, lock=False)


def _checked(lock: Any) -> Any:
    """multiprocessing's rule: None is True, and what has no acquire() is an AttributeError."""
    if lock not in (True, False, None) and not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return True if lock is None else lock
