"""Deaths and forks of those who read, write or have permits."""

from __future__ import annotations

import time

import pytest

import interlock
from tests.support import HANG_SECONDS, Program

USER = """
    import interlock, sys
    table, limit = interlock.RWLock("table"), interlock.BoundedSemaphore("limit", 3)
    do = {"read": table.read.acquire, "write": table.write.acquire, "permit": limit.acquire, "downgrade": table.downgrade,
          "release read": table.read.release, "release write": table.write.release, "release permit": limit.release}
    for line in sys.stdin:
        print(do[line.strip()](), flush=True)
"""


def has(user, *words):
    for word in words:
        user.say(word)
        user.line()


@pytest.fixture
def table(space):
    return space.RWLock("table")


@pytest.mark.parametrize("asleep", [False, True])
def test_dead_readers_count_no_longer(table, asleep):
    with Program(USER) as first, Program(USER) as second:
        has(first, "read", "read")
        has(second, "read")
        assert not table.write.acquire(blocking=False)
        if asleep:
            second.say("release read")
            second.line()
            first.kill()
            assert table.write.acquire(timeout=HANG_SECONDS)
        else:
            first.kill()
            second.kill()
            assert table.write.acquire(blocking=False)  # a try asks the kernel
    assert table.write.recovered is None  # nobody died writing
    table.write.release()


def test_a_dead_writer_is_told_to_readers_and_to_the_next_writer(table):
    with Program(USER) as writer:
        has(writer, "write")
        assert not table.read.acquire(blocking=False)
        writer.kill()
    with table.read:
        assert table.read.recovered.pid == writer.pid
    with table.write:
        assert table.write.recovered.pid == writer.pid
    with table.read:
        assert table.read.recovered is None


def test_on_recover_runs_for_a_reader_while_it_writes(space):
    told = []
    table = space.RWLock("table", on_recover=lambda owner: told.append((owner.pid, table.write.locked())))
    with Program(USER) as writer:
        has(writer, "write")
        writer.kill()
    with table.read:
        assert told == [(writer.pid, True)]
        assert not table.write.locked()


def test_who_died_after_a_downgrade_left_nothing_half_done(table):
    with Program(USER) as writer:
        has(writer, "write", "downgrade")
        assert table.read.acquire(blocking=False)
        table.read.release()
        writer.kill()
    assert table.write.acquire(timeout=HANG_SECONDS)
    assert table.write.recovered is None
    table.write.release()


def test_permits_of_the_dead_come_back(space):
    limit = space.BoundedSemaphore("limit", 3)
    with Program(USER) as first, Program(USER) as second:
        has(first, "permit", "permit")
        has(second, "permit")
        assert not limit.acquire(blocking=False)
        first.kill()
        assert limit.acquire(blocking=False)
        assert limit.acquire(timeout=HANG_SECONDS)
        assert not limit.acquire(blocking=False)
        second.kill()
        assert limit.acquire(timeout=HANG_SECONDS)
        assert not limit.acquire(timeout=0.02)
        limit.release(3)
    assert limit.value == 3


def test_a_permit_is_not_another_process_to_give_back(space):
    limit = space.BoundedSemaphore("limit", 3)
    with Program(USER) as other:
        has(other, "permit")
        with pytest.raises(interlock.NotHeld):
            limit.release()
        has(other, "release permit")
    assert limit.value == 3


def test_a_writer_is_let_in_past_a_stream_of_readers(table):
    """And a reader past a stream of writers: neither side starves."""
    reader = """
        import interlock
        table = interlock.RWLock("table")
        print("going", flush=True)
        while True:
            with table.{side}:
                pass
    """
    for stream, side in (("read", table.write), ("write", table.read)):
        with Program(reader.format(side=stream)) as first, Program(reader.format(side=stream)) as second:
            first.line()
            second.line()
            for _ in range(20):
                assert side.acquire(timeout=HANG_SECONDS)
                time.sleep(0.001)
                side.release()


@pytest.mark.parametrize(
    ("take", "try_it"),
    [
        (
            "BoundedSemaphore('x', 1, space=space).acquire()",
            "BoundedSemaphore('x', 1, space=space).acquire(blocking=False)",
        ),
        ("RWLock('x', space=space).read.acquire()", "RWLock('x', space=space).write.acquire(blocking=False)"),
        ("Lock('x', space=space).acquire()", "Lock('x', space=space).acquire(blocking=False)"),
    ],
)
def test_what_is_held_stays_held_when_the_last_handle_goes(directory, take, try_it):
    holder = f"""
        import gc, interlock, sys
        def take():
            space = interlock.Space("shm:another")
            assert interlock.{take}
        take()
        gc.collect()
        print("taken", flush=True)
        sys.stdin.readline()
    """
    tryer = f"""
        import interlock
        space = interlock.Space("shm:another")
        print(interlock.{try_it})
    """
    with Program(holder) as program:
        assert program.line() == "taken"
        with Program(tryer) as other:
            assert other.line() == "False"
        program.kill()
        with Program(tryer) as other:
            assert other.line() == "True"


CROWD = """
    import interlock, os, signal, sys
    limit = interlock.BoundedSemaphore("limit", {bound})
    ready, told = os.pipe()
    crowd = []
    for _ in range({processes}):
        crowd.append(os.fork())
        if crowd[-1] == 0:
            for _ in range({bound} // {processes}):
                limit.acquire()
            os.write(told, b".")
            signal.pause()
    heard = 0
    while heard < {processes}:
        heard += len(os.read(ready, 65536))
    print(limit.value, limit.acquire(timeout=0.01), flush=True)
    for pid in crowd:
        os.kill(pid, signal.SIGKILL)
    for pid in crowd:
        os.waitpid(pid, 0)
    print(sum(limit.acquire(blocking=False) for _ in range({bound} + 1)), flush=True)
"""


def test_a_thousand_processes_that_die_with_their_permits(directory):
    with Program(CROWD.format(processes=1000, bound=3000)) as program:
        assert program.line() == "0 False"
        assert program.line() == "3000"
        assert program.end() == (0, "", "")
