"""`interlock unlink`: what is forgotten, and what is not."""

from __future__ import annotations

import os

import pytest

from tests.cli import cli
from tests.process.test_list import CONFUSING
from tests.process.test_run_mistakes import says
from tests.support import HOLDER, Program, sleeping, until


def names(space):
    return {info.name for info in space.objects()}


def test_forgotten(space):
    kept = [space.Semaphore("a"), space.Event("b"), space.Lock("c"), space.Barrier("d", 2)]
    kept[0].release(3)
    assert cli("unlink", "a", "b", "c").returncode == 0
    assert names(space) == {"d"}
    assert kept[0].value == 1


def test_unknown(space):
    _kept = space.Semaphore("known")
    done = cli("unlink", "one", "known", "two")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("interlock: 'one' is no name in the space at ")
    assert second.startswith("interlock: 'two' is no name in the space at ")
    assert names(space) == set()


def test_held(space):
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        line = says(cli("unlink", "orders"), 1)
        assert f"'orders' was not unlinked: it is held by process {holder.pid} thread " in line
        assert names(space) == {"orders"}
        holder.kill()
    assert cli("unlink", "orders").returncode == 0
    assert names(space) == set()


@pytest.mark.parametrize("kind", ["RWLock", "BoundedSemaphore"])
def test_shared(kind, space):
    handle = getattr(space, kind)("orders")
    with handle.read if kind == "RWLock" else handle:
        assert f"it is held by process {os.getpid()} (" in says(cli("unlink", "orders"), 1)
    assert cli("unlink", "orders").returncode == 0


def test_waited_for(space):
    event = space.Event("flag")
    waiter = sleeping(event.wait)
    until(lambda: event.waiters)
    line = says(cli("unlink", "flag"), 1)
    assert f"process {os.getpid()} thread " in line
    assert " waits for it" in line
    another = sleeping(event.wait)
    until(lambda: len(event.waiters) == 2)
    assert " and 1 more wait for it" in says(cli("unlink", "flag"), 1)
    event.set()
    assert waiter.result() is True
    assert another.result() is True
    until(lambda: cli("unlink", "flag").returncode == 0)


def test_data_that_is_open(space):
    value = space.Value("number", "i", 7)
    assert "a process has the Value open" in says(cli("unlink", "number"), 1)
    assert value.value == 7
    del value
    assert cli("unlink", "number").returncode == 0
    assert names(space) == set()


@pytest.mark.parametrize("name", CONFUSING)
def test_confusing_names(name, space):
    says(cli("unlink", "--", name), 1)
    _kept = space.Semaphore(name)
    assert cli("unlink", "--", name).returncode == 0
    assert names(space) == set()


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_names_that_none_can_have(name, space):
    says(cli("unlink", name), 1)


def test_a_name_that_is_not_utf_8(space):
    _kept = space.Semaphore("known")
    assert "nothing was done" in says(cli("unlink", "known", "\udcff"), os.EX_USAGE)
    assert names(space) == {"known"}
