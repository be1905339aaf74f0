"""`interlock top`, in a terminal: what it draws, what ends it, and that the terminal is as it was afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import termios

import pytest

from interlock.cli.table import cells
from tests.cli import INTERLOCK, cli, environment
from tests.process.test_list import CONFUSING
from tests.process.test_run_mistakes import says
from tests.support import HANG_SECONDS, HOLDER, Program, sleeping, until
from tests.terminal import Terminal, harmless

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
FRAME, END = "\x1b[H", "\x1b[J"
OFTEN, ONCE = ("top", "--interval", "0.1"), ("top", "--interval", "3600")

BOTH = """
    import interlock, sys
    first, second = interlock.Lock(sys.argv[1]), interlock.Lock(sys.argv[2])
    first.acquire()
    print("has", flush=True)
    sys.stdin.readline()
    second.acquire()
"""


def frame(terminal):
    """The lines of the next whole frame, without colours."""
    terminal.until(FRAME)
    return harmless(terminal.until(END)).replace("\r", "").split("\n")


def frame_where(terminal, condition):
    """The first frame of which this holds. Each test's own condition; it hangs, and is told, if there is none."""
    lines = []

    def look():
        lines[:] = frame(terminal)
        return condition("\n".join(lines))

    until(look)
    return lines


def left_as_it_was(terminal):
    status, text = terminal.end()
    assert LEAVE in text
    assert FRAME not in text.partition(LEAVE)[2]
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    return status, text.partition(LEAVE)[2]


@pytest.mark.parametrize("key", ["q", "Q", "\x03"])
def test_keys_that_end_it(key, space):
    _kept = space.Lock("orders")
    with Terminal(*ONCE) as terminal:
        assert terminal.until(ENTER) == ENTER
        lines = frame(terminal)
        assert lines[0].startswith("shm:default  ")
        assert "processes: 2, held: 0, waiting: 0" in lines[0]
        assert lines[1].split() == ["HELD", "SINCE", "BY", "WAITERS", "KIND"]
        assert {line.split()[0] for line in lines[3:]} == {str(os.getpid()), str(terminal.process.pid)}
        terminal.type(f"x{key}")
        assert left_as_it_was(terminal) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_that_end_it(number, space):
    with Terminal(*ONCE) as terminal:
        frame(terminal)
        terminal.process.send_signal(number)
        assert left_as_it_was(terminal) == (0 if number == signal.SIGINT else -number, "")


def test_a_terminal_that_goes(space):
    with Terminal(*OFTEN) as terminal:
        frame(terminal)
        os.close(terminal.theirs)
        os.close(terminal.mine)
        try:
            assert terminal.process.wait(HANG_SECONDS) in (-signal.SIGHUP, os.EX_IOERR, 0)
        finally:
            terminal.mine, terminal.theirs = os.pipe()


def test_stopped_and_continued(space):
    """In a session of its own nobody could continue it, so the kernel does not stop it; but the terminal is given back."""
    with Terminal(*ONCE) as terminal:
        frame(terminal)
        terminal.type("\x1a")
        terminal.until(LEAVE)
        terminal.until(ENTER)
        frame(terminal)
        terminal.type("q")
        assert left_as_it_was(terminal) == (0, "")


def test_a_change_of_size_is_seen_at_once(space):
    _kept = space.Lock("x" * 60)
    with _kept, Terminal(*ONCE, columns=80) as terminal:
        assert max(map(len, frame(terminal))) > 40
        terminal.resize(30, 24)
        assert max(map(cells, frame(terminal))) <= 30
        terminal.type("q")
        assert left_as_it_was(terminal) == (0, "")


def test_owners_and_waiters(space):
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        lock = space.Lock("orders")
        with Terminal(*OFTEN, columns=200) as terminal:
            lines = frame_where(terminal, lambda text: "orders" in text)
            (line,) = [line for line in lines if line.startswith("orders ")]
            assert f" {holder.pid} " in line
            assert " s " in line  # since when
            waiter = sleeping(lock.acquire)
            lines = frame_where(terminal, lambda text: "held: 1, waiting: 1" in text and "WAITS FOR" in text)
            (wait,) = [line for line in lines if f" {os.getpid()} " in line and line.startswith("orders ")]
            assert wait.rstrip().endswith(str(holder.pid))
            holder.kill()  # between two frames
            assert waiter.result() is True
            lines = frame_where(terminal, lambda text: "WAITS FOR" not in text)
            (line,) = [line for line in lines if line.startswith("orders ")]
            assert f" {os.getpid()} " in line
            assert "Lock, held, recovered" in line
            lock.release()
            frame_where(terminal, lambda text: "held: 0" in text)
            terminal.type("q")
            assert left_as_it_was(terminal) == (0, "")


