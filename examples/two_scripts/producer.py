"""Leaves jobs in a file, for consumer.py to take. The two know nothing of each other but the file and the lock's name.

python producer.py JOBS_FILE [HOW_MANY]
"""

from __future__ import annotations

import sys
import time

import interlock

lock = interlock.Lock("jobs")


def leave(jobs_file: str, job: str) -> None:
    # The file comes after the lock, so that it is closed, and with that written, before the lock is released.
    with lock, open(jobs_file, "a", encoding="utf-8") as jobs:
        print(job, file=jobs)


def main(jobs_file: str, how_many: str = "500") -> None:
    for number in range(int(how_many)):
        time.sleep(0.0002)  # in a real program it takes a while to come by a job
        leave(jobs_file, f"job {number}")
    leave(jobs_file, "no more")
    print(f"left {how_many} jobs")


if __name__ == "__main__":
    main(*sys.argv[1:])
