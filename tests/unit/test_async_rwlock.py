"""RWLock, from tasks."""

from __future__ import annotations

import asyncio
import time

import pytest

import interlock
from tests.async_support import (
    Holder,
    in_loop,
    is_free,
    waiting,
)
from tests.support import held_elsewhere


def test_readers_read_together_and_a_writer_alone(space, run):
    lock, inside = space.RWLock("x"), []

    async def read():
        async with lock.read:
            inside.append("r")
            await asyncio.sleep(0.005)
            assert "w" not in inside
            inside.remove("r")
            return len(inside)

    async def write():
        async with lock.write:
            assert inside == []
            inside.append("w")
            await asyncio.sleep(0.001)
            inside.remove("w")
            return 0

    async def main():
        seen = await asyncio.gather(*(write() if number % 10 == 9 else read() for number in range(60)))
        assert max(seen) > 1

    run(main)


def test_a_task_reads_again_while_a_writer_waits(space, run):
    lock = space.RWLock("x")

    async def main():
        async with lock.read:
            (writer,) = await waiting(lock.write.acquire_async())
            assert await asyncio.create_task(lock.read.acquire_async(0.01)) is False  # a newcomer
            async with lock.read:
                assert await lock.read.acquire_async(0)
                lock.read.release()
            assert not writer.done()
        await writer

    run(main)
    lock.write.release()


def test_deadlocks_are_refused_by_task(space, run):
    lock = space.RWLock("x")

    async def main():
        async with lock.read:
            with pytest.raises(interlock.DeadlockDetected):
                await lock.write.acquire_async()
            with pytest.raises(interlock.DeadlockDetected):
                async with lock.write:
                    pass
            (other,) = await waiting(lock.write.acquire_async())  # another task's business
        assert await other
        lock.write.release()
        async with lock.write:
            with pytest.raises(interlock.DeadlockDetected, match="downgrade"):
                await lock.read.acquire_async()
            (other,) = await waiting(lock.read.acquire_async())
        assert await other
        lock.read.release()

    run(main)
    assert is_free(lock.write)


def test_downgrade(space, run):
    lock = space.RWLock("x")

    async def main():
        await lock.write.acquire_async()
        reader, writer = await waiting(lock.read.acquire_async(), lock.write.acquire_async())
        lock.downgrade()
        assert lock.read.locked()
        with pytest.raises(interlock.DeadlockDetected):
            await lock.write.acquire_async()
        async with lock.read:
            pass
        lock.read.release()
        done, _ = await asyncio.wait([reader, writer], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            (lock.read if task is reader else lock.write).release()
        await asyncio.gather(reader, writer)

    run(main)


def test_a_writer_who_has_the_gate_stands_behind_nobody(space):
    """It came later than another, who was not looked at while the gate was free, and waits for a reader to leave."""
    lock = space.RWLock("x")

    async def main():
        with Holder(lock.write):
            (first,) = await waiting(lock.write.acquire_async())
        with held_elsewhere(lock.read):
            time.sleep(0.01)  # longer than the gate is reserved for the first
            second = lock.write.acquire_async()
            future = second.send(None)
            assert await asyncio.create_task(lock.read.acquire_async(0)) is False  # the gate is taken
        while not future.done():
            await asyncio.sleep(0.001)
        with pytest.raises(StopIteration):
            second.send(None)
        assert not first.done()
        lock.write.release()
        assert await first

    in_loop(main)


def test_an_rwlock_itself_is_refused(space):
    async def main():
        with pytest.raises(TypeError, match="two sides"):
            async with space.RWLock("x"):
                pass

    in_loop(main)


def test_hundreds_of_tasks_read_several_locks(space, run):
    """What each of them reads is known of each: none may write, and another may not until all have left."""
    locks = [space.RWLock(f"lock {number}") for number in range(3)]

    async def read(number, everybody, leave):
        async with locks[number % 3].read, locks[(number + 1) % 3].read:
            everybody.release()
            await leave.wait()
            for lock in (locks[number % 3], locks[(number + 1) % 3]):
                with pytest.raises(interlock.DeadlockDetected):
                    await lock.write.acquire_async()
                async with lock.read:
                    pass

    async def main():
        everybody, leave = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.create_task(read(number, everybody, leave)) for number in range(400)]
        for _ in tasks:
            await everybody.acquire()
        assert not await locks[0].write.acquire_async(0)
        leave.set()
        await asyncio.gather(*tasks)
        for lock in locks:
            async with lock.write:
                pass
