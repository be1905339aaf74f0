"""Tasks that are cancelled, at every moment: afterwards all is as if they had never been."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import time

import pytest

import interlock
from tests.async_support import (
    ACQUIRED,
    Holder,
    blocker_of,
    cancelled,
    in_loop,
    is_free,
    is_taken,
    nobody_waits,
    poll,
    waiting,
)


async def enter(thing):
    async with thing:
        pytest.fail("entered")


async def acquire(thing):
    await thing.acquire_async()
    pytest.fail("acquired")


async def take(thing):
    await thing.acquire_async()
    thing.release()
    return True


WAYS = {
    "async with": enter,
    "acquire_async": acquire,
    "with a timeout": lambda thing: thing.acquire_async(100),
    "hold": lambda thing: enter(thing.hold()) if hasattr(thing, "hold") else enter(thing),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def all_is_free(thing):
    assert is_free(thing)
    if (hasattr(thing, "value") and hasattr(thing, "_initial")) or hasattr(thing, "bound"):
        assert thing.value == 1
    return True


# --- before, while and after it waits ---


def test_before_its_first_step(thing, way, run):
    async def main():
        task = asyncio.ensure_future(way(thing))
        assert await cancelled(task)
        assert all_is_free(thing)
        with Holder(thing):
            task = asyncio.ensure_future(way(thing))
            assert await cancelled(task)
        assert all_is_free(thing)

    run(main)


def test_while_it_waits(thing, way, run, space):
    async def main():
        with Holder(thing):
            (task,) = await waiting(way(thing))
            assert await cancelled(task)
            assert nobody_waits(space)
            assert is_taken(thing)
        assert all_is_free(thing)

    run(main)


def test_between_the_grant_and_its_wake_up(thing, way, run, space):
    """It has it already and does not know."""

    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(way(thing))
            holder.release()
            poll(space)
            assert blocker_of(thing).acquire(False) is False
            assert not task.done()
            assert await cancelled(task)
        assert all_is_free(thing)
        assert nobody_waits(space)

    run(main)


def test_it_is_granted_what_it_was_cancelled_for(thing, way, run, space):
    """The loop looks after the cancellation, and before the task has its turn."""

    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(way(thing))
            holder.release()
            task.cancel()
            poll(space)
            assert blocker_of(thing).acquire(False) is False
            with pytest.raises(asyncio.CancelledError):
                await task
        assert all_is_free(thing)
        assert nobody_waits(space)

    run(main)


def test_the_next_in_the_queue_is_given_back_what_one_had_no_use_for(thing, run, space):
    async def main():
        with Holder(thing) as holder:
            tasks = await waiting(acquire(thing), take(thing), acquire(thing), take(thing))
            holder.release()
            tasks[2].cancel()
            poll(space)
            tasks[0].cancel()
            assert await asyncio.gather(*tasks[1::2]) == [True, True]
            assert all(
                type(end) is asyncio.CancelledError for end in await asyncio.gather(*tasks[::2], return_exceptions=True)
            )
        assert all_is_free(thing)
        assert nobody_waits(space)

    run(main)


@pytest.mark.parametrize("which", [0, 1, 50, 99])
def test_in_a_queue_of_a_hundred(thing, run, space, which):
    async def main():
        with Holder(thing) as holder:
            tasks = await waiting(*(take(thing) for _ in range(100)))
            assert await cancelled(tasks.pop(which))
            assert not any(task.done() for task in tasks)
            holder.release()
            assert await asyncio.gather(*tasks) == [True] * 99
        assert all_is_free(thing)
        assert nobody_waits(space)

    run(main)


def test_all_of_a_queue_but_the_last(thing, run, space):
    async def main():
        with Holder(thing) as holder:
            *tasks, last = await waiting(*(take(thing) for _ in range(100)))
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            holder.release()
            assert await last
            assert all(task.cancelled() for task in tasks)
        assert nobody_waits(space)
        assert all_is_free(thing)

    run(main)


def test_again_while_it_is_being_cancelled(thing, run):
    async def main():
        with Holder(thing):
            (task,) = await waiting(acquire(thing))
            task.cancel()
            task.cancel()
            assert await cancelled(task)
        assert all_is_free(thing)

    run(main)


def test_a_coroutine_that_is_closed(thing, space):
    """Not cancelled, but thrown away while it waits."""

    async def main():
        with Holder(thing):
            for awaitable in (thing.acquire_async(), thing.acquire_async(50)):
                awaitable.send(None)
                awaitable.close()
            never = thing.acquire_async()
            never.close()
            assert nobody_waits(space)
        assert all_is_free(thing)

    in_loop(main)


# --- the ways to be cancelled ---


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_asyncio_timeout(thing, way, run, seconds):
    async def main():
        with Holder(thing):
            with pytest.raises(TimeoutError) as raised:
                async with asyncio.timeout(seconds):
                    await way(thing)
            assert not isinstance(raised.value, interlock.AcquireTimeout)
            assert is_taken(thing)
        assert all_is_free(thing)

    run(main)


def test_wait_for(thing, way, run):
    async def main():
        with Holder(thing):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(way(thing), 0.01)
        assert all_is_free(thing)
        assert await asyncio.wait_for(thing.acquire_async(0), 10) in (True, False)

    run(main)


def test_wait_for_that_ends_as_the_grant_comes(space, run):
    """A hundred times about the same moment: it has the lock, or has not."""
    lock = space.Lock("x")

    async def main():
        for number in range(100):
            lock.acquire()
            asyncio.get_running_loop().call_later(0.002, lock.release)
            try:
                await asyncio.wait_for(lock.acquire_async(), 0.001 + number * 0.00002)
            except TimeoutError:
                while lock.locked():
                    await asyncio.sleep(0.0005)
            else:
                assert lock.locked()
                lock.release()
            assert is_free(lock)

    run(main)


def test_a_sibling_in_a_task_group_fails(thing, way, run):
    async def fail():
        await asyncio.sleep(0.005)
        raise ArithmeticError

    async def main():
        with Holder(thing):
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(way(thing))
                    group.create_task(fail())
            assert [type(error) for error in raised.value.exceptions] == [ArithmeticError]
        assert all_is_free(thing)

    run(main)


def test_the_loop_ends_while_tasks_wait(thing, way, run):
    async def main():
        await waiting(*(way(thing) for _ in range(10)))

    with Holder(thing):
        run(main)
    assert all_is_free(thing)


def test_the_loop_ends_between_the_grant_and_the_wake_up(thing, run, space):
    async def visit():
        async with thing:
            await asyncio.sleep(100)

    async def main():
        holder = Holder(thing)
        await waiting(*(visit() for _ in range(10)))
        holder.release()
        poll(space)

    run(main)
    assert all_is_free(thing)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_is_just_dropped(thing):
    """Neither cancelled nor awaited: stopped, closed, forgotten."""
    loop = asyncio.new_event_loop()
    kept = []

    async def main():
        kept.extend(await waiting(thing.acquire_async(), thing.acquire_async()))

    with Holder(thing):
        loop.run_until_complete(main())
        for task in kept:
            task._log_destroy_pending = False
        kept.clear()
        loop.close()
        del loop
        gc.collect()
    assert all_is_free(thing)


# --- all of it ---


def test_many_at_random(space, run):
    """Tasks of one loop that are cancelled whenever, of which some have it and some wait."""
    rng = random.Random(7)
    things = [ACQUIRED[kind](space.__class__(f"shm:{kind.replace(' ', '-')}")) for kind in ACQUIRED]
    balance = dict.fromkeys(range(len(things)), 0)

    async def use(number):
        async with things[number]:
            balance[number] += 1
            try:
                await asyncio.sleep(rng.random() * 0.002)
            finally:
                balance[number] -= 1

    async def main():
        end = time.monotonic() + 1
        while time.monotonic() < end:
            tasks = [asyncio.ensure_future(use(rng.randrange(len(things)))) for _ in range(200)]
            for task in rng.sample(tasks, 150):
                if rng.random() < 0.2:
                    await asyncio.sleep(rng.random() * 0.001)
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    run(main)
    assert set(balance.values()) == {0}
    for thing in things:
        assert all_is_free(thing)
