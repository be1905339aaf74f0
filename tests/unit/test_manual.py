"""The man page is what the commands say of themselves, and such that man can print it."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

MAN = Path(__file__).parents[2] / "man"


def test_it_is_up_to_date():
    assert runpy.run_path(str(MAN / "write.py"))["page"]() == (MAN / "interlock.1").read_text(), "run python3 man/write.py"


def test_it_can_be_printed():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed; .ci/run installs it")
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", str(MAN / "interlock.1")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "interlock run [OPTIONS] NAME" in done.stdout.replace("\x1b[1m", "").replace("\x1b[0m", "")
