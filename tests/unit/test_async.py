"""What can be acquired, from tasks: arguments, results, who owns it."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

import interlock
from tests.async_support import ACQUIRED, LOCKLIKE, OWNED_BY_TASKS, Holder, in_loop, is_free, is_taken, poll, waiting
from tests.support import HANG_SECONDS, HOLDER, Program, held_elsewhere, in_thread, until

LENIENT = ["Semaphore", "BoundedSemaphore"]


@pytest.fixture(params=ACQUIRED)
def thing(request, space):
    return ACQUIRED[request.param](space)


def only(*kinds):
    return pytest.mark.parametrize("thing", kinds, indirect=True)


strict = only(*[kind for kind in ACQUIRED if kind not in LENIENT])
lenient = only(*LENIENT)
locklike = only(*LOCKLIKE)
owned_by_tasks = only(*OWNED_BY_TASKS)


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


# --- who owns it ---


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


# --- RWLock ---


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


# --- with threads and other processes ---


def test_a_task_has_it_and_a_thread_waits(thing, run):
    async def main():
        async with thing:
            if type(thing).__name__ == "ReadLock":
                return
            answers = []
            thread = threading.Thread(target=lambda: answers.append(thing.acquire() and thing.release() is None))
            thread.start()
            await asyncio.sleep(0.02)
            assert answers == []
        thread.join(HANG_SECONDS)
        assert answers == [True]

    run(main)


def test_two_loops_in_two_threads(thing):
    if type(thing).__name__ == "ReadLock":
        return
    total = [0]

    async def count():
        for _ in range(100):
            async with thing:
                number = total[0]
                await asyncio.sleep(0)
                total[0] = number + 1

    async def main():
        await asyncio.gather(*(count() for _ in range(4)))

    threads = [threading.Thread(target=in_loop, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
    assert total == [800]
    assert is_free(thing)


def test_loops_and_spaces(directory):
    """Two loops in two threads, each with locks of two spaces."""
    spaces = [interlock.Space("shm:one"), interlock.Space("shm:two")]
    totals = [0, 0]

    async def count(number):
        lock = spaces[number].Lock("x")
        for _ in range(50):
            async with lock:
                before = totals[number]
                await asyncio.sleep(0)
                totals[number] = before + 1

    async def main():
        await asyncio.gather(*(count(number) for number in (0, 1) for _ in range(3)))

    threads = [threading.Thread(target=in_loop, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_SECONDS)
        assert not thread.is_alive()
    assert totals == [300, 300]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_another_process_has_it(space, run, kind):
    lock = getattr(interlock, kind)("x", space=space)

    async def enter():
        async with lock:
            return lock.owner.pid

    async def main(program):
        (task,) = await waiting(enter())
        program.say()
        assert await asyncio.to_thread(program.line) == "released"
        assert await task == os.getpid()

    with Program(HOLDER, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RWLock.write", "RWLock.read"])
def test_the_owner_dies_while_a_task_waits(space, run, kind):
    told = []
    made = interlock.Lock if kind == "Lock" else interlock.RLock if kind == "RLock" else interlock.RWLock
    lock = made("x", space=space, on_recover=told.append)
    if made is interlock.RWLock:
        lock = lock.read if kind == "RWLock.read" else lock.write
    holder = HOLDER.replace("lock = ", "lock = interlock.RWLock('x').write if sys.argv[2] == 'RWLock' else ")

    async def enter(program):
        assert await lock.acquire_async()
        assert [owner.pid for owner in told] == [program.pid]
        if kind != "RWLock.read":
            assert lock.recovered.pid == program.pid
        assert is_taken(lock)
        lock.release()

    async def main(program):
        (task,) = await waiting(enter(program))
        program.kill()
        await task

    with Program(holder, "x", made.__name__) as program:
        assert program.line() == "held"
        run(main, program)
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_on_recover_that_raises_while_a_task_waits(space, run, kind):
    def refuse(owner):
        raise ArithmeticError(owner.pid)

    lock = getattr(interlock, kind)("x", space=space, on_recover=refuse)
    plain = getattr(interlock, kind)("x", space=space)

    async def main(program):
        first, second = await waiting(lock.acquire_async(), plain.acquire_async())
        program.kill()
        with pytest.raises(ArithmeticError):
            await first
        assert await second
        assert plain.recovered.pid == program.pid  # still marked

    with Program(HOLDER, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)


def test_permits_of_the_dead_while_a_task_waits(space, run):
    permits = space.BoundedSemaphore("x", 1)
    code = """
        import interlock, sys
        interlock.BoundedSemaphore("x", 1).acquire()
        print("taken", flush=True)
        sys.stdin.readline()
    """

    async def main(program):
        (task,) = await waiting(permits.acquire_async())
        program.kill()
        assert await task
        permits.release()

    with Program(code) as program:
        assert program.line() == "taken"
        run(main, program)
    until(lambda: permits.value == 1)


def test_closed_space(directory, run):
    async def main():
        for kind in ACQUIRED:
            mine = interlock.Space(f"shm:{kind.replace(' ', '-')}")
            thing = ACQUIRED[kind](mine)
            mine.close()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                await thing.acquire_async()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                async with thing:
                    pass

    run(main)


def test_a_space_that_is_closed_while_a_task_waits(directory, run):
    space, same = interlock.Space("shm:other"), interlock.Space("shm:other")

    async def main():
        with held_elsewhere(same.Lock("x")):
            (task,) = await waiting(space.Lock("x").acquire_async())
            space.close()
            with pytest.raises(interlock.SpaceUnavailable, match="closed"):
                await task

    run(main)


@pytest.mark.parametrize("kind", ["RLock", "Value"])
def test_on_recover_acts_for_the_task_that_waits(space, run, kind):
    """Though the loop calls it while no task runs: it may take the lock once more."""
    repaired = []

    def repair(owner):
        if kind == "Value":
            lock.value = 7
        with lock:
            repaired.append(owner.pid)

    lock = space.RLock("x", on_recover=repair) if kind == "RLock" else space.Value("x", "q", on_recover=repair)
    holder = HOLDER if kind == "RLock" else HOLDER.replace("(sys.argv[1])", "(sys.argv[1], 'q')")

    async def enter():
        async with lock:
            return lock.value if kind == "Value" else 7

    async def main(program):
        (task,) = await waiting(enter())
        program.kill()
        assert await task == 7
        assert repaired == [program.pid]

    with Program(holder, "x", kind) as program:
        assert program.line() == "held"
        run(main, program)
    assert is_free(lock)


def test_on_recover_that_ends_the_wait_it_is_called_for(space):
    """What was taken for it is given back."""
    waits = []
    lock = interlock.Lock("x", space=space, on_recover=lambda _: waits.pop().close())

    async def main(program):
        wait = lock.acquire_async()
        waits.append(wait)
        wait.send(None)
        program.kill()
        while waits:
            await asyncio.sleep(0.001)

    with Program(HOLDER, "x") as program:
        assert program.line() == "held"
        in_loop(main, program)
    assert is_free(lock)
