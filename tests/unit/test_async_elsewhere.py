"""What tasks want, and threads, other loops or other processes have."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import interlock
from tests.async_support import (
    ACQUIRED,
    in_loop,
    is_free,
    is_taken,
    waiting,
)
from tests.support import HANG_SECONDS, HOLDER, Program, held_elsewhere, until


def test_a_task_has_it_and_a_thread_waits(thing, run):
    async def main():
        async with thing:
            if type(thing).__name__ == "ReadLock":
                return
            answers = []
            thread = threading.Thread(target=lambda: answers.append(thing.acquire() and thing.release() is None))
            thread.start()
            await asyncio.sleep(0.02)
            assert answers == []
        thread.join(HANG_SECONDS)
        assert answers == [True]

    run(main)


def test_two_loops_in_two_threads(thing):
    if type(thing).__name__ == "ReadLock":
        return
    total = [0]

    async def count():
        for _ in range(100):
            async with thing:
                number = total[0]
                await asyncio.sleep(0)
                total[0] = number + 1

    async def main():
        await asyncio.gather(*(count() for _ in range(4)))

    threads = [threading.Thread(target=in_loop, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
    assert total == [800]
    assert is_free(thing)


@pytest.mark.parametrize("ended", [True, False])
def test_a_loop_goes_on_in_another_thread(space, ended):
    """While a task of it waits; the thread that it ran in before has ended, or not."""
    lock, held = space.Lock("x"), space.Lock("x")
    held.acquire()
    loop = asyncio.new_event_loop()
    go_on = threading.Event()
    tasks = []

    async def begin():
        tasks.extend(await waiting(lock.acquire_async()))

    def first():
        loop.run_until_complete(begin())
        if not ended:
            begun.set()
            go_on.wait()

    def second():
        held.release()
        assert loop.run_until_complete(asyncio.wait_for(tasks[0], HANG_SECONDS))
        done.append(lock.owner.pid)

    begun, done = threading.Event(), []
    before = threading.Thread(target=first)
    before.start()
    if ended:
        before.join(HANG_SECONDS)
    else:
        assert begun.wait(HANG_SECONDS)
    after = threading.Thread(target=second)
    after.start()
    after.join(HANG_SECONDS)
    go_on.set()
    before.join(HANG_SECONDS)
    assert done == [os.getpid()]
    lock.release()
    loop.close()


def test_loops_and_spaces(directory):
    """Two loops in two threads, each with locks of two spaces."""
    spaces = [interlock.Space("shm:one"), interlock.Space("shm:two")]
    totals = [0, 0]

    async def count(number):
        lock = spaces[number].Lock("x")
        for _ in range(50):
            async with lock:
                before = totals[number]
                await asyncio.sleep(0)
                totals[number] = before + 1

    async def main():
        await asyncio.gather(*(count(number) for number in (0, 1) for _ in range(3)))

    threads = [threading.Thread(target=in_loop, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
    assert totals == [300, 300]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_another_process_has_it(space, run, kind):
    lock = getattr(interlock, kind)("x", space=space)

    async def enter():
        async with lock:
            return lock.owner.pid

    async def main(program):
        (task,) = await waiting(enter())
        program.say()
        assert await asyncio.to_thread(program.line) == "released"
        assert await task == os.getpid()

    with Program(HOLDER, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RWLock.write", "RWLock.read"])
def test_the_owner_dies_while_a_task_waits(space, run, kind):
    told = []
    made = interlock.Lock if kind == "Lock" else interlock.RLock if kind == "RLock" else interlock.RWLock
    lock = made("x", space=space, on_recover=told.append)
    if made is interlock.RWLock:
        lock = lock.read if kind == "RWLock.read" else lock.write
    holder = HOLDER.replace("lock = ", "lock = interlock.RWLock('x').write if sys.argv[2] == 'RWLock' else ")

    async def enter(program):
        assert await lock.acquire_async()
        assert [owner.pid for owner in told] == [program.pid]
        if kind != "RWLock.read":
            assert lock.recovered.pid == program.pid
        assert is_taken(lock)
        lock.release()

    async def main(program):
        (task,) = await waiting(enter(program))
        program.kill()
        await task

    with Program(holder, "x", made.__name__) as program:
        assert program.line() == "held"
        run(main, program)
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_on_recover_that_raises_while_a_task_waits(space, run, kind):
    def refuse(owner):
        raise ArithmeticError(owner.pid)

    lock = getattr(interlock, kind)("x", space=space, on_recover=refuse)
    plain = getattr(interlock, kind)("x", space=space)

    async def main(program):
        first, second = await waiting(lock.acquire_async(), plain.acquire_async())
        program.kill()
        with pytest.raises(ArithmeticError):
            await first
        assert await second
        assert plain.recovered.pid == program.pid  # still marked

    with Program(HOLDER, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)


def test_permits_of_the_dead_while_a_task_waits(space, run):
    permits = space.BoundedSemaphore("x", 1)
    code = """
        import interlock, sys
        interlock.BoundedSemaphore("x", 1).acquire()
        print("taken", flush=True)
        sys.stdin.readline()
    """

    async def main(program):
        (task,) = await waiting(permits.acquire_async())
        program.kill()
        assert await task
        permits.release()

    with Program(code) as program:
        assert program.line() == "taken"
        run(main, program)
    until(lambda: permits.value == 1)


def test_closed_space(directory, run):
    async def main():
        for kind in ACQUIRED:
            mine = interlock.Space(f"shm:{kind.replace(' ', '-')}")
            thing = ACQUIRED[kind](mine)
            mine.close()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                await thing.acquire_async()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                async with thing:
                    pass

    run(main)


def test_a_space_that_is_closed_while_a_task_waits(directory, run):
    space, same = interlock.Space("shm:other"), interlock.Space("shm:other")

    async def main():
        with held_elsewhere(same.Lock("x")):
            (task,) = await waiting(space.Lock("x").acquire_async())
            space.close()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                await task

    run(main)


@pytest.mark.parametrize("kind", ["RLock", "Value"])
def test_on_recover_acts_for_the_task_that_waits(space, run, kind):
    """Though the loop calls it while no task runs: it may take the lock once more."""
    repaired = []

    def repair(owner):
        if kind == "Value":
            lock.value = 7
        with lock:
            repaired.append(owner.pid)

    lock = space.RLock("x", on_recover=repair) if kind == "RLock" else space.Value("x", "q", on_recover=repair)
    holder = HOLDER if kind == "RLock" else HOLDER.replace("(sys.argv[1])", "(sys.argv[1], 'q')")

    async def enter():
        async with lock:
            return lock.value if kind == "Value" else 7

    async def main(program):
        (task,) = await waiting(enter())
        program.kill()
        assert await task == 7
        assert repaired == [program.pid]

    with Program(holder, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)
    assert is_free(lock)


def test_on_recover_that_ends_the_wait_it_is_called_for(space):
    """What was taken for it is given back."""
    waits = []
    lock = interlock.Lock("x", space=space, on_recover=lambda _: waits.pop().close())

    async def main(program):
        wait = lock.acquire_async()
        waits.append(wait)
        wait.send(None)
        program.kill()
        while waits:
            await asyncio.sleep(0.001)

    with Program(HOLDER, "x") as program:
        assert program.line() == "held"
        in_loop(main, program)
    assert is_free(lock)
