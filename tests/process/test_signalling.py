"""Semaphore, Event, Condition and Barrier between processes, and the deaths of those who use them."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import random
import signal
import time
from threading import BrokenBarrierError

import pytest

from tests.support import HANG_SECONDS, Program, Task, anonymous, asleep, change, in_child, sleeping, stop, until

WAITER = """
    import interlock, sys, threading
    KIND, = sys.argv[1:]
    if KIND == "Semaphore":
        wait = interlock.Semaphore("x", 0).acquire
    elif KIND == "Event":
        wait = interlock.Event("x").wait
    elif KIND == "Condition":
        condition = interlock.Condition("x")
        def wait():
            with condition:
                return condition.wait()
    else:
        barrier = interlock.Barrier("x", int(KIND))
        def wait():
            try:
                return barrier.wait()
            except threading.BrokenBarrierError:
                return "broken"
    for _ in sys.stdin:
        print(wait(), flush=True)
"""


@pytest.fixture
def programs():
    """Starts programs that wait, one after the other; `enough` tells, beside their sleep, that so many do."""
    started = []

    def start(kind, count, enough=lambda number: True):
        for number in range(1, count + 1):
            program = Program(WAITER, kind)
            started.append(program)
            program.say()
            until(lambda: asleep(program.pid, program.pid) and enough(number))  # noqa: B023
        return started[-count:]

    yield start
    for program in started:
        program.__exit__()


def notify(condition, n=1):
    with condition:
        condition.notify(n)


def broken(task):
    with pytest.raises(BrokenBarrierError):
        task.result()
    return True


# --- one name, several programs ---


def test_semaphore_by_name(space, programs):
    semaphore = space.Semaphore("x", 0)
    (program,) = programs("Semaphore", 1)
    semaphore.release(2)
    assert program.line() == "True"
    program.say()
    assert program.line() == "True"
    assert semaphore.value == 0


def test_event_by_name(space, programs):
    event = space.Event("x")
    (program,) = programs("Event", 1)
    event.set()
    assert program.line() == "True"
    event.clear()
    with Program("import interlock; interlock.Event('x').set()") as other:
        assert event.wait(HANG_SECONDS)
        assert other.end()[0] == 0


def test_condition_by_name(space, programs):
    condition = space.Condition("x")
    first, second = programs("Condition", 2, lambda number: condition._waiters() == number)
    notify(condition)
    assert first.line() == "True"
    assert condition._waiters() == 1
    with Program("import interlock\nwith interlock.Condition('x') as c: interlock.Condition('x').notify()") as other:
        assert second.line() == "True"
        assert other.end()[0] == 0


def test_barrier_by_name(space, programs):
    barrier = space.Barrier("x", 3)
    parties = programs("3", 2, lambda number: barrier.n_waiting == number)
    assert barrier.wait() == 2
    assert [party.line() for party in parties] == ["0", "1"]
    for party in parties:
        party.say()
    assert sorted([str(barrier.wait(HANG_SECONDS)), *(party.line() for party in parties)]) == ["0", "1", "2"]


# --- multiprocessing, and forked children ---


def ping(start, done, gate, meeting, log):
    """What a child process does with what it was given: every kind, twice."""
    for _ in range(2):
        start.acquire()
        log.put(meeting.wait(HANG_SECONDS))
        with gate:
            log.put("waiting")
            log.put(gate.wait(HANG_SECONDS))
        done.set()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("named", [False, True])
def test_multiprocessing(space, method, named):
    """Handles as arguments of a Process, anonymous ones too."""
    start = space.Semaphore("start" if named else None, 0)
    done = space.Event("done" if named else None)
    gate = space.Condition("gate" if named else None, space.Lock("lock" if named else None))
    meeting = space.Barrier("meeting" if named else None, 2)
    context = multiprocessing.get_context(method)
    log = context.SimpleQueue()
    child = context.Process(target=ping, args=(start, done, gate, meeting, log))
    child.start()
    for _ in range(2):
        done.clear()
        start.release()
        places = {meeting.wait(HANG_SECONDS), log.get()}
        assert places == {0, 1}
        assert log.get() == "waiting"
        notify(gate)  # the child has the lock until it waits
        assert log.get() is True
        assert done.wait(HANG_SECONDS)
    child.join(HANG_SECONDS)
    assert child.exitcode == 0


def test_forked_child_gives_and_takes(space):
    semaphore, event, _ = anonymous(space)
    assert in_child(lambda: (semaphore.acquire(), event.set(), semaphore.value)) == "(True, None, 0)"
    assert semaphore.value == 0
    assert event.is_set()
    assert in_child(lambda: semaphore.release(3)) == "None"
    assert [semaphore.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
def test_forked_child_has_nothing_of_its_parents_condition(space, lock):
    condition = space.Condition(None, lock and getattr(space, lock)())
    with condition:
        for method in (condition.wait, condition.notify, condition.notify_all):
            assert in_child(method) == "RuntimeError"
        assert in_child(condition.release) == "NotOwner"
        assert in_child(lambda: condition.acquire(timeout=0.01)) == "False"
        assert condition._is_owned()


def test_forked_child_is_no_party_and_no_waiter(space):
    """A child made while its parent's threads wait does not wait itself, and its end concerns nobody."""
    barrier, condition = space.Barrier("x", 2), space.Condition("y")

    def wait():
        with condition:
            return condition.wait(HANG_SECONDS)

    tasks = [Task(barrier.wait), Task(wait)]
    until(lambda: (barrier.n_waiting, condition._waiters()) == (1, 1))
    for _ in range(3):
        assert in_child(lambda: (barrier.n_waiting, condition._waiters())) == "(1, 1)"
    assert not barrier.broken
    assert in_child(lambda: (barrier.wait(), notify(condition))) == "(1, None)"
    assert [task.result() for task in tasks] == [0, True]


