"""What RLock does and Lock does not, and the other way round."""

from __future__ import annotations

import time

import pytest

import interlock
from tests.support import in_thread


def test_lock_does_not_let_its_own_thread_in_again(space):
    lock = interlock.Lock("x", space=space)
    with lock:
        assert lock.acquire(blocking=False) is False
        before = time.monotonic()
        assert lock.acquire(timeout=0.05) is False
        assert time.monotonic() - before >= 0.05


def test_any_thread_of_the_process_releases_a_lock(space):
    lock = interlock.Lock("x", space=space)
    lock.acquire()
    assert in_thread(lock.release) is None
    assert not lock.locked()


def test_rlock_lets_its_own_thread_in_again(space):
    lock = interlock.RLock("x", space=space)
    for depth in range(1, 5):
        assert lock.acquire(timeout=0.01)
        assert lock._recursion_count() == depth
    for _ in range(4):
        assert in_thread(lock.acquire, False) is False
        lock.release()
    assert in_thread(lock.acquire, False) is True


def test_two_handles_of_an_rlock_count_together(space):
    first, second = (interlock.RLock("x", space=space) for _ in range(2))
    with first, second:
        assert first._recursion_count() == 2


def test_another_thread_may_not_release_an_rlock(space):
    lock = interlock.RLock("x", space=space)
    with lock:
        error = in_thread(lock.release)
        assert type(error) is interlock.NotOwner
        assert isinstance(error, RuntimeError)
        assert lock._is_owned()
    assert not lock._is_owned()


def test_rlock_of_a_thread_that_ended_stays_its_own(space):
    """A thread that ends holding an RLock leaves it locked, even if a new thread gets the same kernel id."""
    lock = interlock.RLock("x", space=space)
    in_thread(lock.acquire)
    for _ in range(50):
        assert in_thread(lock.acquire, False) is False


def test_wait_saves_and_restores_the_depth(space):
    lock = interlock.RLock("x", space=space)
    for _ in range(3):
        lock.acquire()
    saved = lock._release_save()
    assert in_thread(lambda: (lock.acquire(False), lock.release())[0]) is True
    lock._acquire_restore(saved)
    assert lock._recursion_count() == 3
    assert isinstance(in_thread(lock._release_save), interlock.NotOwner)
    with pytest.raises(ValueError, match="_release_save"):
        lock._acquire_restore(0)


def test_foreign_release_is_for_lock(space):
    with pytest.raises(TypeError, match="foreign_release"):
        interlock.RLock("x", space=space, foreign_release=True)
