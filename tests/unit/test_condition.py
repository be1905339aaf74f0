"""Condition within one process."""

from __future__ import annotations

import pickle
import threading
import time

import pytest

import interlock
from tests.support import HANG_SECONDS, Task, fail, in_thread, signal_when_asleep, until

LOCKS = {
    "own": lambda space: None,
    "Lock": lambda space: space.Lock("l"),
    "RLock": lambda space: space.RLock("l"),
    "anonymous Lock": lambda space: space.Lock(),
    "anonymous RLock": lambda space: space.RLock(),
}


@pytest.fixture(params=LOCKS)
def lock(request, space):
    return LOCKS[request.param](space)


@pytest.fixture
def condition(lock, space):
    """Over every kind of lock, unless the test says which."""
    return interlock.Condition("x", lock, space=space)


own_lock = pytest.mark.parametrize("lock", ["own"], indirect=True)
reentrant = pytest.mark.parametrize("lock", ["own", "RLock"], indirect=True)


class Queue:
    """Tasks that wait for the condition, one behind the other; `woken` tells in which order they were notified."""

    def __init__(self, condition, count):
        self.condition, self.woken, self.tasks = condition, [], []
        before = condition._waiters()
        for number in range(count):
            self.tasks.append(Task(self.wait, number))
            until(lambda: condition._waiters() == before + len(self.tasks))

    def wait(self, number):
        with self.condition:
            notified = self.condition.wait()
            self.woken.append(number)
            return notified

    def notify(self, *args, **kwargs):
        with self.condition:
            self.condition.notify(*args, **kwargs)

    def end(self):
        with self.condition:
            self.condition.notify_all()
        return [task.result() for task in self.tasks]


@own_lock
@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((3,), {}, TypeError, "name"),
        (("y", threading.Lock()), {}, TypeError, "interlock Lock or RLock, not _thread.lock: .* other processes"),
        (("y", threading.RLock()), {}, TypeError, "interlock Lock or RLock"),
        (("y", 3), {}, TypeError, "interlock Lock or RLock, not int"),
        (("y", interlock.Lock), {}, TypeError, "interlock Lock or RLock, not type"),
        (("y", None, None), {}, TypeError, "positional"),
        (("y",), {"locked": None}, TypeError, "locked"),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, kwargs, error, says, lock):
    with pytest.raises(error, match=says):
        interlock.Condition(*args, space=space, **kwargs)
    assert space.objects() == []


@pytest.mark.parametrize("kind", ["Semaphore", "Event", "Condition"])
def test_other_objects_are_no_locks(space, kind):
    with pytest.raises(TypeError, match=f"interlock Lock or RLock, not {kind}"):
        interlock.Condition("y", getattr(space, kind)("l"), space=space)


def test_a_lock_of_another_space(space, directory):
    other = interlock.Space("shm:other")
    with pytest.raises(ValueError, match="same space"):
        interlock.Condition("x", other.RLock("l"), space=space)
    assert interlock.Condition("x", other.RLock("l")).space is other  # unless told otherwise, it lives with its lock


def test_one_condition_has_one_lock(space):
    first = space.Condition("x", space.Lock("l"))
    with space.Lock("l"):
        assert space.Condition("x", space.Lock("l"))._is_owned()
    own = space.Condition("own")
    for condition, lock, says in (
        ("x", None, "is over a lock that was given, and is asked for without one"),
        ("x", space.Lock("m"), "is in use with another lock"),
        ("x", space.Lock(), "is in use with another lock"),
        (own.name, space.Lock("l"), "is over a lock of its own, and is asked for over one that is given"),
    ):
        with pytest.raises(interlock.ParameterMismatch, match=says + r"; open it with the same.*unlink") as raised:
            space.Condition(condition, lock)
        assert isinstance(raised.value, ValueError)
        assert raised.value.name == condition
    assert first.name == "x"