@pytest.mark.parametrize("dropped_in", ["child", "parent"])
@pytest.mark.parametrize("kind", range(3))
def test_anonymous_objects_that_were_inherited_stay(space, kind, dropped_in):
    """Neither process takes the object along with its handle while the other has one."""
    handles = [anonymous(space)[kind]]
    changed = change(handles[0])

    def drop():
        handles.clear()
        gc.collect()

    if dropped_in == "child":
        in_child(drop)
        assert changed(handles[0])
        return
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: (theirs.recv(), theirs.send(changed(handles[0]))))
    child.start()
    drop()
    ours.send("dropped")
    assert ours.recv() is True
    child.join(HANG_SECONDS)


FORKS = """
    import interlock, os, signal, sys
    wait, condition = None, interlock.Condition("x")
    if sys.argv[1] == "Condition":
        wait = condition.wait
    else:
        wait = interlock.Barrier("y", 2, os.fork if sys.argv[1] == "action" else None).wait
    signal.signal(signal.SIGUSR1, lambda *_: os.fork())
    parent = os.getpid()
    try:
        with condition:
            # In one piece, since both write to one pipe: print may write the end of the line alone.
            sys.stdout.write(f"{wait()}\\n")
    except interlock.NotHeld:  # NotOwner from the wait; then the `with` finds that the child has not got the lock
        assert os.getpid() != parent
        sys.stdout.write("child\\n")
    sys.stdout.flush()
"""


