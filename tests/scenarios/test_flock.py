"""Scripts written for flock(1), through a file `flock` that calls `interlock run`: the lines of flock's manual page."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli import INTERLOCK, environment
from tests.support import HANG_SECONDS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")

SCRIPT = r"""#!/bin/bash
flock --shared lockfile bash -c 'echo held >pipe; read line <pipe2; echo over' &
read line <pipe
flock --nonblock --conflict-exit-code 123 lockfile echo never; echo $?
flock --nb --exclusive -E 7 lockfile echo never; echo $?
flock -w .05 lockfile -c 'echo never'; echo $?
flock --shared lockfile echo shared; echo $?
exec 4<>lockfile
flock --nonblock --exclusive -E 99 4; echo $?
flock --bogus lockfile true 2>/dev/null; echo $?
echo end >pipe2
flock -x --timeout 100 lockfile echo 'a b  c'; echo $?
wait $!; echo $?
flock lockfile -c 'exit 42'; echo $?
flock lockfile sh -c 'kill -9 $$'; echo $?
exec ./again
"""
# The manual page's boilerplate, by which a script runs under a lock of its own.
AGAIN = r"""#!/bin/bash
[ "${FLOCKER}" != "$0" ] && exec env FLOCKER="$0" flock -en "$0" "$0" "$@" || :
echo "again, under the script's own lock"
flock -n "$0" true; echo $?
"""
PRINTED = """\
123
7
1
shared
0
99
64
over
a b  c
0
0
42
137
again, under the script's own lock
1
"""


@pytest.mark.parametrize("program", ["flock", "interlock run"])
def test_lines_of_the_manual_page(program, directory, tmp_path):
    """With flock itself, too: what is to be printed is what that prints."""
    if program == "flock" and shutil.which("flock") is None:
        pytest.skip("there is no flock on this machine")
    path = os.environ["PATH"]
    if program == "interlock run":
        for file, line in {
            "interlock": f'exec {shlex.join(INTERLOCK)} "$@"',
            "flock": f'exec bash {shlex.quote(str(Path(__file__).with_name("flock")))} "$@"',
        }.items():
            (tmp_path / file).write_text(f"#!/bin/sh\n{line}\n")
            (tmp_path / file).chmod(0o755)
        path = f"{tmp_path}:{path}"
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe2")
    for name, text in {"script": SCRIPT, "again": AGAIN}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["./script"],
        cwd=tmp_path,
        env=environment(PATH=path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.stdout == PRINTED, done.stderr
