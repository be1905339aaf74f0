"""Takes the jobs that producer.py leaves in a file, until it says that there are no more.

python consumer.py JOBS_FILE
"""

from __future__ import annotations

import sys
import time

import interlock

lock = interlock.Lock("jobs")  # the same name as in producer.py: the same lock


def take_all(jobs_file: str) -> list[str]:
    with lock, open(jobs_file, "a+", encoding="utf-8") as jobs:
        jobs.seek(0)
        taken = jobs.read().splitlines()
        time.sleep(0.001)  # in a real program they are put somewhere safe here
        jobs.truncate(0)  # loses what was left since the reading: nothing, the producer needs the lock for that
    return taken


def main(jobs_file: str) -> None:
    jobs: list[str] = []
    while "no more" not in jobs:
        jobs += take_all(jobs_file)
        time.sleep(0.001)
    print(f"took {len(jobs) - 1} jobs, from {jobs[0]!r} to {jobs[-2]!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