def test_child_forked_by_the_action_does_not_end_it(space):
    """It returns from the action, too, and has no part in the barrier: that is its parent's."""
    barrier = space.Barrier("y", 2)
    task = Task(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    with Program(FORKS, "action") as program:
        assert sorted(program.line() for _ in range(2)) == ["1", "child"]
        assert task.result() == 0
        assert program.end()[0] == 0


@pytest.mark.parametrize("kind", ["Condition", "Barrier"])
def test_child_forked_by_a_handler_does_not_go_on_waiting(space, kind):
    condition, barrier = space.Condition("x"), space.Barrier("y", 2)
    with Program(FORKS, kind) as program:
        until(lambda: condition._waiters() + barrier.n_waiting == 1 and asleep(program.pid, program.pid))
        program.process.send_signal(signal.SIGUSR1)
        assert program.line() == "child"
        if kind == "Condition":
            notify(condition)
            assert program.line() == "True"
        else:
            assert barrier.wait() == 1
            assert program.line() == "0"
        assert program.end()[0] == 0


# --- death ---


def test_killed_waiters_on_a_semaphore_take_no_permit(space, programs):
    """Permits given after their death all reach the living."""
    semaphore = space.Semaphore("x", 0)
    waiters = programs("Semaphore", 5)
    for victim in waiters[::2]:
        victim.kill()
    assert semaphore.value == 0
    semaphore.release(2)
    assert [waiter.line() for waiter in waiters[1::2]] == ["True", "True"]
    assert semaphore.value == 0
    semaphore.release()
    assert semaphore.acquire(blocking=False)


def test_stopped_waiter_holds_up_nobody(space, programs):
    """Not while it is stopped, nor when it is killed then."""
    semaphore = space.Semaphore("x", 0)
    stopped, other = programs("Semaphore", 2)
    stop(stopped)
    semaphore.release()
    assert other.line() == "True"
    stopped.kill()
    assert semaphore.value == 0


OUTSIDE, TAKING, INSIDE, GIVING, GATE = 0, 1, 2, 3, 0  # what a worker does; the word that keeps workers outside
WORKERS, PERMITS, KILLS = 4, 2, 60


def work(semaphore, words, me):
    while True:
        while words[GATE]:
            time.sleep(0.0005)
        words[me] = TAKING
        if not semaphore.acquire(timeout=random.choice([0.0005, None])):
            words[me] = OUTSIDE
            continue
        words[me] = INSIDE
        time.sleep(random.random() / 2000)
        words[me] = GIVING
        semaphore.release()
        words[me] = OUTSIDE


def test_kills_at_random_moments_lose_and_make_no_permit(space):
    """Each worker notes what it does. So after each death it is known how many permits there must be, but for the one that
    it may or may not have taken, or given, just then."""
    semaphore = space.Semaphore("x", PERMITS)
    words = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
    context = multiprocessing.get_context("fork")

    def worker(me):
        process = context.Process(target=work, args=(semaphore, words, me), daemon=True)
        process.start()
        return process

    workers = {me: worker(me) for me in range(1, WORKERS + 1)}
    died = set()
    try:
        for _ in range(KILLS):
            time.sleep(random.random() / 100)
            me = random.choice(list(workers))
            workers[me].kill()
            workers[me].join()
            phase, words[me] = words[me], OUTSIDE
            died.add(phase)
            words[GATE] = 1
            until(lambda: not any(words[1 : WORKERS + 1]))
            lost = PERMITS - semaphore.value
            assert lost in {OUTSIDE: [0], TAKING: [0, 1], INSIDE: [1], GIVING: [0, 1]}[phase]
            if lost:
                semaphore.release()
            words[GATE] = 0
            workers[me] = worker(me)
    finally:
        for process in workers.values():
            process.kill()
            process.join()
    assert {TAKING, INSIDE} <= died


def test_killed_waiter_on_an_event_is_not_missed(space, programs):
    event = space.Event("x")
    waiters = programs("Event", 4)
    stop(waiters[0])
    waiters[1].kill()
    event.set()
    event.clear()
    assert [waiter.line() for waiter in waiters[2:]] == ["True", "True"]
    waiters[0].kill()
    task = sleeping(event.wait, HANG_SECONDS)
    event.set()
    assert task.result() is True
    space.unlink("x")


def test_killed_waiter_on_a_condition_is_not_notified(space, programs):
    condition = space.Condition("x")
    victim, heir, last = programs("Condition", 3, lambda number: condition._waiters() == number)
    victim.kill()
    notify(condition)
    assert heir.line() == "True"
    notify(condition)
    assert last.line() == "True"


@pytest.mark.parametrize("killed_by", ["its heir's sleep", "the next notifier"])
def test_a_notification_of_who_dies_with_it_reaches_another(space, programs, killed_by):
    """The victim is notified, and dies before it can act: it was stopped in its sleep."""
    condition = space.Condition("x")
    victim, heir, last = programs("Condition", 3, lambda number: condition._waiters() == number)
    stop(victim)
    notify(condition)
    victim.kill()
    if killed_by == "the next notifier":
        notify(condition)
        assert last.line() == "True"
    assert heir.line() == "True"
    until(lambda: condition._waiters() == (0 if killed_by == "the next notifier" else 1))


def test_all_notifications_of_who_die_reach_the_living(space, programs):
    condition = space.Condition("x")
    waiters = programs("Condition", 6, lambda number: condition._waiters() == number)
    for victim in waiters[:3]:
        stop(victim)
    notify(condition, 3)
    for victim in waiters[:3]:
        victim.kill()
    assert [waiter.line() for waiter in waiters[3:]] == ["True"] * 3


HOLDS = """
    import interlock, sys
    condition = interlock.Condition("x", getattr(interlock, sys.argv[1])("l") if sys.argv[1] else None)
    condition.acquire()
    if sys.argv[2] == "notifies":
        condition.notify()
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("lock", ["", "Lock", "RLock"])
@pytest.mark.parametrize("does", ["notifies", "is silent"])
def test_notifier_that_dies_with_the_lock(space, lock, does):
    """wait() takes the lock over, whether it was notified or its time has passed."""
    condition = space.Condition("x", getattr(space, lock)("l") if lock else None)
    with condition, Program(HOLDS, lock, does) as holder:
        reader = Task(lambda: (holder.line(), holder.kill()))
        notified = condition.wait(HANG_SECONDS if does == "notifies" else 0.5)
        reader.result()
        assert notified is (does == "notifies")
        assert condition._is_owned()
        if notified and lock:
            assert getattr(space, lock)("l").recovered.pid == holder.pid
    assert in_child(lambda: condition.acquire(blocking=False)) == "True"


@pytest.mark.parametrize("others", [1, 2, 40])
def test_killed_party_breaks_the_barrier(space, programs, others):
    """All others are told, also when there are more of them than one looks after."""
    barrier = space.Barrier("x", others + 2)
    tasks = [Task(barrier.wait) for _ in range(others // 2)]
    until(lambda: barrier.n_waiting == others // 2)
    (victim,) = programs(str(others + 2), 1, lambda _: barrier.n_waiting == others // 2 + 1)
    tasks += [Task(barrier.wait) for _ in range(others - others // 2)]
    until(lambda: barrier.n_waiting == others + 1)
    victim.kill()
    assert all(broken(task) for task in tasks)
    assert barrier.broken
    barrier.reset()
    tasks = [Task(barrier.wait) for _ in range(others + 2)]
    assert sorted(task.result() for task in tasks) == list(range(others + 2))


def test_nobody_passes_a_barrier_with_the_dead(space, programs):
    """The last party comes right after the death of another, before anybody has noticed it."""
    barrier = space.Barrier("x", 2)
    for _ in range(3):
        (victim,) = programs("2", 1, lambda _: barrier.n_waiting == 1)
        victim.kill()
        with pytest.raises(BrokenBarrierError):
            barrier.wait()
        assert (barrier.broken, barrier.n_waiting) == (True, 0)
        barrier.reset()


def test_stopped_party_is_not_dead(space, programs):
    barrier = space.Barrier("x", 3)
    (stopped,) = programs("3", 1, lambda _: barrier.n_waiting == 1)
    stop(stopped)
    task = Task(barrier.wait)
    time.sleep(0.1)  # several slices, in which the thread looks after the other
    assert barrier.n_waiting == 2
    assert barrier.wait() == 2
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.line() == "0"
    assert task.result() == 1


ACTOR = """
    import interlock, sys
    def act():
        print("acting", flush=True)
        sys.stdin.readline()
    interlock.Barrier("x", 3, act).wait()
"""


@pytest.mark.parametrize("outside", [0, 2])
def test_actor_that_is_killed_breaks_the_barrier(space, outside):
    """Those who wait are told, and those who came during the action."""
    barrier = space.Barrier("x", 3)
    tasks = [Task(barrier.wait) for _ in range(2)]
    until(lambda: barrier.n_waiting == 2)
    with Program(ACTOR) as actor:
        assert actor.line() == "acting"
        tasks += [sleeping(barrier.wait) for _ in range(outside)]
        assert barrier.n_waiting == 3
        actor.kill()
    assert all(broken(task) for task in tasks)
    assert (barrier.broken, barrier.n_waiting) == (True, 0)
    barrier.reset()
    tasks = [Task(barrier.wait) for _ in range(3)]
    assert sorted(task.result() for task in tasks) == [0, 1, 2]


def test_waiters_of_a_killed_process_go_with_it(space):
    """All threads of a process die at once: none of them is counted, notified or waited for."""
    code = """
        import interlock, threading
        condition, barrier = interlock.Condition("x"), interlock.Barrier("y", 9)
        def wait():
            with condition:
                condition.wait()
        for target in [wait, barrier.wait] * 3:
            threading.Thread(target=target).start()
        print("started", flush=True)
    """
    condition, barrier = space.Condition("x"), space.Barrier("y", 9)
    with Program(code) as program:
        until(lambda: (condition._waiters(), barrier.n_waiting) == (3, 3))
        program.kill()

    def wait():
        with condition:
            return condition.wait(HANG_SECONDS)

    party, waiter = Task(barrier.wait), sleeping(wait)
    assert broken(party)
    notify(condition)
    assert waiter.result() is True
