"""Programs that tests start, and detectors of two who are inside at once."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

HANG_SECONDS = 120  # nothing takes this long unless it hangs


class Program:
    """A Python program of its own, spoken with line by line. Killed at the end if it still runs."""

    def __init__(self, code: str, *arguments: object, **options: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line it prints; what it wrote to stderr is shown if there is none."""
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended: {self.process.communicate(timeout=HANG_SECONDS)[1]}")
        return line.rstrip("\n")

    def say(self, line: str = "") -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kills it with SIGKILL and waits until the kernel has taken it apart."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=HANG_SECONDS)

    def end(self) -> tuple[int, str, str]:
        """Waits for its end. Returns exit status, what it still printed, what it wrote to stderr."""
        out, err = self.process.communicate(timeout=HANG_SECONDS)
        return self.process.returncode, out, err

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


HOLDER = """
    import interlock, sys
    lock = getattr(interlock, sys.argv[2] if len(sys.argv) > 2 else "Lock")(sys.argv[1])
    lock.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
    sys.stdin.readline()
"""


class Arena:
    """Shared memory in which two independent detectors watch a critical section.

    Detector 1: whoever enters writes its mark, and finds it unchanged when it leaves.
    Detector 2: a plain counter, read at entry and written back plus one when leaving; it loses updates under overlap.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "a+b") as file:
            if file.tell() == 0:
                file.truncate(4096)
            self.memory = mmap.mmap(file.fileno(), 4096)
        self.words = memoryview(self.memory).cast("q")

    MARK, COUNTER, OVERLAPS = 0, 1, 2

    def visit(self, mark: int, pause: bool = False) -> None:
        """One visit of the critical section, by a visitor with a mark of its own."""
        words = self.words
        if words[self.MARK] != 0:
            words[self.OVERLAPS] += 1
        words[self.MARK] = mark
        count = words[self.COUNTER]
        if pause:
            os.sched_yield()
        words[self.COUNTER] = count + 1
        if words[self.MARK] != mark:
            words[self.OVERLAPS] += 1
        words[self.MARK] = 0

    @property
    def counter(self) -> int:
        return self.words[self.COUNTER]

    @property
    def overlaps(self) -> int:
        return self.words[self.OVERLAPS]
