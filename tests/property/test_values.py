"""Value against a plain model: several handles and processes, deaths in between, in any order."""

from __future__ import annotations

import gc
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

import interlock
from tests.ctypes_types import INTEGERS
from tests.property.running import Kind, processes, run, tries
from tests.support import data_files


def write(value, number):
    value.value = number


def change(value, number):
    """A read and a write under the lock. Returns what was there."""
    with value:
        before = value.value
        value.value = number
        return before


class Values(Kind):
    """The model: a number in its range, who holds the lock, and who died holding it."""

    code = "q"

    def make(self):
        return self.space.Value("x", self.code)

    def start(self) -> None:
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
            if how is change and self.holder is None:
                self.dead = None  # a write alone has repaired nothing

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


@pytest.mark.parametrize("machine", [Values, ValuesOfTwoBytes, ValuesOfAByteWithoutSign, ValuesWithoutSign])
def test_against_the_model(machine, monkeypatch):
    run(machine, monkeypatch)
