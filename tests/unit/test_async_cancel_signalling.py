"""Tasks that are cancelled while they wait for a notification, an event or the other parties."""

from __future__ import annotations

import asyncio

import pytest

from tests.async_support import (
    Holder,
    cancelled,
    in_loop,
    is_free,
    nobody_waits,
    poll,
    waiting,
)
from tests.support import in_thread


@pytest.fixture(params=["own", "Lock", "RLock"])
def condition(request, space):
    return space.Condition("x", None if request.param == "own" else getattr(space, request.param)("l"))


class Waiters:
    """Tasks that wait for a condition; `had` says who had the lock when the wait ended."""

    def __init__(self, condition):
        self.condition, self.had = condition, []

    async def wait(self, number, timeout=None):
        async with self.condition:
            try:
                return await self.condition.wait_async(timeout)
            finally:
                assert self.condition._is_owned()
                assert in_thread(self.condition.acquire, False) is False
                self.had.append(number)

    async def start(self, count, timeout=None):
        tasks = await waiting(*(self.wait(number, timeout) for number in range(count)))
        assert self.condition._waiters() == count
        return tasks


def test_a_cancelled_waiter_has_its_lock_again(condition, run):
    async def main():
        waiters = Waiters(condition)
        (task,) = await waiters.start(1)
        assert await cancelled(task)
        assert waiters.had == [0]
        assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_a_cancelled_waiter_waits_for_its_lock(condition, run):
    """However often it is cancelled."""

    async def main():
        waiters = Waiters(condition)
        (task,) = await waiters.start(1)
        with Holder(condition) as holder:
            for _ in range(5):
                task.cancel()
                await asyncio.sleep(0.002)
            assert not task.done()
            assert condition._waiters() == 1
            holder.release()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert waiters.had == [0]
        assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_a_reentrant_lock_comes_back_as_deep_after_a_cancellation(space, run):
    condition = space.Condition("x")

    async def deep():
        async with condition:
            async with condition:
                try:
                    await condition.wait_async()
                finally:
                    condition.release()
                    assert in_thread(condition.acquire, False) is False
                    condition.acquire()

    async def main():
        (task,) = await waiting(deep())
        assert await cancelled(task)
        assert is_free(condition)

    run(main)


@pytest.mark.parametrize("moment", ["before the wake-up", "before the loop looks", "while it waits for the lock"])
def test_a_notification_is_passed_on(condition, run, space, moment):
    async def main():
        waiters = Waiters(condition)
        first, second = await waiters.start(2)
        async with condition:
            condition.notify()
            if moment == "while it waits for the lock":
                poll(space)
                first.cancel()
                await asyncio.sleep(0.01)
        if moment == "before the wake-up":
            poll(space)
        first.cancel()
        assert await second is True
        assert first.cancelled() or await cancelled(first)
        assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_one_of_many_waiters_is_cancelled(condition, run):
    async def main():
        waiters = Waiters(condition)
        tasks = await waiters.start(100)
        assert await cancelled(tasks.pop(50))
        async with condition:
            condition.notify(99)
        assert await asyncio.gather(*tasks) == [True] * 99
        assert is_free(condition)

    run(main)


def test_timeouts_around_waits_for_a_condition(condition, run):
    async def main():
        async with condition:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await condition.wait_async()
            assert condition._is_owned()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await condition.wait_for_async(lambda: False)
            assert condition._is_owned()
            assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_a_task_group_around_waits_for_a_condition(condition, run):
    async def fail():
        await asyncio.sleep(0.005)
        raise ArithmeticError

    async def main():
        waiters = Waiters(condition)
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(waiters.wait(number))
                group.create_task(fail())
        assert sorted(waiters.had) == list(range(20))
        assert condition._waiters() == 0
        assert is_free(condition)

    run(main)


def test_the_loop_ends_while_tasks_wait_for_a_condition(condition, run):
    waiters = Waiters(condition)

    async def main():
        await waiters.start(20)

    run(main)
    assert sorted(waiters.had) == list(range(20))
    assert condition._waiters() == 0
    assert is_free(condition)


def test_a_wait_for_a_condition_that_is_closed(condition):
    """It cannot wait for the lock again, so it goes without."""

    async def main():
        async with condition:
            wait = condition.wait_async()
            wait.send(None)
            with Holder(condition):
                wait.close()
                assert condition._waiters() == 0
            await asyncio.sleep(0.02)
            assert is_free(condition)
            await condition.acquire_async()

    in_loop(main)
    assert is_free(condition)


def test_a_waiter_for_an_event_is_cancelled(space, run):
    event = space.Event("x")

    async def main():
        tasks = await waiting(*(event.wait_async() for _ in range(100)))
        assert await cancelled(tasks.pop(50))
        assert await cancelled(tasks.pop(0))
        event.set()
        poll(space)
        assert await cancelled(tasks.pop())
        assert await asyncio.gather(*tasks) == [True] * 97
        assert nobody_waits(space)

    run(main)


@pytest.mark.parametrize("how", ["cancel", "timeout", "group", "close"])
def test_a_cancelled_party_was_not_there(space, run, how):
    """As in asyncio.Barrier, and as a thread in whose wait a signal handler raises."""
    barrier = space.Barrier("x", 4)

    async def main():
        others = await waiting(barrier.wait_async(), barrier.wait_async())
        if how == "cancel":
            (task,) = await waiting(barrier.wait_async())
            assert await cancelled(task)
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    await barrier.wait_async()
        elif how == "close":
            wait = barrier.wait_async()
            wait.send(None)
            wait.close()
        else:
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    await waiting(group.create_task(barrier.wait_async()))
                    raise ArithmeticError
        assert not barrier.broken
        assert barrier.n_waiting == 2
        places = await asyncio.gather(barrier.wait_async(), barrier.wait_async(), *others)
        assert sorted(places) == [0, 1, 2, 3]

    run(main)


def test_a_party_that_is_cancelled_after_all_have_come(space, run):
    """Then it is too late to break anything."""
    barrier = space.Barrier("x", 3)

    async def main():
        first, second = await waiting(barrier.wait_async(), barrier.wait_async())
        assert await barrier.wait_async() == 2
        poll(space)
        assert await cancelled(first)
        assert await second in (0, 1)
        assert not barrier.broken
        assert barrier.n_waiting == 0

    run(main)


def test_before_the_first_step_of_a_wait(space, condition, run):
    event, barrier = space.Event("e"), space.Barrier("b", 2)

    async def main():
        for wait in (event.wait_async, barrier.wait_async):
            assert await cancelled(asyncio.ensure_future(wait()))
        assert barrier.n_waiting == 0
        assert not barrier.broken
        async with condition:
            task = asyncio.ensure_future(condition.wait_async())
            assert await cancelled(task)
            assert condition._waiters() == 0

    run(main)
