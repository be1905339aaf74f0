"""What the state machines have in common: a space, processes that do as they are told, the runner."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import interlock
from tests.support import asleep, until

PROCESSES = 3
processes = st.integers(0, PROCESSES - 1)
tries = st.sampled_from([(False,), (True, 0), (True, 0.002)])


def call(handle, path, *args):
    """Calls a method of the handle, "release" or "read.release"; or reads an attribute that is none."""
    for name in path.split("."):
        handle = getattr(handle, name)
    return handle(*args) if callable(handle) else handle


def serve(connection, pickled) -> None:
    handle = pickle.loads(pickled)
    while True:
        function, args = connection.recv()
        try:
            connection.send(function(handle, *args))
        except Exception as error:
            connection.send(type(error).__name__)


class Process:
    """A process with a handle, that does as it is told and answers."""

    def __init__(self, handle) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, pickle.dumps(handle)), daemon=True)
        self.process.start()
        self.pid = self.process.pid
        theirs.close()

    def begin(self, function, *args) -> None:
        self.connection.send((function, args))

    def answered(self) -> bool:
        return self.connection.poll(0)

    def answer(self) -> object:
        assert self.connection.poll(60), "the process hangs"
        return self.connection.recv()

    def do(self, function, *args) -> object:
        self.begin(function, *args)
        return self.answer()

    def call(self, path, *args) -> object:
        return self.do(call, path, *args)

    def sleep_in(self, function, *args) -> None:
        self.begin(function, *args)
        until(lambda: asleep(self.pid, self.pid))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.process.join()
        self.connection.close()


class Processes(dict):
    """By number. They start at their first use, so that a death is noticed by those who are there, not by its successor."""

    def __init__(self, machine) -> None:
        self.machine = machine

    def __missing__(self, number) -> Process:
        self[number] = Process(self.machine.handle)
        return self[number]

    def kill(self, number) -> None:
        if number in self:
            self.pop(number).kill()


class Machine(RuleBasedStateMachine):
    """A state machine with a space of its own."""

    def begin(self) -> None:
        """What it starts with, in self.space."""

    def end(self) -> None:
        """Before the space goes."""

    @initialize()
    def open(self) -> None:
        self.home = tempfile.mkdtemp(prefix="interlock-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        os.environ["INTERLOCK_DIR"] = self.home
        self.space = interlock.Space("shm:default")
        self.begin()

    def teardown(self) -> None:
        self.end()
        if hasattr(self, "home"):
            shutil.rmtree(self.home)


class Kind(Machine):
    """What the machines of most kinds have in common: the object, and processes that have it."""

    handle = None

    def make(self):
        raise NotImplementedError

    def start(self) -> None:
        """The model at first."""

    def died(self, process) -> None:
        """The model after a death."""

    def begin(self) -> None:
        self.handle = self.make()
        self.processes = Processes(self)
        self.start()

    def end(self) -> None:
        if hasattr(self, "processes"):
            self.end_all()
        self.handle = None

    def end_all(self) -> None:
        for number in list(self.processes):
            self.processes.kill(number)

    @rule(process=processes)
    def kill(self, process) -> None:
        self.processes.kill(process)
        self.died(process)

    @rule(what=st.sampled_from(["reopen", "travel", "another kind", "many other names"]))
    def meanwhile(self, what) -> None:
        match what:
            case "reopen":
                self.handle = self.make()
            case "travel":
                self.handle = pickle.loads(pickle.dumps(self.handle))
            case "another kind":
                for kind in (interlock.Lock, interlock.Event, interlock.RWLock, interlock.Semaphore):
                    if not isinstance(self.handle, kind):
                        with pytest.raises(interlock.KindMismatch):
                            kind("x", space=self.space)
            case "many other names":
                for number in range(1000):
                    interlock.Lock(f"other-{number}", space=self.space)


def run(machine, monkeypatch) -> None:
    """Runs it as often as INTERLOCK_TEST_EXAMPLES says."""
    monkeypatch.delenv("INTERLOCK_SPACE", raising=False)
    monkeypatch.setenv("INTERLOCK_DIR", "set by each run")
    examples = int(os.environ.get("INTERLOCK_TEST_EXAMPLES", "25"))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
