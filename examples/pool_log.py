"""Workers of a Pool and of a ProcessPoolExecutor write their records into one log, with the lock as an argument.

A record has several lines, written one by one, so without a lock those of other workers would come between them.

    python pool_log.py LOG_FILE [fork | spawn | forkserver]

multiprocessing.Lock cannot be an argument of Pool.map ("should only be shared between processes through inheritance").
interlock's locks pickle, so they go wherever other arguments go.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import interlock

log_one: partial[None]  # of each worker, set by its initializer


def log_request(lock: interlock.Lock, log_file: str, number: int) -> None:
    started = time.perf_counter()
    time.sleep(0.001)  # here the request is sent, and its answer read
    cost = time.perf_counter() - started
    # The log comes after the lock, so that it is closed before the lock is released.
    with lock, open(log_file, "a", encoding="utf-8") as log:
        for line in (f"request {number} begins", f"request {number} cost {cost:.6f} s", f"request {number} ends"):
            print(line, file=log, flush=True)
            time.sleep(0.0002)  # in a real program it takes a while to make the next line


def remember(lock: interlock.Lock, log_file: str) -> None:
    """Initializer of a worker: keeps what is the same for all requests, to be sent once and not with each of them."""
    global log_one
    log_one = partial(log_request, lock, log_file)


def log_remembered(number: int) -> None:
    log_one(number)


def main(log_file: str, start_method: str | None = None) -> None:
    context = get_context(start_method)
    lock = interlock.Lock()  # no name: the pickled lock says which it is

    with context.Pool(4) as pool:
        pool.map(partial(log_request, lock, log_file), range(0, 50))
        pool.starmap(log_request, [(lock, log_file, number) for number in range(50, 100)])

    with context.Pool(4, initializer=remember, initargs=(lock, log_file)) as pool:
        pool.map(log_remembered, range(100, 150))

    with ProcessPoolExecutor(4, mp_context=context) as executor:
        for done in [executor.submit(log_request, lock, log_file, number) for number in range(150, 200)]:
            done.result()

    with ProcessPoolExecutor(4, mp_context=context, initializer=remember, initargs=(lock, log_file)) as executor:
        list(executor.map(log_remembered, range(200, 250)))

    print(f"250 requests are in {log_file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
