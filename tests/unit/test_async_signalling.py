"""Condition, Event and Barrier in tasks."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.async_support import in_loop, is_free, poll, waiting
from tests.support import HANG_SECONDS, Program, Task, in_thread, until


@pytest.fixture(params=["own", "Lock", "RLock"])
def condition(request, space):
    return space.Condition("x", None if request.param == "own" else getattr(space, request.param)("l"))


async def wait(condition, timeout=None):
    async with condition:
        return await condition.wait_async(timeout)


def notify(condition, count=1):
    with condition:
        condition.notify(count)


def test_wait_and_notify_between_tasks(condition, run):
    async def main():
        tasks = await waiting(*(wait(condition) for _ in range(5)))
        assert condition._waiters() == 5
        async with condition:
            condition.notify(2)
        assert await asyncio.gather(*tasks[:2]) == [True, True]  # in the order of arrival
        assert not any(task.done() for task in tasks[2:])
        async with condition:
            condition.notify_all()
        assert await asyncio.gather(*tasks[2:]) == [True] * 3
        assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_notifications_of_threads(condition, run):
    async def main():
        (task,) = await waiting(wait(condition))
        in_thread(notify, condition)
        assert await task is True

    run(main)


def test_tasks_notify_threads(condition, run):
    def wait_here():
        with condition:
            return condition.wait(HANG_SECONDS)

    async def main():
        thread = Task(wait_here)
        until(lambda: condition._waiters() == 1)
        async with condition:
            condition.notify()
        assert await asyncio.to_thread(thread.result) is True

    run(main)


def test_notifications_of_other_processes(space, run):
    condition = space.Condition("x")
    code = """
        import interlock, sys
        condition = interlock.Condition("x")
        sys.stdin.readline()
        with condition:
            condition.notify_all()
    """

    async def main(program):
        tasks = await waiting(*(wait(condition) for _ in range(3)))
        program.say()
        assert await asyncio.gather(*tasks) == [True] * 3

    with Program(code) as program:
        run(main, program)


def test_wait_lasts_as_long_as_said(condition, run):
    async def main():
        async with condition:
            before = time.monotonic()
            assert await condition.wait_async(0.05) is False
            assert time.monotonic() - before >= 0.05
            for timeout in (0, -1, float("-inf")):
                assert await condition.wait_async(timeout) is False
            for timeout, error in ((float("nan"), ValueError), (1e10, OverflowError), ("1", TypeError)):
                with pytest.raises(error):
                    await condition.wait_async(timeout)
            assert condition._is_owned()
            assert condition._waiters() == 0
        with pytest.raises(RuntimeError, match="un-acquired"):
            await condition.wait_async()

    run(main)


def test_wait_for(condition, run):
    state = []

    async def consume():
        async with condition:
            return await condition.wait_for_async(lambda: state[1:] and state, HANG_SECONDS)

    async def main():
        (task,) = await waiting(consume())
        for number in range(2):
            async with condition:
                state.append(number)
                condition.notify()
            await asyncio.sleep(0.002)
        assert await task is state
        async with condition:
            before = time.monotonic()
            assert await condition.wait_for_async(lambda: 0, 0.03) == 0
            assert time.monotonic() - before >= 0.03
            with pytest.raises(ZeroDivisionError):
                await condition.wait_for_async(lambda: 1 / 0)
            assert condition._is_owned()

    run(main)


def test_a_reentrant_lock_comes_back_as_deep_as_it_was(space, run):
    condition = space.Condition("x")

    async def deep(timeout):
        async with condition:
            async with condition:
                answer = await condition.wait_async(timeout)
            assert in_thread(condition.acquire, False) is False
        return answer

    async def main():
        assert await deep(0.01) is False
        (task,) = await waiting(deep(None))
        async with condition:
            condition.notify()
        assert await task is True
        assert is_free(condition)

    run(main)


def test_event(space, run):
    event = space.Event("x")

    async def main():
        assert await event.wait_async(0) is False
        assert await event.wait_async(0.01) is False
        tasks = await waiting(*(event.wait_async() for _ in range(50)))
        in_thread(event.set)
        event.clear()  # it was set since they began
        assert await asyncio.gather(*tasks) == [True] * 50
        assert await event.wait_async(-1) is False
        event.set()
        assert await event.wait_async() is True
        with pytest.raises(ValueError, match="NaN"):
            await event.wait_async(float("nan"))

    run(main)


def test_barrier(space, run):
    acted = []
    barrier = space.Barrier("x", 5, lambda: acted.append(barrier.n_waiting))

    async def main():
        for _ in range(3):
            places = await asyncio.gather(*(barrier.wait_async() for _ in range(5)))
            assert sorted(places) == [0, 1, 2, 3, 4]
        assert len(acted) == 3
        thread = Task(barrier.wait)
        until(lambda: barrier.n_waiting == 1)
        places = await asyncio.gather(*(barrier.wait_async() for _ in range(4)))
        assert sorted([*places, thread.result()]) == [0, 1, 2, 3, 4]

    run(main)


def test_a_barrier_that_breaks(space, run):
    barrier, failing = space.Barrier("x", 3), space.Barrier("y", 2, lambda: 1 / 0)

    async def main():
        others = await waiting(barrier.wait_async())
        before = time.monotonic()
        with pytest.raises(threading.BrokenBarrierError):
            await barrier.wait_async(0.02)
        assert time.monotonic() - before >= 0.02
        with pytest.raises(threading.BrokenBarrierError):
            await others[0]
        with pytest.raises(threading.BrokenBarrierError):
            await barrier.wait_async()
        barrier.reset()
        others = await waiting(barrier.wait_async(), barrier.wait_async())
        in_thread(barrier.abort)
        for error in await asyncio.gather(*others, return_exceptions=True):
            assert isinstance(error, threading.BrokenBarrierError)
        (first,) = await waiting(failing.wait_async())
        with pytest.raises(ZeroDivisionError):
            await failing.wait_async()
        with pytest.raises(threading.BrokenBarrierError):
            await first

    run(main)


def test_all_of_a_barrier_at_once(space):
    barrier = space.Barrier("x", 3)

    async def main():
        first, second = await waiting(barrier.wait_async(), barrier.wait_async())
        assert await barrier.wait_async() == 2
        poll(space)
        assert sorted([await first, await second]) == [0, 1]

    in_loop(main)


def test_a_task_comes_while_a_thread_acts(space, run):
    """It waits outside, in its task: the action, in another thread, goes on, and so does the loop."""
    acting, go_on = threading.Event(), threading.Event()

    def act():
        acting.set()
        assert go_on.wait(HANG_SECONDS)

    barrier = space.Barrier("x", 2, action=act)

    async def main():
        parties = [Task(barrier.wait) for _ in range(2)]
        await asyncio.to_thread(acting.wait)
        (late,) = await waiting(barrier.wait_async())
        go_on.set()
        assert await asyncio.to_thread(lambda: sorted(party.result() for party in parties)) == [0, 1]
        acting.clear()
        assert sorted(await asyncio.gather(late, barrier.wait_async())) == [0, 1]

    run(main)


def test_a_wait_that_cannot_begin_keeps_the_lock(condition, run, monkeypatch):
    def fail(_):
        raise OSError("too many open files")

    monkeypatch.setattr("interlock.aio._loop_of", fail)

    async def main():
        async with condition:
            with pytest.raises(OSError, match="too many"):
                await condition.wait_async()
            assert condition._is_owned()
        assert is_free(condition)

    run(main)
