"""RLock: a re-entrant lock by name, between threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import LockLike


class RLock(LockLike, native.RLock):
    """RLock(name=None, *, space=None, on_recover=None)

    A lock that the thread which has it may take again; it is free once released as often as it was taken.
    Everything else as for Lock, except:

    Re-entrance: up to 2^32 - 1 times.
    Release: by the owning thread alone; others get NotOwner.
    Tasks: in asyncio the owner is the task, and other tasks of its loop wait: `async with lock:`.
    Fork: the child's threads are not the owner, not even the copy of the thread that was.
    """

    __slots__ = ()
