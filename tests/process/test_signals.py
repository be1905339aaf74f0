"""Signals during a wait: handlers run, Ctrl-C gets out, and nothing is lost either way."""

from __future__ import annotations

import signal
import time

import pytest

import interlock
from tests.support import Program

KINDS = [interlock.Lock, interlock.RLock]
pytestmark = pytest.mark.parametrize("kind", KINDS)

WAIT = """
    import interlock, os, signal, sys, time
    lock = interlock.{kind}("x")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background starts with it ignored
    {handler}
    print("waiting", flush=True)
    before = time.monotonic()
    try:
        print("returned", lock.acquire(timeout={timeout}), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    except ArithmeticError:
        print("raised", flush=True)
    print(time.monotonic() - before, flush=True)
    sys.stdin.readline()
"""


def waiting(kind, timeout=-1, handler=""):
    program = Program(WAIT.format(kind=kind.__name__, timeout=timeout, handler=handler))
    assert program.line() == "waiting"
    return program


def sleep_until_waited_for(space):
    while not space.objects()[0].waited_for:
        time.sleep(0.001)
    time.sleep(0.02)


def test_ctrl_c_gets_out(kind, space):
    lock = kind("x", space=space)
    lock.acquire()
    with waiting(kind) as program:
        sleep_until_waited_for(space)
        program.process.send_signal(signal.SIGINT)
        assert program.line() == "interrupted"
        lock.release()
        assert lock.acquire(blocking=False)


def test_handler_runs_and_the_wait_goes_on(kind, space):
    lock = kind("x", space=space)
    lock.acquire()
    with waiting(kind, handler="signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'handled\\n'))") as program:
        sleep_until_waited_for(space)
        for _ in range(3):
            program.process.send_signal(signal.SIGUSR1)
            assert program.line() == "handled"
        lock.release()
        assert program.line() == "returned True"


def test_handler_that_raises_gets_out(kind, space):
    lock = kind("x", space=space)
    lock.acquire()
    with waiting(kind, handler="signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)") as program:
        sleep_until_waited_for(space)
        program.process.send_signal(signal.SIGUSR1)
        assert program.line() == "raised"
        lock.release()
        assert lock.acquire(blocking=False)


def test_signals_do_not_prolong_a_timeout(kind, space):
    lock = kind("x", space=space)
    with (
        lock,
        waiting(kind, 0.5, "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(0, 0.01, 0.01)") as program,
    ):
        assert program.line() == "returned False"
        assert float(program.line()) >= 0.5


@pytest.mark.parametrize("entry", ["lock", "lock.hold(timeout=1)", "lock.hold()"])
def test_a_signal_never_comes_between_the_lock_and_its_with(kind, space, entry):
    """A handler that raises, at any moment of `with`: the lock is free afterwards, always."""
    code = f"""
        import interlock, signal, time
        lock = interlock.{kind.__name__}("x")

        def on_signal(*_):
            raise KeyboardInterrupt

        interrupted = leaked = 0
        signal.signal(signal.SIGALRM, on_signal)
        stop = time.monotonic() + 1
        while time.monotonic() < stop:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005)
                while True:
                    with {entry}:
                        pass
            except KeyboardInterrupt:
                interrupted += 1
            if lock.locked():
                leaked += 1
                lock.release()
        print(interrupted > 100, leaked, flush=True)
    """
    with Program(code) as program:
        assert program.line() == "True 0"


def test_ctrl_c_storm_loses_and_leaks_nothing(kind, space):
    """Ctrl-C at any moment of a loop of waits: each round either holds the lock or does not, and the end is clean."""
    code = f"""
        import interlock, os, signal, sys, time
        lock = interlock.{kind.__name__}("x")
        armed, rounds, interrupted = False, 0, 0

        def on_signal(*_):
            global armed, interrupted
            if armed:
                armed = False
                interrupted += 1
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, on_signal)
        print("ready", flush=True)
        stop = time.monotonic() + 1.5
        while time.monotonic() < stop:
            held = False
            try:
                armed = True
                held = lock.acquire(timeout=0.002)
                armed = False
            except KeyboardInterrupt:
                pass
            rounds += 1
            owner = lock.owner  # the signal may have come between the return from acquire and the assignment
            if held or (owner and owner.pid == os.getpid()):
                lock.release()
        print(rounds > 10, interrupted > 10, rounds, interrupted, flush=True)
        sys.stdin.readline()
    """
    lock = kind("x", space=space)
    with Program(code) as program:
        assert program.line() == "ready"
        for _ in range(600):
            with lock.hold(timeout=60):
                time.sleep(0.0005)  # by now the program waits for it
                program.process.send_signal(signal.SIGINT)
                time.sleep(0.0005)
            program.process.send_signal(signal.SIGINT)  # and now it is anywhere
            time.sleep(0.001)
        assert program.line().startswith("True True")  # enough rounds and interruptions to mean anything
        assert lock.acquire(blocking=False)
        lock.release()
    assert lock.acquire(blocking=False)
