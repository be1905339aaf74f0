"""Celery: the tasks of docs/how-to/celery.md, in the forked processes of a worker, one of which is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import interlock
from tests.docs.pages import blocks
from tests.scenarios.running import MISSING, Running, beside_python
from tests.support import Program

pytest.importorskip("celery", reason=MISSING.format("celery"))

MORE = """
import os, signal
from tasks import app, charge
import interlock

@app.task
def meet():
    interlock.Barrier("all at once", 4).wait(60)
    return os.getpid()

@app.task
def die(customer):
    with interlock.Lock(f"account-{customer}"):
        os.kill(os.getpid(), signal.SIGKILL)
"""

CLIENT = """
from more import charge, die, meet
from celery.exceptions import WorkerLostError

meetings = [meet.delay() for _ in range(4)]
print(len({meeting.get(timeout=100) for meeting in meetings}), flush=True)
death = die.delay("ann")
charges = [charge.delay("ann", 5) for _ in range(100)]
try:
    death.get(timeout=100)
except WorkerLostError:
    print("lost", flush=True)
for each in charges:
    each.get(timeout=100)
print(open("ann.txt").read().strip(), flush=True)
"""


def test_a_worker_that_dies_holds_up_nobody(space, tmp_path):
    [tasks] = [block for block in blocks("docs/how-to/celery.md") if block.file == "tasks.py"]
    (tmp_path / "tasks.py").write_text(tasks.source)
    (tmp_path / "more.py").write_text(MORE)
    lock = interlock.Lock("account-ann", space=space)
    argv = [beside_python("celery"), "--app", "more", "worker", "--pool", "prefork", "--concurrency", "4"]
    environment = {**os.environ, "PYTHONPATH": f"{Path(interlock.__file__).parents[1]}"}
    with Running(argv, tmp_path), Program(CLIENT, cwd=tmp_path, env=environment) as client:
        assert client.line() == "4"
        assert client.line() == "lost"
        assert client.line() == "500"
        assert client.end() == (0, "", "")
    assert lock.statistics().recoveries == 1
