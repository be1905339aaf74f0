"""Space: where names live."""

from __future__ import annotations

import os

from interlock.engine import native
from interlock.errors import SpaceUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from interlock.barrier import Barrier
    from interlock.bounded_semaphore import BoundedSemaphore
    from interlock.condition import Condition
    from interlock.event import Event
    from interlock.lock import Lock
    from interlock.records import ObjectInfo, Owner
    from interlock.rlock import RLock
    from interlock.rwlock import RWLock
    from interlock.semaphore import Semaphore
    from interlock.watch import Process, Waiting

DEFAULT_URL = "shm:default"
MANNERS = {"off": 0, "log": 2, "raise": 4}  # IL_MANNER_… in src/engine/il_layout.h

_opened: dict[tuple[str, int], Space] = {}
_settled: list[tuple[str, str]] = []


class Space(native.Space):
    """Space(url=None, *, deadlock="log")

    Where names live. Two spaces share nothing.

    Args:
        url: "shm:NAME" for shared memory of this user on this machine. None: what INTERLOCK_SPACE says, else
            "shm:default". NAME is any text of 1 to 200 bytes, where a byte that is no ASCII letter, no digit and not one
            of -_. counts as three.
        deadlock: what becomes of threads that wait for each other in a circle, as far as they wait by handles of this
            object. "log": one of them writes a warning to the logger "interlock". "raise": one of them, the victim, gets
            DeadlockDetected from its acquire; what it has, its own `with` statements release. "off": nothing.

    The space's file lies in INTERLOCK_DIR; without that in /dev/shm, else in $XDG_RUNTIME_DIR, else in the directory for
    temporary files. It is made on first use, belongs to the user, and is never overwritten.

    Fork: works in the child. Pickles, to the same space; unpickling does not make a space that is gone.

    Raises:
        ValueError: a URL that is none.
        SpaceError: SpaceFull, LayoutMismatch or SpaceUnavailable, saying what is wrong and what to do.
    """

    __slots__ = ("url",)

    url: str

    def __init__(self, url: str | None = None, *, deadlock: str = "log") -> None:
        if deadlock not in MANNERS:
            raise ValueError(f'deadlock= is "log", "raise" or "off", not {deadlock!r}')
        self.url, path = _default() if url is None else (url, _file_of(url))
        super().__init__(path, _slots_wanted())
        self._manner = MANNERS[deadlock]

    def Lock(self, name: str | None = None, **options: Any) -> Lock:
        """interlock.Lock in this space."""
        from interlock.lock import Lock

        return Lock(name, space=self, **options)

    def RLock(self, name: str | None = None, **options: Any) -> RLock:
        """interlock.RLock in this space."""
        from interlock.rlock import RLock

        return RLock(name, space=self, **options)

    def RWLock(self, name: str | None = None, **options: Any) -> RWLock:
        """interlock.RWLock in this space."""
        from interlock.rwlock import RWLock

        return RWLock(name, space=self, **options)

    def BoundedSemaphore(self, name: str | None = None, value: int = 1) -> BoundedSemaphore:
        """interlock.BoundedSemaphore in this space."""
        from interlock.bounded_semaphore import BoundedSemaphore

        return BoundedSemaphore(name, value, space=self)

    def Semaphore(self, name: str | None = None, value: int = 1) -> Semaphore:
        """interlock.Semaphore in this space."""
        from interlock.semaphore import Semaphore

        return Semaphore(name, value, space=self)

    def Event(self, name: str | None = None) -> Event:
        """interlock.Event in this space."""
        from interlock.event import Event

        return Event(name, space=self)

    def Condition(self, name: str | None = None, lock: Any = None) -> Condition:
        """interlock.Condition in this space, over its own lock or one given."""
        from interlock.condition import Condition

        return Condition(name, lock, space=self)

    def Barrier(
        self,
        name: str | None = None,
        parties: int = 0,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> Barrier:
        """interlock.Barrier in this space."""
        from interlock.barrier import Barrier

        return Barrier(name, parties, action, timeout, space=self)

    def Value(self, name: str | None, typecode_or_type: Any = None, *args: Any, **options: Any) -> Any:
        """interlock.Value in this space."""
        from interlock.value import Value

        return Value(name, typecode_or_type, *args, space=self, **options)

    def Array(self, name: str | None, typecode_or_type: Any = None, size_or_initializer: Any = None, **options: Any) -> Any:
        """interlock.Array in this space."""
        from interlock.array import Array

        return Array(name, typecode_or_type, size_or_initializer, space=self, **options)

    def objects(self) -> list[ObjectInfo]:
        """The objects there are, in no order: a snapshot, stripe by stripe. Anonymous ones too, which say so::

            [info for info in space.objects() if not info.anonymous]

        Locks that nobody holds, waits for or remembers a dead owner of may be missing: the space forgets them at will.
        """
        from interlock.errors import KINDS
        from interlock.records import ObjectInfo

        return [
            ObjectInfo(
                name=name,
                kind=KINDS.get(kind, f"kind {kind}"),
                held=bool(half & 0xFFFF),
                waited_for=bool(half & 0x10000),
                orphaned=bool(half & 0x40000),
                fence=fence,
                anonymous=is_made_up(name),
            )
            for name, kind, half, fence, _ in self._list()
        ]

    def processes(self) -> list[Process]:
        """The processes that use the space. A snapshot."""
        from interlock.watch import processes

        return processes(self)

    def wait_graph(self) -> list[Waiting]:
        """Who waits, what for, and who has that: those who have waited for more than some milliseconds, the longest first.

        A snapshot; it slows nobody down.
        """
        from interlock.watch import waits

        return waits(self)

    def deadlocks(self) -> list[tuple[Waiting, ...]]:
        """The circles in which threads, tasks and processes wait for each other: of each, those who wait, each for what the
        next one has. Permits of a BoundedSemaphore have processes as owners, and are in no circle.
        """
        from interlock.watch import deadlocks

        return deadlocks(self)

    def break_lock(self, name: str) -> Owner:
        """Takes a lock away from whoever holds it, as if that had died: the last resort when a holder is stuck.

        Nothing stops the holder: it and the next one may both be inside. The next one is told (`recovered`, on_recover),
        and the former holder by NotHeld from its release.

        Returns whose it was. Raises KeyError when there is no such name, RuntimeError when nobody holds it, TypeError when
        it is nothing that one owner holds: permits, or an RWLock that is read.
        """
        from interlock.records import owner_of

        return owner_of(*self._break(name))

    def pickled(self) -> tuple[str, str, int, int]:
        """What another process needs to find this very space: URL, file, identity; and what becomes of deadlocks."""
        identity = self._describe()[0]
        return self.url, self.path, identity, self._manner

    def __reduce__(self) -> tuple[Any, ...]:
        return (reopen_space, self.pickled())

    def __enter__(self) -> Space:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<interlock.Space {self.url!r} at {self.path}{' closed' if self.closed else ''}>"


def is_made_up(name: str) -> bool:
    """Whether a name is one that an anonymous object gets (src/binding/handle.c)."""
    digits = name.removeprefix("anonymous-")
    return len(name) - len(digits) == 10 and len(digits) == 32 and set(digits) <= set("0123456789abcdef")


def find(given: object) -> object:
    """The Space for a `space=` argument: None for the default one, or a URL."""
    if given is not None and not isinstance(given, str):
        return given
    path = _default()[1] if given is None else _file_of(given)
    space = _opened.get((path, MANNERS["log"]))
    if space is None or space.closed:
        space = _opened[path, MANNERS["log"]] = Space(given)
    return space


def _default() -> tuple[str, str]:
    """URL and file of the default space, settled at its first use: a change of the environment later on must not make two
    locks of one name."""
    if not _settled:
        url = _default_url()
        _settled.append((url, _file_of(url)))
    return _settled[0]


def _default_url() -> str:
    return _settled[0][0] if _settled else os.environ.get("INTERLOCK_SPACE") or DEFAULT_URL


def reopen(cls: type[Any], space: tuple[str, str, int, int], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Unpickles a handle."""
    return cls(*arguments, space=reopen_space(*space), **options)


def reopen_space(url: str, path: str, identity: int, manner: int) -> Space:
    """The space of a file that exists; identity 0: whichever that is."""
    space = _opened.get((path, manner))
    if space is None or space.closed or identity not in (0, space.pickled()[2]):
        space = _opened[path, manner] = _open_existing(url, path, identity, manner)
    return space


def _open_existing(url: str, path: str, identity: int, manner: int) -> Space:
    space = Space.__new__(Space)
    space.url = url
    native.Space.__init__(space, path, 0, True, identity)
    space._manner = manner
    return space


def existing(url: str | None) -> Space:
    """The space of a URL (None: the default one), for those who only look: none is made.

    Raises:
        ValueError, SpaceError: as Space(); SpaceUnavailable: there is none.
    """
    url, path = _default() if url is None else (url, _file_of(url))
    return reopen_space(url, path, 0, MANNERS["log"])


def glimpse(given: Space | str | None) -> Space:
    """The space for a `space=` argument, for a look now and then: what is there now. Once the object goes, so does the
    file, unless this process uses the space otherwise: a deleted space that is still open could not be made anew.

    Raises:
        ValueError, SpaceError: as Space(); SpaceUnavailable: there is none, or not any more.
    """
    identity = 0
    if isinstance(given, Space):
        url, path, identity, _ = given.pickled()
    else:
        url, path = _default() if given is None else (given, _file_of(given))
    return _open_existing(url, path, identity, MANNERS["off"])


def url_of(given: Space | str | None) -> str:
    """The URL for a `space=` argument, which need not exist yet.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(given, Space):
        return given.url
    url = given if given is not None else _default_url()
    _file_name(url)
    return url


def _slots_wanted() -> int:
    text = os.environ.get("INTERLOCK_SLOTS")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= native.SLOTS_LIMIT:
        raise ValueError(f"INTERLOCK_SLOTS must be a number from 1 to {native.SLOTS_LIMIT}, not {text!r}")
    return int(text) + 1


def open_port(space: Space) -> native.Port:
    """Where a loop listens to a space."""
    text = os.environ.get("INTERLOCK_IO_URING") or "1"
    if text not in ("0", "1"):
        raise ValueError(f"INTERLOCK_IO_URING must be 0 (never use it) or 1 (where the kernel has it), not {text!r}")
    return native.Port(space, text == "1")


def _file_of(url: object) -> str:
    name = _file_name(url)
    return os.path.join(directory(), name)


def _file_name(url: object) -> str:
    if not isinstance(url, str):
        raise TypeError(f"a space's URL is a str, not {type(url).__name__}")
    scheme, _, name = url.partition(":")
    if scheme != "shm":
        raise ValueError(f"no space of this kind: {url!r} (in space= or INTERLOCK_SPACE): write 'shm:NAME'")
    encoded = "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"-_." else f"%{byte:02X}" for byte in name.encode()
    )
    if not encoded or "\0" in name or len(encoded) > 200:
        raise ValueError(
            f"a space's name has 1 to 200 bytes (three for each that is not a letter, digit or one of -_.): {url!r}"
        )
    return f"interlock-{os.geteuid()}-{encoded}.ilk"


def directory() -> str:
    """The directory where shared-memory spaces live."""
    given = os.environ.get("INTERLOCK_DIR")
    if given and not os.path.isabs(given):
        raise SpaceUnavailable(
            f"INTERLOCK_DIR must be an absolute path, not {given!r}: programs started elsewhere would not find it",
            path=given,
        )
    if given:
        _check_directory(given)
        return os.path.realpath(given)
    for candidate in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR")):
        if candidate and os.path.isdir(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            _check_directory(candidate)
            return os.path.realpath(candidate)
    import tempfile

    return os.path.realpath(tempfile.gettempdir())


def _check_directory(path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        raise SpaceUnavailable(
            f"the directory {path} cannot be used ({error.strerror}): make it, or set INTERLOCK_DIR to one that exists",
            path=path,
            errno=error.errno,
        ) from None
    if not os.path.isdir(path):
        raise SpaceUnavailable(f"{path} is not a directory: set INTERLOCK_DIR to one", path=path)
    if found.st_uid not in (0, os.geteuid()):
        raise SpaceUnavailable(
            f"the directory {path} belongs to another user, who could replace its files: set INTERLOCK_DIR to your own",
            path=path,
        )
    if found.st_mode & 0o022 and not found.st_mode & 0o1000:
        raise SpaceUnavailable(
            f"the directory {path} can be written by other users, who could replace its files: "
            "chmod go-w it, or set its sticky bit",
            path=path,
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise SpaceUnavailable(f"no permission to write in {path}: set INTERLOCK_DIR to your own directory", path=path)


def _owner_of(*figures: Any) -> object:
    from interlock.records import owner_of

    return owner_of(*figures)


def _tell_deadlock(*told: Any) -> None:
    from interlock.watch import tell

    tell(*told)


def _install() -> None:
    from interlock.errors import from_engine
    from interlock.locklike import timeout_of

    native.set_hooks(from_engine, _owner_of, timeout_of, find, _tell_deadlock)


_install()
