"""What can be asked of a lock, as plain frozen records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock, or who died holding it.

    Attributes:
        pid: process id, in the owner's own PID namespace.
        thread_id: the kernel's id of the thread (threading.get_native_id()); 0 when not known.
        thread_name: the thread's name when it is one of this process, else the kernel's name for it; None when that is not
            to be had, as of an owner in another container.
        program: start of the process's command line.
        host: its host name; None for a dead owner.
        since: when it was first seen holding the lock, seconds since the epoch: exact for a lock that was contended,
            else the first time that anybody waited or asked. None when nobody did.
        died: when its death was noticed, seconds since the epoch; None for a living owner.
    """

    pid: int
    thread_id: int
    thread_name: str | None
    program: str
    host: str | None
    since: float | None
    died: float | None = None

    def __str__(self) -> str:
        thread = f" thread {self.thread_name or self.thread_id}" if self.thread_id else ""
        return f"process {self.pid}{thread} ({self.program})"


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """Counts of one name since it came into use, over all processes.

    Attributes:
        acquisitions: how often it was taken.
        contended: how many of those had to wait.
        recoveries: owners who died holding it.
        waited: seconds that the contended ones waited, in sum.
    """

    acquisitions: int
    contended: int
    recoveries: int
    waited: float


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One named object of a space, as Space.objects() lists it.

    Attributes:
        name: "orders".
        kind: "Lock".
        held: whether somebody holds it; a dead owner nobody noticed yet counts.
        waited_for: whether somebody may wait for it.
        orphaned: whether the last owner died holding it and nobody has released it in good order since.
        fence: number of its latest acquisition.
        anonymous: whether its name was made up.
    """

    name: str
    kind: str
    held: bool
    waited_for: bool
    orphaned: bool
    fence: int
    anonymous: bool


def owner_of(
    pid: int, thread_id: int, program: str, host: str, since_ns: int = 0, died_ns: int = 0, pid_namespace: int = 0
) -> Owner:
    """An Owner from the engine's figures; 0 and "" mean "not known"."""
    return Owner(
        pid=pid,
        thread_id=thread_id,
        thread_name=_thread_name(pid, thread_id, pid_namespace) if thread_id and not died_ns else None,
        program=program,
        host=host or None,
        since=since_ns / 1e9 if since_ns else None,
        died=died_ns / 1e9 if died_ns else None,
    )


def _thread_name(pid: int, thread_id: int, pid_namespace: int) -> str | None:
    import threading
    from os import getpid, stat

    try:
        if pid_namespace not in (0, stat("/proc/self/ns/pid").st_ino):
            return None  # of another container, where numbers mean others
    except OSError:
        return None
    if pid == getpid():
        for thread in threading.enumerate():
            if thread.native_id == thread_id:
                return thread.name
    try:
        with open(f"/proc/{pid}/task/{thread_id}/comm", encoding="utf-8", errors="replace") as name:
            return name.read().rstrip("\n")
    except OSError:
        return None
