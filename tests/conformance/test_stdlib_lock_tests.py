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
