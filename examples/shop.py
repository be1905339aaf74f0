"""Programs of a shop, three of which wait for each other in a circle, and a picture of that.

    python shop.py deadlock.svg

Each of the three takes one lock and, when all have theirs, wants another one. (Always taken in the same order, say by name,
the locks would make no circle.) `interlock graph` draws it from outside, as anybody may at any time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import interlock

HAS_AND_WANTS = {
    "sales": ("orders", "stock"),
    "storehouse": ("stock", "invoices"),
    "billing": ("invoices", "orders"),
    "report": ("summary", "orders"),
    "search": (None, "orders"),
    "printer": (None, "summary"),
}


def work(role: str) -> None:
    has, wants = HAS_AND_WANTS[role]
    if has:
        interlock.Lock(has).acquire()
    print("ready", flush=True)
    sys.stdin.readline()
    interlock.Lock(wants).acquire()


def start(role: str) -> subprocess.Popen[str]:
    script = Path(__file__)
    return subprocess.Popen(
        [sys.executable, script.name, role],
        cwd=script.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # after a second one of them logs the deadlock
        text=True,
    )


def main(picture: str) -> None:
    space = interlock.Space()
    programs = [start(role) for role in HAS_AND_WANTS]
    try:
        for program in programs:
            program.stdout.readline()
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()
        while len(space.wait_graph()) < len(programs):
            time.sleep(0.01)
        subprocess.run([sys.executable, "-m", "interlock", "graph", "-o", picture], check=True)
        print(f"{len(space.deadlocks())} deadlock, drawn in {picture}")
    finally:
        for program in programs:
            program.kill()
            program.communicate()


if __name__ == "__main__":
    if sys.argv[1] in HAS_AND_WANTS:
        work(sys.argv[1])
    else:
        main(sys.argv[1])
