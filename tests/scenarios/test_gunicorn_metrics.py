"""gunicorn, scraped: whichever worker answers, the counts are of all."""

from __future__ import annotations

import http.client
import os
import signal
from contextlib import suppress

import pytest

from tests.scenarios.running import MISSING, Server, ask_at_once, until

pytest.importorskip("gunicorn", reason=MISSING.format("gunicorn"))
pytest.importorskip("prometheus_client", reason=MISSING.format("prometheus_client"))

from prometheus_client.parser import text_string_to_metric_families as parse

CLIENTS, REQUESTS, WORKERS = 8, 25, 2
QUICK_STOP = ("--graceful-timeout", "1")


def scrape(server: Server) -> dict[str, float]:
    return {sample.name: sample.value for family in parse(server.get("/metrics")) for sample in family.samples}


def scrapes(server: Server, workers: int) -> dict[float, dict[str, float]]:
    """What each worker says, by its pid: asked until so many have answered."""
    answers: dict[float, dict[str, float]] = {}

    def all_have_answered() -> bool:
        for found in ask_at_once(CLIENTS, 1, lambda: scrape(server)):
            answers[found["worker_pid"]] = found
        return len(answers) >= workers

    until(all_have_answered, server, "not all workers have answered")
    return answers


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_whichever_worker_is_scraped(directory, tmp_path, options):
    with Server("gunicorn_metrics", tmp_path, *QUICK_STOP, *options) as server:
        ask_at_once(CLIENTS, REQUESTS, lambda: server.get("/work"))
        answers = scrapes(server, WORKERS)
        assert [found["interlock_acquisitions_total"] for found in answers.values()] == [CLIENTS * REQUESTS] * WORKERS
        assert [found["interlock_up"] for found in answers.values()] == [1] * WORKERS
        # Each of the workers' own counters says less, and only together they say as much.
        assert sum(found["worked_total"] for found in answers.values()) == CLIENTS * REQUESTS
        victim = int(next(iter(answers)))
        os.kill(victim, signal.SIGKILL)

        def another_answers() -> bool:
            with suppress(ConnectionError, http.client.HTTPException):
                found = scrape(server)
                assert found["interlock_acquisitions_total"] == CLIENTS * REQUESTS
                return found["worker_pid"] not in answers
            return False

        until(another_answers, server, "no worker has come in place of the one that was killed")
        server.stop()
