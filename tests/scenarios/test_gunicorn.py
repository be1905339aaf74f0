"""gunicorn: worker processes that have no parent in common with the lock, or have."""

from __future__ import annotations

import pytest

import interlock
from tests.scenarios.running import MISSING, Server, ask_at_once, ask_while_holders_die

pytest.importorskip("gunicorn", reason=MISSING.format("gunicorn"))

CLIENTS, REQUESTS = 8, 50

# A worker that is just being forked when gunicorn stops misses the signal, and is killed after this time (else 30 s).
QUICK_STOP = ("--graceful-timeout", "1")


def load(server: Server, requests: int = REQUESTS) -> list[int]:
    """Clients that let the server count, all at once. Returns its answers, in order."""
    return sorted(ask_at_once(CLIENTS, requests, lambda: int(server.get("/add"))))


def count(tmp_path, lock: str, *options: str) -> tuple[int, list[int]]:
    with Server("gunicorn_counter", tmp_path, *QUICK_STOP, *options, COUNTER_LOCK=lock) as server:
        answers = load(server)
        total = int(server.get("/total"))
        server.stop()
    return total, answers


ALL = (CLIENTS * REQUESTS, list(range(1, CLIENTS * REQUESTS + 1)))


GEVENT = ("--worker-class", "gevent")


@pytest.mark.parametrize("options", [(), ("--preload",), GEVENT, (*GEVENT, "--preload")])
def test_interlock_counts_all(directory, tmp_path, options):
    assert count(tmp_path, "interlock", *options) == ALL


@pytest.mark.parametrize(
    ("lock", "options"),
    [("threading", ()), ("threading", ("--preload",)), ("multiprocessing", ())],
)
def test_the_standard_library_loses_updates(directory, tmp_path, lock, options):
    total, answers = count(tmp_path, lock, *options)
    assert 0 < total < len(answers) == CLIENTS * REQUESTS


def test_multiprocessing_counts_all_if_made_before_the_workers(directory, tmp_path):
    """What is lost in the others is lost for want of a lock, and by nothing else."""
    assert count(tmp_path, "multiprocessing", "--preload") == ALL


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_workers_killed_while_they_hold_it(space, tmp_path, options):
    """The others go on at once, and so does the worker that gunicorn starts in its place."""
    lock = interlock.Lock("counter", space=space)
    with Server("gunicorn_counter", tmp_path, *QUICK_STOP, *options) as server:
        answered, _, killed = ask_while_holders_die(server, lock, CLIENTS, lambda: int(server.get("/add")))
        load(server, 5)
        total = int(server.get("/total"))
        server.stop()
    assert len(set(answered)) == len(answered)
    assert len(answered) <= total - CLIENTS * 5 <= len(answered) + len(killed)
