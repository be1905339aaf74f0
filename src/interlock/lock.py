"""Lock: mutual exclusion by name, between threads, processes and programs."""

from __future__ import annotations

from interlock.engine import native
from interlock.locklike import LockLike


class Lock(LockLike, native.Lock):
    """Lock(name=None, *, space=None, on_recover=None, foreign_release=False)

    A mutual exclusion lock. Everyone on this machine who says the same name (of the same user, in the same space) has the
    same lock. Without a name it is anonymous, and travels by pickling or fork.

    Args:
        name: 1 to 255 bytes in UTF-8 without NUL, or None. Names cost nothing to forget: use one per key if you like.
        space: a Space or its URL; None: the default space.
        on_recover: called as on_recover(owner) with the lock held, before acquire returns, when the former owner died
            holding it: the place to repair what it left half done. If it raises, the lock is released, still marked,
            and the exception comes out of acquire.
        foreign_release: let this handle release the lock for another process that holds it.

    Fairness: a newcomer may overtake a sleeping waiter, for speed, until that has waited about a millisecond.
    Re-entrance: none. A second acquire in one thread or task waits; with a timeout, it returns False.
    Tasks: `async with lock:` waits while the loop goes on. Any task or thread of the owning process may release.
    Fork: a forked child does not own what its parent holds; its release raises NotOwner.
    Owner's death: the lock is free at once for a try, and within some milliseconds for whoever sleeps; the next holder
    sees `recovered`.

    Raises:
        TypeError, ValueError: for a name that is none.
        KindMismatch: the name is in use as another kind.
        SpaceError: the space cannot be used.
    """

    __slots__ = ()
