"""Counts in a file, together with any number of programs that do the same: counter.c is one of them.

python3 examples/c_and_python/counter.py count.txt 100000
"""

from __future__ import annotations

import os
import sys

import interlock


def count(file: int) -> int:
    """Reads the number in the file and writes it back plus one: two steps that nobody may come between."""
    number = int(os.pread(file, 32, 0) or b"0") + 1
    os.pwrite(file, b"%d\n" % number, 0)
    return number


def main(path: str, times: int) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    lock = interlock.Lock("counter")
    number = 0
    for _ in range(times):
        with lock:
            if lock.recovered:
                print(f"counter: process {lock.recovered.pid} died while it counted", file=sys.stderr)
            number = count(file)
    print(number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
