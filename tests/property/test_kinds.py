"""Every kind but the locks against a plain model: several handles and processes, deaths in between, in any order."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
from threading import BrokenBarrierError
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

import interlock
from tests.process.test_signalling import stop
from tests.unit.test_semaphore import asleep, until
from tests.unit.test_value import INTEGERS, data_files

PROCESSES = 3
processes = st.integers(0, PROCESSES - 1)
tries = st.sampled_from([(False,), (True, 0), (True, 0.002)])


def call(handle, path, *args):
    """Calls a method of the handle, "release" or "read.release"; or reads an attribute that is none."""
    for name in path.split("."):
        handle = getattr(handle, name)
    return handle(*args) if callable(handle) else handle


def wait(condition, *timeout):
    with condition:
        return condition.wait(*timeout)


def write(value, number):
    value.value = number


def change(value, number):
    """A read and a write under the lock. Returns what was there."""
    with value:
        before = value.value
        value.value = number
        return before


def serve(connection, pickled) -> None:
    handle = pickle.loads(pickled)
    while True:
        function, args = connection.recv()
        try:
            connection.send(function(handle, *args))
        except Exception as error:
            connection.send(type(error).__name__)


class Process:
    """A process with a handle, that does as it is told and answers."""

    def __init__(self, handle) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, pickle.dumps(handle)), daemon=True)
        self.process.start()
        self.pid = self.process.pid
        theirs.close()

    def begin(self, function, *args) -> None:
        self.connection.send((function, args))

    def answered(self) -> bool:
        return self.connection.poll(0)

    def answer(self) -> object:
        assert self.connection.poll(60), "the process hangs"
        return self.connection.recv()

    def do(self, function, *args) -> object:
        self.begin(function, *args)
        return self.answer()

    def call(self, path, *args) -> object:
        return self.do(call, path, *args)

    def sleep_in(self, function, *args) -> None:
        self.begin(function, *args)
        until(lambda: asleep(self.pid, self.pid))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.process.join()
        self.connection.close()


class Processes(dict):
    """By number. They start at their first use, so that a death is noticed by those who are there, not by its successor."""

    def __init__(self, machine) -> None:
        self.machine = machine

    def __missing__(self, number) -> Process:
        self[number] = Process(self.machine.handle)
        return self[number]

    def kill(self, number) -> None:
        if number in self:
            self.pop(number).kill()


class Kind(RuleBasedStateMachine):
    """What the machines have in common: a space, the object, and processes that have it."""

    handle = None

    def make(self):
        raise NotImplementedError

    def begin(self) -> None:
        """The model at first."""

    def died(self, process) -> None:
        """The model after a death."""

    @initialize()
    def open(self) -> None:
        self.home = tempfile.mkdtemp(prefix="interlock-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        os.environ["INTERLOCK_DIR"] = self.home
        self.space = interlock.Space("shm:default")
        self.handle = self.make()
        self.processes = Processes(self)
        self.begin()

    def teardown(self) -> None:
        if hasattr(self, "processes"):
            self.end_all()
        self.handle = None
        if hasattr(self, "home"):
            shutil.rmtree(self.home)

    def end_all(self) -> None:
        for number in list(self.processes):
            self.processes.kill(number)

    @rule(process=processes)
    def kill(self, process) -> None:
        self.processes.kill(process)
        self.died(process)

    @rule(what=st.sampled_from(["reopen", "travel", "another kind", "many other names"]))
    def meanwhile(self, what) -> None:
        match what:
            case "reopen":
                self.handle = self.make()
            case "travel":
                self.handle = pickle.loads(pickle.dumps(self.handle))
            case "another kind":
                for kind in (interlock.Lock, interlock.Event, interlock.RWLock, interlock.Semaphore):
                    if not isinstance(self.handle, kind):
                        with pytest.raises(interlock.KindMismatch):
                            kind("x", space=self.space)
            case "many other names":
                for number in range(1000):
                    interlock.Lock(f"other-{number}", space=self.space)


class Semaphores(Kind):
    """The model: a number."""

    def make(self):
        return self.space.Semaphore("x", 2)

    def begin(self) -> None:
        self.count = 2

    @rule(process=processes, how=tries)
    def acquire(self, process, how) -> None:
        assert self.processes[process].call("acquire", *how) is (self.count > 0)
        self.count -= self.count > 0

    @rule(process=processes, n=st.integers(1, 3))
    def release(self, process, n) -> None:
        assert self.processes[process].call("release", n) is None
        self.count += n

    @rule(process=processes, n=st.sampled_from([0, -1, 2**31 - 1, 2**31]))
    def release_what_cannot_be(self, process, n) -> None:
        if n != 2**31 - 1 or self.count:
            assert self.processes[process].call("release", n) in ("ValueError", "OverflowError")

    @precondition(lambda self: self.count == 0)
    @rule(process=processes, other=processes)
    def hand_over(self, process, other) -> None:
        if process != other:
            self.processes[process].sleep_in(call, "acquire")
            self.processes[other].call("release")
            assert self.processes[process].answer() is True

    @precondition(lambda self: self.count == 0)
    @rule(process=processes)
    def die_waiting(self, process) -> None:
        self.processes[process].sleep_in(call, "acquire")
        self.kill(process)

    @rule(value=st.sampled_from([0, 1, 3]))
    def open_with_another_value(self, value) -> None:
        with pytest.raises(interlock.ParameterMismatch):
            self.space.Semaphore("x", value)

    @invariant()
    def the_value_agrees(self) -> None:
        assert self.handle is None or self.handle.value == self.count


class BoundedSemaphores(Kind):
    """The model: for each process how many permits it has. Those of the dead come back when somebody needs them."""

    bound = 3

    def make(self):
        return self.space.BoundedSemaphore("x", self.bound)

    def begin(self) -> None:
        self.has = [0] * PROCESSES
        self.of_the_dead = 0

    def died(self, process) -> None:
        self.of_the_dead += self.has[process]
        self.has[process] = 0

    @property
    def count(self) -> int:
        return self.bound - sum(self.has)

    @rule(process=processes, how=tries)
    def acquire(self, process, how) -> None:
        assert self.processes[process].call("acquire", *how) is (self.count > 0)
        if self.count > 0:
            self.has[process] += 1
        else:
            self.of_the_dead = 0  # whoever finds nothing has looked at everybody

    @rule(process=processes, n=st.integers(1, 3))
    def release(self, process, n) -> None:
        enough = n <= self.has[process]
        assert self.processes[process].call("release", n) == (None if enough else "NotHeld")
        self.has[process] -= n if enough else 0

    @precondition(lambda self: self.count == 0)
    @rule(process=processes, other=processes, dies=st.booleans())
    def hand_over(self, process, other, dies) -> None:
        if process == other or not self.has[other]:
            return
        self.processes[process].sleep_in(call, "acquire")
        if dies:
            self.kill(other)
        else:
            self.processes[other].call("release")
            self.has[other] -= 1
        assert self.processes[process].answer() is True
        self.has[process] += 1

    @precondition(lambda self: self.count == 0)
    @rule(process=processes)
    def die_waiting(self, process) -> None:
        self.processes[process].sleep_in(call, "acquire")
        self.kill(process)

    @rule(value=st.sampled_from([0, 2, 4]))
    def open_with_another_value(self, value) -> None:
        with pytest.raises(interlock.ParameterMismatch):
            self.space.BoundedSemaphore("x", value)

    @invariant()
    def the_value_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.bound == self.bound
            assert self.count - self.of_the_dead <= self.handle.value <= self.count


class Events(Kind):
    """The model: a flag, and who waits."""

    def make(self):
        return self.space.Event("x")

    def begin(self) -> None:
        self.flag, self.waiting = False, set()

    def died(self, process) -> None:
        self.waiting.discard(process)

    def free(self, process) -> bool:
        return process not in self.waiting

    @rule(process=processes)
    def wait(self, process) -> None:
        if not self.free(process):
            return
        if self.flag:
            assert self.processes[process].call("wait") is True
        else:
            self.processes[process].sleep_in(call, "wait")
            self.waiting.add(process)

    @rule(process=processes, timeout=st.sampled_from([0, 0.002, -1]))
    def wait_a_little(self, process, timeout) -> None:
        if self.free(process):
            assert self.processes[process].call("wait", timeout) is self.flag

    @rule(process=processes)
    def set(self, process) -> None:
        if self.free(process):
            self.processes[process].call("set")
            self.flag = True
            self.all_go_on()

    @rule(waiters=st.sets(processes), times=st.integers(1, 2))
    def set_and_clear(self, waiters, times) -> None:
        """Whoever waits goes on, even if it is clear again before they can look."""
        for process in waiters:
            self.wait(process)
        with contextlib.ExitStack() as stopped:
            for process in self.waiting:
                stop(self.processes[process])
                stopped.callback(os.kill, self.processes[process].pid, signal.SIGCONT)
            for _ in range(times):
                self.handle.set()
                self.handle.clear()
        self.flag = False
        self.all_go_on()

    def all_go_on(self) -> None:
        assert [self.processes[process].answer() for process in self.waiting] == [True] * len(self.waiting)
        self.waiting.clear()

    @rule(process=processes)
    def clear(self, process) -> None:
        if self.free(process):
            self.processes[process].call("clear")
            self.flag = False

    @invariant()
    def the_flag_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.is_set() is self.flag
            assert not any(self.processes[process].answered() for process in self.waiting)


class RWLocks(Kind):
    """The model: how often each process reads, who writes, and who died writing."""

    def make(self):
        return self.space.RWLock("x")

    def begin(self) -> None:
        self.reads, self.writer, self.fence = [0] * PROCESSES, None, 0
        self.dead_writer = None

    def died(self, process) -> None:
        self.reads[process] = 0
        if self.writer == process:
            self.writer, self.dead_writer = None, self.writer_pid

    def others_read(self, process) -> bool:
        return any(count for other, count in enumerate(self.reads) if other != process)

    def recovered(self, process, side) -> int | None:
        return self.processes[process].do(recovered_pid, side)

    @rule(process=processes, how=tries)
    def read(self, process, how) -> None:
        got = self.processes[process].call("read.acquire", *how)
        if self.writer is not None:
            assert got in ((False, "DeadlockDetected") if self.writer == process else (False,))
        else:
            assert got is True
            self.reads[process] += 1
            assert self.recovered(process, "read") == self.dead_writer

    @rule(process=processes, how=tries)
    def write(self, process, how) -> None:
        got = self.processes[process].call("write.acquire", *how)
        if self.writer == process or (self.reads[process] and self.writer is None):
            assert got in (False, "DeadlockDetected")
        elif self.writer is not None or self.others_read(process):
            assert got is False
        else:
            assert got is True
            self.writer, self.writer_pid = process, self.processes[process].pid
            assert self.recovered(process, "write") == self.dead_writer
            fence = self.processes[process].call("write.fence")
            assert fence > self.fence
            self.fence = fence

    @rule(process=processes)
    def release_read(self, process) -> None:
        got = self.processes[process].call("read.release")
        assert got == (None if self.reads[process] else "NotHeld")
        self.reads[process] -= bool(self.reads[process])

    @rule(process=processes)
    def release_write(self, process) -> None:
        got = self.processes[process].call("write.release")
        if self.writer == process:
            assert got is None
            self.writer = self.dead_writer = None
        else:
            assert got == ("NotHeld" if self.writer is None else "NotOwner")

    @rule(process=processes)
    def downgrade(self, process) -> None:
        got = self.processes[process].call("downgrade")
        if self.writer == process:
            assert got is None
            self.writer = self.dead_writer = None
            self.reads[process] += 1
        else:
            assert got in ("NotHeld", "NotOwner")

    @invariant()
    def what_can_be_asked_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.write.locked() is (self.writer is not None)
            owner = self.handle.write.owner
            assert (owner.pid if owner else None) == (None if self.writer is None else self.processes[self.writer].pid)


def recovered_pid(lock, side):
    owner = getattr(lock, side).recovered
    return owner and owner.pid


class Conditions(Kind):
    """The model: the queue of those who wait."""

    def make(self):
        return self.space.Condition("x")

    def begin(self) -> None:
        self.queue = []

    def died(self, process) -> None:
        if process in self.queue:
            self.queue.remove(process)

    @rule(process=processes)
    def wait(self, process) -> None:
        if process not in self.queue:
            self.processes[process].sleep_in(wait)
            self.queue.append(process)

    @rule(process=processes, timeout=st.sampled_from([0, 0.002]))
    def wait_a_little(self, process, timeout) -> None:
        if process not in self.queue:
            assert self.processes[process].do(wait, timeout) is False

    @rule(order=st.permutations(range(PROCESSES)), n=st.integers(1, PROCESSES - 1), die=st.integers(0, 1))
    def all_wait_and_some_go_on(self, order, n, die) -> None:
        for process in order:
            self.wait(process)
        self.notify(n, die)
        self.nobody_else_goes_on()

    @rule(n=st.integers(0, PROCESSES), die=st.integers(0, PROCESSES))
    def notify(self, n, die) -> None:
        """Those who wait longest go on, and nobody else; what those who die of it cannot use goes to the next."""
        with self.handle:
            self.handle.notify(n)
            for process in self.queue[: min(n, die)]:
                self.kill(process)
        for process in self.queue[:n]:
            assert self.processes[process].answer() is True
        del self.queue[:n]
        # What nobody was there to use would go to whoever waits next: it is allowed to be one too many.
        assert self.handle._waiters() == len(self.queue)
        with self.handle:
            self.handle.notify(0)

    @rule()
    def notify_all(self) -> None:
        with self.handle:
            self.handle.notify_all()
        for process in self.queue:
            assert self.processes[process].answer() is True
        self.queue.clear()

    @rule(process=processes)
    def without_the_lock(self, process) -> None:
        if process not in self.queue:
            for method in ("notify", "notify_all", "wait"):
                assert self.processes[process].call(method) == "RuntimeError"

    @rule()
    def with_another_lock(self) -> None:
        with pytest.raises(interlock.ParameterMismatch):
            self.space.Condition("x", self.space.Lock("l"))

    @invariant()
    def nobody_else_goes_on(self) -> None:
        if self.handle is not None:
            assert not any(self.processes[process].answered() for process in self.queue)
            assert self.handle._waiters() >= len(self.queue)
            assert self.handle.acquire(timeout=60)  # nobody who waits has the lock
            self.handle.release()


class Barriers(Kind):
    """The model: who waits, in order of arrival, and whether it is broken. The parties are the processes."""

    def make(self):
        return self.space.Barrier("x", PROCESSES)

    def begin(self) -> None:
        self.waiting, self.broken = [], False

    def died(self, process) -> None:
        if process in self.waiting:
            self.waiting.remove(process)
            self.breaks()

    def breaks(self) -> None:
        self.broken = True
        for process in self.waiting:
            assert self.processes[process].answer() == "BrokenBarrierError"
        self.waiting.clear()
        until(lambda: self.handle.broken)

    @rule(process=processes)
    def wait(self, process) -> None:
        if process in self.waiting:
            return
        if self.broken:
            assert self.processes[process].call("wait") == "BrokenBarrierError"
        elif len(self.waiting) < PROCESSES - 1:
            self.processes[process].sleep_in(call, "wait")
            self.waiting.append(process)
        else:
            assert self.processes[process].call("wait") == PROCESSES - 1
            assert [self.processes[party].answer() for party in self.waiting] == list(range(PROCESSES - 1))
            self.waiting.clear()

    @precondition(lambda self: not self.broken)
    @rule(order=st.permutations(range(PROCESSES)), dies=st.booleans())
    def all_but_one(self, order, dies) -> None:
        """They wait; then one of them dies, or the last one comes too."""
        for process in order:
            if len(self.waiting) < PROCESSES - 1:
                self.wait(process)
        if dies:
            self.kill(order[0] if order[0] in self.waiting else order[1])
        else:
            for process in order:
                if len(self.waiting) == PROCESSES - 1:
                    self.wait(process)

    @rule(process=processes, timeout=st.sampled_from([0, 0.002]))
    def wait_a_little(self, process, timeout) -> None:
        if process not in self.waiting and len(self.waiting) < PROCESSES - 1:
            assert self.processes[process].call("wait", timeout) == "BrokenBarrierError"
            if not self.broken:
                self.breaks()

    @rule()
    def abort(self) -> None:
        self.handle.abort()
        self.breaks()

    @rule()
    def reset(self) -> None:
        self.handle.reset()
        for process in self.waiting:
            assert self.processes[process].answer() == "BrokenBarrierError"
        self.waiting.clear()
        self.broken = False

    @precondition(lambda self: self.broken)
    @rule()
    def wait_for_the_broken(self) -> None:
        with pytest.raises(BrokenBarrierError):
            self.handle.wait()

    @rule(parties=st.sampled_from([1, PROCESSES + 1]))
    def open_with_other_parties(self, parties) -> None:
        with pytest.raises(interlock.ParameterMismatch):
            self.space.Barrier("x", parties)

    @invariant()
    def what_can_be_asked_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.broken is self.broken
            assert self.handle.n_waiting == len(self.waiting)
            assert self.handle.parties == PROCESSES
            assert not any(self.processes[process].answered() for process in self.waiting)


class Values(Kind):
    """The model: a number in its range, who holds the lock, and who died holding it."""

    code = "q"

    def make(self):
        return self.space.Value("x", self.code)

    def begin(self) -> None:
        self.low, self.high = INTEGERS[self.code]
        self.number, self.holder, self.dead = 0, None, None

    def died(self, process) -> None:
        if self.holder == process:
            self.holder, self.dead = None, self.holder_pid

    def number_from(self, edge, offset) -> int:
        return {"low": self.low, "high": self.high, "zero": 0, "old": self.number}[edge] + offset

    numbers: ClassVar = {"edge": st.sampled_from(["low", "high", "zero", "old"]), "offset": st.integers(-2, 2)}

    def fits(self, number) -> bool:
        return self.low <= number <= self.high

    @rule(process=processes, difference=st.booleans(), **numbers)
    def add(self, process, difference, edge, offset) -> None:
        n = self.number_from(edge, offset) - (self.number if difference else 0)
        got = self.processes[process].call("add", n)
        if self.fits(self.number + n):
            self.number += n
            assert got == self.number
        else:
            assert got == "OverflowError"

    @rule(process=processes, **numbers)
    def exchange(self, process, edge, offset) -> None:
        new = self.number_from(edge, offset)
        got = self.processes[process].call("exchange", new)
        if self.fits(new):
            assert got == self.number
            self.number = new
        else:
            assert got == "OverflowError"

    @rule(process=processes, expect=st.integers(-1, 1), **numbers)
    def compare_exchange(self, process, expect, edge, offset) -> None:
        expected, new = self.number + expect, self.number_from(edge, offset)
        got = self.processes[process].call("compare_exchange", expected, new)
        if not self.fits(expected) or not self.fits(new):
            assert got == "OverflowError"
        else:
            assert got is (expect == 0)
            self.number = self.number if expect else new

    @rule(process=processes, method=st.sampled_from(["add", "exchange"]), wrong=st.sampled_from([1.0, "1", None]))
    def what_is_no_number(self, process, method, wrong) -> None:
        assert self.processes[process].call(method, wrong) == "TypeError"

    def cut(self, number) -> int:
        number &= self.high - self.low
        return number if number <= self.high else number - (self.high - self.low + 1)

    def may(self, process) -> bool:
        return self.holder in (None, process)

    @rule(process=processes, how=st.sampled_from([write, change]), **numbers)
    def put(self, process, how, edge, offset) -> None:
        """Under the lock, so only when it is to be had. A number that does not fit is cut, as in ctypes."""
        if self.may(process):
            new, before = self.number_from(edge, offset), self.number
            assert self.processes[process].do(how, new) == (before if how is change else None)
            self.number = self.cut(new)
            if self.holder is None:
                self.dead = None

    @rule(process=processes, how=tries)
    def acquire(self, process, how) -> None:
        got = self.processes[process].call("acquire", *how)
        if self.holder is None:
            assert got is True
            self.holder, self.holder_pid, self.depth = process, self.processes[process].pid, 1
            assert self.processes[process].do(recovered_from) == self.dead
        elif self.holder == process:
            assert got is True
            self.depth += 1
        else:
            assert got is False

    @rule(process=processes)
    def release(self, process) -> None:
        got = self.processes[process].call("release")
        if self.holder == process:
            assert got is None
            self.depth -= 1
            if self.depth == 0:
                self.holder = self.dead = None
        else:
            assert got == ("NotHeld" if self.holder is None else "NotOwner")

    @rule()
    def open_otherwise(self) -> None:
        for other in ("Q", "d") if self.low < 0 else ("q", "f"):
            with pytest.raises(interlock.ParameterMismatch):
                self.space.Value("x", other)
        with pytest.raises(interlock.KindMismatch):
            self.space.Array("x", self.code, 1)

    @rule()
    def unlink_in_use(self) -> None:
        with pytest.raises(RuntimeError, match="in use"):
            self.space.unlink("x")

    @precondition(lambda self: self.holder is None)
    @rule(unlink=st.booleans())
    def everybody_goes(self, unlink) -> None:
        """And comes back: the number is still there, unless it was unlinked."""
        self.handle = None
        self.end_all()
        gc.collect()
        if unlink:
            self.space.unlink("x")
            assert data_files(self.space) == []
            self.number, self.dead = 0, None
        self.handle = self.make()

    @rule(given=st.integers(-5, 5))
    def first_content_of_a_later_opener(self, given) -> None:
        self.handle = self.space.Value("x", self.code, given)

    @invariant()
    def what_can_be_asked_agrees(self) -> None:
        if self.handle is not None:
            assert self.handle.get_obj().value == self.number
            assert self.handle.locked() is (self.holder is not None)
            owner = self.handle.owner
            assert (owner.pid if owner else None) == (None if self.holder is None else self.holder_pid)
            assert len(data_files(self.space)) == 1


def recovered_from(value):
    return value.recovered and value.recovered.pid


class ValuesOfTwoBytes(Values):
    code = "h"


class ValuesOfAByteWithoutSign(Values):
    code = "B"


class ValuesWithoutSign(Values):
    code = "Q"


MACHINES = [
    Semaphores,
    BoundedSemaphores,
    Events,
    RWLocks,
    Conditions,
    Barriers,
    Values,
    ValuesOfTwoBytes,
    ValuesOfAByteWithoutSign,
    ValuesWithoutSign,
]


@pytest.mark.parametrize("machine", MACHINES)
def test_against_the_model(machine, monkeypatch):
    monkeypatch.delenv("INTERLOCK_SPACE", raising=False)
    monkeypatch.setenv("INTERLOCK_DIR", "set by each run")
    examples = int(os.environ.get("INTERLOCK_TEST_EXAMPLES", "25"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
