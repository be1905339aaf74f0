"""Signal handlers that fork in the middle of a wait, or use the very object that they interrupt."""

from __future__ import annotations

import pytest

from tests.support import Program

# The handler forks while acquire() waits for another process; the child goes on in a copy of the same call.
FORKING = """
    import os, signal, time
    import interlock

    def make(name):
        {make}

    ready, go = os.pipe(), os.pipe()
    holder = os.fork()
    if holder == 0:
        theirs = make("x")
        {hold}
        os.write(ready[1], b".")
        os.read(go[0], 1)
        {let_go}
        os._exit(0)
    os.read(ready[0], 1)
    mine = make("x")
    parent = os.getpid()

    def fork(*_):
        if os.getpid() == parent and os.fork() != 0:
            os.write(go[1], b".")

    signal.signal(signal.SIGALRM, fork)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        said = "inside" if {take} else "not inside"
        before = time.monotonic_ns()
        time.sleep(0.2)
        after = time.monotonic_ns()
        {give}
        said += " and out"
    except Exception as error:
        before = after = 0
        said = type(error).__name__
    # In one write, and so in one line.
    os.write(1, f"{{'parent' if os.getpid() == parent else 'child'}} {{before}} {{after}} {{said}}\\n".encode())
    if os.getpid() != parent:
        os._exit(0)
    os.waitpid(-1, 0)
    os.waitpid(-1, 0)
"""


def both(**parts: str) -> tuple[tuple[str, int, int], tuple[str, int, int]]:
    """What became of the parent and of the child: what they say, and from when to when they were inside."""
    with Program(FORKING.format(**parts)) as program:
        status, out, err = program.end()
    assert (status, err) == (0, "")
    lines = [line.split(maxsplit=3) for line in out.splitlines()]
    said = {who: (what, int(before), int(after)) for who, before, after, what in lines}
    return said["parent"], said["child"]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_fork_while_waiting_for_a_lock(directory, kind):
    parent, child = both(
        make=f"return interlock.{kind}(name)",
        hold="theirs.acquire()",
        let_go="theirs.release()",
        take="mine.acquire()",
        give="mine.release()",
    )
    assert parent[0] == child[0] == "inside and out"
    assert parent[2] <= child[1] or child[2] <= parent[1]


def test_fork_while_waiting_to_write(directory):
    parent, child = both(
        make="return interlock.RWLock(name)",
        hold="theirs.read.acquire()",
        let_go="theirs.read.release()",
        take="mine.write.acquire()",
        give="mine.write.release()",
    )
    # Only the parent stands at the gate: the child is told so.
    assert parent[0] == "inside and out"
    assert child[0] == "NotOwner"


HANDLER_READS = """
    import os, signal
    import interlock

    ready = os.pipe()
    if os.fork() == 0:
        theirs = interlock.RWLock("x")
        theirs.read.acquire()
        os.write(ready[1], b".")
        signal.pause()
    os.read(ready[0], 1)
    mine = interlock.RWLock("x")

    def use(*_):
        for side in (mine.read, mine.write):
            try:
                side.acquire(timeout=5)
                print("got it", flush=True)
            except interlock.DeadlockDetected:
                print("refused", flush=True)
        print("other", interlock.RWLock("y").read.acquire(), flush=True)
        raise KeyError

    signal.signal(signal.SIGALRM, use)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        mine.write.acquire()
    except KeyError:
        print("out", mine.write.locked(), flush=True)
    os.kill(0, signal.SIGTERM)
"""


def test_handler_that_uses_what_its_thread_waits_to_write(directory):
    """It would wait for the thread that it interrupts."""
    with Program(HANDLER_READS, start_new_session=True) as program:
        _, out, err = program.end()
    assert (out.splitlines(), err) == (["refused", "refused", "other True", "out False"], "")
