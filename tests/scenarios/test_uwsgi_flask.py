"""uWSGI: threads in several processes, forked by a program that is not Python."""

from __future__ import annotations

import threading

import pytest

from tests.scenarios.running import MISSING, Server, beside_python, until

pytest.importorskip("flask", reason=MISSING.format("flask"))
if beside_python("uwsgi") is None:
    pytest.skip(MISSING.format("uwsgi"), allow_module_level=True)

RUNS = 8


def start_runs(server: Server) -> set[str]:
    """Starts the runs, all at once, and waits until they have ended. Returns the processes that they were in."""
    begun = server.output().count("counted to a hundred")
    answers: list[str] = []
    clients = [threading.Thread(target=lambda: answers.append(server.get("/run"))) for _ in range(RUNS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert len(answers) == RUNS
    until(
        lambda: server.output().count("counted to a hundred") == begun + RUNS,
        server,
        "the total stays at {}",
        lambda: server.get("/total"),
    )
    return set(answers)


@pytest.mark.parametrize("without", [None, "--lazy-apps"])
def test_interlock_counts_all(directory, tmp_path, without):
    """The lock may be made in each process, or once in uWSGI's master, which the others are forked from."""
    processes: set[str] = set()
    with Server("uwsgi_flask_counter", tmp_path, without=without) as server:

        def counts_all_in_several_processes() -> bool:
            assert server.get("/clear") == "clear"
            processes.update(start_runs(server))
            assert int(server.get("/total")) == 100 * RUNS
            return len(processes) > 1

        until(counts_all_in_several_processes, server, "uWSGI uses one process only")
        server.stop()


def test_multiprocessing_loses_updates(directory, tmp_path):
    with Server("uwsgi_flask_counter", tmp_path, COUNTER_LOCK="multiprocessing") as server:

        def loses_some() -> bool:
            server.get("/clear")
            processes = start_runs(server)
            total = int(server.get("/total"))
            assert total == 100 * RUNS or (total < 100 * RUNS and len(processes) > 1)
            return total < 100 * RUNS

        until(loses_some, server, "no update was lost, for all that each process has a lock of its own")
        server.stop()
