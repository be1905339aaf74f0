"""Loops, tasks that wait in them, and the moments between: for tests of the asynchronous face."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

import interlock
from interlock import aio
from tests.support import HANG_SECONDS, held_elsewhere, in_thread

# What can be acquired, and what keeps it from being had; each from a space.
ACQUIRED = {
    "Lock": lambda space: space.Lock("x"),
    "RLock": lambda space: space.RLock("x"),
    "RWLock.read": lambda space: space.RWLock("x").read,
    "RWLock.write": lambda space: space.RWLock("x").write,
    "Semaphore": lambda space: space.Semaphore("x"),
    "BoundedSemaphore": lambda space: space.BoundedSemaphore("x"),
    "Condition": lambda space: space.Condition("x"),
    "Condition over Lock": lambda space: space.Condition("x", space.Lock("l")),
    "Condition over RLock": lambda space: space.Condition("x", space.RLock("l")),
    "Value": lambda space: space.Value("x", "q"),
    "Array": lambda space: space.Array("x", "q", 2),
}
LOCKLIKE = ["Lock", "RLock", "RWLock.read", "RWLock.write", "Value", "Array"]
LENIENT = ["Semaphore", "BoundedSemaphore"]
OWNED_BY_TASKS = ["RLock", "RWLock.write", "Condition", "Condition over RLock", "Value", "Array"]


def only(*kinds):
    """For tests of some of what can be acquired, by the fixture `thing`."""
    return pytest.mark.parametrize("thing", kinds, indirect=True)


strict = only(*[kind for kind in ACQUIRED if kind not in LENIENT])
lenient = only(*LENIENT)
locklike = only(*LOCKLIKE)
owned_by_tasks = only(*OWNED_BY_TASKS)


def in_loop(function, *args, maker="asyncio"):
    """What the async function returns, run in a new loop of that make."""
    factory = pytest.importorskip("uvloop").new_event_loop if maker == "uvloop" else None

    async def main():
        async with asyncio.timeout(HANG_SECONDS):
            return await function(*args)

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())


def blocker_of(thing):
    """What keeps others from it while somebody has it."""
    return interlock.RWLock(thing.name, space=thing.space).write if type(thing).__name__ == "ReadLock" else thing


class Holder:
    """Another thread has what the test is about, until released; or nobody any more."""

    def __init__(self, thing):
        self.stack = contextlib.ExitStack()
        self.stack.enter_context(held_elsewhere(blocker_of(thing)))

    def release(self):
        self.stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


async def waiting(*coroutines):
    """Tasks of them, all of which wait."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


def poll(space):
    """What the loop does when the listening thread rings: now, by hand, before any task goes on."""
    aio._loops[asyncio.get_running_loop()][space].poll()


def is_free(thing):
    """Whether another thread can have it: at once, unless it is reserved for some milliseconds for a task that is gone."""
    thing = blocker_of(thing)
    return in_thread(lambda: thing.acquire(timeout=5) and thing.release() is None)


def is_taken(thing):
    """Whether another thread cannot have it."""
    return in_thread(blocker_of(thing).acquire, False) is False


def nobody_waits(space):
    """Whether nothing is left in the loop's books of who waits."""
    here = aio._loops[asyncio.get_running_loop()][space]
    return not here.queues and all(wait is None for wait in here.port.poll())


async def cancelled(task, message=None):
    """Cancels it, and waits for its end."""
    task.cancel(message)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()
