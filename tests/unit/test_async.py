"""What can be acquired, from tasks: arguments, results, and who waits behind whom."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import interlock
from tests.async_support import (
    Holder,
    in_loop,
    is_free,
    is_taken,
    lenient,
    locklike,
    poll,
    strict,
    waiting,
)
from tests.support import HANG_SECONDS

# --- the same rules as without tasks ---


def test_async_with(thing, run):
    async def main():
        async with thing as entered:
            assert entered is True
            assert is_taken(thing)
        assert is_free(thing)
        with pytest.raises(ArithmeticError):
            async with thing:
                raise ArithmeticError
        assert is_free(thing)

    run(main)


def test_async_with_waits_while_the_loop_goes_on(thing, run):
    async def enter():
        async with thing:
            assert is_taken(thing)
            return True

    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(enter())
            await asyncio.sleep(0.02)
            assert not task.done()
            holder.release()
            assert await task
        assert is_free(thing)

    run(main)


def test_acquire_async_of_what_is_free(thing, run):
    async def main():
        for timeout in (None, 0, 0.5, threading.TIMEOUT_MAX):
            assert await thing.acquire_async(timeout) is True
            assert is_taken(thing)
            thing.release()
        assert await thing.acquire_async() is True
        thing.release()
        assert is_free(thing)

    run(main)


def test_acquire_async_of_what_is_not(thing, run):
    async def main():
        with Holder(thing):
            assert await thing.acquire_async(0) is False
            before = time.monotonic()
            assert await thing.acquire_async(timeout=0.05) is False
            assert time.monotonic() - before >= 0.05
        assert is_free(thing)

    run(main)


@pytest.mark.parametrize("timeout", [None, HANG_SECONDS])
def test_acquire_async_gets_it_in_time(thing, run, timeout):
    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(thing.acquire_async(timeout))
            holder.release()
            assert await task is True

    run(main)
    assert is_taken(thing)


@strict
def test_minus_one_is_for_ever(thing):
    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(thing.acquire_async(-1))
            await asyncio.sleep(0.02)
            assert not task.done()
            holder.release()
            assert await task is True

    in_loop(main)


def test_a_bool_is_no_timeout(thing, run):
    """acquire_async(True) is not acquire(True): it would wait for a second."""

    async def main():
        for given in (True, False):
            with pytest.raises(TypeError, match="timeout=0"):
                await thing.acquire_async(given)
        assert is_free(thing)

    run(main)


@strict
@pytest.mark.parametrize("timeout", [-2, -1e-9, float("-inf"), float("nan"), 1e10, float("inf"), 10**400, "1"])
def test_a_bad_timeout_takes_nothing(thing, timeout):
    async def main():
        with pytest.raises((ValueError, OverflowError, TypeError)) as alone:
            thing.acquire(timeout=timeout)
        with pytest.raises(alone.type) as raised:
            await thing.acquire_async(timeout)
        assert str(raised.value) == str(alone.value)

    in_loop(main)
    assert is_free(thing)


@lenient
@pytest.mark.parametrize("timeout", [-2, -1, -1e-9, float("-inf")])
def test_permits_with_a_negative_timeout_are_to_be_had_now(thing, timeout):
    async def main():
        assert await thing.acquire_async(timeout) is True
        assert await thing.acquire_async(timeout) is False

    in_loop(main)


@lenient
@pytest.mark.parametrize("timeout", [float("nan"), 1e10, "1"])
def test_permits_with_a_bad_timeout_are_not_taken(thing, timeout):
    async def main():
        with pytest.raises((ValueError, OverflowError, TypeError)) as alone:
            thing.acquire(timeout=timeout)
        with pytest.raises(alone.type) as raised:
            await thing.acquire_async(timeout)
        assert str(raised.value) == str(alone.value)

    in_loop(main)
    assert thing.value == 1


@locklike
def test_hold(thing, run):
    async def main():
        async with thing.hold(timeout=1) as held:
            assert held is thing
            assert is_taken(thing)
        assert is_free(thing)
        with Holder(thing) as holder:
            (task,) = await waiting(enter())
            holder.release()
            assert await task is thing

    async def enter():
        async with thing.hold() as held:
            return held

    run(main)
    assert is_free(thing)


@locklike
@pytest.mark.parametrize("how", [{"timeout": 0.02}, {"timeout": 0}, {"blocking": False}])
def test_hold_raises_when_not_in_time(thing, run, how):
    async def main():
        with Holder(thing):
            with pytest.raises(interlock.AcquireTimeout, match="'x' could not be had") as raised:
                async with thing.hold(**how):
                    pytest.fail("entered")
            assert isinstance(raised.value, TimeoutError)
            assert ("0.02 s" in str(raised.value)) == (how.get("timeout") == 0.02)

    run(main)
    assert is_free(thing)


@locklike
def test_hold_with_bad_arguments(thing):
    async def main():
        for how in ({"timeout": float("nan")}, {"timeout": -2}, {"timeout": 1, "blocking": False}):
            with pytest.raises(ValueError, match=r"non-(negative|blocking)"):
                async with thing.hold(**how):
                    pytest.fail("entered")

    in_loop(main)
    assert is_free(thing)


def test_release_of_what_nobody_holds(thing):
    async def main():
        if isinstance(thing, interlock.Semaphore):
            return
        with pytest.raises(interlock.NotHeld):
            thing.release()
        with pytest.raises(interlock.NotHeld):
            await thing.__aexit__(None, None, None)

    in_loop(main)


def test_many_tasks_count_right(thing, run):
    total, inside, most = [0], [0], [0]

    async def count():
        for _ in range(20):
            async with thing:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                number = total[0]
                await asyncio.sleep(0)
                total[0] = number + 1
                inside[0] -= 1

    async def main():
        await asyncio.gather(*(count() for _ in range(20)))

    run(main)
    if type(thing).__name__ == "ReadLock":
        assert most[0] == 20
    else:
        assert most[0] == 1
        assert total[0] == 400
    assert is_free(thing)


# --- who waits behind whom ---


def test_waiters_go_in_the_order_of_arrival(space, run):
    """Of one loop; newcomers of others may overtake them."""
    lock, order = space.Lock("x"), []

    async def take(number):
        async with lock:
            order.append(number)

    async def main():
        with Holder(lock) as holder:
            tasks = await waiting(*(take(number) for number in range(100)))
            holder.release()
            await asyncio.gather(*tasks)

    run(main)
    assert order == list(range(100))


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_two_whose_time_is_up_when_permits_come(space, kind):
    """The loop sees all that at once."""
    permits = getattr(space, kind)("x", 2)

    async def main():
        assert permits.acquire()
        assert permits.acquire()
        tasks = await waiting(*(permits.acquire_async(0.01) for _ in range(2)))
        time.sleep(0.02)
        permits.release(2)
        poll(space)
        assert await asyncio.gather(*tasks) == [True, True]
        assert permits.value == 0

    in_loop(main)


def test_two_whose_time_is_up_when_the_lock_comes(space):
    """Whether one of them gets it or none, it is as they were told."""
    lock = space.Lock("x")

    async def main():
        for _ in range(20):
            lock.acquire()
            tasks = await waiting(*(lock.acquire_async(0.005) for _ in range(3)))
            time.sleep(0.006)
            lock.release()
            poll(space)
            got = await asyncio.gather(*tasks)
            assert sum(got) == lock.locked() == 1
            lock.release()

    in_loop(main)


def test_one_whose_time_is_up_in_the_middle_of_a_queue(space, run):
    lock = space.Lock("x")

    async def take(timeout):
        got = await lock.acquire_async(timeout)
        if got:
            lock.release()
        return got

    async def main():
        with Holder(lock) as holder:
            tasks = await waiting(*(take(0.02 if number == 50 else None) for number in range(100)))
            assert await tasks[50] is False
            assert sum(task.done() for task in tasks) == 1
            holder.release()
            got = await asyncio.gather(*tasks)
            assert got.count(False) == 1

    run(main)


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_as_many_go_on_as_there_are_permits(space, run, kind):
    permits = getattr(space, kind)("x", 5)

    async def main():
        for _ in range(5):
            assert await permits.acquire_async()
        tasks = await waiting(*(permits.acquire_async() for _ in range(20)))
        permits.release(3)
        while sum(task.done() for task in tasks) < 3:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        assert [task.done() for task in tasks] == [True] * 3 + [False] * 17
        assert permits.value == 0
        for number in range(17):
            permits.release()
            while sum(task.done() for task in tasks) < 4 + number:
                await asyncio.sleep(0)
        permits.release(5)
        assert permits.value == 5

    run(main)
