"""RWLock: many readers or one writer, downgrade, refusals."""

from __future__ import annotations

import pickle
import threading

import pytest

import interlock
from tests.support import HANG_SECONDS, in_thread


def can(side):
    """Whether a thread could have this side now."""

    def attempt():
        if not side.acquire(blocking=False):
            return False
        side.release()
        return True

    return in_thread(attempt)


@pytest.fixture
def lock(space):
    return space.RWLock("table")


def test_it_has_two_sides(lock):
    with pytest.raises(TypeError, match=r"two sides: write `with lock\.read:` or `with lock\.write:`"), lock:
        pass

    async def enter():
        async with lock:
            pass

    with pytest.raises(TypeError, match=r"two sides: write `async with lock\.read:` or `async with lock\.write:`"):
        enter().send(None)


def test_readers_share_and_a_writer_is_alone(lock):
    with lock.read:
        assert can(lock.read)
        assert not can(lock.write)
        assert lock.read.locked()
        assert not lock.write.locked()
    with lock.write:
        assert not can(lock.read)
        assert not can(lock.write)
        assert lock.write.locked()
        assert lock.write.owner is not None
    assert can(lock.write)
    assert not lock.read.locked()


def test_reading_again_passes_a_waiting_writer(lock):
    with lock.read:
        waiting = threading.Thread(target=lambda: lock.write.acquire() and lock.write.release())
        waiting.start()
        while can(lock.read):  # until the writer waits: then newcomers stand back …
            pass
        assert lock.read.acquire(timeout=HANG_SECONDS)  # … and this thread need not
        lock.read.release()
    waiting.join(HANG_SECONDS)
    assert not waiting.is_alive()


def test_downgrade_lets_readers_in_and_keeps_writers_out(lock, space):
    lock.write.acquire()
    lock.downgrade()
    assert can(lock.read)
    assert not can(lock.write)
    lock.read.release()
    assert can(lock.write)
    with pytest.raises(interlock.NotHeld):
        lock.downgrade()
    with pytest.raises(interlock.NotHeld):
        lock.read.release()


def test_downgrade_by_a_handle_that_never_read(space):
    """The reading that it begins is released by the other side of the lock, which has to find it."""
    lock = space.RWLock("fresh")
    lock.write.acquire()
    lock.downgrade()
    lock.read.release()
    assert can(lock.write)


def test_a_wait_for_oneself_is_refused(lock):
    with lock.read, pytest.raises(interlock.DeadlockDetected, match="release, then acquire for writing"):
        lock.write.acquire()
    with lock.write, pytest.raises(interlock.DeadlockDetected, match="downgrade"):
        lock.read.acquire()
    assert can(lock.write)


def test_another_thread_may_release_and_the_first_may_write_then(lock):
    lock.read.acquire()
    in_thread(lock.read.release)
    assert lock.write.acquire(timeout=HANG_SECONDS)
    lock.write.release()


@pytest.mark.parametrize("side", ["read", "write"])
def test_release_of_what_is_not_held(lock, side):
    with pytest.raises(interlock.NotHeld):
        getattr(lock, side).release()


def test_timeouts_and_hold(lock):
    with lock.write:
        assert not in_thread(lambda: lock.read.acquire(timeout=0.01))
        assert not in_thread(lambda: lock.write.acquire(timeout=0.01))
    with lock.read:
        assert not in_thread(lambda: lock.write.acquire(timeout=0.01))

    def refused():
        with pytest.raises(interlock.AcquireTimeout), lock.write.hold(timeout=0.01):
            pass
        return True

    with lock.read:
        assert in_thread(refused)
    with lock.write.hold(timeout=1) as held:
        assert held is lock.write


def test_pickles_to_the_same_lock(lock):
    copy = pickle.loads(pickle.dumps(lock))
    assert copy.name == lock.name
    with lock.write:
        assert not can(copy.read)


def test_unlink_while_in_use(space, lock):
    with lock.read, pytest.raises(RuntimeError, match="held"):
        space.unlink("table")
    space.unlink("table")
    with lock.read:  # its handle begins anew
        assert not can(space.RWLock("table").write)


def test_bounded_permits(space):
    limit = space.BoundedSemaphore("limit", 3)
    assert (limit.value, limit.bound) == (3, 3)
    with limit:
        assert limit.acquire(timeout=1)
        assert limit.value == 1
        with pytest.raises(RuntimeError, match="held"):
            space.unlink("limit")
        limit.release()
    limit.acquire()
    limit.acquire()
    says = "BoundedSemaphore 'limit' cannot be released so often: this process has 2 permits, not 3"
    with pytest.raises(interlock.NotHeld, match=says):
        limit.release(3)
    limit.release(2)
    assert limit.value == 3
    with pytest.raises(interlock.NotHeld, match="this process has no permit: release it only after acquire"):
        limit.release()
    limit.acquire()
    with pytest.raises(interlock.NotHeld, match="this process has 1 permit, not 2"):
        limit.release(2)
    limit.release()
    says = "BoundedSemaphore 'limit' is for 3 permits, and is asked for with 4; open it with the same"
    with pytest.raises(interlock.ParameterMismatch, match=says):
        space.BoundedSemaphore("limit", 4)
    assert pickle.loads(pickle.dumps(limit)).bound == 3


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (2**31, OverflowError), (10**30, OverflowError), ("3", TypeError)]
)
def test_numbers_of_permits_that_are_none(space, value, error):
    with pytest.raises(error):
        space.BoundedSemaphore("bad", value)


def test_a_forgotten_name():
    says = r'BoundedSemaphore\("name", 10\), or BoundedSemaphore\(value=10\) for an anonymous one'
    with pytest.raises(TypeError, match=says):
        interlock.BoundedSemaphore(10)
    with pytest.raises(TypeError, match=r'Event\(\) takes a name \(str\) first, not int: write Event\("7"\)'):
        interlock.Event(7)


def test_a_downgraded_reading_is_released_though_the_name_has_moved(space):
    """Both views are handles, and only one of them has looked the name up again."""
    shared = interlock.RWLock("x", space=space)
    space.unlink("x")
    shared.write.acquire()
    shared.downgrade()
    shared.read.release()
    assert not interlock.RWLock("x", space=space).read.locked()
    assert shared.write.acquire(blocking=False)
