"""Programs, threads and children that tests start, what they wait for, and detectors of two who are inside at once."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path
from typing import Self

HANG_SECONDS = 120  # nothing takes this long unless it hangs
FUTEX = "202" if platform.machine() == "x86_64" else "98"
FUTEX_PRIVATE = 0x80


class Spoken:
    """A program spoken with line by line. Killed at the end if it still runs."""

    def __init__(self, argv: list[str], **options: object) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line it prints; what it wrote to stderr is shown if there is none."""
        hangs = threading.Timer(HANG_SECONDS, self.process.kill)
        hangs.start()
        line = self.process.stdout.readline()
        hangs.cancel()
        if not line:
            raise AssertionError(f"the program ended: {self.process.communicate(timeout=HANG_SECONDS)[1]}")
        return line.rstrip("\n")

    def say(self, line: str = "") -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kills it with SIGKILL and waits until the kernel has taken it apart."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=HANG_SECONDS)

    def end(self) -> tuple[int, str, str]:
        """Waits for its end. Returns exit status, what it still printed, what it wrote to stderr."""
        out, err = self.process.communicate(timeout=HANG_SECONDS)
        return self.process.returncode, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


class Program(Spoken):
    """A Python program of its own."""

    def __init__(self, code: str, *arguments: object, **options: object) -> None:
        super().__init__([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], **options)


HOLDER = """
    import interlock, sys
    lock = getattr(interlock, sys.argv[2] if len(sys.argv) > 2 else "Lock")(sys.argv[1])
    lock.acquire()
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
    sys.stdin.readline()
"""


def in_child(function):
    """Calls the function in a forked child. Returns its result as text, or the exception's name."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads is what some of these tests are about
        pid = os.fork()
    if pid == 0:
        try:
            answer = repr(function())
        except BaseException as error:
            answer = type(error).__name__
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def in_thread(function, *args, **kwargs):
    """Calls the function in a thread of its own; returns what it returned or the exception it raised."""
    result = []

    def call():
        try:
            result.append(function(*args, **kwargs))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return result[0]


def until(condition):
    """Waits until the condition holds."""
    end = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.001)


def asleep(thread_id, pid="self"):
    """Whether the thread sleeps on a futex that processes share: the engine's are, those of Python and of libc are not."""
    with open(f"/proc/{pid}/task/{thread_id}/syscall") as file:
        words = file.read().split()
    return words[0] == FUTEX and not int(words[2], 16) & FUTEX_PRIVATE


class Task(threading.Thread):
    """A thread that calls a function."""

    def __init__(self, function, *args, **kwargs):
        super().__init__(daemon=True)
        self.call, self.returned, self.raised = (function, args, kwargs), None, None
        self.start()

    def run(self):
        function, args, kwargs = self.call
        try:
            self.returned = function(*args, **kwargs)
        except Exception as error:
            self.raised = error

    def asleep(self):
        return asleep(self.native_id)

    def result(self):
        """What the function returned; raises what it raised."""
        self.join(HANG_SECONDS)
        assert not self.is_alive(), "it hangs"
        if self.raised is not None:
            raise self.raised
        return self.returned


def sleeping(function, *args, **kwargs):
    """A Task that sleeps in the function."""
    task = Task(function, *args, **kwargs)
    until(task.asleep)
    return task


@contextlib.contextmanager
def signal_when_asleep(handler, to_main=True):
    """Sends a signal once the main thread sleeps: to that thread, or to another, where it does not interrupt the sleep."""

    def send():
        until(lambda: asleep(os.getpid()))
        signal.pthread_kill(threading.main_thread().ident if to_main else threading.get_ident(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: handler())
    task = Task(send)
    try:
        yield
    finally:
        task.result()
        signal.signal(signal.SIGUSR1, before)


def fail():
    raise ArithmeticError


def stop(program):
    """Stops it where it is. It may be asked for anything then, and does nothing before it is killed or goes on."""
    os.kill(program.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)


@contextlib.contextmanager
def held_elsewhere(lock):
    """Another thread holds the lock in the meantime."""
    over, has = threading.Event(), threading.Event()

    def hold():
        with lock:
            has.set()
            over.wait(HANG_SECONDS)

    task = Task(hold)
    assert has.wait(HANG_SECONDS)
    try:
        yield
    finally:
        over.set()
        task.result()


def data_files(space):
    """The names of the files in which data of objects of the space lies."""
    path = Path(space.path)
    return sorted(file.name for file in path.parent.iterdir() if file.name.startswith(path.name + "."))


def change(handle):
    """Puts an object in a state that a new one is not in; returns a function that tells whether it still is."""
    match type(handle).__name__:
        case "Semaphore":
            handle.release(4)
            return lambda copy: copy.value == 5
        case "Event":
            handle.set()
            return lambda copy: copy.is_set()
        case "Barrier":
            handle.abort()
            return lambda copy: copy.broken


def anonymous(space):
    return [space.Semaphore(), space.Event(), space.Barrier(parties=2)]


class Arena:
    """Shared memory in which two independent detectors watch a critical section.

    Detector 1: whoever enters writes its mark, and finds it unchanged when it leaves.
    Detector 2: a plain counter, read at entry and written back plus one when leaving; it loses updates under overlap.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "a+b") as file:
            if file.tell() == 0:
                file.truncate(4096)
            self.memory = mmap.mmap(file.fileno(), 4096)
        self.words = memoryview(self.memory).cast("q")

    MARK, COUNTER, OVERLAPS = 0, 1, 2

    def visit(self, mark: int, pause: bool = False) -> None:
        """One visit of the critical section, by a visitor with a mark of its own."""
        words = self.words
        if words[self.MARK] != 0:
            words[self.OVERLAPS] += 1
        words[self.MARK] = mark
        count = words[self.COUNTER]
        if pause:
            os.sched_yield()
        words[self.COUNTER] = count + 1
        if words[self.MARK] != mark:
            words[self.OVERLAPS] += 1
        words[self.MARK] = 0

    @property
    def counter(self) -> int:
        return self.words[self.COUNTER]

    @property
    def overlaps(self) -> int:
        return self.words[self.OVERLAPS]
