"""Adds 1 to the number in a file, many times, beside count.sh and count.js.

python count.py FILE [HOW_MANY]
"""

from __future__ import annotations

import os
import sys
import time

import interlock

lock = interlock.Lock("one-number")  # what `interlock run one-number -- …` holds


def add_one(path: str) -> None:
    with lock, open(path, "r+" if os.path.exists(path) else "w+", encoding="utf-8") as file:
        number = int(file.read() or 0)
        file.seek(0)
        print(number + 1, file=file)


def main(path: str, many: str = "40") -> None:
    for _ in range(int(many)):
        add_one(path)
        time.sleep(0.005)  # the others start a process for each
    print(f"python added {many}")


if __name__ == "__main__":
    main(*sys.argv[1:])
