"""The exceptions, and the one place where the engine's codes become them.

Every exception pickles and keeps its attributes.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from interlock.watch import Waiting


class InterlockError(Exception):
    """Base of everything that interlock raises on its own account.

    Attributes:
        name: the object's name, or None when no object is concerned.
        path: the space's file, or None when no space is concerned.
    """

    def __init__(self, message: str = "", *, name: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.args, self._attributes()))

    def _attributes(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _restore(cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls)
    error.args = args
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class AcquireTimeout(InterlockError, TimeoutError):
    """`hold()` or `synchronized` did not get the lock in time. Nothing is held."""


class NotHeld(InterlockError, RuntimeError, ValueError):
    """Release of something that nobody holds."""


class NotOwner(NotHeld):
    """Release of something that another process holds, or another thread where the thread counts."""


class DeadlockDetected(InterlockError, RuntimeError):
    """Waiting would never end: the message names the cycle.

    Attributes:
        cycle: a Waiting for each party, of which each waits for what the next one has, and the last for what the first one
            has. Empty where no other party is concerned.
    """

    def __init__(
        self, message: str = "", *, name: str | None = None, path: str | None = None, cycle: tuple[Waiting, ...] = ()
    ) -> None:
        super().__init__(message, name=name, path=path)
        self.cycle = cycle


class KindMismatch(InterlockError, TypeError):
    """The name is in use for another kind of object: `in_use_as` is that kind's name, "RWLock"."""

    in_use_as: str | None = None


class ParameterMismatch(InterlockError, ValueError):
    """The name is in use with another size, bound or type."""


class SpaceError(InterlockError, OSError):
    """The space cannot be used. `errno` is set when a system call failed."""

    def __init__(
        self, message: str = "", *, name: str | None = None, path: str | None = None, errno: int | None = None
    ) -> None:
        super().__init__(message, name=name, path=path)
        self.errno = errno

    def _attributes(self) -> dict[str, Any]:
        # OSError keeps errno outside __dict__.
        return {**self.__dict__, "errno": self.errno}


class SpaceFull(SpaceError):
    """No room: the message says how much, where, and what to set."""


class LayoutMismatch(SpaceError):
    """The file was made by another version, or by something else. It was left as it was."""


class SpaceUnavailable(SpaceError):
    """No such space, no permission, no suitable file system, or wiped while in use."""


KINDS = {
    1: "Lock",
    2: "RLock",
    3: "Semaphore",
    4: "Event",
    5: "Condition",
    6: "Barrier",
    7: "RWLock",
    8: "BoundedSemaphore",
    9: "Value",
    10: "Array",
}
OWNED = ("Lock", "RLock", "RWLock", "Condition", "Value", "Array")  # their locks have an owner, and are counted

PARAMETERS = {
    3: "initial value or bound",
    5: "lock",
    6: "number of parties",
    8: "number of permits",
    9: "type or lock",
    10: "type, size or lock",
}


