"""The locks that are compared, behind one face: `lock = peer.share()` once, `lock.open()` in every process that uses it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable


class Flock:
    """What careful people write by hand: one descriptor per process, flock on it. Excludes no threads."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_RDWR)

    def acquire(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def __enter__(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def __del__(self) -> None:
        os.close(self.file)


@dataclass(frozen=True)
class Shared:
    """A lock that several processes use. `open` gives the object to call, in the process that calls it."""

    open: Callable[[], Any]
    remove: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Peer:
    """One library's lock.

    Attributes:
        name: as the table shows it.
        share: makes a lock in a directory.
        processes: whether it excludes processes at all.
        recovers: whether the death of its holder frees it.
        named: whether unrelated programs can open it, so that many can be opened.
    """

    name: str
    share: Callable[[Path], Shared]
    processes: bool = True
    recovers: bool = True
    named: bool = True


def _inherited(make: Callable[[], Any]) -> Callable[[Path], Shared]:
    """For locks that only travel by fork: made once, and the children use the parent's object."""

    def share(_: Path) -> Shared:
        lock = make()
        return Shared(lambda: lock)

    return share


def _manager(_: Path) -> Shared:
    manager = multiprocessing.Manager()
    lock = manager.Lock()
    return Shared(lambda: lock, manager.shutdown)


def _interlock(kind: str) -> Callable[[Path], Shared]:
    def share(_: Path) -> Shared:
        import interlock

        name = uuid4().hex
        return Shared(lambda: getattr(interlock, kind)(name))

    return share


def _posix_ipc(_: Path) -> Shared:
    import posix_ipc

    name = f"/interlock-bench-{uuid4().hex}"
    semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=1)
    return Shared(lambda: posix_ipc.Semaphore(name), semaphore.unlink)


def _sysv_ipc(_: Path) -> Shared:
    import sysv_ipc

    semaphore = sysv_ipc.Semaphore(None, sysv_ipc.IPC_CREX, initial_value=1)
    key = semaphore.key

    def attach() -> Any:
        opened = sysv_ipc.Semaphore(key)
        opened.undo = True
        return opened

    return Shared(attach, semaphore.remove)


def _by_path(make: Callable[[Path], Any]) -> Callable[[Path], Shared]:
    def share(directory: Path) -> Shared:
        path = directory / f"{uuid4().hex}.lock"
        return Shared(lambda: make(path))

    return share


def _filelock(path: Path) -> Any:
    import filelock

    return filelock.FileLock(path)


def _fasteners(path: Path) -> Any:
    import fasteners

    return fasteners.InterProcessLock(str(path))


def _portalocker(path: Path) -> Any:
    import portalocker

    return portalocker.Lock(str(path), timeout=600, check_interval=0.001)


PEERS = [
    Peer("interlock.Lock", _interlock("Lock")),
    Peer("interlock.RLock", _interlock("RLock")),
    Peer("threading.Lock", _inherited(threading.Lock), processes=False, recovers=False, named=False),
    Peer("threading.RLock", _inherited(threading.RLock), processes=False, recovers=False, named=False),
    Peer("multiprocessing.Lock", _inherited(multiprocessing.Lock), recovers=False, named=False),
    Peer("multiprocessing.RLock", _inherited(multiprocessing.RLock), recovers=False, named=False),
    Peer("Manager().Lock", _manager, recovers=False, named=False),
    Peer("posix_ipc.Semaphore", _posix_ipc, recovers=False),
    Peer("sysv_ipc.Semaphore, undo", _sysv_ipc),
    Peer("flock", _by_path(Flock)),
    Peer("filelock.FileLock", _by_path(_filelock)),
    Peer("fasteners.InterProcessLock", _by_path(_fasteners)),
    Peer("portalocker.Lock", _by_path(_portalocker)),
]
