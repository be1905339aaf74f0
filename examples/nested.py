"""Taking a lock twice in one thread: a Lock keeps out its own holder, too; an RLock lets its owner in again.

    python nested.py

(A file locked by fcntl.lockf is locked by the whole process: there the second comes in, without a word.)
"""

from __future__ import annotations

import threading

import interlock


def tried_by_another_thread(lock: interlock.Lock | interlock.RLock) -> bool:
    answers = []

    def attempt() -> None:
        answers.append(lock.acquire(blocking=False))
        if answers[0]:
            lock.release()

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return answers[0]


def main() -> None:
    lock = interlock.Lock("nested")
    with lock:
        # acquire() without a timeout would wait for its own thread, for ever, as that of threading.Lock does.
        print("Lock, again at once:", lock.acquire(blocking=False))
        print("Lock, again within 0.2 s:", lock.acquire(timeout=0.2))
        print("Lock, by a second handle:", interlock.Lock("nested").acquire(timeout=0.2))
    print("Lock, after the block:", lock.acquire(blocking=False))
    lock.release()

    rlock = interlock.RLock("nested-again")
    with rlock:
        with rlock, interlock.RLock("nested-again"):
            print("RLock, again and again: True")
        print("RLock, by another thread after the inner block:", tried_by_another_thread(rlock))
    print("RLock, by another thread after the outer block:", tried_by_another_thread(rlock))


if __name__ == "__main__":
    main()
