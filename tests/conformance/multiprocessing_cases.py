"""CPython's own tests of multiprocessing's locks (test/_test_multiprocessing.py) on interlock.mp.

    INTERLOCK_TEST_METHOD=spawn python -m unittest tests.conformance.multiprocessing_cases

The classes are imported and subclassed; all that differs is where Lock and the others come from.
"""

from __future__ import annotations

import multiprocessing
import os
import unittest

from test import _test_multiprocessing as tests

from interlock import mp


def setUpModule():
    multiprocessing.set_start_method(os.environ["INTERLOCK_TEST_METHOD"], force=True)


class Ours(tests.ProcessesMixin):
    Lock, RLock, Semaphore, BoundedSemaphore = mp.Lock, mp.RLock, mp.Semaphore, mp.BoundedSemaphore
    Condition, Event, Barrier = mp.Condition, mp.Event, mp.Barrier
    Value, Array = staticmethod(mp.Value), staticmethod(mp.Array)
    RawValue, RawArray = staticmethod(mp.RawValue), staticmethod(mp.RawArray)


class LockTests(Ours, tests._TestLock, unittest.TestCase):
    pass


class SemaphoreTests(Ours, tests._TestSemaphore, unittest.TestCase):
    pass


class ConditionTests(Ours, tests._TestCondition, unittest.TestCase):
    def check_invariant(self, cond):
        # Theirs looks into the semaphores inside multiprocessing.Condition. Ours has none; what they show is this.
        assert cond._waiters() == 0


class EventTests(Ours, tests._TestEvent, unittest.TestCase):
    pass


class BarrierTests(Ours, tests._TestBarrier, unittest.TestCase):
    pass


class ValueTests(Ours, tests._TestValue, unittest.TestCase):
    pass


class ArrayTests(Ours, tests._TestArray, unittest.TestCase):
    pass
