"""What who comes from threads writes in a coroutine, and what it is told."""

from __future__ import annotations

import asyncio
import os

import pytest

import interlock
from tests.support import Program, held_elsewhere


def test_a_value_under_a_given_lock(space):
    lock = space.RLock("guard")
    value = space.Value("hits", "q", lock=lock)

    async def count():
        async with value:
            assert lock.locked()
            value.value += 1
        assert await value.acquire_async(timeout=1)
        value.release()
        return value.value

    assert asyncio.run(count()) == 1
    assert not lock.locked()


def test_no_loop(space):
    lock = space.Lock("orders")
    with held_elsewhere(lock):
        wait = lock.acquire_async()
        with pytest.raises(RuntimeError, match="in asyncio's event loops only"):
            wait.send(None)
    assert lock.acquire(timeout=1)  # what was begun is given up
    lock.release()


def test_closed_loops_keep_no_descriptors(space):
    lock = space.Lock("orders")

    async def wait():
        with held_elsewhere(lock):
            assert not await lock.acquire_async(timeout=0.001)
        return len(os.listdir("/proc/self/fd"))

    assert len({asyncio.run(wait()) for _ in range(5)}) == 1


def test_with_in_a_coroutine_around_the_first_wait_of_a_task(directory):
    code = """
        import asyncio, interlock
        async def main():
            with interlock.RLock("ledger"):
                async with interlock.RLock("orders"):
                    pass
            return interlock.RLock("ledger").locked()
        print(asyncio.run(main()), flush=True)
    """
    with Program(code) as program:
        assert program.end() == (0, "False\n", "")
    assert not interlock.RLock("ledger").locked()
