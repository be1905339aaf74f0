"""`interlock show`: what is told of each kind, for programs and for people."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from tests.cli import cli
from tests.process.test_list import CONFUSING
from tests.process.test_run_mistakes import says
from tests.support import HOLDER, Program, sleeping, until
from tests.terminal import Terminal, harmless


def shown(name, *words):
    done = cli("show", "--json", *words, "--", name)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert facts["name"] == name
    return facts


def lines(name):
    """Title -> text."""
    done = cli("show", "--", name)
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first == name
    return {line[2:14].rstrip(): line[14:] for line in rest}


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
def test_owner(kind, space):
    lock = getattr(space, kind)("orders")
    facts = shown("orders")
    assert (facts["kind"], facts["held"], facts["owners"], facts["recovered"]) == (kind, False, [], None)
    assert facts["statistics"] == {"acquisitions": 0, "contended": 0, "recoveries": 0, "waited": 0.0}
    assert lines("orders")["held"] == "no"
    began = time.time()
    with lock:
        facts = shown("orders")
        (owner,) = facts["owners"]
        assert (owner["pid"], owner["thread_id"]) == (os.getpid(), threading.get_native_id())
        assert "pytest" in owner["program"]
        assert owner["host"] == os.uname().nodename
        assert began - 1 <= owner["since"] <= time.time()
        assert (facts["held"], facts["statistics"]["acquisitions"], facts["waiters"]) == (True, 1, [])
        text = lines("orders")
        assert text["held by"].startswith(f"process {os.getpid()} thread ")
        assert " ago" in text["since"]
        assert text["taken"].startswith("1 time, 0 after waiting")
    assert shown("orders")["fence"] == facts["fence"]
    assert shown("orders")["held"] is False


def test_a_name_that_nobody_made(space):
    for _ in range(2):
        for words in ([], ["--json"]):
            line = says(cli("show", *words, "orders"), 1)
            assert line.startswith("interlock: 'orders' is no name in the space at ")
    assert space.objects() == []


def test_waiters(space):
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        lock = space.Lock("orders")
        first = sleeping(lock.acquire)
        until(lambda: len(lock.waiters) == 1)
        second = sleeping(lock.acquire)
        until(lambda: len(lock.waiters) == 2)
        facts = shown("orders")
        assert [each["thread_id"] for each in facts["waiters"]] == [first.native_id, second.native_id]
        assert facts["waiters"][0]["since"] < facts["waiters"][1]["since"]
        assert [(each["pid"], each["notice"]) for each in facts["waiters"]] == [(os.getpid(), False)] * 2
        assert facts["owners"][0]["pid"] == holder.pid
        assert lines("orders")["waiters 2"].startswith(f"process {os.getpid()} thread ")
        holder.kill()
        until(lambda: not first.is_alive() or not second.is_alive())
        facts = shown("orders")
        assert (facts["recovered"]["pid"], facts["owners"][0]["pid"]) == (holder.pid, os.getpid())
        assert time.time() - 60 < facts["recovered"]["died"] <= time.time()
        assert facts["statistics"]["recoveries"] == 1
        assert f"left by process {holder.pid}" in lines("orders")["recovered"]
        lock.release()
        assert (first.result(), second.result()) == (True, True)
    assert shown("orders")["recovered"] is None
    assert shown("orders")["statistics"]["contended"] == 2


def test_orphaned(space):
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        holder.kill()
    facts = shown("orders")
    assert (facts["held"], facts["recovered"]["pid"]) == (False, holder.pid)
    assert "who died holding it" in lines("orders")["orphaned"]


def test_a_death_that_nobody_had_noticed(space):
    """As in test_list: whoever asks has a slot that another dead one left, and notices by asking."""
    with Program(HOLDER, "other") as other:
        assert other.line() == "held"
        with Program(HOLDER, "orders") as holder:
            assert holder.line() == "held"
            other.kill()
            holder.kill()
            facts = shown("orders")
            assert (facts["held"], facts["owners"], facts["recovered"]["pid"]) == (False, [], holder.pid)


def test_readers_and_the_writer(space):
    lock = space.RWLock("table")
    with lock.read:
        (owner,) = shown("table")["owners"]
        assert (owner["pid"], owner["count"], owner["since"]) == (os.getpid(), 1, None)
        assert lines("table")["held by"].endswith(", 1 read")
        writer = sleeping(lock.write.acquire)
        until(lambda: lock.write.waiters)
        facts = shown("table")
        assert [owner["count"] for owner in facts["owners"]] == [1]
        assert facts["waiters"][0]["thread_id"] == writer.native_id
    assert writer.result() is True
    (owner,) = shown("table")["owners"]
    assert owner["thread_id"] == writer.native_id


def test_permits(space):
    jobs = space.BoundedSemaphore("jobs", 5)
    assert (shown("jobs")["permits"], shown("jobs")["free"], shown("jobs")["held"]) == (5, 5, False)
    for _ in range(3):
        jobs.acquire()
    jobs.release()
    facts = shown("jobs")
    assert (facts["free"], facts["held"], facts["owners"][0]["count"]) == (3, True, 2)
    assert "fence" not in facts
    assert lines("jobs")["permits"] == "5, of which 3 are free"
    assert lines("jobs")["held by"].endswith(", 2 permits")


def test_what_nobody_can_have(space):
    semaphore, event, barrier = space.Semaphore("count", 3), space.Event("flag"), space.Barrier("gate", 3)
    assert [shown(name)["held"] for name in ("count", "flag", "gate")] == [None] * 3
    assert shown("count")["value"] == 3
    semaphore.acquire()
    assert shown("count")["value"] == 2
    assert lines("count")["value"] == "2"
    assert shown("flag")["is_set"] is False
    waiter = sleeping(event.wait)
    until(lambda: event.waiters)
    assert shown("flag")["waiters"][0]["notice"] is True
    assert " waits to be told since " in lines("flag")["waiters 1"]
    event.set()
    assert waiter.result() is True
    assert shown("flag")["is_set"] is True
    assert lines("flag")["set"] == "yes"
    party = sleeping(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    facts = shown("gate")
    assert (facts["parties"], facts["waiting"], facts["broken"]) == (3, 1, False)
    barrier.abort()
    party.join()
    assert shown("gate")["broken"] is True
    assert lines("gate")["broken"] == "yes"


def test_data(space):
    value = space.Value("number", "i", 7)
    with value.get_lock():
        facts = shown("number")
        assert (facts["kind"], facts["held"], facts["owners"][0]["pid"]) == ("Value", True, os.getpid())
    _array = space.Array("numbers", "d", 3)
    assert shown("numbers")["kind"] == "Array"


def test_an_anonymous_one(space):
    made_up = space.Semaphore()
    assert shown(made_up.name)["anonymous"] is True


@pytest.mark.parametrize("name", CONFUSING)
def test_confusing_names(name, space):
    done = cli("show", "--", name)
    assert done.returncode == 1
    assert done.stderr[:-1].isprintable()
    _kept = space.Semaphore(name)
    assert shown(name)["kind"] == "Semaphore"
    with Terminal("show", "--", name, columns=20) as terminal:
        status, text = terminal.end()
    assert status == 0
    harmless(text)


@pytest.mark.parametrize("name", ["", "x" * 300, "é" * 128])
def test_names_that_none_can_have(name, space):
    says(cli("show", name), 1)


def test_a_name_that_is_not_utf_8(space):
    assert "not UTF-8" in says(cli("show", "\udcff"), os.EX_USAGE)
