"""Lock and RLock against a plain model: several handles, threads and processes, in any order."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import threading
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import interlock
from tests.property.running import Machine, run

NAMES = ["a", "b"]
THREADS = 2
PROCESSES = 2
KINDS = {"Lock": interlock.Lock, "RLock": interlock.RLock}


class Thread:
    """A thread that does as it is told and answers."""

    def __init__(self) -> None:
        self.orders: queue.SimpleQueue = queue.SimpleQueue()
        self.answers: queue.SimpleQueue = queue.SimpleQueue()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while (order := self.orders.get()) is not None:
            lock, method, args = order
            try:
                self.answers.put(getattr(lock, method)(*args))
            except Exception as error:
                self.answers.put(type(error).__name__)

    def do(self, lock: object, method: str, *args: object) -> object:
        self.orders.put((lock, method, args))
        return self.answers.get(timeout=60)


def serve_process(connection, pickled) -> None:
    threads = [Thread() for _ in range(THREADS)]
    locks = pickle.loads(pickled)
    while True:
        thread, name, method, args = connection.recv()
        connection.send(threads[thread].do(locks[name], method, *args))


class Process:
    def __init__(self, locks) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve_process, args=(theirs, pickle.dumps(locks)), daemon=True)
        self.process.start()

    def do(self, thread: int, name: str, method: str, *args: object) -> object:
        self.connection.send((thread, name, method, args))
        assert self.connection.poll(60), "the process hangs"
        return self.connection.recv()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.connection.close()


class Locks(Machine):
    """The model: for each name (process, thread, depth) or None, and whether the last owner died holding it."""

    kind = "Lock"

    def begin(self) -> None:
        self.locks = {name: KINDS[self.kind](name, space=self.space) for name in NAMES}
        self.processes = [Process(self.locks) for _ in range(PROCESSES)]
        self.held: dict[str, tuple[int, int, int] | None] = dict.fromkeys(NAMES)
        self.orphaned = dict.fromkeys(NAMES, False)
        self.fences = dict.fromkeys(NAMES, 0)

    def end(self) -> None:
        for process in getattr(self, "processes", []):
            process.kill()

    who: ClassVar = {
        "process": st.integers(0, PROCESSES - 1),
        "thread": st.integers(0, THREADS - 1),
        "name": st.sampled_from(NAMES),
    }

    @rule(how=st.sampled_from([(False,), (True, 0), (True, 0.002)]), **who)
    def acquire(self, process, thread, name, how) -> None:
        got = self.processes[process].do(thread, name, "acquire", *how)
        held = self.held[name]
        if held is None:
            assert got is True
            self.held[name] = (process, thread, 1)
            recovered = self.processes[process].do(thread, name, "__getattribute__", "recovered")
            assert (recovered is not None) == self.orphaned[name]
            fence = self.processes[process].do(thread, name, "__getattribute__", "fence")
            assert fence > self.fences[name]
            self.fences[name] = fence
        elif self.kind == "RLock" and held[:2] == (process, thread):
            assert got is True
            self.held[name] = (process, thread, held[2] + 1)
        else:
            assert got is False

    @rule(**who)
    def release(self, process, thread, name) -> None:
        got = self.processes[process].do(thread, name, "release")
        held = self.held[name]
        if held is None:
            assert got == "NotHeld"
        elif held[0] != process or (self.kind == "RLock" and held[1] != thread):
            assert got == "NotOwner"
        else:
            assert got is None
            depth = held[2] - 1
            self.held[name] = (process, held[1], depth) if depth else None
            if not depth:
                self.orphaned[name] = False

    @rule(process=st.integers(0, PROCESSES - 1))
    def kill(self, process) -> None:
        self.processes[process].kill()
        self.processes[process] = Process(self.locks)
        for name, held in self.held.items():
            if held is not None and held[0] == process:
                self.held[name], self.orphaned[name] = None, True

    @rule(name=st.sampled_from(NAMES))
    def reopen(self, name) -> None:
        self.locks[name] = KINDS[self.kind](name, space=self.space)

    @rule(name=st.sampled_from(NAMES))
    def open_as_the_other_kind(self, name) -> None:
        other = interlock.RLock if self.kind == "Lock" else interlock.Lock
        with pytest.raises(interlock.KindMismatch):
            other(name, space=self.space)

    @rule()
    def many_other_names(self) -> None:
        for number in range(2000):
            KINDS[self.kind](f"other-{number}", space=self.space)

    @invariant()
    def what_can_be_asked_agrees(self) -> None:
        for name, held in getattr(self, "held", {}).items():
            lock = self.locks[name]
            assert lock.locked() == (held is not None)
            owner = lock.owner
            assert (owner.pid if owner else None) == (self.processes[held[0]].process.pid if held else None)


class RLocks(Locks):
    kind = "RLock"


@pytest.mark.parametrize("machine", [Locks, RLocks])
def test_against_the_model(machine, monkeypatch):
    run(machine, monkeypatch)
