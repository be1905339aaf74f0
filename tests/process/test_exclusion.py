"""One lock in many processes, however they came to be."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import interlock
from tests.support import Arena, Program

KINDS = [interlock.Lock, interlock.RLock]
METHODS = ["fork", "spawn", "forkserver"]
pytestmark = pytest.mark.parametrize("kind", KINDS)


def visit_often(arena_path, lock, mark, visits):
    arena = Arena(arena_path)
    for number in range(visits):
        with lock:
            arena.visit(mark, pause=number % 16 == 0)


def visit_once(work):
    arena_path, lock, mark = work
    visit_often(arena_path, lock, mark, 20)


def is_held(lock):
    return lock.locked(), lock.acquire(blocking=False)


@pytest.mark.parametrize("method", METHODS)
def test_process_argument(kind, method, space, directory):
    context, arena = get_context(method), Arena(directory / "arena")
    lock = kind("x", space=space)
    children = [context.Process(target=visit_often, args=(directory / "arena", lock, mark, 1000)) for mark in range(1, 5)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    assert (arena.counter, arena.overlaps) == (4000, 0)


@pytest.mark.parametrize("method", METHODS)
def test_pool_argument(kind, method, space, directory):
    arena = Arena(directory / "arena")
    lock = kind(space=space)
    with get_context(method).Pool(3) as pool:
        pool.map(visit_once, [(directory / "arena", lock, mark) for mark in range(1, 101)], chunksize=1)
        pool.close()
        pool.join()
    assert (arena.counter, arena.overlaps) == (2000, 0)


@pytest.mark.parametrize("method", METHODS)
def test_executor_argument(kind, method, space, directory):
    arena = Arena(directory / "arena")
    lock = kind("x", space=space)
    with ProcessPoolExecutor(3, mp_context=get_context(method)) as executor:
        list(executor.map(visit_once, [(directory / "arena", lock, mark) for mark in range(1, 101)]))
        with lock:
            assert executor.submit(is_held, lock).result() == (True, False)
    assert (arena.counter, arena.overlaps) == (2000, 0)


def test_unrelated_programs(kind, space, directory):
    code = f"""
        import interlock, sys
        sys.path.insert(0, {os.getcwd()!r})
        from tests.support import Arena
        arena, lock = Arena(sys.argv[1]), interlock.{kind.__name__}("x")
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(2000):
            with lock:
                arena.visit(int(sys.argv[2]), pause=number % 16 == 0)
    """
    arena = Arena(directory / "arena")
    programs = [Program(code, directory / "arena", mark) for mark in range(1, 5)]
    for program in programs:
        assert program.line() == "ready"
    for program in programs:
        program.say("go")
    for program in programs:
        status, _, error = program.end()
        assert status == 0, error
    assert (arena.counter, arena.overlaps) == (8000, 0)


def test_exec_d_program_is_another(kind, space):
    lock = kind("x", space=space)
    code = f"import interlock; print(interlock.{kind.__name__}('x').acquire(blocking=False))"
    with lock:
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


def test_queue_carries_a_lock(kind, space):
    queue = multiprocessing.get_context("fork").SimpleQueue()
    lock = kind(space=space)
    queue.put(lock)
    copy = queue.get()
    with lock:
        assert pickle.loads(pickle.dumps(copy)).locked()
