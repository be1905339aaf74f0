"""Semaphore and BoundedSemaphore against plain models: several handles and processes, deaths in between, in any order."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

import interlock
from tests.property.running import PROCESSES, Kind, call, processes, run, tries


class Semaphores(Kind):
    """The model: a number."""

    def make(self):
        return self.space.Semaphore("x", 2)

    def start(self) -> None:
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

    def start(self) -> None:
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


@pytest.mark.parametrize("machine", [Semaphores, BoundedSemaphores])
def test_against_the_model(machine, monkeypatch):
    run(machine, monkeypatch)
