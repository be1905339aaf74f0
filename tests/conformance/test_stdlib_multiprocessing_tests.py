"""CPython's own tests of multiprocessing's locks on interlock.mp, under each start method, in a program of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import HANG_SECONDS

pytest.importorskip("test._test_multiprocessing", reason="this Python was built without its own test package")

CASES = 33  # in Python 3.11; later ones have more


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_locks_of_multiprocessing(directory, method):
    ended = subprocess.run(
        [sys.executable, "-m", "unittest", "tests.conformance.multiprocessing_cases"],
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "INTERLOCK_TEST_METHOD": method, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=3 * HANG_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.rstrip().endswith("OK"), ended.stderr  # and not "OK (skipped=…)"
    assert int(re.search(r"Ran (\d+) tests", ended.stderr)[1]) >= CASES
