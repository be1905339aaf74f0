"""What who comes from threads writes in a coroutine, and what it is told."""

from __future__ import annotations

import asyncio
import os

import pytest

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


def test_with_in_a_coroutine_around_the_first_wait_of_a_task(space):
    """Even where the handle was made before there was asyncio, and knows nothing of tasks."""
    code = """
        import interlock
        lock = interlock.RLock("ledger")
        import asyncio
        async def main():
            with lock:
                async with interlock.RLock("orders"):
                    pass
            return lock.locked()
        print(asyncio.run(main()), flush=True)
    """
    with Program(code) as program:
        assert program.end() == (0, "False\n", "")
    assert not space.RLock("ledger").locked()


@pytest.mark.parametrize(
    "made", ['RLock("own")', 'Value("own", "q")', 'Array("own", "q", 2)', 'RWLock("own").write', 'Condition("own")']
)
def test_the_first_task_of_a_process_is_an_owner_already(directory, made):
    code = """
        import asyncio, interlock, sys
        lock = eval("interlock." + sys.argv[1])
        async def one():
            with lock:
                return await asyncio.create_task(other())
        async def other():
            return await asyncio.wait_for(lock.acquire_async(timeout=0.05), 10)
        async def again():
            async with lock:
                return await asyncio.create_task(other())
        print(asyncio.run(one() if sys.argv[2] == "with" else again()), flush=True)
    """
    for how in "with", "async with":
        with Program(code, made, how) as program:
            assert program.end() == (0, "False\n", "")


def test_a_condition_taken_by_a_plain_with(directory):
    code = """
        import asyncio, interlock
        changed = interlock.Condition("stock")
        async def main():
            with changed:
                return await changed.wait_async(timeout=0.01)
        print(asyncio.run(main()), flush=True)
    """
    with Program(code) as program:
        assert program.end() == (0, "False\n", "")
