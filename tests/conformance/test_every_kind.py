"""One suite for every kind: the same cases, under every way of starting a process, in threads and in tasks.

Kinds that are held: what one process has no other can have, whoever is killed. Kinds that signal: who waits goes on when it
may, whoever else was killed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import interlock
import interlock.mp
import interlock.space
from tests.support import HANG_SECONDS, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from multiprocessing.context import BaseContext


@dataclass(frozen=True)
class Held:
    """A kind that is held.

    Attributes:
        make: from a name.
        returns: whether what a killed process held is free again.
        tells: whether the successor is told.
    """

    make: str
    returns: bool = True
    tells: bool = False


HELD = {
    "Lock": Held("Lock({name})", tells=True),
    "RLock": Held("RLock({name})", tells=True),
    "RWLock.write": Held("RWLock({name}).write", tells=True),
    "Semaphore": Held("Semaphore({name})", returns=False),
    "BoundedSemaphore": Held("BoundedSemaphore({name})"),
    "Condition": Held("Condition({name})"),
    "Condition over Lock": Held("Condition({name}, interlock.Lock('its lock'))"),
    "Value": Held("Value({name}, 'i')", tells=True),
    "Array": Held("Array({name}, 'd', 3)", tells=True),
    "mp.Lock": Held("mp.Lock()"),
    "mp.RLock": Held("mp.RLock()"),
    "mp.Semaphore": Held("mp.Semaphore()", returns=False),
    "mp.BoundedSemaphore": Held("mp.BoundedSemaphore()", returns=False),
    "mp.Condition": Held("mp.Condition()"),
    "mp.Value": Held("mp.Value('i')"),
}
METHODS = ["fork", "spawn", "forkserver"]


def make(kind: str, name: str | None) -> Any:
    return eval(f"interlock.{HELD[kind].make.format(name=repr(name))}", {"interlock": interlock})


@pytest.fixture(autouse=True)
def default_space(directory: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The default space, which a process settles on once, is the test's own."""
    monkeypatch.setattr(interlock.space, "_settled", [])
    yield
    interlock.space.find(None).close()


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest, directory: object) -> Iterator[BaseContext]:
    """A start method, whose processes find the test's spaces."""
    yield multiprocessing.get_context(request.param)
    if request.param == "forkserver":  # the next test's processes are to find theirs
        from multiprocessing.forkserver import _forkserver

        _forkserver._stop()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Children acquire in threads and in tasks, which multiprocessing's face does not know."""
    if "tasks" in metafunc.fixturenames:
        ways = [(kind, tasks) for kind in HELD for tasks in (False, True) if not (tasks and kind.startswith("mp."))]
        ids = [f"{kind}-{'tasks' if tasks else 'threads'}" for kind, tasks in ways]
        metafunc.parametrize(("kind", "tasks"), ways, ids=ids)


