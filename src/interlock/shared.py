"""What Value and Array have in common: ctypes types, and the three ways to guard the content."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import cast

from interlock.engine import native
from interlock.errors import ParameterMismatch, count
from interlock.locklike import RULES_MULTIPROCESSING, LockLike, own, title
from interlock.space import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any, Self

    from interlock.lock import Lock
    from interlock.rlock import RLock

    Base = native.Data
else:
    Base = object

TYPECODES: dict[str, type[Any]] = {
    **{"c": ctypes.c_char, "u": ctypes.c_wchar, "?": ctypes.c_bool, "f": ctypes.c_float, "d": ctypes.c_double},
    **{"b": ctypes.c_byte, "h": ctypes.c_short, "i": ctypes.c_int, "l": ctypes.c_long, "q": ctypes.c_longlong},
    **{"B": ctypes.c_ubyte, "H": ctypes.c_ushort, "I": ctypes.c_uint, "L": ctypes.c_ulong, "Q": ctypes.c_ulonglong},
}
_SORTS = {**dict.fromkeys("bhilq", "i"), **dict.fromkeys("BHILQ", "u"), **dict.fromkeys("fd", "f")}
_Simple: type[Any] = ctypes.c_int.__mro__[1]
_Data: type[Any] = _Simple.__mro__[1]


def type_of(given: Any) -> Any:
    """The ctypes type for a typecode or a type."""
    if isinstance(given, str):
        if given not in TYPECODES:
            raise TypeError(f"no such typecode: {given!r}; there are {' '.join(TYPECODES)}, and the types of ctypes")
        return TYPECODES[given]
    if not isinstance(given, type) or not issubclass(given, _Data):
        raise TypeError(f"neither a typecode nor a ctypes type: {given!r}")
    try:
        ctypes.sizeof(given)
    except TypeError:
        raise TypeError(f"{given.__name__} has no size: it is what ctypes makes types of") from None
    description_of(cast("Any", given))
    return given


def check_order(kind: str, name: object, of: object, *rest: object) -> None:
    """Refuses a call from which the name, which comes first, or what follows it seems to be left out."""
    wanted = "the name comes first, None for an anonymous one"
    if _is_type(name) and not _is_type(of) and (kind == "Value" or rest == (None,)):
        given = [argument for argument in (name, of, *rest) if argument is not None]
        raise TypeError(f"{wanted}: write interlock.{kind}('name', {', '.join(map(_shown, given))})")
    if of is None:
        example = "'q'" if kind == "Value" else "'d', 100"
        raise TypeError(f"typecode_or_type is missing ({wanted}): write interlock.{kind}({name!r}, {example})")
    if kind == "Array" and rest == (None,):
        raise TypeError(f"size_or_initializer is missing ({wanted}): write interlock.Array({name!r}, {_shown(of)}, 100)")


def _is_type(given: object) -> bool:
    return given in TYPECODES if isinstance(given, str) else isinstance(given, type) and issubclass(given, _Data)


def _shown(given: object) -> str:
    if isinstance(given, type):
        return f"{given.__module__}.{given.__qualname__}"
    text = repr(given)
    return text if len(text) <= 40 else "…"


def _swapped(ctype: Any) -> Any:
    """For a simple type of the other byte order, the one of this machine's; else None."""
    native = "__ctype_le__" if ctypes.c_int.__ctype_le__ is ctypes.c_int else "__ctype_be__"
    own = getattr(ctype, native, ctype)
    return own if own is not ctype else None


@lru_cache(maxsize=256)
def description_of(ctype: Any) -> str:
    """A text that two types share if they lay out memory alike and call it the same."""
    if issubclass(ctype, _Simple):
        if ctype._type_ in "OPzZX":
            raise TypeError(f"{ctype.__name__} is an address, which means nothing to another process")
        return f"{'' if _swapped(ctype) is None else 'swapped '}{ctype._type_}{ctypes.sizeof(ctype)}"
    if is_array(ctype):
        return f"{description_of(element_of(ctype))}[{ctype._length_}]"
    if not issubclass(ctype, ctypes.Structure | ctypes.Union):
        raise TypeError(f"{ctype.__name__} is an address, which means nothing to another process")
    fields = [
        f"{name}:{description_of(of)}@{getattr(ctype, name).offset}/{getattr(ctype, name).size}"
        for name, of in _fields_of(ctype).items()
    ]
    order = ">" if hasattr(ctype, "_swappedbytes_") else ""
    return f"{order}{{{','.join(fields)}}}{ctypes.sizeof(ctype)}"


