"""Short storms; `.ci/run` runs long ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import HANG_SECONDS


@pytest.mark.parametrize(
    ("storm", "options"),
    [
        ("kill_storm", ["--seconds", "5"]),
        ("kinds_storm", ["--seconds", "5"]),
        ("cancel_storm", ["--seconds", "3"]),
        ("deadlock_storm", ["--acquisitions", "30000", "--most", "3"]),
    ],
)
def test_storm(storm, options):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.crash.{storm}", *options],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