@own_lock
@pytest.mark.parametrize("other", ["Lock", "RLock", "Semaphore", "Event"])
def test_another_kind_is_refused(condition, space, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Condition; use another name.*unlink"):
        getattr(space, other)("x")


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "error", "says"),
    [
        ("wait", ("1",), {}, TypeError, "must be a number of seconds, or None for ever, not str"),
        ("wait", (float("nan"),), {}, ValueError, "must be a number of seconds, or None for ever, not NaN"),
        ("wait", (1e10,), {}, OverflowError, "too large"),
        ("wait", (1, 2), {}, TypeError, "at most"),
        ("wait", (), {"block": True}, TypeError, "at most"),
        ("wait_for", (), {}, TypeError, "predicate"),
        ("wait_for", (3,), {}, TypeError, "callable"),
        ("wait_for", (bool, "1"), {}, TypeError, "str"),
        ("notify", ("1",), {}, TypeError, "str"),
        ("notify", (1.0,), {}, TypeError, "float"),
        ("notify", (1, 2), {}, TypeError, "at most"),
        ("notify", (), {"count": 2}, TypeError, "at most"),
        ("notify_all", (1,), {}, TypeError, "no arguments"),
    ],
)
def test_bad_arguments_leave_the_lock_held(condition, method, args, kwargs, error, says):
    with condition:
        with pytest.raises(error, match=says):
            getattr(condition, method)(*args, **kwargs)
        assert condition._is_owned()
        assert condition._waiters() == 0


def test_nothing_goes_without_the_lock(condition):
    for method in (condition.wait, condition.notify, condition.notify_all, lambda: condition.wait_for(bool)):
        with pytest.raises(RuntimeError, match="un-acquired"):
            method()
    assert condition._waiters() == 0
    with pytest.raises(interlock.NotHeld):
        condition.release()


@reentrant
def test_another_thread_has_the_lock(condition):
    with condition:
        for method in (condition.wait, condition.notify, condition.notify_all):
            assert isinstance(in_thread(method), RuntimeError)
        assert condition._waiters() == 0


def test_its_lock_is_the_lock(condition, lock):
    assert condition.acquire(timeout=1)
    assert in_thread(condition.acquire, blocking=False) is False
    if lock is not None:
        assert lock.locked()
        assert in_thread(lock.acquire, False) is False
    condition.release()
    assert in_thread(condition.acquire, blocking=False) is True


def test_wait_lasts_as_long_as_said(condition):
    with condition:
        before = time.monotonic()
        assert condition.wait(0.05) is False
        assert time.monotonic() - before >= 0.05
        for timeout in (0, -1, float("-inf")):
            assert condition.wait(timeout) is False
        assert condition._is_owned()
        assert condition._waiters() == 0


def test_waiters_are_notified_in_the_order_of_arrival(condition):
    queue = Queue(condition, 5)
    for number in range(5):
        queue.notify()
        until(lambda: len(queue.woken) == number + 1)  # noqa: B023
    assert queue.woken == [0, 1, 2, 3, 4]
    assert queue.end() == [True] * 5


@pytest.mark.parametrize(("n", "woken"), [(2, 2), (0, 0), (-1, 0), (-(10**30), 0), (True, 1), (10**30, 4), (4, 4)])
def test_notify_so_many(condition, n, woken):
    queue = Queue(condition, 4)
    queue.notify(n=n)
    until(lambda: condition._waiters() == 4 - woken and len(queue.woken) == woken)
    assert sorted(queue.woken) == list(range(woken))
    queue.end()


@own_lock
def test_a_notification_is_not_kept_for_who_comes_later(condition):
    with condition:
        condition.notify(3)
        assert condition.wait(0.02) is False


@own_lock
def test_more_waiters_than_are_woken_at_a_time(condition):
    queue = Queue(condition, 130)
    queue.notify(129)
    until(lambda: len(queue.woken) == 129)
    assert 129 not in queue.woken
    assert condition._waiters() == 1
    queue.end()


def test_who_gave_up_is_not_notified(condition):
    def wait():
        with condition:
            return condition.wait(0.01)

    tasks = [Task(wait) for _ in range(3)]
    assert [task.result() for task in tasks] == [False] * 3
    queue = Queue(condition, 1)
    queue.notify()
    assert queue.tasks[0].result() is True


def test_wait_for(condition):
    state = []

    def wait():
        with condition:
            return condition.wait_for(lambda: state[1:] and state, timeout=HANG_SECONDS)

    task = Task(wait)
    for number in range(2):
        until(lambda: condition._waiters() == 1)
        with condition:
            state.append(number)
            condition.notify()
    assert task.result() is state


def test_wait_for_what_does_not_come(condition):
    asked = []
    with condition:
        before = time.monotonic()
        assert condition.wait_for(lambda: asked.append(condition._is_owned()), timeout=0.05) is None
        assert time.monotonic() - before >= 0.05
        assert condition.wait_for(lambda: 0, timeout=-1) == 0
        with pytest.raises(ArithmeticError):
            condition.wait_for(fail)
        assert condition._is_owned()
    assert len(asked) >= 2
    assert all(asked)