def driven(tasks: bool, coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs it in a task, or here, where it awaits nothing."""
    if tasks:
        asyncio.run(coroutine)
        return
    with pytest.raises(StopIteration):
        coroutine.send(None)


async def acquire(thing: Any, tasks: bool) -> None:
    assert await thing.acquire_async() if tasks else thing.acquire()


def hold(thing: Any, tasks: bool, ready: Any, go: Any) -> None:
    async def act() -> None:
        await acquire(thing, tasks)
        ready.set()
        go.wait(HANG_SECONDS)
        thing.release()

    driven(tasks, act())


def take(thing: Any, ready: Any, tasks: bool) -> None:
    async def act() -> None:
        ready.release()
        await acquire(thing, tasks)
        thing.release()

    driven(tasks, act())


def started(context: BaseContext, target: Callable[..., None], *args: Any) -> Any:
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def killed(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(HANG_SECONDS)
    assert process.exitcode == -signal.SIGKILL


def test_as_an_argument(context, kind, tasks):
    """It is the same object in the child, anonymous as it may be."""
    thing, ready, go = make(kind, None), context.Event(), context.Event()
    child = started(context, hold, thing, tasks, ready, go)
    assert ready.wait(HANG_SECONDS)
    assert not thing.acquire(False)
    go.set()
    child.join(HANG_SECONDS)
    assert child.exitcode == 0
    assert thing.acquire(False)
    thing.release()


def test_holder_killed(context, kind, tasks):
    thing, ready, go = make(kind, None), context.Event(), context.Event()
    child = started(context, hold, thing, tasks, ready, go)
    assert ready.wait(HANG_SECONDS)
    killed(child)
    assert thing.acquire(False) is HELD[kind].returns
    if HELD[kind].tells:
        assert thing.recovered.pid == child.pid
    thing.release()
    assert thing.acquire(False)
    thing.release()


def test_waiter_killed(context, kind, tasks):
    """Nobody is any the worse for it."""
    thing = make(kind, None)
    thing.acquire()
    children = waiters(context, partial(take, tasks=tasks), thing, 3)
    killed(children[0])
    thing.release()
    all_went_on(children[1:])
    assert thing.acquire(False)
    thing.release()


def count(thing: Any, tasks: bool, path: str, turns: int) -> None:
    async def act() -> None:
        for _ in range(turns):
            await acquire(thing, tasks)
            with open(path, "r+") as file:
                number = int(file.read())
                file.seek(0)
                file.write(str(number + 1))
            thing.release()
            if tasks:
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(act(), act())

    def work() -> None:
        driven(tasks, both() if tasks else act())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_exclusion(context, kind, tasks, tmp_path):
    """Two threads, each of two tasks if of any, in each of three processes count in a file."""
    thing, path = make(kind, None), tmp_path / "count"
    path.write_text("0")
    children = [started(context, count, thing, tasks, str(path), 50) for _ in range(3)]
    for child in children:
        child.join(HANG_SECONDS)
        assert child.exitcode == 0
    assert path.read_text() == ("600" if tasks else "300")


@pytest.mark.parametrize("kind", [name for name in HELD if not name.startswith("mp.")])
def test_by_name_from_an_unrelated_program(directory, kind):
    thing = make(kind, "x")
    code = f"""
        import interlock, sys
        thing = interlock.{HELD[kind].make.format(name="'x'")}
        print(thing.acquire(), flush=True)
        sys.stdin.readline()
        thing.release()
        print("released", flush=True)
        sys.stdin.readline()
    """
    with Program(code) as program:
        assert program.line() == "True"
        assert not thing.acquire(False)
        program.say()
        assert program.line() == "released"
        assert thing.acquire(False)


# --- kinds that signal ---


def wait_for_event(event: Any, ready: Any) -> None:
    ready.release()
    assert event.wait(HANG_SECONDS)


def wait_for_notification(condition: Any, ready: Any) -> None:
    with condition:
        ready.release()
        assert condition.wait(HANG_SECONDS)


def wait_at_barrier(barrier: Any, ready: Any) -> None:
    ready.release()
    try:
        barrier.wait(HANG_SECONDS)
    except threading.BrokenBarrierError:
        os._exit(7)


def asleep(process: Any) -> bool:
    with open(f"/proc/{process.pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def waiters(context: BaseContext, target: Callable[..., None], thing: Any, count: int) -> list[Any]:
    """Processes that wait, or are about to."""
    ready = context.Semaphore(0)
    children = [started(context, target, thing, ready) for _ in range(count)]
    for _ in children:
        assert ready.acquire(timeout=HANG_SECONDS)
    for child in children:
        while not asleep(child):
            time.sleep(0.001)
    return children


def all_went_on(children: list[Any], status: int = 0) -> None:
    for child in children:
        child.join(HANG_SECONDS)
        assert child.exitcode == status


@pytest.fixture(params=["interlock", "interlock.mp"])
def face(request: pytest.FixtureRequest) -> Any:
    return interlock if request.param == "interlock" else interlock.mp


def test_event_reaches_all_the_living(context, face):
    event = face.Event()
    children = waiters(context, wait_for_event, event, 3)
    killed(children[0])
    event.set()
    all_went_on(children[1:])
    assert event.wait(0)


def test_notifications_reach_the_living(context, face):
    condition = face.Condition()
    children = waiters(context, wait_for_notification, condition, 3)
    with condition:
        pass  # all of them wait: each had the lock until then
    killed(children[0])
    for _ in children[1:]:
        with condition:
            condition.notify()
    all_went_on(children[1:])
    children = waiters(context, wait_for_notification, condition, 3)
    killed(children[1])
    with condition:
        condition.notify_all()
    all_went_on([children[0], children[2]])


def test_a_party_that_is_killed_breaks_the_barrier(context, face):
    barrier = face.Barrier(parties=4)
    children = waiters(context, wait_at_barrier, barrier, 3)
    while barrier.n_waiting < 3:
        time.sleep(0.001)
    killed(children[0])
    all_went_on(children[1:], status=7)
    assert barrier.broken
    barrier.reset()
    children = waiters(context, wait_at_barrier, barrier, 3)
    barrier.wait(HANG_SECONDS)
    all_went_on(children)


def take_and_die(semaphore: Any) -> None:
    semaphore.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_permits_of_the_dead(context):
    """A limit gets them back; a count for signalling does not, since another may be meant to give them."""
    limit, signals = interlock.BoundedSemaphore(None, 3), interlock.Semaphore(None, 3)
    for semaphore in (limit, signals):
        children = [started(context, take_and_die, semaphore) for _ in range(2)]
        for child in children:
            child.join(HANG_SECONDS)
    assert [limit.acquire(False) for _ in range(4)] == [True, True, True, False]
    assert [signals.acquire(False) for _ in range(2)] == [True, False]
