"""Event, Condition and Barrier against plain models: several handles and processes, deaths in between, in any order."""

from __future__ import annotations

import contextlib
import os
import signal
from threading import BrokenBarrierError

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

import interlock
from tests.property.running import PROCESSES, Kind, call, processes, run
from tests.support import stop, until


def wait(condition, *timeout):
    with condition:
        return condition.wait(*timeout)


class Events(Kind):
    """The model: a flag, and who waits."""

    def make(self):
        return self.space.Event("x")

    def start(self) -> None:
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


class Conditions(Kind):
    """The model: the queue of those who wait."""

    def make(self):
        return self.space.Condition("x")

    def start(self) -> None:
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

    def start(self) -> None:
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


@pytest.mark.parametrize("machine", [Events, Conditions, Barriers])
def test_against_the_model(machine, monkeypatch):
    run(machine, monkeypatch)