@reentrant
@pytest.mark.parametrize("how", ["notified", "late", "interrupted"])
def test_a_reentrant_lock_comes_back_as_deep_as_it_was(condition, how):
    for _ in range(3):
        condition.acquire()
    if how == "notified":
        task = Task(Queue.notify, Queue(condition, 0))  # takes the lock, which wait() lets go of altogether
        assert condition.wait(HANG_SECONDS) is True
        task.result()
    elif how == "late":
        assert condition.wait(0.01) is False
    else:
        with pytest.raises(ArithmeticError), signal_when_asleep(fail):
            condition.wait()
    for _ in range(3):
        assert in_thread(condition.acquire, blocking=False) is False
        condition.release()
    with pytest.raises(interlock.NotHeld):
        condition.release()


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out_with_the_lock(condition, to_main):
    with condition:
        with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
            condition.wait()
        assert condition._is_owned()
        assert condition._waiters() == 0
        assert in_thread(condition.acquire, blocking=False) is False
    assert in_thread(condition.acquire, blocking=False) is True


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_notifies_ends_the_wait(condition, to_main):
    def notify():
        with condition:
            condition.notify()

    with condition, signal_when_asleep(notify, to_main):
        assert condition.wait() is True


def test_a_notification_for_who_was_interrupted_goes_to_the_next(condition):
    """The handler raises when this thread, the first in the queue, has been notified already."""
    behind = []

    def notify_and_fail():
        behind.append(Queue(condition, 1))
        behind[0].notify()
        raise ArithmeticError

    with condition, pytest.raises(ArithmeticError), signal_when_asleep(notify_and_fail):
        condition.wait()
    assert behind[0].tasks[0].result() is True
    assert condition._waiters() == 0


def test_many_producers_and_consumers(condition):
    """Every item is consumed, however notifications and late consumers meet."""
    items, consumed = [], []

    def consume():
        while True:
            with condition:
                while not items:
                    condition.wait(0.002)
                item = items.pop()
            if item is None:
                return
            consumed.append(item)

    def produce(item):
        with condition:
            items.insert(0, item)
            condition.notify()

    consumers = [Task(consume) for _ in range(3)]
    producers = [Task(lambda first=first: [produce(first + i) for i in range(200)]) for first in (0, 1000)]
    for task in producers:
        task.result()
    for _ in consumers:
        produce(None)
    for task in consumers:
        task.result()
    assert sorted(consumed) == [*range(200), *range(1000, 1200)]


def test_pickle_and_repr(condition, space, lock):
    for handle in (condition, interlock.Condition(None, lock, space=space)):
        copy = pickle.loads(pickle.dumps(handle))
        queue = Queue(copy, 1)
        assert repr(handle) == f"<interlock.Condition at {id(handle):#x} {handle.name!r}: waiters=1>"
        with handle:
            assert in_thread(copy.acquire, blocking=False) is False
            handle.notify()
        assert queue.tasks[0].result() is True


class Logged(interlock.Condition):
    calls = 0

    def wait(self, timeout=None):
        self.calls += 1
        return super().wait(0.001)


def test_subclass(space):
    condition = Logged("y", space.Lock("l"), space=space)
    with condition:
        assert condition.wait_for(lambda: condition.calls == 3)
    assert type(pickle.loads(pickle.dumps(condition))) is Logged


def test_unlink(condition, lock, space):
    queue = Queue(condition, 1)
    with pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    queue.end()
    with condition:
        assert condition.wait(0.01) is False
    space.unlink("x")
    with pytest.raises(KeyError, match="x"):
        space.unlink("x")
    again = Queue(condition, 1)  # the handle's name begins anew
    with space.Condition("x", lock) as other:
        assert other is True
        space.Condition("x", lock).notify()
    assert again.tasks[0].result() is True


@own_lock
def test_unlink_while_its_own_lock_is_held(condition, space):
    with condition, pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    space.unlink("x")


def test_closed_space(directory):
    space = interlock.Space("shm:other")
    condition = space.Condition("x")
    condition.acquire()
    space.close()
    for call in (condition.acquire, lambda: condition.acquire(False), condition._waiters, space.Condition):
        with pytest.raises(interlock.SpaceUnavailable, match="closed"):
            call()
