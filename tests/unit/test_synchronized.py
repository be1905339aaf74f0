"""synchronized: a function under a lock."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

import interlock
from tests.support import in_thread


def test_it_holds_the_lock_and_passes_everything_on(space):
    lock = interlock.Lock("job", space=space)

    @interlock.synchronized("job", space=space)
    def job(first, *, second=2):
        """Does it."""
        return first, second, lock.locked()

    assert job(1, second=3) == (1, 3, True)
    assert not lock.locked()
    assert (job.__name__, job.__doc__) == ("job", "Does it.")


def test_it_raises_when_not_in_time_and_did_not_run(space):
    ran = []

    @interlock.synchronized("job", timeout=0.01, space=space)
    def job():
        ran.append(1)

    with interlock.Lock("job", space=space):
        with pytest.raises(interlock.AcquireTimeout, match="'job'"):
            job()
        assert isinstance(in_thread(job), interlock.AcquireTimeout)
    assert not ran
    job()
    assert ran


def test_an_exception_releases(space):
    @interlock.synchronized("job", space=space)
    def job():
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            job()


def test_threads_take_turns(space):
    inside, most = [], []

    @interlock.synchronized("job", space=space)
    def job():
        inside.append(1)
        most.append(len(inside))
        inside.pop()

    threads = [threading.Thread(target=lambda: [job() for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_coroutine_functions_wait_in_their_task(space):
    running, most = 0, 0

    @interlock.synchronized("job", timeout=30, space=space)
    async def job(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    async def jobs():
        return await asyncio.gather(*map(job, range(10)))

    assert asyncio.run(jobs()) == list(range(10))
    assert most == 1
    assert inspect.iscoroutinefunction(job)


def test_coroutine_functions_that_are_late(space):
    @interlock.synchronized("job", timeout=0.01, space=space)
    async def job():
        raise AssertionError

    with space.Lock("job"), pytest.raises(interlock.AcquireTimeout):
        asyncio.run(job())


def test_generator_functions_are_refused(space):
    def numbers():
        yield 1

    async def more_numbers():
        yield 1

    for function in (numbers, more_numbers):
        with pytest.raises(TypeError, match="its body runs after the call"):
            interlock.synchronized("job", space=space)(function)
