"""Locks that are taken away from a living holder."""

from __future__ import annotations

import os

import pytest

import interlock
from tests.support import HOLDER, Program, Task, until

HOLDS = """
    import interlock, sys
    kind = sys.argv[1]
    if kind == "RWLock":
        lock = interlock.RWLock("x").write
    elif kind == "Value":
        lock = interlock.Value("x", "i")
    else:
        lock = getattr(interlock, kind)("x")
    lock.acquire()
    print("held", flush=True)
    for line in sys.stdin:
        try:
            lock.release()
            print("released", flush=True)
        except interlock.NotHeld as error:
            print(error, flush=True)
"""


def handle(space, kind):
    match kind:
        case "RWLock":
            return space.RWLock("x").write
        case "Value":
            return space.Value("x", "i")
        case _:
            return getattr(space, kind)("x")


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RWLock", "Condition", "Value"])
def test_the_next_one_is_told_and_the_former_one_too(space, kind):
    with Program(HOLDS, kind) as holder:
        assert holder.line() == "held"
        lock = handle(space, kind)
        task = Task(lock.acquire)
        until(lambda: lock.waiters)
        victim = space.break_lock("x")
        assert victim.pid == holder.pid
        assert victim.thread_id == holder.pid  # its main thread
        assert task.result() is True
        if kind != "Condition":
            assert lock.recovered.pid == holder.pid
        holder.say()
        told = holder.line()
        assert "was taken from this process" in told
        assert f"by process {os.getpid()}" in told
        holder.say()
        assert "was taken" not in holder.line()  # that is told once; this is just a wrong release


def test_the_former_one_is_told_when_it_is_free_again(space):
    with Program(HOLDER, "x") as holder:
        assert holder.line() == "held"
        space.break_lock("x")
        with space.Lock("x"):
            pass
        holder.say()
        holder.process.wait(60)
        assert "NotHeld" in holder.process.stderr.read()


def test_nothing_to_break(space):
    with pytest.raises(KeyError):
        space.break_lock("x")
    lock = space.Lock("x")
    with pytest.raises(RuntimeError, match="nobody holds"):
        space.break_lock("x")
    lock.acquire()
    lock.release()
    space.BoundedSemaphore("permits").acquire()
    table = space.RWLock("table")
    with table.read:
        for name in ("permits", "table"):
            with pytest.raises((TypeError, RuntimeError), match=r"cannot be broken|nobody holds"):
                space.break_lock(name)
    with pytest.raises(KeyError):
        space.break_lock("")


def test_ones_own(space):
    """What another process would be told, this one is."""
    lock = space.Lock("x")
    lock.acquire()
    assert space.break_lock("x").pid == lock.space.processes()[0].pid
    assert not lock.locked()
    with pytest.raises(interlock.NotHeld, match="was taken from this process"):
        lock.release()
    with lock:
        assert lock.recovered is not None
