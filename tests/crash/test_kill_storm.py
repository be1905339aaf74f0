"""Short kill storms; `.ci/run` runs long ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import HANG_SECONDS


@pytest.mark.parametrize("storm", ["kill_storm", "kinds_storm"])
def test_kill_storm(storm):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.crash.{storm}", "--seconds", "5"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
