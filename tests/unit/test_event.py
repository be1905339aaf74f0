"""Event within one process."""

from __future__ import annotations

import pickle
import signal
import threading
import time

import pytest

import interlock
from tests.support import HANG_SECONDS, Task, fail, signal_when_asleep, sleeping


@pytest.fixture
def event(space):
    return interlock.Event("x", space=space)


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((3,), {}, TypeError, "name"),
        (("y", True), {}, TypeError, "positional"),
        (("y",), {"value": True}, TypeError, "value"),
        (("y" * 256,), {}, ValueError, "255 bytes"),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        interlock.Event(*args, space=space, **kwargs)
    assert space.objects() == []


@pytest.mark.parametrize("is_set", [False, True])
@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((float("nan"),), {}, ValueError, "must be a number of seconds, or None for ever, not NaN"),
        ((1e10,), {}, OverflowError, "too large"),
        ((), {"timeout": 10**400}, OverflowError, "too large"),
        (("1",), {}, TypeError, "must be a number of seconds, or None for ever, not str"),
        ((1, 2), {}, TypeError, "at most"),
        ((1,), {"timeout": 1}, TypeError, "at most"),
        ((), {"blocking": True}, TypeError, "at most"),
    ],
)
def test_bad_wait(event, is_set, args, kwargs, error, says):
    if is_set:
        event.set()
    with pytest.raises(error, match=says):
        event.wait(*args, **kwargs)


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -1e300, float("-inf")])
def test_wait_of_no_time(event, timeout):
    assert event.wait(timeout) is False
    event.set()
    assert event.wait(timeout) is True


def test_methods_without_arguments(event):
    for method in (event.set, event.clear, event.is_set):
        with pytest.raises(TypeError):
            method(1)


def test_wait_lasts_as_long_as_said(event):
    before = time.monotonic()
    assert event.wait(0.05) is False
    assert time.monotonic() - before >= 0.05


def test_a_pulse_is_missed_by_nobody(event):
    """set() and clear() at once, again and again: by the time a waiter is awake, the event is clear."""
    for _ in range(30):
        tasks = [sleeping(event.wait) for _ in range(3)]
        event.set()
        event.clear()
        assert all(task.result() is True for task in tasks)
        assert event.wait(0) is False


def test_clear_lets_nobody_go(event):
    event.clear()
    task = sleeping(event.wait)
    event.clear()
    event.set()
    event.set()
    assert task.result() is True
    assert event.is_set()


def test_two_handles_are_one_event(event, space):
    other = space.Event("x")
    other.set()
    assert event.is_set()
    assert event.wait()
    event.clear()
    assert not other.is_set()


def test_set_in_a_handler_that_interrupts_set(event):
    """threading.Event has a lock inside, which this would wait for."""
    handled, stop = 0, threading.Event()

    def handle(*_):
        nonlocal handled
        handled += 1
        event.set()

    def wait():
        passed = 0
        while not stop.is_set():
            passed += event.wait(HANG_SECONDS)
        return passed

    task = Task(wait)
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end or handled < 100:
            event.set()
            event.clear()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        stop.set()
        event.set()
    assert task.result() > 0


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_sets_ends_the_wait(event, to_main):
    with signal_when_asleep(event.set, to_main):
        assert event.wait() is True


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out(event, space, to_main):
    with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
        event.wait()
    space.unlink("x")  # nobody waits


@pytest.mark.parametrize("other", ["Lock", "RLock", "Semaphore", "Condition"])
def test_another_kind_is_refused(event, space, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as an? Event; use another name.*unlink"):
        getattr(space, other)("x")


def test_pickle_and_repr(event, space):
    for handle in (event, space.Event()):
        copy = pickle.loads(pickle.dumps(handle))
        assert repr(handle) == f"<interlock.Event at {id(handle):#x} {handle.name!r}: unset>"
        copy.set()
        assert handle.is_set()
        assert repr(handle).endswith(": set>")


class Logged(interlock.Event):
    calls = 0

    def set(self):
        self.calls += 1
        super().set()


def test_subclass(space):
    event = Logged("y", space=space)
    event.set()
    assert event.calls == 1
    copy = pickle.loads(pickle.dumps(event))
    assert type(copy) is Logged
    assert copy.is_set()
    assert copy.calls == 0


def test_unlink(event, space):
    event.set()
    space.unlink("x")
    with pytest.raises(KeyError, match="x"):
        space.unlink("x")
    assert not event.is_set()  # the handle's name begins anew
    event.set()
    assert space.Event("x").is_set()


def test_unlink_while_somebody_waits(event, space):
    assert event.wait(0.01) is False  # leaves its traces, and none that counts
    task = sleeping(event.wait, HANG_SECONDS)
    with pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    event.set()
    assert task.result() is True
    space.unlink("x")


def test_closed_space(directory):
    space = interlock.Space("shm:other")
    event = space.Event("x")
    space.close()
    for call in (event.set, event.clear, event.wait, lambda: event.wait(0), space.Event):
        with pytest.raises(interlock.SpaceUnavailable, match="closed"):
            call()
    assert not interlock.Space("shm:other").Event("x").is_set()
