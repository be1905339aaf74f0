"""uvicorn: tasks in the event loops of several worker processes."""

from __future__ import annotations

import json

import pytest

import interlock
from tests.scenarios.running import MISSING, Server, ask_at_once, ask_while_holders_die, until

pytest.importorskip("fastapi", reason=MISSING.format("fastapi"))
pytest.importorskip("uvicorn", reason=MISSING.format("uvicorn"))

CLIENTS, REQUESTS = 16, 25


def order(server: Server) -> tuple[int, int]:
    """The number of a new order, and the process that gave it."""
    answer = json.loads(server.ask("POST", "/orders"))
    return answer["number"], answer["process"]


def load(server: Server, requests: int = REQUESTS) -> tuple[list[int], set[int]]:
    """Clients that order, all at once. Returns the numbers, in order, and which processes gave them."""
    answers = ask_at_once(CLIENTS, requests, lambda: order(server))
    return sorted(number for number, _ in answers), {process for _, process in answers}


def test_interlock_numbers_all(directory, tmp_path):
    processes: set[int] = set()
    total = 0
    with Server("uvicorn_fastapi_orders", tmp_path) as server:

        def numbers_all_in_several_processes() -> bool:
            nonlocal total
            numbers, served = load(server)
            assert numbers == list(range(total + 1, total + CLIENTS * REQUESTS + 1))
            total = int(server.get("/total"))
            assert total == numbers[-1]
            processes.update(served)
            return len(processes) > 1

        until(numbers_all_in_several_processes, server, "uvicorn uses one process only")
        server.stop()


def test_asyncio_loses_updates(directory, tmp_path):
    with Server("uvicorn_fastapi_orders", tmp_path, COUNTER_LOCK="asyncio") as server:

        def gives_numbers_twice() -> bool:
            numbers, processes = load(server)
            distinct = len(set(numbers))
            assert distinct == len(numbers) or len(processes) > 1
            return distinct < len(numbers)

        until(gives_numbers_twice, server, "no number was given twice, for all that each process has a lock of its own")
        server.stop()


def test_workers_killed_while_they_hold_it(space, tmp_path):
    """The tasks of the others go on, and so do those of the worker that uvicorn starts in its place."""
    lock = interlock.Lock("orders", space=space)
    with Server("uvicorn_fastapi_orders", tmp_path) as server:
        numbers, failed, killed = ask_while_holders_die(server, lock, CLIENTS, lambda: order(server)[0])
        before = int(server.get("/total"))
        afterwards, processes = load(server, 5)
        server.stop()
    assert len(set(numbers)) == len(numbers)
    assert len(numbers) <= before <= len(numbers) + len(failed)
    assert afterwards == list(range(before + 1, before + CLIENTS * 5 + 1))
    assert processes.isdisjoint(killed)
