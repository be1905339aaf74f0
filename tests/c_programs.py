"""Programs in C that tests compile with what `interlock config` prints, and speak with."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import interlock
from tests.support import HANG_SECONDS, Program

ROOT = Path(__file__).resolve().parents[1]
STRICT = "-Wall -Wextra -Wconversion -Werror"


def config(*options: str, package: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`interlock config`, of this package or of another one."""
    path = package or Path(interlock.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "interlock", "config", *options],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


def compile_program(source: Path, program: Path, *options: str, package: Path | None = None) -> Path:
    """Compiles it as a shell would that reads what `interlock config` prints."""
    done = config("--cflags", "--libs", *options, package=package)
    assert done.returncode == 0, done.stderr
    line = f"cc {STRICT} -O2 -o {shlex.quote(str(program))} {shlex.quote(str(source))} {done.stdout.strip()}"
    made = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    assert made.returncode == 0, made.stderr
    return program


class CProgram(Program):
    """A compiled program, spoken with line by line."""

    def __init__(self, program: Path, *arguments: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            [program, *map(str, arguments)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
