"""Array: many ctypes objects of one type in shared memory, by name, between threads, processes and programs."""

from __future__ import annotations

from operator import index

from interlock.engine import native
from interlock.shared import Guarded, Raw, Under, check_order, make, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from interlock.records import Owner
    from interlock.space import Space


class Array(Guarded, native.Array, native.RLock):
    """Array(name, typecode_or_type, size_or_initializer, *, lock=True, space=None, on_recover=None)

    An array in shared memory, with a lock of its own::

        grid = interlock.Array("grid", "d", 1_000_000)
        with grid:                              # or grid.get_lock()
            numpy.asarray(grid)[:] += 1         # the memory itself: nothing is copied

    Items and slices are read and written under the lock, one operation at a time. memoryview(), numpy.asarray() and
    numpy.frombuffer() (which takes it for float64 unless told) give the memory without the lock.

    Args:
        name, typecode_or_type, lock, space, on_recover: as for Value. Of the typecode "c" it has `value` and `raw`, as
            in ctypes.
        size_or_initializer: how many items, all zero, or an iterable of them; every opener must give as many. The object's
            first opener has the say about what they are.

    The memory is a file of its own in the space's directory, reserved in full when it is made: gigabytes if they are there.

    Raises:
        ParameterMismatch: the name is in use with another type or another number of items.
        ValueError: a negative size. The rest as for Value.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str | None,
        typecode_or_type: Any = None,
        size_or_initializer: int | Iterable[Any] | None = None,
        *,
        lock: Any = True,
        space: Space | str | None = None,
        on_recover: Callable[[Owner], object] | None = None,
    ) -> Any:
        check_order("Array", name, typecode_or_type, size_or_initializer)
        element = type_of(typecode_or_type)
        given: Any = size_or_initializer
        if hasattr(given, "__index__"):
            size = index(given)
            if size < 0:
                raise ValueError(f"an array has no {size} items")
            return make((cls, RawArray, ArrayUnder), name, element * size, None, lock, space, on_recover)
        items: list[Any] = list(given)
        ctype = element * len(items)
        return make((cls, RawArray, ArrayUnder), name, ctype, ctype(*items), lock, space, on_recover)


class RawArray(Raw, native.Array):
    """What Array(…, lock=False) makes: the content alone."""

    __slots__ = ()


class ArrayUnder(Under, native.Array):
    """What Array(…, lock=given) makes."""

    __slots__ = ()