@pytest.mark.parametrize("plainly", [False, True])
def test_deadlocks_in_red(plainly, space):
    with Program(BOTH, "left", "right") as one, Program(BOTH, "right", "left") as other:
        assert (one.line(), other.line()) == ("has", "has")
        one.say()
        other.say()
        with Terminal(*OFTEN, columns=200, **({"NO_COLOR": "1"} if plainly else {})) as terminal:
            seen = terminal.until("DEADLOCK") + terminal.until(END)
            text = harmless(seen[seen.rindex(FRAME) :])
            assert "2 parties wait for each other" in text
            for program in (one, other):
                assert f"process {program.pid} " in text
            assert ("\x1b[31m\x1b[1mDEADLOCK" in seen) == (not plainly)
            assert ("\x1b[31m" in seen) == (not plainly)
            one.kill()
            frame_where(terminal, lambda text: "DEADLOCK" not in text)


def test_two_at_once(space):
    with space.Lock("orders"), Terminal(*OFTEN) as one, Terminal(*OFTEN, columns=20, lines=8) as other:
        both = {str(one.process.pid), str(other.process.pid)}
        frame_where(one, lambda text: all(pid in text for pid in both) and "orders" in text)
        frame_where(other, lambda text: "orders" in text)
        one.type("q")
        assert left_as_it_was(one) == (0, "")
        frame_where(other, lambda text: "orders" in text)
        other.type("q")
        assert left_as_it_was(other) == (0, "")


@pytest.mark.parametrize(("columns", "lines"), [(20, 24), (20, 5), (1, 1), (80, 24), (300, 60)])
def test_confusing_names_in_small_terminals(columns, lines, space):
    held = [space.Lock(name) for name in CONFUSING]
    for lock in held:
        lock.acquire()
    with Terminal(*OFTEN, columns=columns, lines=lines) as terminal:
        for _ in range(2):
            shown = frame(terminal)
            assert len(shown) <= lines
            assert max(map(cells, shown)) <= columns
        if columns == 300:
            assert any(line.startswith("line\\nbreak ") for line in shown)
        terminal.type("q")
        assert left_as_it_was(terminal) == (0, "")


def test_more_than_there_is_room_for(space):
    held = [space.Lock(f"lock-{number:03}") for number in range(300)]
    for lock in held:
        lock.acquire()
    with Terminal(*ONCE, columns=100, lines=12) as terminal:
        shown = frame(terminal)
        assert len(shown) == 12
        named = [line for line in shown if line.startswith("lock-")]
        assert f"… {300 - len(named)} more" in shown


def test_a_space_that_is_deleted_meanwhile(space):
    with Terminal(*OFTEN, columns=200) as terminal:
        frame(terminal)
        os.unlink(space.path)
        status, after = left_as_it_was(terminal)
        assert status == os.EX_NOINPUT
        assert after.startswith("interlock: the space at ")


def test_no_terminal(space):
    assert "draws on a terminal" in says(cli("top"), os.EX_USAGE)
    with Terminal("--help") as terminal:  # for its terminal, of which only one side is given
        done = subprocess.run(
            [*INTERLOCK, "top"],
            env=environment(),
            stdin=terminal.theirs,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
    assert "draws on a terminal" in says(done, os.EX_USAGE)
    with Terminal("top", TERM="dumb") as terminal:
        assert terminal.end()[0] == os.EX_USAGE


def test_spaces_that_cannot_be_used(directory):
    with Terminal("top", "--space", "shm:other", columns=300) as terminal:
        status, text = terminal.end()
    assert status == os.EX_NOINPUT
    assert "does not exist" in text
    assert "\x1b" not in text
    assert list(directory.iterdir()) == []
