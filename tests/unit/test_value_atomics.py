"""Value's indivisible steps, without the lock."""

from __future__ import annotations

import ctypes

import pytest

from tests.ctypes_types import BIG_INT, INTEGERS, Celsius, Point
from tests.support import Task, held_elsewhere


def test_add(space, value):
    other = space.Value("x", "q")
    assert value.add() == 6
    assert value.add(-10) == other.value == -4
    assert other.add(0) == value.value == -4
    assert value.add(True) == -3
    assert type(value.add()) is int


@pytest.mark.parametrize("code", INTEGERS)
def test_a_sum_that_fits_is_reached_from_anywhere(space, code):
    low, high = INTEGERS[code]
    value = space.Value("x", code)
    for start in (low, 0, high):
        for sum_ in (low, low + 1, 0, high - 1, high):
            value.value = start
            assert value.add(sum_ - start) == sum_
            assert value.value == sum_


@pytest.mark.parametrize("code", INTEGERS)
def test_a_sum_that_does_not_fit_changes_nothing(space, code):
    low, high = INTEGERS[code]
    value = space.Value("x", code)
    for start, n in [
        (high, 1),
        (low, -1),
        (high, high + 1),
        (low, -high - 2),
        (0, 2**64),
        (0, -(2**64)),
        (0, 10**30),
        (0, -(10**30)),
    ]:
        value.value = start
        with pytest.raises(OverflowError, match=r"fit|too (big|large)"):
            value.add(n)
        assert value.value == start


@pytest.mark.parametrize("code", INTEGERS)
def test_exchange(space, code):
    low, high = INTEGERS[code]
    value = space.Value("x", code, 7)
    assert value.exchange(low) == 7
    assert value.exchange(high) == low
    assert value.exchange(True) == high
    assert value.value == 1
    for wrong in (low - 1, high + 1, 2**64 + 1, -(2**64) + 1, 10**30):
        with pytest.raises(OverflowError, match=r"does not fit.*nothing was changed"):
            value.exchange(wrong)
    assert value.value == 1


@pytest.mark.parametrize("code", INTEGERS)
def test_compare_exchange(space, code):
    low, high = INTEGERS[code]
    value = space.Value("x", code, low)
    assert value.compare_exchange(high, 1) is False
    assert value.value == low
    assert value.compare_exchange(low, high) is True
    assert value.value == high
    for wrong in ((low - 1, 1), (high, high + 1), (2**64 + high, 1), (high, 10**30)):
        with pytest.raises(OverflowError, match=r"does not fit.*nothing was changed"):
            value.compare_exchange(*wrong)
    assert value.value == high


@pytest.mark.parametrize("ctype", ["f", "d", "c", "u", "?", ctypes.c_longdouble, Point, Celsius, BIG_INT])
def test_atomics_are_for_integers(space, ctype):
    if ctype is BIG_INT and BIG_INT is ctypes.c_int32:
        pytest.skip("this machine's own byte order")
    value = space.Value("x", ctype)
    before = bytes(memoryview(value).cast("B"))
    for method, args in (("add", ()), ("add", (1.0,)), ("exchange", (1,)), ("compare_exchange", (0, 1))):
        with pytest.raises(TypeError, match=rf"{method}\(\) is for Values of an integer type.*under its lock"):
            getattr(value, method)(*args)
    assert bytes(memoryview(value).cast("B")) == before


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [
        ("add", (1.0,), {}),
        ("add", ("1",), {}),
        ("add", (None,), {}),
        ("add", (1, 2), {}),
        ("add", (), {"n": 1}),
        ("exchange", (), {}),
        ("exchange", (1.0,), {}),
        ("exchange", (None,), {}),
        ("exchange", (1, 2), {}),
        ("compare_exchange", (5,), {}),
        ("compare_exchange", (5, 1.0), {}),
        ("compare_exchange", (5.0, 1), {}),
        ("compare_exchange", (5, 1, 1), {}),
    ],
)
def test_bad_arguments_change_nothing(value, method, args, kwargs):
    with pytest.raises(TypeError):
        getattr(value, method)(*args, **kwargs)
    assert value.value == 5


def test_atomics_do_not_wait_for_the_lock(space, value):
    with held_elsewhere(value):
        assert value.add(2) == 7
        assert value.exchange(3) == 7
        assert value.compare_exchange(3, 4)
    assert space.Value("x", "q", lock=False).add() == 5
    assert space.Value("y", "q", lock=space.Lock("l")).add() == 1


def test_sums_of_many_threads_are_exact(space):
    value = space.Value("x", "H", lock=False)

    def count():
        other = space.Value("x", "H")
        for _ in range(2000):
            other.add(3)
            value.add(-1)

    for task in [Task(count) for _ in range(4)]:
        task.result()
    assert value.value == 16000


def test_compare_exchange_by_many_threads_takes_each_ticket_once(space):
    value, taken = space.Value("x", "i", 500), []

    def take():
        while (left := value.value) > 0:
            if value.compare_exchange(left, left - 1):
                taken.append(left)

    for task in [Task(take) for _ in range(4)]:
        task.result()
    assert sorted(taken) == list(range(1, 501))
