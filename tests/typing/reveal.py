"""What a type checker tells a user about each call. Checked, never run."""

from __future__ import annotations

from typing import assert_type

import interlock


def locks() -> None:
    lock = interlock.Lock("orders")
    assert_type(lock, interlock.Lock)
    assert_type(lock.acquire(timeout=1.5), bool)
    assert_type(lock.owner, interlock.Owner | None)
    assert_type(lock.recovered, interlock.Owner | None)
    assert_type(lock.fence, int)
    assert_type(lock.statistics(), interlock.LockStatistics)
    assert_type(lock.name, str)
    with lock as taken:
        assert_type(taken, bool)
    with lock.hold(timeout=2) as held:
        assert_type(held, interlock.Lock)
    with interlock.RLock(space="shm:payments").hold() as again:
        assert_type(again, interlock.RLock)


def signalling() -> None:
    assert_type(interlock.Semaphore("s", 3).acquire(timeout=None), bool)
    assert_type(interlock.BoundedSemaphore("b", 3).value, int)
    assert_type(interlock.Event().wait(1.5), bool)
    condition = interlock.Condition("c", interlock.Lock())
    with condition:
        assert_type(condition.wait(1.5), bool)
        assert_type(condition.wait_for(lambda: 5), int)
    assert_type(interlock.Barrier("x", 3, action=None, timeout=2).wait(), int)
    shared = interlock.RWLock("r", on_recover=lambda owner: print(owner.pid))
    with shared.read, shared.write.hold(timeout=1) as writing:
        assert_type(writing.recovered, interlock.Owner | None)
    assert_type(shared.downgrade(), None)


async def tasks() -> None:
    lock = interlock.Lock("orders")
    assert_type(await lock.acquire_async(timeout=1.5), bool)
    async with lock as taken:
        assert_type(taken, bool)
    async with lock.hold(timeout=2) as held:
        assert_type(held, interlock.Lock)
    async with interlock.RLock("again") as again:
        assert_type(again, bool)
    async with interlock.Semaphore("s", 3) as permit:
        assert_type(permit, bool)
    assert_type(await interlock.Semaphore("s", 3).acquire_async(timeout=None), bool)
    async with interlock.BoundedSemaphore("b", 3):
        assert_type(await interlock.BoundedSemaphore("b", 3).acquire_async(1.5), bool)
    assert_type(await interlock.Event().wait_async(1.5), bool)
    condition = interlock.Condition("c", lock)
    assert_type(await condition.acquire_async(timeout=1.5), bool)
    async with condition as taken:
        assert_type(taken, bool)
        assert_type(await condition.wait_async(1.5), bool)
        assert_type(await condition.wait_for_async(lambda: 5), int)
    assert_type(await interlock.Barrier("x", 3).wait_async(1.5), int)
    shared = interlock.RWLock("r")
    async with shared.read, shared.write.hold(timeout=1) as writing:
        assert_type(writing.recovered, interlock.Owner | None)
    assert_type(await shared.read.acquire_async(), bool)


def spaces() -> None:
    with interlock.Space("shm:payments") as space:
        assert_type(space, interlock.Space)
        assert_type(space.Lock("x"), interlock.Lock)
        assert_type(space.RLock("x", on_recover=lambda owner: print(owner.pid)), interlock.RLock)
        assert_type(space.objects(), list[interlock.ObjectInfo])


@interlock.synchronized("report", timeout=3)
def report(number: int, *, title: str = "") -> str:
    return f"{number} {title}"


@interlock.synchronized("report")
async def report_async(number: int) -> str:
    return f"{number}"


async def decorated() -> None:
    assert_type(report(1, title="x"), str)
    assert_type(await report_async(1), str)
