"""Value: one ctypes object in shared memory, by name, between threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.shared import Guarded, Raw, Under, check_order, element_of, is_array, make, type_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from interlock.records import Owner
    from interlock.space import Space


class Value(Guarded, native.Value, native.RLock):
    """Value(name, typecode_or_type, *args, lock=True, space=None, on_recover=None)

    A number or another ctypes object in shared memory, with a lock of its own::

        hits = interlock.Value("hits", "q")
        with hits:                  # or hits.get_lock()
            hits.value += 1         # nobody else in between
        hits.add(1)                 # one step, without the lock: several times faster

    The lock does not keep out add(), exchange() and compare_exchange(): change a Value by these, or under its lock.

    Args:
        name: as for Lock; None: anonymous.
        typecode_or_type: one of the letters c u b B h H i I l L q Q f d ? (as of the modules array and struct), or a
            ctypes type without pointers; every opener must give the same. `Value(name, ctype * n)` makes an Array.
        *args: the first content, as for the ctypes type; the first opener has the say. Zeros if there are none.
        lock: True: a re-entrant lock of its own, under which `value` and a structure's fields are read and written. The
            Value itself is that lock: acquire, release, with, hold, owner, recovered. A Lock or RLock: that one, which
            then every opener must give; under a Lock, which is not re-entrant, `value` and fields cannot be used inside
            `with`: they would wait for themselves. False: none, and neither get_lock() nor get_obj().
        space: a Space or its URL; None: the default space.
        on_recover: as for Lock, for the lock of its own: called with that held before anything is done under it, be it to
            read `value`, when the former owner died holding it.

    `value =` cuts an int to fit, as ctypes does; add() and the others refuse. A structure's fields are attributes, so none
    may be called like what every Value has (name, space, owner, add …); in interlock.mp they may.

    The space keeps a named Value until Space.unlink(), which is refused while any process has it; an anonymous one goes
    with the last process that has it. Once its maker has ended, its pickle cannot be opened any more.

    Fork: works in the child, which has the same memory.
    Owner's death: the lock is freed, and `recovered` tells whoever gets it next that the content may be half changed.

    Raises:
        TypeError: no such type, one with pointers, or arguments that are not for it.
        ParameterMismatch: the name is in use with another type, or under another lock.
        SpaceFull: no room in the file system: SIGBUS never.
        ValueError, KindMismatch, SpaceError: as for Lock.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str | None,
        typecode_or_type: Any = None,
        *args: Any,
        lock: Any = True,
        space: Space | str | None = None,
        on_recover: Callable[[Owner], object] | None = None,
    ) -> Any:
        check_order("Value", name, typecode_or_type, *args)
        return new_value(cls, name, typecode_or_type, args, lock, space, on_recover)


def new_value(
    cls: type[Value],
    name: str | None,
    typecode_or_type: Any,
    args: tuple[Any, ...],
    lock: Any,
    space: Space | str | None = None,
    on_recover: Callable[[Owner], object] | None = None,
    fields_first: bool = False,
) -> Any:
    """What Value.__new__ returns; `fields_first`: as for make()."""
    ctype = type_of(typecode_or_type)
    if is_array(ctype):
        from interlock.array import Array

        content = ctype(*args) if args else ctype._length_
        return Array(name, element_of(ctype), content, lock=lock, space=space, on_recover=on_recover)
    made = ctype(*args)
    first = made if args else None
    return make((cls, RawValue, ValueUnder), name, ctype, first, lock, space, on_recover, fields_first=fields_first)


class RawValue(Raw, native.Value):
    """What Value(…, lock=False) makes: the content alone."""

    __slots__ = ()


class ValueUnder(Under, native.Value):
    """What Value(…, lock=given) makes."""

    __slots__ = ()
