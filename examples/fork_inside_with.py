"""A process that forks while it holds a lock. The child is another process: it has not got it, and cannot free it.

    python fork_inside_with.py

The child of a multiprocessing.Lock's holder can release it, and lets others in while the parent is still inside;
the child of a multiprocessing.RLock's holder even counts as its owner.
"""

from __future__ import annotations

import os

import interlock

lock = interlock.Lock("fork-inside-with")


def is_mine() -> bool:
    return lock.owner is not None and lock.owner.pid == os.getpid()


def in_the_child() -> None:
    print("child: may I come in?", lock.acquire(blocking=False), flush=True)
    try:
        lock.release()
    except interlock.NotOwner as error:
        print("child: may I release it?", error, flush=True)


def main() -> None:
    tried, child_tried = os.pipe()
    with lock:
        child = os.fork()
        if child == 0:
            # Never leave the block here: its end would release the lock, which is the parent's to do (and is NotOwner).
            in_the_child()
            os.write(child_tried, b".")
            with lock:  # waits for the parent
                print("child: now it is mine:", is_mine(), flush=True)
            os._exit(0)
        os.read(tried, 1)
        print("parent: still mine:", is_mine(), flush=True)
    os.waitpid(child, 0)
    print("parent: free again:", not lock.locked())


if __name__ == "__main__":
    main()
