"""Containers: processes that do not see each other, in PID namespaces of their own, with one directory for spaces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import interlock
from tests.support import HOLDER, Spoken

# A child of unshare is the first process of the namespace; unshare itself is killed with it.
APART = ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.fixture
def holder(space):
    if subprocess.run([*APART, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no permission to make a PID namespace")
    with Spoken([*APART, sys.executable, "-c", textwrap.dedent(HOLDER), "orders"]) as program:
        assert program.line() == "held"
        yield program


def inside(holder):
    """The pid that the process in the namespace has for us."""
    [pid] = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    return int(pid)


def test_they_exclude_each_other(space, holder):
    lock = space.Lock("orders")
    assert not lock.acquire(timeout=0.1)
    assert lock.owner.pid == 1  # as it is called where it lives
    assert lock.owner.thread_name is None  # and not that of our process 1
    holder.say()
    assert holder.line() == "released"
    assert lock.acquire(timeout=60)
    assert lock.recovered is None
    lock.release()


def test_a_death_is_noticed(space, holder):
    lock = interlock.Lock("orders", space=space)
    os.kill(inside(holder), signal.SIGKILL)
    assert lock.acquire(timeout=60)
    assert lock.recovered.pid == 1
    lock.release()
