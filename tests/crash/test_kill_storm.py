"""A short kill storm; `.ci/run` runs a long one."""

from __future__ import annotations

import subprocess
import sys

from tests.support import HANG_SECONDS


def test_kill_storm():
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.kill_storm", "--seconds", "5"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
