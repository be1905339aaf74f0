"""What loops take from a process, and give back; and forks while they run."""

from __future__ import annotations

import gc
import os

import pytest

from tests.async_support import Holder, in_loop, waiting
from tests.support import Program


@pytest.mark.parametrize("allowed", ["0", "1"])
def test_no_thread_without_a_wait_and_one_for_all(directory, monkeypatch, allowed):
    monkeypatch.setenv("INTERLOCK_IO_URING", allowed)
    code = """
        import asyncio, interlock, os, threading, time
        from interlock.space import open_port
        alone = open_port(interlock.Space("shm:tried")).rings  # the kernel does it, as it may not be able to
        assert not (alone and os.environ["INTERLOCK_IO_URING"] == "0")
        def threads():
            return len(os.listdir("/proc/self/task"))
        locks = [interlock.Lock(f"x{n}") for n in range(5)]
        async def free():
            for lock in locks:
                async with lock:
                    assert await lock.acquire_async(0) is False
        asyncio.run(free())
        assert threads() == 1, threads()
        async def pending():
            for lock in locks:
                lock.acquire()
            tasks = [asyncio.create_task(lock.acquire_async()) for lock in locks for _ in range(20)]
            await asyncio.sleep(0.05)
            assert threads() == (1 if alone else 2), threads()
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.01)
        asyncio.run(pending())
        end = time.monotonic() + 60
        while threads() != 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        asyncio.run(pending())  # it begins again
        print("done")
    """.replace(
        "        for lock in locks:\n                lock.acquire()",
        "        for lock in locks:\n                lock.acquire(timeout=0)",
    )
    with Program(code) as program:
        assert program.line() == "done"


def test_a_setting_that_is_none(space, monkeypatch):
    monkeypatch.setenv("INTERLOCK_IO_URING", "no")
    lock = space.Lock("x")
    lock.acquire()
    with pytest.raises(ValueError, match=r"INTERLOCK_IO_URING must be 0 .* or 1 .*, not 'no'"):
        in_loop(lock.acquire_async)


@pytest.mark.parametrize("maker", ["asyncio", "uvloop"])
def test_descriptors_are_given_back(space, maker):
    lock = space.Lock("x")

    async def main():
        tasks = await waiting(*(lock.acquire_async() for _ in range(3)))
        for task in tasks:
            task.cancel()

    def descriptors():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    with Holder(lock):
        in_loop(main, maker=maker)
        before = descriptors()
        for _ in range(50):
            in_loop(main, maker=maker)
        assert descriptors() <= before


@pytest.mark.parametrize("maker", ["asyncio", "uvloop"])
def test_fork_while_tasks_wait(directory, maker):
    """The child takes locks without tasks, and with a loop of its own; the parent's waits go on."""
    code = f"""
        import asyncio, interlock, os, sys, warnings
        warnings.simplefilter("ignore")
        make = asyncio.new_event_loop
        if "{maker}" == "uvloop":
            import uvloop
            make = uvloop.new_event_loop
        lock, other, event = interlock.Lock("x"), interlock.RLock("y"), interlock.Event("e")
        async def child():
            assert await lock.acquire_async(0.02) is False
            async with other:
                pass
            task = asyncio.create_task(event.wait_async())
            await asyncio.sleep(0.01)
            event.set()
            assert await task
        async def enter():
            async with lock:
                return True
        async def main():
            tasks = [asyncio.create_task(enter()) for _ in range(10)]
            tasks.append(asyncio.create_task(event.wait_async()))
            await asyncio.sleep(0.02)
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    asyncio._set_running_loop(None)
                    assert not lock.acquire(timeout=0.02)
                    with other:
                        pass
                    with asyncio.Runner(loop_factory=make) as runner:
                        runner.run(child())
                    status = 0
                finally:
                    os._exit(status)
            assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)
            assert not any(task.done() for task in tasks[:10])
            print("forked", flush=True)
            assert await asyncio.gather(*tasks) == [True] * 11
            print("done", flush=True)
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(main())
    """
    holder = """
        import interlock, sys
        with interlock.Lock("x"):
            print("held", flush=True)
            sys.stdin.readline()
        sys.stdin.readline()
    """
    with Program(holder) as first:
        assert first.line() == "held"
        with Program(code) as program:
            assert program.line() == "forked"
            first.say()
            assert program.line() == "done"
