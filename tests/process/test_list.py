"""`interlock list`: what is told of each kind, as a table and as JSON, in terminals and without."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.cli import INTERLOCK, cli, environment
from tests.support import HANG_SECONDS, HOLDER, Program, sleeping, until
from tests.terminal import Terminal, harmless


def listed(*words):
    """Name -> what `interlock list --json` says of it."""
    done = cli("list", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    return {row["name"]: row for row in rows}


def columns(*words):
    done = cli("list", *words)
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["NAME", "KIND", "STATE", "WAITERS", "HOLDER", "FENCE"]
    return lines


OURS = ("name", "kind", "held", "waiters", "recovered", "anonymous")


def test_an_empty_space(space):
    assert listed() == {}
    assert columns() == []


def test_each_kind(space):
    handles = [
        space.Lock("a Lock"),
        space.RLock("an RLock"),
        space.RWLock("an RWLock"),
        space.BoundedSemaphore("a BoundedSemaphore", 3),
        space.Condition("a Condition"),
        space.Value("a Value", "i"),
        space.Array("an Array", "i", 2),
    ]
    bare = [space.Semaphore("a Semaphore", 2), space.Event("an Event"), space.Barrier("a Barrier", 2)]
    for row in listed().values():
        assert row["kind"] == row["name"].split()[1]
        owned = row["kind"] not in ("Semaphore", "Event", "Barrier")
        assert row["held"] is (False if owned else None)
        assert (row["holders"], row["waiters"], row["recovered"], row["anonymous"]) == ([], 0, False, False)
        assert (row["fence"] is None) == (not owned or row["kind"] == "BoundedSemaphore")
    assert len(listed()) == len(handles) + len(bare)
    taken = [handle.read if row == "an RWLock" else handle for row, handle in ((each.name, each) for each in handles)]
    for handle in taken:
        (handle if hasattr(handle, "acquire") else handle.get_lock()).acquire()
    seen = listed()
    for handle in handles:
        row = seen[handle.name]
        assert row["held"] is True
        assert [(holder["pid"], holder["alive"]) for holder in row["holders"]] == [(os.getpid(), True)]
        assert "pytest" in row["holders"][0]["program"]
    states = {line.split("  ")[0]: line for line in columns()}
    assert " held " in states["a Lock"]
    assert " read " in states["an RWLock"]
    assert " 1 taken " in states["a BoundedSemaphore"]
    handles[2].read.release()
    handles[2].write.acquire()
    (line,) = [line for line in columns() if line.startswith("an RWLock")]
    assert " written " in line
    assert str(os.getpid()) in line


def test_readers_of_several_processes(space):
    lock = space.RWLock("table")
    with (
        lock.read,
        Program("""
        import interlock, sys
        with interlock.RWLock("table").read:
            print("in", flush=True)
            sys.stdin.readline()
    """) as other,
    ):
        assert other.line() == "in"
        assert {holder["pid"] for holder in listed()["table"]["holders"]} == {os.getpid(), other.pid}
        assert " and 1 more" in columns()[0]


def test_waiters_and_the_dead(space):
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        lock = space.Lock("orders")
        waiter = sleeping(lock.acquire)
        until(lambda: lock.waiters)
        row = listed()["orders"]
        assert (row["waiters"], row["recovered"], row["holders"][0]["pid"]) == (1, False, holder.pid)
        holder.kill()
        assert waiter.result() is True
    row = listed()["orders"]
    assert (row["held"], row["waiters"], row["recovered"], row["holders"][0]["pid"]) == (True, 0, True, os.getpid())
    assert " held, recovered " in columns()[0]
    fence = row["fence"]
    lock.release()
    row = listed()["orders"]
    assert (row["held"], row["recovered"], row["fence"]) == (False, False, fence)


def test_a_death_that_nobody_has_noticed(space):
    """Whoever lists gets the first slot to be had, and sweeps what a dead one left there: another's, not the holder's."""
    with Program(HOLDER, "other") as other:
        assert other.line() == "held"
        with Program(HOLDER, "orders") as holder:
            assert holder.line() == "held"
            other.kill()
            holder.kill()
            row = listed()["orders"]
            assert (row["held"], row["holders"][0]["pid"], row["holders"][0]["alive"]) == (True, holder.pid, False)
            assert "(dead)" in columns()[0]
    with space.Lock("orders"):  # who takes it notices
        assert [" held, recovered " in line for line in columns() if line.startswith("orders ")] == [True]
        assert listed()["orders"]["recovered"] is True


def test_anonymous_ones_only_when_asked_for(space):
    made_up = space.Semaphore()
    _named = space.Semaphore("named")
    assert list(listed()) == ["named"]
    assert len(columns()) == 1
    assert {row["name"]: row["anonymous"] for row in listed("--all").values()} == {made_up.name: True, "named": False}
    assert len(columns("--all")) == 2


def test_another_space(directory, space):
    import interlock

    _here = space.Semaphore("here")
    _there = interlock.Space("shm:other place").Semaphore("there")
    assert list(listed("--space", "shm:other place")) == ["there"]
    done = cli("list", "--json", env=environment(INTERLOCK_SPACE="shm:other place"))
    assert [row["name"] for row in json.loads(done.stdout)] == ["there"]


WIDE, NARROW, NONE = "漢字" * 40, "é" * 127, "a\u0301" * 80
CONFUSING = ["two words", "line\nbreak", "\x1b[2J\x1b]0;title\x07", "\u202eevil", "שלום", WIDE, NARROW, NONE]


@pytest.mark.parametrize("width", [20, 80, 300])
def test_confusing_names_in_a_terminal(width, space):
    from interlock.cli.table import cells

    _kept = [space.Semaphore(name) for name in CONFUSING]
    with Terminal("list", columns=width) as terminal:
        status, text = terminal.end()
    assert status == 0
    lines = harmless(text).splitlines()
    assert len(lines) == 1 + len(CONFUSING)
    assert max(map(cells, lines)) <= width
    assert "\x1b[1mNAME" in text
    if width == 300:
        assert any("line\\nbreak" in line for line in lines)
        assert any("\\u202eevil" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 300])
def test_a_fence_is_shown_whole_or_not_at_all(width, space):
    lock = space.Lock("orders")
    with lock, Terminal("list", columns=width) as terminal:
        header, line = harmless(terminal.end()[1]).splitlines()
        assert ("FENCE" in header, str(lock.fence) in line) == (width == 300,) * 2
        assert str(os.getpid()) in line


def test_confusing_names_without_a_terminal(space):
    _kept = [space.Semaphore(name) for name in CONFUSING]
    lines = columns()
    assert len(lines) == len(CONFUSING)
    assert "\x1b" not in "".join(lines)
    assert any(line.startswith("é" * 127 + " ") for line in lines)  # nothing is cut short
    assert sorted(listed()) == sorted(CONFUSING)
    assert cli("list", "--json").stdout.isascii()


def test_no_colour_where_none_is_wanted(space):
    _kept = space.Semaphore("x")
    with Terminal("list", NO_COLOR="1") as terminal:
        assert "\x1b" not in terminal.end()[1]


@pytest.mark.parametrize("columns", ["0", "1", "20", "many"])
def test_sizes_that_are_none(columns, space):
    _kept = space.Semaphore("a name of some length")
    with Terminal("list", columns=0, COLUMNS=columns) as terminal:
        assert terminal.end()[0] == 0
    assert cli("list", env=environment(COLUMNS=columns)).stdout.splitlines()[1].startswith("a name of some length")


def test_a_reader_that_goes(space):
    """More than a pipe holds, of which one line is read: it ends as other tools do, and says nothing."""
    _kept = [space.Semaphore(f"{number:0200}") for number in range(1000)]
    with subprocess.Popen(
        [*INTERLOCK, "list"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as listing:
        assert listing.stdout.readline().startswith("NAME")
        listing.stdout.close()
        assert listing.stderr.read() == ""
        assert listing.wait(HANG_SECONDS) == -13


@pytest.mark.parametrize("closed", [">&-", ">/dev/full"])
def test_nowhere_to_write(closed, space):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *INTERLOCK, "list"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == os.EX_IOERR
    assert done.stderr.startswith("interlock: cannot write to stdout: ")


def test_a_hundred_thousand_names(space):
    code = """
        import interlock
        for number in range(100_000):
            interlock.Event(f"name-{number:06}").set()
    """
    with Program(code) as maker:
        assert maker.end()[0] == 0
    assert len(columns()) == 100_000
    assert len(listed()) == 100_000
