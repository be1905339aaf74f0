"""Who waits for whom, in one process: what is told of each kind, and deadlocks between threads and tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time

import pytest

import interlock
from tests.async_support import in_loop, waiting
from tests.support import Program, Task, held_elsewhere, in_thread, until

WAITED_FOR = {
    "Lock": lambda space: space.Lock("x"),
    "RLock": lambda space: space.RLock("x"),
    "RWLock.read": lambda space: space.RWLock("x").read,
    "RWLock.write": lambda space: space.RWLock("x").write,
    "BoundedSemaphore": lambda space: space.BoundedSemaphore("x"),
    "Value": lambda space: space.Value("x", "i"),
    "Array": lambda space: space.Array("x", "i", 2),
    "Condition": lambda space: space.Condition("x"),
}


@pytest.fixture(params=WAITED_FOR)
def wanted(request, space):
    return request.param.partition(".")[0], WAITED_FOR[request.param](space)


def blocked(thing):
    """Another thread has it."""
    rwlock = type(thing).__name__ in ("ReadLock", "WriteLock")
    return held_elsewhere(interlock.RWLock(thing.name, space=thing.space).write if rwlock else thing)


def test_waiters_and_whoever_has_it(wanted, space):
    kind, thing = wanted
    assert thing.waiters == []
    before = time.time()
    with blocked(thing):
        task = Task(thing.acquire)
        until(lambda: thing.waiters)
        (waiter,) = thing.waiters
        assert (waiter.name, waiter.kind, waiter.notice) == ("x", kind, False)
        assert (waiter.pid, waiter.thread_id, waiter.thread_name) == (os.getpid(), task.native_id, task.name)
        assert before - 0.1 <= waiter.since <= time.time()
        (owner,) = waiter.owners
        assert owner.pid == os.getpid()
        assert (owner.thread_id == 0) == (kind == "BoundedSemaphore")  # permits are a process's
        assert space.wait_graph() == [waiter]
        assert space.deadlocks() == []
    assert task.result() is True
    assert thing.waiters == space.wait_graph() == []


@pytest.mark.parametrize("kind", ["Semaphore", "Event", "Condition", "Barrier"])
def test_who_waits_to_be_told_something(space, kind):
    if kind == "Semaphore":
        thing = space.Semaphore("x", 0)
        task, end = Task(thing.acquire), thing.release
    elif kind == "Event":
        thing = space.Event("x")
        task, end = Task(thing.wait), thing.set
    elif kind == "Barrier":
        thing = space.Barrier("x", 2)
        task, end = Task(thing.wait), thing.wait
    else:
        thing = space.Condition("x")

        def wait():
            with thing:
                return thing.wait()

        def end():
            with thing:
                thing.notify()

        task = Task(wait)
    until(lambda: thing.waiters)
    (waiter,) = thing.waiters
    assert (waiter.kind, waiter.notice, waiter.owners, waiter.thread_id) == (kind, True, (), task.native_id)
    assert str(waiter).endswith(f"waits for {kind} 'x'")
    end()
    task.result()
    assert thing.waiters == []


def test_a_wait_that_is_over_in_time_or_by_a_signal_is_seen_no_more(space):
    lock = space.Lock("x")
    with held_elsewhere(lock):
        task = Task(lock.acquire, timeout=0.2)
        until(lambda: lock.waiters)
        assert task.result() is False
        assert lock.waiters == []


def test_a_waiting_task(space):
    """It is known as a task where tasks are owners, and as nobody in particular where they are not."""

    async def use(thing):
        async with thing:
            return True

    async def main(thing):
        with held_elsewhere(thing):
            (task,) = await waiting(use(thing))
            while not thing.waiters:
                await asyncio.sleep(0.001)
            (waiter,) = thing.waiters
            assert waiter.pid == os.getpid()
            assert waiter.thread_id == (threading.get_native_id() if thing.name == "r" else 0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert thing.waiters == []
            (task,) = await waiting(use(thing))
            while not thing.waiters:
                await asyncio.sleep(0.001)
        assert await task
        assert thing.waiters == []

    in_loop(main, space.RLock("r"))
    in_loop(main, space.Lock("l"))


def test_processes(space):
    space.Lock("x").acquire()
    (me,) = space.processes()
    assert (me.pid, me.alive) == (os.getpid(), True)
    assert time.time() - 3600 < me.started <= time.time()


# --- deadlocks ---


def ring(space, count, make):
    """Threads of which each has what the one before it wants. Their results."""
    things = [make(space, f"thing {number}") for number in range(count)]
    ready = threading.Barrier(count)

    def take(number):
        first, _ = things[number]
        _, second = things[(number + 1) % count]
        with first:
            ready.wait()
            with second:
                return "got it"

    return [Task(take, number) for number in range(count)]


def lock_of(kind):
    def make(space, name):
        if kind != "RWLock":
            lock = getattr(space, kind)(name, "i") if kind == "Value" else getattr(space, kind)(name)
            return lock, lock
        lock = space.RWLock(name)
        return lock.read, lock.write

    return make


@pytest.mark.parametrize(
    ("kind", "count"), [("Lock", 2), ("RLock", 10), ("RWLock", 2), ("RWLock", 3), ("Value", 2), ("Condition", 3)]
)
def test_one_victim_and_the_others_go_on(directory, kind, count):
    space = interlock.Space("shm:raises", deadlock="raise")
    tasks = ring(space, count, lock_of(kind))
    for task in tasks:
        task.join()
    errors = [task.raised for task in tasks if task.raised is not None]
    assert [type(error) for error in errors] == [interlock.DeadlockDetected]
    (error,) = errors
    assert len(error.cycle) == count
    assert {each.name for each in error.cycle} == {f"thing {number}" for number in range(count)}
    assert {each.thread_id for each in error.cycle} == {task.native_id for task in tasks}
    assert [task.returned for task in tasks].count("got it") == count - 1
    again = pickle.loads(pickle.dumps(error))
    assert (again.cycle, str(again), again.path) == (error.cycle, str(error), space.path)
    assert space.deadlocks() == space.wait_graph() == []


def test_a_deadlock_is_logged_once_and_listed(space, caplog):
    caplog.set_level(logging.WARNING, "interlock")
    locks = [space.Lock("a"), space.Lock("b")]
    ready = threading.Barrier(2)

    def take(number):
        with locks[number]:
            ready.wait()
            if locks[1 - number].acquire(timeout=4):
                locks[1 - number].release()

    tasks = [Task(take, number) for number in range(2)]
    until(space.deadlocks)
    (cycle,) = space.deadlocks()
    assert sorted(each.name for each in cycle) == ["a", "b"]
    for task in tasks:
        task.join()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 parties wait for each other" in record.getMessage()
    assert "Lock 'a'" in record.getMessage()
    assert str(os.getpid()) in record.getMessage()
    assert space.deadlocks() == []


@pytest.mark.parametrize("handler", [None, "NullHandler"])
def test_where_logging_is_not_configured(directory, handler):
    """stderr says it, unless somebody has seen to it that nothing does."""
    code = f"""
        import interlock, logging, threading
        if {handler is not None}:
            logging.getLogger("interlock").addHandler(logging.NullHandler())
        lock = interlock.Lock("orders")
        with lock:
            assert lock.acquire(timeout=0.01) is False
            threading.Timer(0.05, lock.release).start()
            lock.acquire()
    """
    with Program(code) as program:
        status, out, err = program.end()
    assert (status, out) == (0, "")
    assert ("which it has itself" in err) == (handler is None)


def test_off_is_silence(directory, caplog):
    space = interlock.Space("shm:silent", deadlock="off")
    locks = [space.Lock("a"), space.Lock("b")]
    ready = threading.Barrier(2)

    def take(number):
        with locks[number]:
            ready.wait()
            return locks[1 - number].acquire(timeout=2)

    tasks = [Task(take, number) for number in range(2)]
    until(space.deadlocks)  # asked for, it is told
    for task in tasks:
        task.join()
    assert caplog.records == []


def test_one_raises_and_the_other_only_logs(directory, caplog):
    """The victim is one of those who want to be told by an exception."""
    caplog.set_level(logging.WARNING, "interlock")
    spaces = [interlock.Space("shm:both"), interlock.Space("shm:both", deadlock="raise")]
    ready = threading.Barrier(2)

    def take(number):
        with spaces[number].Lock(f"lock {number}"):
            ready.wait()
            with spaces[number].Lock(f"lock {1 - number}"):
                return "got it"

    tasks = [Task(take, number) for number in range(2)]
    for task in tasks:
        task.join()
    assert tasks[0].returned == "got it"
    assert type(tasks[1].raised) is interlock.DeadlockDetected
    assert len(caplog.records) <= 1  # none, if the victim was gone before the other looked again


def test_a_handle_takes_along_what_becomes_of_deadlocks(directory):
    space = interlock.Space("shm:raises", deadlock="raise")
    lock = pickle.loads(pickle.dumps(space.Lock("x")))
    lock.acquire()
    with pytest.raises(interlock.DeadlockDetected):
        lock.acquire()
    lock.release()


def test_a_thread_that_waits_for_its_own_lock_is_told_at_once(directory, caplog):
    space = interlock.Space("shm:raises", deadlock="raise")
    lock = space.Lock("x")
    with lock:
        with pytest.raises(interlock.DeadlockDetected, match="which it has itself") as raised:
            lock.acquire()
        assert [(each.name, each.thread_id) for each in raised.value.cycle] == [("x", threading.get_native_id())]
        assert lock.acquire(timeout=0.01) is False
        assert in_thread(lock.acquire, timeout=0.01) is False
    logs = interlock.Lock("x", space=interlock.Space("shm:raises"))
    caplog.set_level(logging.WARNING, "interlock")
    logs.acquire()
    task = threading.Timer(1.5, logs.release)  # as a signal from one thread to another: slow, but no deadlock
    task.start()
    logs.acquire()
    (record,) = caplog.records
    assert "which it has itself (an RLock may be taken again)" in record.getMessage()
    logs.release()
    task.join()


def test_tasks_in_a_circle(directory):
    space = interlock.Space("shm:raises", deadlock="raise")
    locks = [space.RLock("a"), space.RLock("b")]

    async def take(number, ready):
        async with locks[number]:
            await ready.wait()
            async with locks[1 - number]:
                return "got it"

    async def main():
        ready = asyncio.Barrier(2)
        return await asyncio.gather(take(0, ready), take(1, ready), return_exceptions=True)

    results = in_loop(main)
    assert sorted(str(type(result).__name__) for result in results) == ["DeadlockDetected", "str"]


def test_a_closed_space_leaves_no_ghosts(directory):
    """Neither of a thread nor of a task that waited when it was closed."""
    space, closed = interlock.Space("shm:x"), interlock.Space("shm:x")

    async def use(lock):
        async with lock:
            return True

    async def main(lock):
        (task,) = await waiting(use(lock))
        while not space.wait_graph():
            await asyncio.sleep(0.001)
        closed.close()
        with pytest.raises(interlock.SpaceUnavailable):
            await task

    with held_elsewhere(space.RLock("r")):
        in_loop(main, closed.RLock("r"))
        assert space.wait_graph() == []
        closed = interlock.Space("shm:x")
        lock = closed.RLock("r")

        def close():
            until(space.wait_graph)
            closed.close()

        task = Task(close)
        with pytest.raises(interlock.SpaceUnavailable):
            lock.acquire()  # here the main thread, which comes back after each slice
        assert space.wait_graph() == []
        task.result()


def test_what_is_read_is_known_of_a_writer_who_waited_for_the_gate_first(directory):
    space = interlock.Space("shm:raises", deadlock="raise")
    first, second = space.RWLock("a"), space.RWLock("b")
    ready = threading.Barrier(2)

    def reader():
        with first.read:
            ready.wait()
            with second.write:
                return "got it"

    def writer():
        second.write.acquire()
        ready.wait()
        time.sleep(0.8)  # the reader waits for the gate, and looks for a deadlock in vain
        second.downgrade()
        try:
            with first.write:
                return "got it"
        finally:
            second.read.release()

    tasks = [Task(reader), Task(writer)]
    for task in tasks:
        task.join(10)
    assert sorted(str(type(task.raised).__name__) for task in tasks) == ["DeadlockDetected", "NoneType"]


def test_what_anybody_may_release_is_in_no_circle(directory, caplog):
    caplog.set_level(logging.WARNING, "interlock")
    lock = interlock.Lock("x", space=interlock.Space("shm:x"), foreign_release=True)
    lock.acquire()
    task = threading.Timer(1.5, lock.release)
    task.start()
    lock.acquire()
    task.join()
    lock.release()
    assert caplog.records == []


def test_a_victim_reserves_nothing(directory):
    """A task that is sent away leaves a lock behind that can be had at once when it is free."""
    space = interlock.Space("shm:raises", deadlock="raise")
    locks = [space.RLock("a"), space.RLock("b")]

    async def take(number, ready):
        async with locks[number]:
            await ready.wait()
            await asyncio.sleep(0.05 * number)
            async with locks[1 - number]:
                pass
        assert locks[number].acquire(blocking=False)
        locks[number].release()
        return "got it"

    async def main():
        ready = asyncio.Barrier(2)
        return await asyncio.gather(take(0, ready), take(1, ready), return_exceptions=True)

    results = in_loop(main)
    assert sorted(str(type(result).__name__) for result in results) == ["DeadlockDetected", "str"]


def test_readers_who_do_not_want_to_know_are_in_circles_too(directory):
    spaces = [interlock.Space("shm:both", deadlock="off"), interlock.Space("shm:both", deadlock="raise")]
    ready = threading.Barrier(2)

    def take(number):
        with spaces[number].RWLock(f"lock {number}").read:
            ready.wait()
            with spaces[number].RWLock(f"lock {1 - number}").write:
                return "got it"

    tasks = [Task(take, number) for number in range(2)]
    for task in tasks:
        task.join(10)
    assert tasks[0].returned == "got it"
    assert type(tasks[1].raised) is interlock.DeadlockDetected


def test_waiting_long_is_no_deadlock(space, caplog):
    """Behind one who sleeps, and for what a third one has: no circle."""
    caplog.set_level(logging.WARNING, "interlock")
    first, second = space.Lock("a"), space.RLock("b")
    with held_elsewhere(second):

        def both():
            with first, second:
                return "got it"

        tasks = [Task(both) for _ in range(3)]
        until(lambda: len(space.wait_graph()) == 3)
        time.sleep(1.5)
        assert space.deadlocks() == []
    for task in tasks:
        assert task.result() == "got it"
    assert caplog.records == []


@pytest.mark.parametrize("given", ["", "raises", None, 1])
def test_a_bad_choice(directory, given):
    with pytest.raises((ValueError, TypeError), match="deadlock="):
        interlock.Space("shm:x", deadlock=given)


def test_a_circle_through_a_task_that_stands_behind_another(directory):
    space = interlock.Space("shm:raises", deadlock="raise")
    first, second = space.RLock("a"), space.RLock("b")
    has_second, leave = threading.Event(), threading.Event()

    def thread():
        with second:
            has_second.set()
            leave.wait()
            with first:
                return "got it"

    async def just_second():
        async with second:
            return "got it"

    async def both():
        async with first:
            (ahead,) = await waiting(just_second())
            leave.set()
            try:
                async with second:
                    return ahead, "got it"
            except interlock.DeadlockDetected:
                return ahead, "victim"

    async def main():
        ahead, result = await both()
        return result, await ahead

    task = Task(thread)
    assert has_second.wait(60)
    result, ahead = in_loop(main)
    task.join()
    assert ahead == "got it"
    assert sorted([result, task.returned or type(task.raised).__name__]) in (
        ["DeadlockDetected", "got it"],
        ["got it", "victim"],
    )


def test_a_circle_through_a_coroutine_that_blocks_its_loop(directory):
    """What its task has, its thread keeps from others while it waits."""
    space = interlock.Space("shm:raises", deadlock="raise")
    first, second = space.RLock("a"), space.RLock("b")
    ready = threading.Barrier(2)

    def thread():
        with second:
            ready.wait()
            with first:
                return "got it"

    async def main():
        async with first:
            ready.wait()
            with second:
                return "got it"

    task = Task(thread)
    victims = 0
    try:
        assert in_loop(main) == "got it"
    except interlock.DeadlockDetected:
        victims += 1
    task.join()
    victims += isinstance(task.raised, interlock.DeadlockDetected)
    assert victims == 1


def test_a_log_that_waits_for_the_circle_tells_no_more(space):
    locks = [space.Lock("a"), space.Lock("b")]
    ready = threading.Barrier(2)
    told = []

    class Waits(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())
            locks[0].acquire(timeout=2)  # by this very thread, or by the other one

    handler = Waits()
    logging.getLogger("interlock").addHandler(handler)

    def take(number):
        with locks[number]:
            ready.wait()
            return locks[1 - number].acquire(timeout=5)

    tasks = [Task(take, number) for number in range(2)]
    for task in tasks:
        task.join()
    logging.getLogger("interlock").removeHandler(handler)
    assert len(told) == 1


def test_ctrl_c_while_it_is_logged_that_a_condition_cannot_take_its_lock_back(space):
    """It comes when the wait is over, with the lock."""
    lock, condition = space.Lock("a"), space.Condition("c")

    class Interrupted(logging.Handler):
        def emit(self, record):
            raise KeyboardInterrupt

    def other():
        with condition:
            assert not lock.acquire(timeout=2.5)

    handler, thread, held = Interrupted(), threading.Thread(target=other), []
    logging.getLogger("interlock").addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt), lock, condition:
            thread.start()
            try:
                condition.wait(0.4)  # and then it wants back what the other one has
            finally:
                held.append(not in_thread(condition.acquire, False))
    finally:
        logging.getLogger("interlock").removeHandler(handler)
        thread.join()
    assert held == [True]
    assert lock.acquire(False)
    assert condition.acquire(False)
    condition.release()
    lock.release()
