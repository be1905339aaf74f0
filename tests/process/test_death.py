"""Holders and waiters that die, and ends of interpreters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import interlock
from tests.support import HOLDER, Program

KINDS = [interlock.Lock, interlock.RLock]
pytestmark = pytest.mark.parametrize("kind", KINDS)

WAITER = """
    import interlock, sys
    lock = getattr(interlock, sys.argv[2])(sys.argv[1])
    print("waiting", flush=True)
    lock.acquire()
    print("got", lock.recovered.pid if lock.recovered else None, flush=True)
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
"""


def wait_until_waited_for(space, name="x"):
    while not any(info.name == name and info.waited_for for info in space.objects()):
        time.sleep(0.001)


def test_try_after_the_holders_death(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        lock = kind("x", space=space)
        assert not lock.acquire(blocking=False)
        holder.kill()
        assert not lock.locked()
        assert lock.owner is None
        assert lock.acquire(blocking=False)
        assert lock.recovered.pid == holder.pid
        assert lock.recovered.thread_id == holder.pid
        assert "-c" in lock.recovered.program
        assert lock.recovered.died <= time.time()
        assert lock.statistics().recoveries == 1
        lock.release()
        with lock:
            assert lock.recovered is None


def test_waiting_thread_gets_it(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        lock = kind("x", space=space)
        got = []
        thread = threading.Thread(target=lambda: got.append((lock.acquire(timeout=60), lock.recovered.pid)))
        thread.start()
        wait_until_waited_for(space)
        holder.kill()
        thread.join()
        assert got == [(True, holder.pid)]


def test_waiting_process_gets_it(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        with Program(WAITER, "x", kind.__name__) as waiter:
            assert waiter.line() == "waiting"
            wait_until_waited_for(space)
            holder.kill()
            assert waiter.line() == f"got {holder.pid}"


def test_killed_waiter_takes_nothing_along(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        waiters = [Program(WAITER, "x", kind.__name__) for _ in range(3)]
        for waiter in waiters:
            assert waiter.line() == "waiting"
        wait_until_waited_for(space)
        time.sleep(0.05)
        for waiter in waiters[:2]:
            waiter.kill()
        holder.say()
        assert holder.line() == "released"
        assert waiters[2].line() == "got None"
        for waiter in waiters:
            waiter.__exit__()


def test_killed_one_after_the_other(kind, space):
    """Each successor is told of its own predecessor's death."""
    programs = []
    for _ in range(5):
        programs.append(Program(WAITER, "x", kind.__name__))
        programs[-1].line()
        time.sleep(0.01)
    dead = None
    for _ in range(5):
        holder = space.Lock("x").owner if kind is interlock.Lock else space.RLock("x").owner
        while holder is None:
            time.sleep(0.001)
            holder = kind("x", space=space).owner
        current = next(program for program in programs if program.pid == holder.pid)
        assert current.line() == f"got {dead}"
        current.kill()
        dead = current.pid
    for program in programs:
        program.__exit__()
    assert kind("x", space=space).acquire(timeout=60)


def test_stopped_holder_keeps_it(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        os.kill(holder.pid, signal.SIGSTOP)
        lock = kind("x", space=space)
        assert not lock.acquire(timeout=0.2)
        os.kill(holder.pid, signal.SIGCONT)
        holder.say()
        assert holder.line() == "released"
        assert lock.acquire(timeout=60)
        assert lock.recovered is None


def test_zombie_does_not_keep_it(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        os.kill(holder.pid, signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped: a zombie
        assert kind("x", space=space).acquire(blocking=False)


def test_on_recover_runs_while_held(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        seen = []

        def repair(owner):
            seen.append((owner.pid, lock.locked(), lock.recovered.pid))

        lock = kind("x", space=space, on_recover=repair)
        holder.kill()
        with lock:
            assert seen == [(holder.pid, True, holder.pid)]
        with lock:
            assert len(seen) == 1


def test_on_recover_that_raises_leaves_the_mark(kind, space):
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        holder.kill()

        def fail(owner):
            raise ArithmeticError(owner.pid)

        lock = kind("x", space=space, on_recover=fail)
        for _ in range(3):
            with pytest.raises(ArithmeticError, match=str(holder.pid)):
                lock.acquire()
            assert not lock.locked()
        with kind("x", space=space) as _, pytest.raises(AssertionError):
            raise AssertionError(kind("x", space=space).recovered.pid)
        assert lock.acquire()


def test_on_recover_that_takes_it_again_and_raises_leaves_it_free(kind, space):
    if kind is interlock.Lock:  # it would wait for itself
        return
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        holder.kill()

    def fail(owner):
        lock.acquire()
        raise ArithmeticError

    lock = kind("x", space=space, on_recover=fail)
    with pytest.raises(ArithmeticError):
        lock.acquire()
    assert not lock.locked()
    assert not lock._is_owned()


def test_successor_that_dies_repairing_leaves_the_mark(kind, space):
    code = f"""
        import interlock, os
        interlock.{kind.__name__}("x", on_recover=lambda owner: os.kill(os.getpid(), 9)).acquire()
    """
    with Program(HOLDER, "x", kind.__name__) as holder:
        assert holder.line() == "held"
        holder.kill()
    with Program(code) as repairer:
        assert repairer.end()[0] == -signal.SIGKILL
    lock = kind("x", space=space)
    with lock:
        assert lock.recovered.pid == repairer.pid


@pytest.mark.parametrize(
    "ending",
    ["", "import sys; sys.exit(3)", "import os; os._exit(0)", "raise SystemError", "import os; os.abort()"],
)
def test_end_of_the_interpreter_while_holding(kind, space, ending):
    code = f"import interlock; lock = interlock.{kind.__name__}('x'); lock.acquire(); {ending}"
    subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, timeout=60, check=False)
    lock = kind("x", space=space)
    assert lock.acquire(blocking=False)
    assert lock.recovered is not None


def test_end_of_the_interpreter_while_daemon_threads_wait_and_hold(kind, space):
    code = f"""
import interlock, threading, time
x, y = interlock.{kind.__name__}("x"), interlock.{kind.__name__}("y")
x.acquire()
def hold():
    y.acquire()
    time.sleep(60)
def wait():
    x.acquire()
for body in (hold, wait, wait):
    threading.Thread(target=body, daemon=True).start()
while not y.locked(): time.sleep(0.001)
time.sleep(0.05)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    for name in "xy":
        assert kind(name, space=space).acquire(blocking=False)


def test_in_del_and_in_atexit(kind, space):
    code = f"""
import atexit, interlock
lock = interlock.{kind.__name__}("x")
class Late:
    def __del__(self):
        with lock: print("del", lock.locked())
class Cycle:
    def __init__(self): self.me, self.lock = self, lock
    def __del__(self):
        with self.lock: print("cycle")
def at_exit():
    with lock: print("atexit")
atexit.register(at_exit)
late, cycle = Late(), Cycle()
del late
keep = Late()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["del True", "atexit"]
    assert sorted(done.stdout.splitlines()[2:]) == ["cycle", "del True"]


def test_in_a_finalizer_run_by_the_garbage_collector(kind, space):
    import gc

    lock, log = kind("x", space=space), []

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            with kind("y", space=space):
                log.append(kind("z", space=space).acquire(blocking=False))

    for _ in range(10):
        Cycle()
        with lock:
            gc.collect()
            kind("z", space=space).release()
    assert log == [True] * 10
