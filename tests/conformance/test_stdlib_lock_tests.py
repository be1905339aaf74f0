"""CPython's own tests of locks (test/lock_tests.py of the running interpreter) on interlock's classes.

A factory fills in the space and nothing else: every lock of those tests is anonymous.
"""

from __future__ import annotations

import pytest

import interlock

lock_tests = pytest.importorskip("test.lock_tests", reason="this Python was built without its own test package")


class LockTests(lock_tests.LockTests):
    # _at_fork_reinit() makes a lock free in a forked child. Ours stays the parent's: that is what it is for.
    test_at_fork_reinit = None

    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.locktype = lambda: interlock.Lock(space=space)


class RLockTests(lock_tests.RLockTests):
    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.locktype = lambda: interlock.RLock(space=space)


class ConditionWithRLockTests(lock_tests.ConditionTests):
    """threading.Condition over our RLock, which it takes as it takes its own."""

    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        import threading

        self.condtype = lambda lock=None: threading.Condition(lock or interlock.RLock(space=space))


class SemaphoreTests(lock_tests.SemaphoreTests):
    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.semtype = lambda value=1: interlock.Semaphore(value=value, space=space)


class BoundedSemaphoreTests(lock_tests.BoundedSemaphoreTests):
    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.semtype = lambda value=1: interlock.BoundedSemaphore(value=value, space=space)


class EventTests(lock_tests.EventTests):
    # Looks into the lock inside threading.Event. Ours has none.
    test_at_fork_reinit = test_reset_internal_locks = None

    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.eventtype = lambda: interlock.Event(space=space)


class ConditionTests(lock_tests.ConditionTests):
    # Makes a condition over a threading.Lock, which would exclude nobody in other processes: ours refuses it.
    test_acquire = None

    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.condtype = lambda lock=None: interlock.Condition(lock=lock, space=space)


class BarrierTests(lock_tests.BarrierTests):
    @pytest.fixture(autouse=True)
    def _own_space(self, space):
        self.barriertype = lambda parties, action=None, timeout=None: interlock.Barrier(
            None, parties, action, timeout, space=space
        )
