"""Short storms; `.ci/run` runs long ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import HANG_SECONDS


@pytest.mark.parametrize(("storm", "seconds"), [("kill_storm", 5), ("kinds_storm", 5), ("cancel_storm", 3)])
def test_storm(storm, seconds):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.crash.{storm}", "--seconds", str(seconds)],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
