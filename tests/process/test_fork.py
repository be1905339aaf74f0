"""Fork: what the parent holds stays the parent's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

import interlock
from tests.support import Program, in_child

KINDS = [interlock.Lock, interlock.RLock]
pytestmark = pytest.mark.parametrize("kind", KINDS)


def test_child_is_kept_out(kind, space):
    lock = kind("x", space=space)
    with lock:
        assert in_child(lambda: lock.acquire(blocking=False)) == "False"
        assert in_child(lambda: lock.acquire(timeout=0.02)) == "False"
    assert in_child(lambda: lock.acquire(blocking=False)) == "True"


def test_child_cannot_release_the_parents(kind, space):
    lock = kind("x", space=space)
    with lock:
        assert in_child(lock.release) == "NotOwner"
        assert in_child(lambda: lock.__exit__(None, None, None)) == "NotOwner"
        assert lock.owner.pid == os.getpid()
        assert lock.locked()


def test_child_may_with_foreign_release(kind, space):
    if kind is interlock.RLock:  # its depth belongs to the owner
        with pytest.raises(TypeError, match="foreign_release"):
            kind("x", space=space, foreign_release=True)
        return
    lock = kind("x", space=space, foreign_release=True)
    lock.acquire()
    assert in_child(lock.release) == "None"
    assert not lock.locked()


def test_child_takes_over_when_the_parent_has_released(kind, space):
    lock = kind("x", space=space)
    with lock:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"waiting")
            os._exit(0 if lock.acquire(timeout=60) and lock.owner.pid == os.getpid() else 1)
        os.read(reader, 7)
        time.sleep(0.05)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(reader)
    os.close(writer)
    with lock:
        assert lock.recovered.pid == pid  # the child ended holding it


def test_grandchildren(kind, space):
    lock = kind("x", space=space)
    with lock:
        assert in_child(lambda: in_child(lambda: lock.acquire(blocking=False))) == repr("False")


def test_parents_death_frees_it_although_children_live(kind, space):
    code = f"""
        import interlock, os, sys
        lock = interlock.{kind.__name__}("x")
        lock.acquire()
        pid = os.fork()
        if pid == 0:
            print(os.getpid(), flush=True)
            sys.stdin.readline()
            os._exit(0)
        os.waitpid(pid, 0)
    """
    with Program(code) as program:
        int(program.line())
        program.process.kill()
        program.process.wait()
        lock = kind("x", space=space)
        assert lock.acquire(blocking=False)
        assert lock.recovered.pid == program.pid
        program.say("end")


def test_fork_in_a_thread_while_another_waits(kind, space):
    lock = kind("x", space=space)
    lock.acquire()
    waiter = threading.Thread(target=lambda: (lock.acquire(), lock.release()))
    waiter.start()
    while not space.objects()[0].waited_for:
        time.sleep(0.001)
    answers = []
    forker = threading.Thread(target=lambda: answers.append(in_child(lambda: lock.acquire(timeout=0.05))))
    forker.start()
    forker.join()
    assert answers == ["False"]
    if kind is interlock.Lock:
        assert in_child(lambda: kind("y", space=space).acquire(blocking=False)) == "True"
    lock.release()
    waiter.join()
    assert in_child(lambda: lock.acquire(timeout=60)) == "True"


def test_forks_while_threads_lock(kind, space):
    """Children forked at any moment of the parent's locking can lock, too."""
    lock, stop = kind("x", space=space), threading.Event()

    def work():
        number = 0
        while not stop.is_set():
            with lock:
                number += 1
            kind(f"y{number % 100}", space=space).acquire(blocking=False)
            space_name = f"z{number}"
            with kind(space_name, space=space):
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            assert in_child(lambda: (lock.acquire(timeout=60), lock.release())[0]) == "True"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_forks_while_threads_open_spaces(kind, space, directory):
    """Children forked while another thread opens or leaves a space can open spaces, too."""
    stop = threading.Event()

    def work():
        number = 0
        while not stop.is_set():
            number += 1
            with kind("x", space=interlock.Space(f"shm:other-{number % 5}")):
                pass

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for number in range(60):
            child = f"shm:child-{number % 3}"
            assert in_child(lambda child=child: kind("y", space=interlock.Space(child)).acquire(timeout=60)) == "True"
    finally:
        stop.set()
        thread.join()


def test_posix_spawn_and_subprocess_keep_nothing_alive(kind, space):
    """A child made without fork handlers, which outlives its parent, does not keep the parent's lock."""
    code = f"""
        import interlock, os, subprocess, sys
        lock = interlock.{kind.__name__}("x")
        lock.acquire()
        sleep = [sys.executable, "-c", "import sys; sys.stdin.readline()"]
        subprocess.Popen(sleep)
        os.posix_spawn(sys.executable, sleep, os.environ)
        print("held", flush=True)
        os.kill(os.getpid(), 9)
    """
    with Program(code) as program:
        assert program.line() == "held"
        program.process.wait()
        assert kind("x", space=space).acquire(timeout=60)
        program.say()


def test_exec_frees(kind, space):
    code = f"""
        import interlock, os, sys
        interlock.{kind.__name__}("x").acquire()
        os.execv(sys.executable, [sys.executable, "-c", "print('new', flush=True); import sys; sys.stdin.readline()"])
    """
    with Program(code) as program:
        assert program.line() == "new"
        lock = kind("x", space=space)
        assert lock.acquire(blocking=False)
        assert lock.recovered is not None
        program.say()


def test_closing_all_descriptors_frees_nothing(kind, space):
    code = f"""
        import interlock, os, sys
        lock = interlock.{kind.__name__}("x")
        lock.acquire()
        lock.locked(), interlock.Lock("other").acquire(blocking=False)
        os.closerange(3, 4096)
        files = [open("/dev/null") for _ in range(300)]   # their numbers are used again
        print("closed", lock.locked(), flush=True)
        sys.stdin.readline()
        lock.release()
        print(lock.acquire(blocking=False), len([f.read() for f in files]), flush=True)
    """
    with Program(code) as program:
        assert program.line() == "closed True"
        lock = kind("x", space=space)
        assert not lock.acquire(timeout=0.1)
        program.say()
        assert program.line() == "True 300"


def test_stray_open_and_close_of_the_file_frees_nothing(kind, space):
    lock = kind("x", space=space)
    with lock:
        for _ in range(3):
            with open(space.path, "r+b"):
                pass
        code = f"import interlock; print(interlock.{kind.__name__}('x').acquire(timeout=0.05))"
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
