"""`interlock record`: the trace of what processes did, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from contextlib import ExitStack

import pytest

import interlock
from tests.cli import INTERLOCK, cli, environment
from tests.pictures import Trace, end_of
from tests.process.test_graph import HOSTILE, circle, parties, shown
from tests.process.test_run_mistakes import says
from tests.support import HANG_SECONDS, HOLDER, Program, Spoken, sleeping, until

# Does what it is told: takes or gives back a lock by name, and says so.
ACTOR = """
    import interlock, sys
    locks = {}
    print("here", flush=True)
    for line in sys.stdin:
        what, name = line.split()
        getattr(locks.setdefault(name, interlock.Lock(name)), what)()
        print("done", flush=True)
"""


class Recorder(Spoken):
    """An `interlock record`, from its first look on."""

    def __init__(self, space, *words, interval="2", **how):
        words = words if "-o" in words else ("-o", os.path.join(os.path.dirname(space.path), "trace.json"), *words)
        self.path = words[words.index("-o") + 1]
        super().__init__([*INTERLOCK, "record", "--interval", interval, *words], env=environment(), **how)
        self.said = self.process.stderr.readline()
        assert self.said.startswith("interlock: recording ")

    def stop(self, number=signal.SIGINT, status=0):
        """Ends it. Returns what it said at the end."""
        self.process.send_signal(number)
        code, out, err = self.end()
        assert (code, out) == (status, "")
        return err

    def trace(self, number=signal.SIGINT, status=0):
        self.stop(number, status)
        with open(self.path, encoding="ascii") as file:
            return Trace(file.read())


def a_while(recorder):
    """Until it has looked, from now on: it sleeps after each look, and hardly ever else."""
    before = sleeps(recorder)
    until(lambda: sleeps(recorder) > before + 2)


def sleeps(recorder):
    """How often it has gone to sleep."""
    with open(f"/proc/{recorder.pid}/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("voluntary_ctxt_switches")))


class Actor(Program):
    def __init__(self):
        super().__init__(ACTOR)
        assert self.line() == "here"

    def begin(self, what, name):
        self.say(f"{what} {name}")

    def do(self, what, name):
        self.begin(what, name)
        assert self.line() == "done"


def test_a_hold_and_a_wait(space):
    with Actor() as one, Actor() as other, Recorder(space) as recorder:
        a_while(recorder)
        one.do("acquire", "orders")
        a_while(recorder)
        other.begin("acquire", "orders")
        until(space.wait_graph)
        a_while(recorder)
        one.do("release", "orders")
        assert other.line() == "done"
        a_while(recorder)
        other.do("release", "orders")
        a_while(recorder)
        assert recorder.pid not in {each.pid for each in space.processes()}  # it only looks
        trace = recorder.trace()
        (first,) = trace.of(one.pid)
        wait, second = trace.of(other.pid)
        assert [(each["name"], each["cat"]) for each in (first, wait, second)] == [
            ("orders", "hold"),
            ("waits for orders", "wait"),
            ("orders", "hold"),
        ]
        assert first["ts"] < wait["ts"] < end_of(first)
        assert second["ts"] >= max(end_of(first), end_of(wait)) - 0.001
        assert second["args"]["fence"] == first["args"]["fence"] + 1
        assert first["args"]["looks"] > 1
        assert trace.holders("orders") == [one.pid, other.pid]
        assert trace.counter("orders: waiters") == [1, 0]
        assert trace.counter("orders: acquisitions a second")[-1] == 0
        assert max(trace.counter("orders: acquisitions a second")) > 0
        assert trace.tracks[one.pid, one.pid] == "main thread"
        assert trace.about["space"] == "shm:default"
        assert trace.about["looks"] > 5
        assert trace.about["interval_ms"] == 2


def test_two_holds_by_one_thread_are_two(space):
    """However soon after the other: the fence tells."""
    lock = space.Lock("orders")
    lock.acquire()
    with Recorder(space) as recorder:
        a_while(recorder)
        for _ in range(3):
            lock.release()
            lock.acquire()
        a_while(recorder)
        trace = recorder.trace()
    one, other = trace.of(os.getpid())
    assert other["args"]["fence"] == one["args"]["fence"] + 3
    assert one["ts"] < end_of(one) <= other["ts"] + 0.001
    rates = trace.counter("orders: acquisitions a second")
    assert rates[0] > 0


def test_locks_released_in_the_order_in_which_they_were_taken(space):
    """Their slices overlap and do not nest: they have tracks of their own. That is what the reader of traces checks."""
    with Actor() as actor, Recorder(space) as recorder:
        for what in (
            "acquire first",
            "acquire second",
            "release first",
            "acquire third",
            "release second",
            "release third",
        ):
            actor.do(*what.split())
            a_while(recorder)
        trace = recorder.trace()
        assert [each["name"] for each in trace.of(actor.pid)] == ["first", "second", "third"]
        assert len({each["tid"] for each in trace.of(actor.pid)}) == 2
        for name in ("first", "second", "third"):
            assert trace.holders(name) == [actor.pid]


def test_nested_holds_are_in_one_track(space):
    with Actor() as actor, Recorder(space) as recorder:
        for what in ("acquire first", "acquire second", "release second", "release first"):
            actor.do(*what.split())
            a_while(recorder)
        trace = recorder.trace()
        outer, inner = trace.of(actor.pid)
        assert (outer["name"], inner["name"]) == ("first", "second")
        assert outer["tid"] == inner["tid"] == actor.pid
        assert end_of(inner) < end_of(outer)


def test_a_wait_right_after_a_release(space):
    """Looks come rarely here. That the hold was over is told by the wait, which began in the same thread."""
    code = """
        import interlock, sys
        first, second = interlock.Lock("first"), interlock.Lock("second")
        first.acquire()
        print("has", flush=True)
        sys.stdin.readline()
        first.release()
        second.acquire()
    """
    with space.Lock("second"), Program(code) as program, Recorder(space, interval="50") as recorder:
        assert program.line() == "has"
        a_while(recorder)
        program.say()
        until(space.wait_graph)
        a_while(recorder)
        trace = recorder.trace()
        hold, wait = trace.of(program.pid)
        assert (hold["name"], wait["name"]) == ("first", "waits for second")
        assert end_of(hold) == pytest.approx(wait["ts"], abs=0.002)
        assert hold["tid"] == wait["tid"] == program.pid


def test_threads_have_tracks(space):
    lock = space.Lock("orders")
    with lock, Recorder(space) as recorder:
        waiting = [sleeping(lock.acquire, timeout=HANG_SECONDS) for _ in range(2)]
        until(lambda: len(lock.waiters) == 2)
        a_while(recorder)
        trace = recorder.trace()
    waits = trace.of(os.getpid(), "wait")
    assert {each["tid"] for each in waits} == {task.native_id for task in waiting}
    assert max(trace.counter("orders: waiters")) == 2
    until(lambda: any(not task.is_alive() for task in waiting))
    lock.release()
    assert [task.result() for task in waiting] == [True, True]


@pytest.mark.parametrize("kind", ["RLock", "RWLock", "BoundedSemaphore", "Condition", "Value", "Event"])
def test_kinds(kind, space):
    handle = space.Value("x", "i") if kind == "Value" else getattr(space, kind)("x")
    taken = [handle.read, handle.write] if kind == "RWLock" else [handle.get_lock()] if kind == "Value" else [handle]
    with Recorder(space) as recorder:
        for each in taken if kind != "Event" else ():
            with each:
                a_while(recorder)
        if kind == "Event":
            task = sleeping(handle.wait)
            until(space.wait_graph)
            a_while(recorder)
            handle.set()
            task.result()
        trace = recorder.trace()
    if kind == "Event":
        (wait,) = trace.of(os.getpid())
        assert (wait["name"], wait["args"]["for a notice"]) == ("waits for x", True)
        assert trace.counter("x: waiters")[0] == 1
        return
    held = trace.of(os.getpid(), "hold")
    assert [each["args"]["kind"] for each in held] == [kind] * len(taken)
    assert [("fence" in each["args"], "count" in each["args"]) for each in held] == {
        "RWLock": [(False, True), (True, False)],  # it is read, it is written
        "BoundedSemaphore": [(False, True)],
    }.get(kind, [(True, False)])
    assert trace.holders("x") == [os.getpid()] * len(taken)


def test_a_deadlock(space):
    with ExitStack() as stack, Recorder(space) as recorder:
        pids = parties(stack, space, *circle(["left", "right", "up"]))
        until(space.deadlocks)
        for _ in range(60):  # it looks for circles ten times a second
            a_while(recorder)
        trace = recorder.trace()
    (mark,) = trace.moments("deadlock")
    for pid in pids:
        assert f"process {pid} " in mark["args"]["told"]
        (wait,) = trace.of(pid, "wait")
        assert wait["name"].startswith("DEADLOCK, waits for ")
        assert wait["ts"] < mark["ts"] <= end_of(wait)
    assert "3 parties wait for each other: process" in mark["args"]["told"]


def test_a_process_that_dies(space):
    with space.Lock("later"):  # so that we have a slot: whoever claims one notices the dead
        pass
    with Recorder(space) as recorder:
        with Program(HOLDER, "orders") as holder:
            assert holder.line() == "held"
            a_while(recorder)
            holder.kill()
        with space.Lock("later"):
            a_while(recorder)
        with Program(HOLDER, "orders") as successor:
            assert successor.line() == "held"
            a_while(recorder)
        trace = recorder.trace()
    (gone,) = [mark for mark in trace.moments("process gone") if mark["pid"] == holder.pid]
    (hold,) = trace.of(holder.pid)
    assert end_of(hold) <= gone["ts"] + 0.001
    (later,) = trace.of(os.getpid())
    assert end_of(hold) <= later["ts"] + 0.001  # nobody but the recorder had noticed
    assert trace.holders("orders") == [holder.pid, successor.pid]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_it(number, space):
    with space.Lock("orders"), Recorder(space) as recorder:
        a_while(recorder)
        trace = recorder.trace(number, 0 if number == signal.SIGINT else -number)
    assert trace.holders("orders") == [os.getpid()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored(number, space):
    """As under nohup, or in a shell's background job, which Ctrl-C is not meant for."""
    with Recorder(space, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN)) as recorder:
        recorder.process.send_signal(number)
        a_while(recorder)
        with space.Lock("orders"):
            a_while(recorder)
        trace = recorder.trace(signal.SIGTERM, -signal.SIGTERM)
    assert trace.holders("orders") == [os.getpid()]


