"""Semaphore within one process."""

from __future__ import annotations

import gc
import pickle
import random
import re
import threading
import time

import pytest

import interlock
from tests.support import HANG_SECONDS, Task, anonymous, change, fail, signal_when_asleep, sleeping, until

MOST = 2**31 - 1


@pytest.fixture
def semaphore(space):
    return interlock.Semaphore("x", 2, space=space)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((3,), {}, TypeError, re.escape('write Semaphore("name", 3), or Semaphore(value=3) for an anonymous one')),
        (("y", -1), {}, ValueError, ">= 0"),
        (("y", -(10**30)), {}, ValueError, ">= 0"),
        (("y", MOST + 1), {}, OverflowError, "2147483647"),
        (("y", 10**30), {}, OverflowError, "2147483647"),
        (("y", 1.0), {}, TypeError, "float"),
        (("y", "1"), {}, TypeError, "str"),
        (("y", None), {}, TypeError, "NoneType"),
        (("y", 1, 2), {}, TypeError, "positional"),
        (("y",), {"count": 1}, TypeError, "count"),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        interlock.Semaphore(*args, space=space, **kwargs)
    assert space.objects() == []


@pytest.mark.parametrize("value", [0, 1, True, MOST])
def test_good_values(space, value):
    assert interlock.Semaphore("y", value, space=space).value == value


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((0,), {}, ValueError, "one or more"),
        ((-1,), {}, ValueError, "one or more"),
        ((), {"n": -(10**30)}, ValueError, "one or more"),
        ((MOST + 1,), {}, OverflowError, "2147483647"),
        ((10**30,), {}, OverflowError, "2147483647"),
        ((1.0,), {}, TypeError, "float"),
        ((None,), {}, TypeError, "NoneType"),
        ((1, 1), {}, TypeError, "at most"),
        ((1,), {"n": 1}, TypeError, "at most"),
        ((), {"m": 1}, TypeError, "at most"),
    ],
)
def test_bad_release_gives_nothing(semaphore, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        semaphore.release(*args, **kwargs)
    assert semaphore.value == 2


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((), {"timeout": float("nan")}, ValueError, "must be a number of seconds, or None for ever, not NaN"),
        ((), {"timeout": 1e10}, OverflowError, "too large"),
        ((), {"timeout": "1"}, TypeError, "must be a number of seconds, or None for ever, not str"),
        ((False, 1), {}, ValueError, "non-blocking"),
        ((1, 2, 3), {}, TypeError, "at most 2"),
        ((True,), {"blocking": True}, TypeError, "multiple values"),
        ((), {"wait": True}, TypeError, "unexpected keyword"),
    ],
)
def test_bad_acquire_takes_nothing(semaphore, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        semaphore.acquire(*args, **kwargs)
    assert semaphore.value == 2


@pytest.mark.parametrize("over", [1, 2, MOST])
def test_too_many_permits_are_refused_as_a_whole(space, over):
    semaphore = interlock.Semaphore("y", MOST - 1, space=space)
    semaphore.release()
    with pytest.raises(ValueError, match="too many"):
        semaphore.release(over)
    assert semaphore.value == MOST
    assert semaphore.acquire()
    assert semaphore.value == MOST - 1


def test_another_value_is_refused(semaphore, space):
    semaphore.acquire()
    assert space.Semaphore("x", 2).value == 1  # it is the initial one that counts
    says = (
        "Semaphore 'x' was made with the initial value 2, and is asked for with 1; open it with the same, or Space.unlink()"
    )
    with pytest.raises(interlock.ParameterMismatch, match=re.escape(says)) as raised:
        space.Semaphore("x", 1)
    assert isinstance(raised.value, ValueError)
    assert raised.value.name == "x"


@pytest.mark.parametrize("other", ["Lock", "RLock", "Event", "Condition"])
def test_another_kind_is_refused(semaphore, space, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Semaphore; use another name.*unlink"):
        getattr(space, other)("x")


def test_pickle_and_repr(semaphore, space):
    for handle in (semaphore, space.Semaphore(value=2)):
        copy = pickle.loads(pickle.dumps(handle))
        handle.acquire()
        assert copy.value == 1
        copy.release(3)
        assert handle.value == 4
    assert repr(semaphore) == f"<interlock.Semaphore at {id(semaphore):#x} 'x': value=4>"


class Counting(interlock.Semaphore):
    taken = 0

    def acquire(self, *args, **kwargs):
        got = super().acquire(*args, **kwargs)
        self.taken += got
        return got


def test_subclass(space):
    semaphore = Counting("y", 1, space=space)
    assert semaphore.acquire()
    assert not semaphore.acquire(blocking=False)
    assert semaphore.taken == 1
    assert type(pickle.loads(pickle.dumps(semaphore))) is Counting
    assert repr(semaphore).startswith("<tests.Counting ")


def test_release_lets_as_many_go_on(space):
    semaphore = space.Semaphore("y", 0)
    tasks = [sleeping(semaphore.acquire) for _ in range(4)]
    semaphore.release(3)
    until(lambda: sum(task.is_alive() for task in tasks) == 1)
    assert semaphore.value == 0
    semaphore.release()
    assert all(task.result() is True for task in tasks)
    assert semaphore.value == 0


@pytest.mark.parametrize("timeout", [0, -1, -2, float("-inf")])
def test_acquire_in_no_time(semaphore, timeout):
    """As threading.Semaphore: to have no time left is no error, and not for ever."""
    assert [semaphore.acquire(timeout=timeout) for _ in range(3)] == [True, True, False]
    assert semaphore.value == 0


def test_who_gives_up_takes_nothing(space):
    semaphore = space.Semaphore("y", 0)
    before = time.monotonic()
    assert semaphore.acquire(timeout=0.05) is False
    assert time.monotonic() - before >= 0.05
    assert semaphore.acquire(timeout=0) is False
    semaphore.release()
    assert semaphore.value == 1


def test_permits_given_while_waiters_give_up_add_up(space):
    """Waiters whose deadlines pass as they are woken: nobody takes a permit that he does not report."""
    semaphore, stop = space.Semaphore("y", 0), threading.Event()

    def take():
        taken = 0
        while not stop.is_set():
            taken += semaphore.acquire(timeout=random.random() / 2000)
        return taken

    tasks = [Task(take) for _ in range(3)]
    for _ in range(1000):
        semaphore.release()
        time.sleep(random.random() / 2000)
    stop.set()
    taken = sum(task.result() for task in tasks)
    assert taken > 0
    assert taken + semaphore.value == 1000


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out(space, to_main):
    semaphore = space.Semaphore("y", 0)
    with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
        semaphore.acquire()
    semaphore.release()
    assert semaphore.value == 1


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_gives_lets_the_wait_end(space, to_main):
    semaphore = space.Semaphore("y", 0)
    with signal_when_asleep(semaphore.release, to_main):
        assert semaphore.acquire()
    assert semaphore.value == 0


def test_unlink(semaphore, space):
    semaphore.acquire()
    space.unlink("x")
    with pytest.raises(KeyError, match="x"):
        space.unlink("x")
    assert semaphore.value == 2  # the handle's name begins anew
    assert semaphore.acquire()
    assert space.Semaphore("x", 2).value == 1
    space.unlink("x")
    assert space.Semaphore("x", 7).value == 7
    with pytest.raises(interlock.ParameterMismatch):
        semaphore.acquire(blocking=False)


def test_unlink_while_somebody_waits(space):
    semaphore = space.Semaphore("y", 0)
    assert not semaphore.acquire(timeout=0.01)  # leaves its traces, and none that counts
    task = sleeping(semaphore.acquire, timeout=HANG_SECONDS)
    with pytest.raises(RuntimeError, match="'y' is in use"):
        space.unlink("y")
    semaphore.release()
    assert task.result()
    space.unlink("y")


def test_closed_space(directory):
    space = interlock.Space("shm:other")
    semaphore = space.Semaphore("x", 2)
    space.close()
    for call in (semaphore.acquire, semaphore.release, lambda: semaphore.release(2), space.Semaphore):
        with pytest.raises(interlock.SpaceUnavailable, match="closed"):
            call()
    assert interlock.Space("shm:other").Semaphore("x", 2).value == 2


def test_anonymous_objects_go_with_their_handles(space):
    kept = anonymous(space)
    for _ in range(50):
        for handle in anonymous(space):
            change(handle)
        del handle
    gc.collect()
    assert {info.name for info in space.objects()} == {handle.name for handle in kept}


def test_named_objects_stay_without_handles(space):
    changed = change(space.Semaphore("x"))
    gc.collect()
    assert changed(space.Semaphore("x"))


@pytest.mark.parametrize("kind", range(3))
def test_anonymous_objects_that_were_pickled_stay(space, kind):
    handle = anonymous(space)[kind]
    changed, data = change(handle), pickle.dumps(handle)
    del handle
    gc.collect()
    for _ in range(2):  # nor does the first copy take it along
        assert changed(pickle.loads(data))