def count(number: int, thing: str) -> str:
    """ "1 byte", "2 bytes"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _difference(kind: int, has: int | None, asked: int) -> str:
    """In what an object in use differs from what is asked for. `has`: its parameter, None if that is not known."""
    low = 0xFFFFFFFF
    match kind, has:
        case 3, int() if has & low != asked & low:
            return f"was made with the initial value {has & low}, and is asked for with {asked & low}"
        case 5, 0:
            return "is over a lock of its own, and is asked for over one that is given"
        case 5, int() if not asked:
            return "is over a lock that was given, and is asked for without one"
        case 6, int():
            return f"is for {has} parties, and is asked for with {asked}"
        case 8, int():
            return f"is for {count(has, 'permit')}, and is asked for with {asked}"
        case _:
            pass
    return f"is in use with another {PARAMETERS.get(kind, 'parameter')}"


def from_engine(
    code: str,
    text: str,
    path: str | None,
    name: str | None,
    kind: type | None,
    sys_errno: int,
    found: int,
    wanted: int,
    asked: int,
    found_kind: int,
) -> InterlockError:
    """The exception for an engine code (src/engine/il_status.h), saying what is wrong and what to do."""
    reason = f" ({os.strerror(sys_errno)})" if sys_errno else ""
    where = f"the space at {path}" if path else "the space"
    what = f"{kind.__name__ if kind else 'object'} {name!r}"
    match code:
        case "IL_NOT_HELD" if wanted:
            has = f"{count(found, 'permit')}, not {wanted}" if found else "no permit: release it only after acquire"
            return NotHeld(f"{what} cannot be released so often: this process has {has}", name=name, path=path)
        case "IL_NOT_HELD" | "IL_NOT_OWNER" if found:
            return NotHeld(
                f"{what} was taken from this process by process {found} (Space.break_lock, or `interlock break`): "
                "what it guards may have been changed by others since",
                name=name,
                path=path,
            )
        case "IL_NOT_HELD":
            return NotHeld(f"{what} is not held: release it only after acquire", name=name, path=path)
        case "IL_NOT_OWNER":
            return NotOwner(
                f"{what} is held by another process, thread or task: only its owner may release it "
                "(a forked child owns nothing that its parent holds)",
                name=name,
                path=path,
            )
        case "IL_DEADLOCK":
            advice = (
                "this thread or task reads under it already, and would wait for itself: release, then acquire for writing, "
                "and look again at what was read"
                if kind and kind.__name__ == "WriteLock"
                else "this thread or task writes under it, and would wait for itself: to go on reading, call downgrade()"
            )
            return DeadlockDetected(f"RWLock {name!r}: {advice}", name=name, path=path)
        case "IL_DEPTH":
            return InterlockError(f"{what} is acquired too many times by one thread or task", name=name, path=path)
        case "IL_KIND":
            was = KINDS.get(found_kind, f"kind {found_kind}")
            article = "an" if was[0] in "AEIOUR" else "a"  # an RLock
            error = KindMismatch(
                f"{name!r} is in use as {article} {was}; "
                f"use another name, or Space.unlink() it when no program needs the {was}",
                name=name,
                path=path,
            )
            error.in_use_as = was
            return error
        case "IL_PARAMETER":
            return ParameterMismatch(
                f"{what} {_difference(found_kind, wanted if found else None, asked)}; open it with the same, or "
                "Space.unlink() it when no program needs it",
                name=name,
                path=path,
            )
        case "IL_SPACE_FULL":
            return SpaceFull(
                f"{where} needs {wanted} more bytes and its file system has no room{reason}: "
                "free some, or set INTERLOCK_DIR to a directory with more",
                path=path,
                errno=sys_errno,
            )
        case "IL_ABSENT":
            return SpaceUnavailable(
                f"{what} of {where} is gone: it was unlinked, or its maker has ended", name=name, path=path
            )
        case "IL_DATA_LOST":
            return SpaceUnavailable(
                f"the data of {what} in {where} was deleted or damaged, though nobody unlinked it{reason}: "
                "end the programs that use it, then Space.unlink() it",
                name=name,
                path=path,
                errno=sys_errno or None,
            )
        case "IL_TABLE_FULL":
            return SpaceFull(
                f"no cell is left for {what} in {where}: too many names are held or remembered at once; "
                "release or unlink some, or spread them over several spaces",
                name=name,
                path=path,
            )
        case "IL_SLOTS_FULL":
            return SpaceFull(
                f"all {found} process slots of {where} belong to living processes: "
                "end some, or make the space anew with INTERLOCK_SLOTS set higher",
                path=path,
            )
        case "IL_LAYOUT":
            return LayoutMismatch(
                f"{where} has layout version {found}, this interlock uses another: run one version at a time, "
                "use another INTERLOCK_DIR, or remove the file once no program uses it; it was left as it is",
                path=path,
            )
        case "IL_GARBAGE":
            return LayoutMismatch(
                f"{where} is not an interlock space, or is damaged; the file was left as it is: "
                "move it away if nothing needs it",
                path=path,
            )
        case "IL_NO_SPACE_FILE" if found:
            return SpaceUnavailable(
                f"this Space object, for {path}, was closed: make another, and new handles from that",
                name=name,
                path=path,
            )
        case "IL_NO_SPACE_FILE":
            return SpaceUnavailable(
                f"{where} does not exist: it is made when a program of this user first uses it, on this machine and with "
                "this INTERLOCK_DIR",
                path=path,
                errno=sys_errno or None,
            )
        case "IL_WIPED":
            return SpaceUnavailable(
                f"{where} was deleted, replaced or truncated while in use, so programs may no longer see each other's "
                "locks: restart all programs that use it",
                name=name,
                path=path,
            )
        case "IL_REPLACED":
            return SpaceUnavailable(f"{where} was made anew since this handle was made: make the handle anew", path=path)
        case "IL_ORPHANED_USERS":
            return SpaceUnavailable(
                f"{where} was deleted while process {found} still uses the old file: a new one would not exclude it; "
                "end that process first",
                path=path,
            )
        case "IL_UNSAFE":
            return SpaceUnavailable(
                f"{where} belongs to another user, or its mode lets others in{reason}: "
                "it must be yours with mode 0600; set INTERLOCK_DIR to a directory of your own",
                path=path,
                errno=sys_errno or None,
            )
        case "IL_REMOTE":
            return SpaceUnavailable(
                f"{where} would lie on a network or FUSE file system, which does not share memory between machines: "
                "set INTERLOCK_DIR to a local one",
                path=path,
            )
        case "IL_NO_LIVENESS":
            return SpaceUnavailable(
                "this kernel lacks open-file-description locks that survive close, on which interlock's recovery "
                "rests (Linux 3.15 or newer has them)",
                path=path,
            )
        case "IL_NO_FALLOCATE" | "IL_NO_UNNAMED":
            return SpaceUnavailable(
                f"{where} cannot be made: {text}; set INTERLOCK_DIR to a directory on tmpfs, ext4, xfs or btrfs",
                path=path,
                errno=sys_errno or None,
            )
        case _:
            return SpaceUnavailable(f"{where} cannot be used: {text}{reason}", path=path, errno=sys_errno or None)