def _fields_of(ctype: Any) -> dict[str, Any]:
    """Names and types, those of the bases first."""
    return {field[0]: field[1] for base in reversed(ctype.__mro__) for field in base.__dict__.get("_fields_", ())}


def _title_of(ctype: Any) -> str:
    return f"{_title_of(element_of(ctype))} * {ctype._length_}" if is_array(ctype) else ctype.__name__


def _sort_of(ctype: Any) -> str:
    """What the extension reads and writes by itself: "i4" for an int of four bytes; "" for everything else."""
    # A subclass of a simple type is to be handled as an object: its value may be a property.
    plain = issubclass(ctype, _Simple) and ctype.__bases__ == (_Simple,) and _swapped(ctype) is None
    return f"{_SORTS[ctype._type_]}{ctypes.sizeof(ctype)}" if plain and ctype._type_ in _SORTS else ""


def make(
    classes: tuple[Any, Any, Any],
    name: str | None,
    ctype: Any,
    first: Any,
    lock: Any,
    space: Any,
    on_recover: Any = None,
    *,
    exists: bool = False,
    fields_first: bool = False,
) -> Any:
    """An instance of one of `classes`: the first has a lock of its own, the second none, the third one that is given.

    `exists`: it must be there already. `fields_first`: fields may be called like what multiprocessing's Values have not.
    """
    if on_recover is not None and lock not in (True, None):
        instead = "there is none" if lock is False else "give it to the lock that is given"
        raise TypeError(f"on_recover is called for the lock that is the object's own: {instead}")
    given = None if isinstance(lock, bool) or lock is None else lock
    if given is not None and not isinstance(given, native.LockHandle):
        raise TypeError(
            f"lock must be True, False, or an interlock Lock or RLock, not {type(given).__name__}: "
            "another would not exclude other processes"
        )
    if given is not None:
        place: Any = own(given, "space") if space is None else find(space)
        if place.path != own(given, "space").path:
            raise ValueError("a Value or Array and its lock must live in the same space")
        space = place
    cls = classes[2] if given is not None else classes[1] if lock is False else classes[0]
    size, description, guarded = ctypes.sizeof(ctype), description_of(ctype), lock is not False
    if given is not None:
        description += f" under {own(given, 'name')}"  # all who use it must use the same
    made = _with_fields(cls, ctype, fields_first)
    try:
        return made._make(name, space, ctype, description, size, first, exists, guarded, given, _sort_of(ctype), on_recover)
    except ParameterMismatch as error:
        under = f" under the lock {own(given, 'name')!r}" if given is not None else ""
        raise ParameterMismatch(
            f"{error} (asked for: {_title_of(ctype)}, {count(size, 'byte')}{under})", name=error.name, path=error.path
        ) from None


@lru_cache(maxsize=256)
def _with_fields(cls: Any, ctype: Any, fields_first: bool) -> Any:
    """The class, with properties for what the content has as attributes; `fields_first`: as for make()."""
    names: list[str] = []
    if issubclass(ctype, ctypes.Structure | ctypes.Union):
        names = list(_fields_of(ctype))
    elif is_array(ctype) and element_of(ctype) is ctypes.c_char:
        names = ["value", "raw"]
    elif is_array(ctype) and element_of(ctype) is ctypes.c_wchar:
        names = ["value"]
    for name in names:
        if name == "value" or not (hasattr(cls, name) or name == "_class"):
            continue
        if not fields_first or name in ("acquire", "release", "get_lock", "get_obj") or name.startswith("_"):
            raise TypeError(
                f"every {cls.__name__} has a {name!r}: give that field of {ctype.__name__} another name, or put a "
                f"{ctype.__name__} into a structure of its own, as the field content: then it is v.content.{name}"
            )
    if not names:
        return cls
    members = {"__slots__": (), "__module__": cls.__module__, "_class": cls, **{name: _field(name) for name in names}}
    return type(cls.__name__, (cls,), members)


