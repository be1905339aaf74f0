"""The command line, as tests call it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import interlock
from tests.support import HANG_SECONDS, Spoken

# As it is installed, but for this Python and the package that is tested.
INTERLOCK = [sys.executable, str(Path(__file__).parents[1] / "bin" / "interlock")]

# Says that it runs, and ends when it is told so or left alone.
UNTIL_TOLD = ["sh", "-c", "echo in; read line; exit 5"]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(interlock.__file__).parents[1]), **more}


def cli(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """Calls `interlock` and waits for its end."""
    options = {"env": environment(), "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(
        [*INTERLOCK, *arguments], capture_output=True, text=True, timeout=HANG_SECONDS, check=False, **options
    )


def without_packages(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code with nothing to import but the standard library and interlock."""
    argv = [sys.executable, "-S", "-c", code]
    return subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=HANG_SECONDS, check=False)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return cli("run", *arguments, **options)


class Run(Spoken):
    """An `interlock run` in the background."""

    def __init__(self, *arguments: str, **options: object) -> None:
        super().__init__([*INTERLOCK, "run", *arguments], env=environment(), **options)


class Holder(Run):
    """An `interlock run` whose command has begun, and ends when the test says so, with status 5."""

    def __init__(self, *arguments: str, **options: object) -> None:
        super().__init__(*arguments, *UNTIL_TOLD, **options)
        assert self.line() == "in"

    def let_go(self) -> None:
        self.say()
        assert self.end() == (5, "", "")


UNUSABLE = ["garbage", "another version"]


def unusable_space(directory: Path, how: str) -> Path:
    """A file where the default space would be, that is none, or one of another layout version."""
    file = directory / f"interlock-{os.geteuid()}-default.ilk"
    if how == "garbage":
        file.write_bytes(b"garbage")
        file.chmod(0o600)
    else:
        interlock.Space("shm:default").close()
        with file.open("r+b") as header:
            header.seek(8)
            header.write((77).to_bytes(4, sys.byteorder))
    return file
