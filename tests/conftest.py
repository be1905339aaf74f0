"""Every test has a space of its own, in a directory of its own, which goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import interlock

if TYPE_CHECKING:
    from collections.abc import Iterator

# The background job of a shell starts with some of them ignored, nohup's with another, and so do their children, to which
# some of our tests send these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for spaces, on the file system where they usually live; INTERLOCK_DIR says so to child processes."""
    home = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="interlock-test-", dir=home))
    monkeypatch.setenv("INTERLOCK_DIR", str(path))
    monkeypatch.delenv("INTERLOCK_SPACE", raising=False)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def space(directory: Path) -> interlock.Space:
    """The default space of `directory`: the one that programs started by the test use without saying so."""
    return interlock.Space("shm:default")


@pytest.fixture
def tiny(directory: Path) -> Iterator[Path]:
    """A tmpfs of three megabytes."""
    mount = directory / "tiny"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mount], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no permission to mount a tmpfs: {made.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)
