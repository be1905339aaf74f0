"""`interlock break`."""

from __future__ import annotations

import pytest

from tests.cli import cli
from tests.process.test_break import HOLDS
from tests.process.test_run_mistakes import says
from tests.support import Program
from tests.terminal import Terminal


def test_taken_away(space):
    with Program(HOLDS, "Lock") as holder:
        assert holder.line() == "held"
        assert f"'x' was taken from process {holder.pid} " in says(cli("break", "--yes", "x"), 0)
        with space.Lock("x"):
            pass
        holder.say()
        assert "was taken from this process" in holder.line()


def test_not_without_a_terminal_to_ask_at(space):
    with Program(HOLDS, "Lock") as holder:
        assert holder.line() == "held"
        assert "say --yes" in says(cli("break", "x"), 64)
        assert space.Lock("x").owner.pid == holder.pid


@pytest.mark.parametrize("answer", ["y", "yes", "n", "", "what"])
def test_asked(space, answer):
    with Program(HOLDS, "Lock") as holder:
        assert holder.line() == "held"
        with Terminal("break", "x") as terminal:
            assert f"Lock 'x' is held by process {holder.pid}" in terminal.until("Take it away? [y/N]")
            terminal.type(answer + "\n")
            assert terminal.end()[0] == (0 if answer.startswith("y") else 1)
        assert space.Lock("x").locked() == (not answer.startswith("y"))


def test_what_cannot_be_broken(space):
    assert "'x' is no name in the space" in says(cli("break", "-y", "x"), 1)
    lock = space.Lock("x")
    with lock:
        pass
    assert "nobody holds 'x'" in says(cli("break", "-y", "x"), 1)
    permits = space.BoundedSemaphore("permits")
    with permits:
        assert "cannot be broken" in says(cli("break", "-y", "permits"), 1)
    assert permits.value == 1
