"""Workers of joblib (its default backend, loky) write their records into one log, with the lock as an argument.

A record has several lines, written one by one, so without a lock those of other workers would come between them.

    python joblib_log.py LOG_FILE

loky starts its workers as programs of their own: threading.Lock does not pickle, multiprocessing.Lock refuses to.
"""

from __future__ import annotations

import sys
import time

from joblib import Parallel, delayed

import interlock


def log_result(lock: interlock.Lock, log_file: str, number: int) -> int:
    result = sum(range(number * 1000))
    # The log comes after the lock, so that it is closed before the lock is released.
    with lock, open(log_file, "a", encoding="utf-8") as log:
        for line in (f"item {number} begins", f"item {number} result {result}", f"item {number} ends"):
            print(line, file=log, flush=True)
            time.sleep(0.0002)  # in a real program it takes a while to make the next line
    return result


def main(log_file: str) -> None:
    lock = interlock.Lock()  # no name: the pickled lock says which it is
    results = Parallel(n_jobs=4, backend="loky")(delayed(log_result)(lock, log_file, number) for number in range(200))
    print(f"{len(results)} results are in {log_file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