def _field(name: str) -> property:
    return property(lambda self: self._get(name), lambda self, value: self._put(name, value))


class Shared(Base):
    """Pickling and repr of what keeps data."""

    __slots__ = ()

    @classmethod
    def _make(cls, *arguments: Any) -> Self:
        # The native base's: __new__ of the public classes takes other arguments.
        base: Any = native.Array if issubclass(cls, native.Array) else native.Value
        return cast("Self", base.__new__(cls, *arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        self._travels()
        lock = self._lock if self._lock is not None else isinstance(self, Guarded)
        spec, cls = _spec(cast("Any", type(self._content))), getattr(self, "_class", type(self))
        on_recover = own(self, "on_recover") if isinstance(self, Guarded) else None
        return (_reopen, (cls, own(self, "space").pickled(), self._name, spec, lock, on_recover, self._rules))

    if not TYPE_CHECKING:  # it is no number; for Python it would be one, read from its bytes as text

        def __int__(self) -> int:
            advice = "an item of it" if isinstance(self, native.Array) else "its .value"
            raise TypeError(f"an interlock.{type(self).__name__} is not a number: take {advice}")

        __float__ = __index__ = __int__

    def __repr__(self) -> str:
        return f"<{title(self)} {self._name!r}: {self._content!r}>"


class Raw(Shared):
    """The content alone, without a lock."""

    __slots__ = ()


class Guarded(Shared, LockLike):
    """The content with a lock of its own, which the object itself is."""

    __slots__ = ()

    def get_lock(self) -> Self:
        """The lock: the object itself, which has everything that an RLock has."""
        return self

    def get_obj(self) -> Any:
        """The ctypes object in shared memory, to be used under the lock."""
        return self._content


class Under(Shared):
    """The content with a lock that was given."""

    __slots__ = ()

    def get_lock(self) -> Lock | RLock:
        """The lock that was given."""
        assert self._lock is not None
        return self._lock

    def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """As of the lock that was given."""
        return self.get_lock().acquire(blocking, timeout)

    async def acquire_async(self, timeout: float | None = -1) -> bool:
        """As of the lock that was given."""
        return await self.get_lock().acquire_async(timeout)

    def release(self) -> None:
        """As of the lock that was given."""
        self.get_lock().release()

    def get_obj(self) -> Any:
        """The ctypes object in shared memory, to be used under the lock."""
        return self._content

    def __enter__(self) -> bool:
        return self.get_lock().__enter__()

    def __exit__(self, *error: Any) -> None:
        self.get_lock().__exit__(*error)

    def __aenter__(self) -> Awaitable[bool]:
        return self.get_lock().__aenter__()

    def __aexit__(self, *error: Any) -> Awaitable[None]:
        return self.get_lock().__aexit__(*error)


def _spec(ctype: Any) -> Any:
    """The type in a form that pickles: an array's type is made on the fly and has no name."""
    if is_array(ctype):
        return (_spec(element_of(ctype)), ctype._length_)
    own = _swapped(ctype) if issubclass(ctype, _Simple) else None
    return ctype if own is None else (own, "swapped")


def _type_from(spec: Any) -> Any:
    if not isinstance(spec, tuple):
        return spec
    of, how = cast("tuple[Any, Any]", spec)
    if how == "swapped":
        return of.__ctype_be__ if of.__ctype_le__ is of else of.__ctype_le__
    return _type_from(of) * how


def is_array(ctype: Any) -> bool:
    return issubclass(ctype, ctypes.Array)


def element_of(ctype: Any) -> Any:
    """What an array type is made of."""
    return ctype._type_


def _reopen(
    cls: type[Any], space: tuple[str, str, int, int], name: str, spec: Any, lock: Any, on_recover: Any, rules: int
) -> Any:
    from interlock.space import reopen_space

    fields_first = rules == RULES_MULTIPROCESSING
    place, ctype = reopen_space(*space), _type_from(spec)
    handle = make((cls, cls, cls), name, ctype, None, lock, place, on_recover, exists=True, fields_first=fields_first)
    handle._rules = rules
    return handle
