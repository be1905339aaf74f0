"""Value's lock."""

from __future__ import annotations

import os
import threading

import pytest

import interlock
from tests.ctypes_types import Point
from tests.support import Task, fail, held_elsewhere, signal_when_asleep, sleeping


def test_reading_and_writing_wait_for_the_lock(space, value):
    point = space.Value("p", Point)
    for handle, name in ((value, "value"), (point, "x")):
        for access in (lambda h=handle, n=name: getattr(h, n), lambda h=handle, n=name: setattr(h, n, 3)):
            with held_elsewhere(handle):
                task = sleeping(access)
            assert task.result() in (5, 0, None)
        assert getattr(handle, name) == 3


def test_the_lock_is_re_entrant(value):
    assert value.get_lock() is value
    with value as taken, value.get_lock():
        assert taken is True
        value.value += 1
        assert value.value == 6
        assert value.locked()
        assert Task(value.acquire, blocking=False).result() is False
    assert not value.locked()
    assert value.value == 6
    with pytest.raises(interlock.NotHeld):
        value.release()


def test_two_handles_have_one_lock(space, value):
    other = space.Value("x", "q")
    with value:
        assert Task(other.acquire, timeout=0.01).result() is False
        assert other.acquire(blocking=False)
        other.release()
    with other.hold(timeout=1) as held:
        assert held is other
        with pytest.raises(interlock.AcquireTimeout, match="Value 'x'"):
            Task(lambda: value.hold(timeout=0.01).__enter__()).result()
    assert not value.locked()


def test_owner_fence_and_statistics(space, value):
    assert value.owner is None
    assert value.recovered is None
    with value:
        fence = value.fence
        assert (value.owner.pid, value.owner.thread_id) == (os.getpid(), threading.get_native_id())
        assert value.recovered is None
    before = value.statistics()
    with space.Value("x", "q") as taken:
        assert taken
        assert value.fence > fence
    assert value.owner is None
    after = value.statistics()
    assert after.acquisitions == before.acquisitions + 1
    assert (after.contended, after.recoveries) == (before.contended, 0)


def test_an_error_under_the_lock_lets_go_of_it(space):
    for lock in (True, space.Lock("l"), space.RLock("r")):
        value = space.Value(None, Point, lock=lock)
        with pytest.raises(TypeError):
            value.x = "no number"
        with pytest.raises(ArithmeticError), value:
            fail()
        assert Task(value.acquire, blocking=False).result() is True


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out(value, to_main):
    with held_elsewhere(value):
        for access in (lambda: value.value, lambda: setattr(value, "value", 8)):
            with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
                access()
    assert Task(value.acquire, blocking=False).result() is True  # and it ends holding it
    assert value.get_obj().value == 5


def test_without_a_lock(space):
    raw, guarded = space.Value("x", "i", 1, lock=False), space.Value("x", "i")
    for missing in ("get_lock", "get_obj", "acquire", "release", "__enter__", "owner"):
        assert not hasattr(raw, missing)
    point = space.Value("p", Point, 1, lock=False)
    with held_elsewhere(guarded), held_elsewhere(space.Value("p", Point)):
        raw.value += 1
        point.x += 1
        assert (raw.value, point.x) == (2, 2)
    assert guarded.value == 2


@pytest.mark.parametrize("lock", [True, None])
def test_with_a_lock_of_its_own(space, lock):
    assert space.Value("x", "i", lock=lock).acquire(blocking=False)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("name", ["l", None])
def test_under_a_given_lock(space, kind, name):
    lock = getattr(space, kind)(name)
    value, point = space.Value("x", "i", 1, lock=lock), interlock.Value("p", Point, lock=lock)
    assert value.get_lock() is lock
    assert point.space is space  # it lives with its lock
    with value as taken:
        assert taken is True
        assert lock.locked()
        value.get_obj().value += 1
        assert Task(lock.acquire, blocking=False).result() is False
    assert not lock.locked()
    assert value.acquire(timeout=1)
    tasks = [sleeping(lambda: value.value), sleeping(lambda: point.x), sleeping(setattr, point, "y", 1)]
    value.release()
    assert [task.result() for task in tasks] == [2, 0, None]
    assert not lock.locked()


def test_one_lock_for_several(space):
    lock = space.RLock("l")
    values = [space.Value(f"v{number}", "i", lock=lock) for number in range(3)]
    with lock:
        for value in values:
            value.value += 1
        assert Task(values[0].acquire, blocking=False).result() is False
    assert [value.value for value in values] == [1, 1, 1]


@pytest.mark.parametrize(
    "make",
    [lambda space: threading.Lock(), lambda space: threading.RLock(), lambda space: 3, lambda space: "l",
     lambda space: space.Semaphore("s"), lambda space: space.Condition("c"), lambda space: interlock.Lock],
)  # fmt: skip
def test_what_is_no_lock(space, make):
    lock = make(space)
    before = space.objects()
    with pytest.raises(TypeError, match=r"lock must be True, False, or an interlock Lock or RLock, not .* other processes"):
        space.Value("x", "i", lock=lock)
    assert space.objects() == before


def test_a_lock_of_another_space(space):
    """As for a Condition: who finds both by their names in one space must find the same."""
    other = interlock.Space("shm:other")
    with pytest.raises(ValueError, match="same space"):
        interlock.Value("x", "i", lock=other.Lock("l"), space=space)
