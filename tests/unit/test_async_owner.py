"""Tasks as owners: of what they take alone, and beside threads."""

from __future__ import annotations

import asyncio

import pytest

import interlock
from tests.async_support import (
    in_loop,
    is_free,
    is_taken,
    only,
    owned_by_tasks,
)
from tests.support import Program, in_thread


@owned_by_tasks
def test_two_tasks_of_a_thread_exclude_each_other(thing, run):
    async def main():
        async with thing:
            other = asyncio.create_task(thing.acquire_async(0.02))
            assert await other is False

            async def without_waiting():
                return thing.acquire(False)

            assert await asyncio.create_task(without_waiting()) is False

    run(main)


@pytest.mark.parametrize("kind", ["Value", "Array", "RLock", "Condition", "RWLock"])
def test_the_first_task_of_a_program_owns_what_it_takes(directory, kind):
    """Whatever kind it takes first."""
    code = f"""
        import asyncio, interlock
        inside = []
        async def job(thing):
            async with thing:
                inside.append(1)
                assert len(inside) == 1
                await asyncio.sleep(0.01)
                async with interlock.RLock("another"):
                    pass
                inside.pop()
        async def main():
            thing = {{
                "Value": lambda: interlock.Value("x", "q"),
                "Array": lambda: interlock.Array("x", "q", 3),
                "RLock": lambda: interlock.RLock("x"),
                "Condition": lambda: interlock.Condition("x"),
                "RWLock": lambda: interlock.RWLock("x").write,
            }}["{kind}"]()
            await asyncio.gather(job(thing), job(thing))
        asyncio.run(main())
        print("done")
    """
    with Program(code) as program:
        assert program.line() == "done"


@only("RLock", "Condition", "Condition over RLock", "Value")
def test_a_task_may_take_again_what_it_has(thing, run):
    async def main():
        async with thing:
            assert await thing.acquire_async(0)
            async with thing:
                with thing:
                    assert is_taken(thing)
            thing.release()
            assert is_taken(thing)
        assert is_free(thing)

    run(main)


@only("RLock", "Condition", "Condition over RLock", "Value")
def test_another_task_or_thread_cannot_release(thing, run):
    async def give():
        thing.release()

    async def main():
        await thing.acquire_async()
        with pytest.raises(interlock.NotOwner):
            await asyncio.create_task(give())
        assert isinstance(in_thread(thing.release), interlock.NotOwner)
        assert is_taken(thing)
        thing.release()

    run(main)
    assert is_free(thing)


@owned_by_tasks
def test_with_in_a_task_is_the_tasks(thing):
    async def main():
        async with thing:  # from now on the library asks for tasks
            pass
        with thing:
            assert await asyncio.create_task(thing.acquire_async(0)) is False
        assert await asyncio.create_task(thing.acquire_async(0)) is True

    in_loop(main)


def test_what_the_thread_has_no_task_of_it_has(space):
    lock = space.RLock("x")

    async def main():
        async with space.RLock("another"):
            pass
        assert await lock.acquire_async(0.01) is False

    with lock:
        in_loop(main)
    assert is_free(lock)


def test_a_lock_is_released_by_any_task_of_the_process(space):
    lock = space.Lock("x")

    async def main():
        await lock.acquire_async()

        async def give():
            lock.release()

        await asyncio.create_task(give())
        assert not lock.locked()

    in_loop(main)