def test_some_seconds(space, directory):
    path = directory / "trace.json"
    with space.Lock("orders"):
        done = cli("record", "--seconds", "0.2", "-o", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    begun, ended = done.stderr.splitlines()
    assert begun == "interlock: recording shm:default every 10 ms, until 0.2 s are over"
    assert ended.startswith("interlock: 0.2 s, ")
    assert f"1 hold, 0 waits, 0 deadlocks; written to {path}" in ended
    trace = Trace(path.read_text())
    assert trace.about["seconds"] >= 0.2
    assert trace.holders("orders") == [os.getpid()]


def test_the_file_when_none_is_named(space, directory):
    done = cli("record", "--seconds", "0.01", cwd=directory)
    assert done.returncode == 0
    assert Trace((directory / "trace.json").read_text()).slices == []


def test_to_stdout(space):
    with space.Lock("orders"):
        done = cli("record", "--seconds", "0.05", "-o", "-")
    assert done.returncode == 0
    assert Trace(done.stdout).holders("orders") == [os.getpid()]
    assert "written to stdout" in done.stderr


def test_chosen_names(space, directory):
    with contextlib.ExitStack() as held:
        for name in ("orders", "order-log", "stock"):
            held.enter_context(space.Lock(name))
        trace = Trace(cli("record", "--seconds", "0.05", "-o", "-", "--match", "order*").stdout)
    assert {each["args"]["object"] for each in trace.slices} == {"orders", "order-log"}
    assert "stock" not in "".join(each["name"] for each in trace.events)


def test_hostile_names_and_programs(space):
    with ExitStack() as stack:
        parties(stack, space, *[(*pair, '--"<evil>&\x1b[2J\\') for pair in circle(HOSTILE)])
        done = cli("record", "--seconds", "0.05", "-o", "-")
    trace = Trace(done.stdout)
    named = {each["args"]["object"] for each in trace.slices}
    assert {shown(name) for name in named} == {shown(name) for name in HOSTILE}
    assert done.stdout.isascii()
    assert all(each["name"].isprintable() for each in trace.events)


def test_a_reader_that_goes(space):
    """More than a pipe holds, of which a line is read: it ends as other tools do."""
    locks = [space.Lock(f"{number:0200}") for number in range(1000)]
    for lock in locks:
        lock.acquire()
    with subprocess.Popen(
        [*INTERLOCK, "record", "--seconds", "0.1", "-o", "-"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as recording:
        assert recording.stdout.readline().startswith("{")
        recording.stdout.close()
        assert recording.stderr.read().count("\n") == 1  # that it records
        assert recording.wait(HANG_SECONDS) == -signal.SIGPIPE


def test_nowhere_to_write(space, directory):
    for path in (str(directory), str(directory / "none" / "trace.json"), "no\0file"[:0]):
        line = says(cli("record", "--seconds", "0.01", "-o", path), os.EX_CANTCREAT)
        assert f"cannot write {path!r}" in line
    done = cli("record", "--seconds", "0.01", "-o", "/dev/full")
    assert done.returncode == os.EX_IOERR
    assert done.stderr.endswith("interlock: cannot write '/dev/full': No space left on device\n")
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *INTERLOCK, "record", "--seconds", "0.01", "-o", "-"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert (closed.returncode, closed.stderr) == (os.EX_CANTCREAT, "interlock: cannot write '-': it is closed\n")


@pytest.mark.parametrize("how", ["deleted", "replaced", "truncated"])
def test_a_space_that_goes(how, space):
    """What was seen until then is written. The lock is another program's: a truncated space is of no use to us, either."""
    with Program(HOLDER, "orders") as holder:
        assert holder.line() == "held"
        with Recorder(space) as recorder:
            a_while(recorder)
            if how == "truncated":
                os.truncate(space.path, 0)
            else:
                os.unlink(space.path)
            if how == "replaced":
                with open(space.path, "xb"):
                    pass
            status, out, err = recorder.end()
        assert (status, out) == (os.EX_NOINPUT, "")
        first, second = err.splitlines()
        assert "space" in first
        assert "written to" in second
        with open(recorder.path) as file:
            trace = Trace(file.read())
        assert trace.holders("orders") == [holder.pid]


def test_another_space(directory, space):
    other = interlock.Space("shm:other place")
    with other.Lock("there"), space.Lock("here"):
        trace = Trace(cli("record", "--space", "shm:other place", "--seconds", "0.05", "-o", "-").stdout)
    assert {each["args"]["object"] for each in trace.slices} == {"there"}
    assert trace.about["space"] == "shm:other place"
