"""Barrier within one process."""

from __future__ import annotations

import pickle
import re
import threading
import time
from threading import BrokenBarrierError

import pytest

import interlock
from tests.support import HANG_SECONDS, Task, fail, signal_when_asleep, until

MOST = 2**31 - 1


@pytest.fixture
def barrier(space):
    return interlock.Barrier("x", 3, space=space)


def waiting(barrier, count, *args):
    """Tasks that wait in the barrier, in this order."""
    tasks = []
    for _ in range(count):
        tasks.append(Task(barrier.wait, *args))
        until(lambda: barrier.n_waiting == len(tasks))
    return tasks


def all_broken(tasks):
    for task in tasks:
        with pytest.raises(BrokenBarrierError):
            task.result()
    return True


def passes(barrier):
    """Whether all parties pass, each with a place of its own."""
    tasks = [Task(barrier.wait, HANG_SECONDS) for _ in range(barrier.parties)]
    return sorted(task.result() for task in tasks) == list(range(barrier.parties))


class Action:
    """An action that lasts until it is told to end."""

    def __init__(self):
        self.begun, self.end, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self):
        self.calls += 1
        self.begun.set()
        assert self.end.wait(HANG_SECONDS)

    def of(self, space, parties=2):
        """A barrier, its parties who wait, and the one who acts."""
        barrier = space.Barrier("x", parties, self)
        parties = waiting(barrier, parties - 1)
        actor = Task(barrier.wait)
        assert self.begun.wait(HANG_SECONDS)
        return barrier, parties, actor


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        (("y",), {}, ValueError, "parties must be > 0"),
        (("y", 0), {}, ValueError, "parties must be > 0"),
        (("y", -1), {}, ValueError, "parties must be > 0"),
        (("y", -(10**30)), {}, ValueError, "parties must be > 0"),
        (("y", MOST + 1), {}, OverflowError, "2147483647"),
        (("y", 10**30), {}, OverflowError, "2147483647"),
        (("y", 1.0), {}, TypeError, "float"),
        (("y", None), {}, TypeError, "NoneType"),
        ((3, 3), {}, TypeError, "name"),
        ((4,), {}, TypeError, re.escape('write Barrier("name", 4), or Barrier(parties=4) for an anonymous one')),
        ((), {}, ValueError, "say how many have to come, parties="),
        (("y", 2, 3), {}, TypeError, "action must be callable, not int"),
        (("y", 2, None, "1"), {}, TypeError, "must be a number of seconds, or None for ever, not str"),
        (("y", 2, None, float("nan")), {}, ValueError, "must be a number of seconds, or None for ever, not NaN"),
        (("y", 2, None, 1e10), {}, OverflowError, "too large"),
        (("y", 2, None, 1, 2), {}, TypeError, "positional"),
        (("y", 2), {"count": 1}, TypeError, "count"),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        interlock.Barrier(*args, space=space, **kwargs)
    assert space.objects() == []


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        (("1",), {}, TypeError, "must be a number of seconds, or None for ever, not str"),
        ((float("nan"),), {}, ValueError, "must be a number of seconds, or None for ever, not NaN"),
        ((1e10,), {}, OverflowError, "too large"),
        ((1, 2), {}, TypeError, "at most"),
        ((), {"block": True}, TypeError, "at most"),
    ],
)
def test_bad_wait_breaks_nothing(barrier, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        barrier.wait(*args, **kwargs)
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_as_many_parties_as_there_can_be(space):
    barrier = space.Barrier("y", MOST)
    assert barrier.parties == MOST
    with pytest.raises(BrokenBarrierError):
        barrier.wait(0)


def test_another_number_of_parties_is_refused(barrier, space):
    assert space.Barrier("x", 3, fail, 1).parties == 3  # action and timeout are each handle's own
    says = r"Barrier 'x' is for 3 parties, and is asked for with 2; open it with the same.*unlink"
    with pytest.raises(interlock.ParameterMismatch, match=says) as raised:
        space.Barrier("x", 2)
    assert isinstance(raised.value, ValueError)
    assert raised.value.name == "x"


@pytest.mark.parametrize("other", ["Lock", "RLock", "Semaphore", "Event", "Condition"])
def test_another_kind_is_refused(barrier, space, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Barrier; use another name.*unlink"):
        getattr(space, other)("x")


def test_places_differ_in_every_round(space):
    calls = []
    barrier = space.Barrier("y", 4, lambda: calls.append(barrier.n_waiting))
    tasks = [Task(lambda: [barrier.wait() for _ in range(200)]) for _ in range(4)]
    rounds = zip(*(task.result() for task in tasks), strict=True)
    assert all(sorted(places) == [0, 1, 2, 3] for places in rounds)
    assert calls == [4] * 200  # once a round, while all are there


def test_places_are_those_of_arrival(barrier):
    tasks = waiting(barrier, 2)
    assert barrier.wait() == 2
    assert [task.result() for task in tasks] == [0, 1]


def test_the_last_one_acts(space):
    actors = []
    barrier = space.Barrier("y", 3, lambda: actors.append(threading.current_thread()))
    tasks = waiting(barrier, 2)
    assert barrier.wait() == 2
    assert actors == [threading.current_thread()]
    assert [task.result() for task in tasks] == [0, 1]


def test_a_barrier_for_one(space):
    calls = []
    barrier = space.Barrier("y", 1, lambda: calls.append(0))
    assert [barrier.wait(), barrier.wait(0)] == [0, 0]
    assert len(calls) == 2


def test_action_that_raises_breaks_it(space):
    barrier = space.Barrier("y", 3, fail)
    tasks = waiting(barrier, 2)
    with pytest.raises(ArithmeticError):
        barrier.wait()
    assert all_broken(tasks)
    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert passes(space.Barrier("y", 3))


@pytest.mark.parametrize("given", [{}, {"timeout": 0.05}])
def test_timeout_breaks_it(space, given):
    """The barrier's own, or one that is given to wait()."""
    barrier = space.Barrier("y", 3, timeout=None if given else 0.05)
    tasks = waiting(space.Barrier("y", 3), 1)
    before = time.monotonic()
    with pytest.raises(BrokenBarrierError):
        barrier.wait(**given)
    assert time.monotonic() - before >= 0.05
    assert all_broken(tasks)
    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert passes(space.Barrier("y", 3))


@pytest.mark.parametrize("timeout", [0, -1, float("-inf")])
def test_wait_of_no_time(barrier, timeout):
    with pytest.raises(BrokenBarrierError):
        barrier.wait(timeout)
    assert barrier.broken
    barrier.reset()
    tasks = waiting(barrier, 2)
    assert barrier.wait(timeout) == 2  # the last one waits for nobody
    assert [task.result() for task in tasks] == [0, 1]


@pytest.mark.parametrize(("method", "broken"), [("reset", False), ("abort", True)])
def test_sent_away_while_waiting(barrier, method, broken):
    tasks = waiting(barrier, 2)
    getattr(barrier, method)()
    assert all_broken(tasks)
    assert (barrier.broken, barrier.n_waiting) == (broken, 0)
    barrier.reset()
    assert passes(barrier)


@pytest.mark.parametrize(("method", "broken"), [("reset", False), ("abort", True)])
def test_sent_away_while_one_acts(space, method, broken):
    action = Action()
    barrier, parties, actor = action.of(space, 3)
    getattr(barrier, method)()
    assert all_broken(parties)  # at once: the action still runs
    assert actor.is_alive()
    action.end.set()
    assert all_broken([actor])
    assert (barrier.broken, barrier.n_waiting, action.calls) == (broken, 0, 1)
    barrier.reset()
    assert passes(barrier)


def test_who_comes_during_the_action_belongs_to_the_next_round(space):
    action = Action()
    barrier, parties, actor = action.of(space)
    early = Task(barrier.wait)
    until(early.asleep)
    assert barrier.n_waiting == 2  # not the one outside
    action.end.set()
    assert [parties[0].result(), actor.result()] == [0, 1]
    until(lambda: barrier.n_waiting == 1)
    assert barrier.wait() == 1
    assert early.result() == 0
    assert action.calls == 2


def test_no_deadline_counts_once_all_are_there(space):
    for timeout in (0.1, 1, 10):  # a busy machine may let the shorter ones pass before all are there
        ends, acted = time.monotonic() + timeout + 0.1, []

        def act(ends=ends, acted=acted):
            acted.append(until(lambda: time.monotonic() > ends))

        barrier = space.Barrier(None, 2, act)
        party = Task(barrier.wait, timeout)
        until(lambda: barrier.n_waiting == 1 or barrier.broken)  # noqa: B023
        actor = Task(barrier.wait)
        actor.join(HANG_SECONDS)
        if acted:
            break
    assert [party.result(), actor.result()] == [0, 1]
    assert not barrier.broken


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out_and_the_others_wait_on(barrier, to_main):
    with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
        barrier.wait()
    assert (barrier.n_waiting, barrier.broken) == (0, False)
    tasks = waiting(barrier, 2)
    assert barrier.wait() == 2
    assert [task.result() for task in tasks] == [0, 1]


def test_handler_that_raises_gets_out_of_the_wait_for_an_action(space):
    action = Action()
    barrier, parties, actor = action.of(space)
    with pytest.raises(ArithmeticError), signal_when_asleep(fail):
        barrier.wait()
    action.end.set()
    assert [parties[0].result(), actor.result()] == [0, 1]
    assert (barrier.n_waiting, barrier.broken) == (0, False)
    assert passes(barrier)


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_aborts_ends_the_wait(barrier, to_main):
    tasks = waiting(barrier, 1)
    with pytest.raises(BrokenBarrierError), signal_when_asleep(barrier.abort, to_main):
        barrier.wait()
    assert all_broken(tasks)


def test_pickle_and_repr(barrier, space):
    for handle in (barrier, space.Barrier(None, 3, fail, 50)):
        copy = pickle.loads(pickle.dumps(handle))
        assert (copy.parties, copy._action, copy._timeout) == (3, handle._action, handle._timeout)
        tasks = waiting(copy, 1)
        assert repr(handle) == f"<interlock.Barrier at {id(handle):#x} {handle.name!r}: waiters=1/3>"
        handle.abort()
        assert all_broken(tasks)
        assert repr(copy).endswith(": broken>")


class Logged(interlock.Barrier):
    calls = 0

    def wait(self, timeout=None):
        self.calls += 1
        return super().wait(timeout)


def test_subclass(space):
    barrier = Logged("y", 2, space=space)
    assert passes(barrier)
    assert barrier.calls == 2
    assert type(pickle.loads(pickle.dumps(barrier))) is Logged


def test_unlink(barrier, space):
    tasks = waiting(barrier, 1)
    with pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    barrier.abort()
    assert all_broken(tasks)
    space.unlink("x")
    with pytest.raises(KeyError, match="x"):
        space.unlink("x")
    assert not barrier.broken  # the handle's name begins anew
    assert passes(barrier)


def test_closed_space(directory):
    space = interlock.Space("shm:other")
    barrier = space.Barrier("x", 1)
    space.close()
    asked = (lambda: barrier.broken, lambda: barrier.n_waiting, lambda: space.Barrier("x", 1))
    for call in (barrier.wait, barrier.reset, barrier.abort, *asked):
        with pytest.raises(interlock.SpaceUnavailable, match="closed"):
            call()
