"""A terminal, as tests look at it: a pty of a given size, and a program in it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from typing import Self

from tests.cli import INTERLOCK, environment
from tests.support import HANG_SECONDS

# What a program may do with a terminal: move, clear, colour, and take another screen for the time it runs.
SEQUENCES = re.compile(r"\x1b\[(?:H|K|J|0?m|\d+(?:;\d+)*m|\?(?:1049|25|7)[hl])")


# Takes the terminal for its own, so that Ctrl-C and changes of size become signals; then it is the program.
CONTROLLING = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """An `interlock VERB …`, or another program, in a terminal of some size. Killed at the end if it still runs."""

    def __init__(
        self, *words: str, program: list[str] = INTERLOCK, columns: int = 80, lines: int = 24, **more: str
    ) -> None:
        self.mine, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        env = {
            key: value for key, value in environment(**{"TERM": "xterm", **more}).items() if key not in ("COLUMNS", "LINES")
        }
        if "NO_COLOR" not in more:
            env.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLING, *program, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
        )
        self.theirs, self.text = theirs, ""
        self.decode = codecs.getincrementaldecoder("utf-8")().decode

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.mine, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def more(self) -> str:
        """What it writes, as soon as it writes something."""
        ready = select.select([self.mine], [], [], HANG_SECONDS)[0]
        assert ready, f"it writes nothing: {self.text!r}"
        text = self.decode(os.read(self.mine, 1 << 16))
        self.text += text
        return text

    def until(self, wanted: str) -> str:
        """Reads until it has written this; returns all since the last call."""
        end = time.monotonic() + HANG_SECONDS
        while wanted not in self.text:
            assert time.monotonic() < end, f"never: {wanted!r} in {self.text[-3000:]!r}"
            self.more()
        at = self.text.index(wanted) + len(wanted)
        seen, self.text = self.text[:at], self.text[at:]
        return seen

    def type(self, keys: str) -> None:
        os.write(self.mine, keys.encode())

    def end(self) -> tuple[int, str]:
        """Waits for its end. Returns exit status and what it still wrote."""
        end = time.monotonic() + HANG_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.text[-3000:]!r}"
            if select.select([self.mine], [], [], 0.01)[0]:
                self.more()
        while select.select([self.mine], [], [], 0)[0]:
            self.more()
        return self.process.returncode, self.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.mine)
        os.close(self.theirs)


def harmless(text: str) -> str:
    """The text without what a program may do with a terminal, in which nothing else may be."""
    rest = SEQUENCES.sub("", text)
    assert all(c.isprintable() or c in "\r\n" for c in rest), ascii(rest)
    return rest
