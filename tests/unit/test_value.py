"""Value within one process; and the helpers of the tests of shared data."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import pickle
import threading
from pathlib import Path

import pytest

import interlock
from tests.process.test_fork import in_child
from tests.support import HANG_SECONDS, Program
from tests.unit.test_semaphore import Task, fail, signal_when_asleep, sleeping

INTEGERS = {}
for code, ctype in (
    ("b", ctypes.c_byte),
    ("h", ctypes.c_short),
    ("i", ctypes.c_int),
    ("l", ctypes.c_long),
    ("q", ctypes.c_longlong),
):
    span = 1 << 8 * ctypes.sizeof(ctype)
    INTEGERS[code], INTEGERS[code.upper()] = (-span // 2, span // 2 - 1), (0, span - 1)
# Of each typecode: the type, what a new one holds, and something else.
TYPECODES = {
    "c": (ctypes.c_char, b"\0", b"x"),
    "u": (ctypes.c_wchar, "\0", "é"),
    "?": (ctypes.c_bool, False, True),
    "f": (ctypes.c_float, 0.0, -1.5),
    "d": (ctypes.c_double, 0.0, 1e300),
    "b": (ctypes.c_byte, 0, -128),
    "B": (ctypes.c_ubyte, 0, 255),
    "h": (ctypes.c_short, 0, -(2**15)),
    "H": (ctypes.c_ushort, 0, 2**16 - 1),
    "i": (ctypes.c_int, 0, -(2**31)),
    "I": (ctypes.c_uint, 0, 2**32 - 1),
    "l": (ctypes.c_long, 0, INTEGERS["l"][0]),
    "L": (ctypes.c_ulong, 0, INTEGERS["L"][1]),
    "q": (ctypes.c_longlong, 0, -(2**63)),
    "Q": (ctypes.c_ulonglong, 0, 2**64 - 1),
}
BIG_INT = ctypes.c_int32.__ctype_be__
LITTLE_INT = ctypes.c_int32.__ctype_le__


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


class Segment(ctypes.Structure):
    _fields_ = (("start", Point), ("end", Point), ("label", ctypes.c_char * 8))


class Longer(Segment):
    _fields_ = (("weight", ctypes.c_longdouble),)


class Either(ctypes.Union):
    _fields_ = (("number", ctypes.c_uint32), ("octets", ctypes.c_uint8 * 4), ("point", Point))


class Bits(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint8, 3), ("high", ctypes.c_uint8, 5), ("sign", ctypes.c_int16, 2))


class Packed(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("flag", ctypes.c_bool), ("number", ctypes.c_int64))


class Big(ctypes.BigEndianStructure):
    _fields_ = (("number", ctypes.c_uint32), ("half", ctypes.c_uint16))


class Little(ctypes.LittleEndianStructure):
    _fields_ = (("number", ctypes.c_uint32), ("half", ctypes.c_uint16))


class WithValue(ctypes.Structure):
    _fields_ = (("value", ctypes.c_int), ("other", ctypes.c_int))


class Empty(ctypes.Structure):
    _fields_ = ()


class Pointing(ctypes.Structure):
    _fields_ = (("inner", ctypes.POINTER(ctypes.c_int) * 2),)


def structure(*fields):
    return type("Structure", (ctypes.Structure,), {"_fields_": fields})


class Celsius(ctypes.c_double):
    """A subclass of a simple type, whose value is not what lies in memory."""

    @property
    def value(self):
        return ctypes.c_double.value.__get__(self) - 273.15


def data_files(space):
    """The names of the files in which data of objects of the space lies."""
    path = Path(space.path)
    return sorted(file.name for file in path.parent.iterdir() if file.name.startswith(path.name + "."))


@contextlib.contextmanager
def held_elsewhere(lock):
    """Another thread holds the lock in the meantime."""
    over, has = threading.Event(), threading.Event()

    def hold():
        with lock:
            has.set()
            over.wait(HANG_SECONDS)

    task = Task(hold)
    assert has.wait(HANG_SECONDS)
    try:
        yield
    finally:
        over.set()
        task.result()


@pytest.fixture
def value(space):
    return space.Value("x", "q", 5)


# --- what it holds ---


@pytest.mark.parametrize("code", TYPECODES)
def test_every_typecode(space, code):
    ctype, zero, something = TYPECODES[code]
    first, second = space.Value("x", code), space.Value("x", ctype)
    assert first.value == second.value == zero
    assert type(first.value) is type(zero)
    first.value = something
    assert second.value == first.value == first.get_obj().value == something
    second.get_obj().value = zero
    assert first.value == zero
    assert type(first.get_obj()) is ctype


@pytest.mark.parametrize("code", TYPECODES)
def test_every_typecode_with_a_first_content(space, code):
    _, zero, something = TYPECODES[code]
    value = space.Value("x", code, something)
    assert value.value == something
    assert space.Value("x", code, zero).value == something  # the first opener has the say


@pytest.mark.parametrize("ctype", [ctypes.c_longdouble, ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_int8, ctypes.c_uint64])
def test_other_simple_types(space, ctype):
    space.Value("x", ctype, 3).value += 4
    assert space.Value("x", ctype).value == 7


def test_long_double_keeps_every_bit(space):
    """More of them than a float has: they stay what they were when nobody writes them."""
    value, other = space.Value("x", ctypes.c_longdouble), space.Value("x", ctypes.c_longdouble)
    precise = bytes(range(1, 11)) + bytes(ctypes.sizeof(ctypes.c_longdouble) - 10)
    ctypes.memmove(ctypes.addressof(value.get_obj()), precise, len(precise))
    assert bytes(memoryview(other).cast("B")) == precise


def test_a_number_is_cut_to_fit_as_in_ctypes(space):
    for code, (low, high) in INTEGERS.items():
        value, plain = space.Value(code, code), TYPECODES[code][0]()
        for number in (low, high, high + 1, low - 1, -1, 2**64, 10**30, True):
            value.value = plain.value = number
            assert value.value == plain.value
            assert type(value.value) is int
    value = space.Value("f", "f")
    for number in (0.1, 1e300, -1e300, 3, float("inf")):
        value.value = number
        assert value.value == ctypes.c_float(number).value
    value.value = float("nan")
    assert value.value != value.value


@pytest.mark.parametrize("code", ["q", "B", "d", "c", "u"])
def test_what_is_no_content_changes_nothing(space, code):
    _, _, something = TYPECODES[code]
    value = space.Value("x", code, something)
    for wrong in (None, [1], "ab", b"ab", *([1.5] if code in "qB" else [])):
        with pytest.raises(TypeError):
            value.value = wrong
    with pytest.raises(TypeError, match="cannot be deleted"):
        del value.value
    assert value.value == something
    assert not value.locked()


def test_structure(space):
    first, second = space.Value("x", Point, 3, 4.5), space.Value("x", Point)
    assert (second.x, second.y) == (3, 4.5)
    second.x -= 10
    first.y = 1
    assert (first.x, second.y) == (-7, 1.0)
    with pytest.raises(TypeError):
        first.x = "1"
    for missing in ("z", "value"):
        with pytest.raises(AttributeError, match=missing):
            getattr(first, missing)
        with pytest.raises(AttributeError, match=missing):
            setattr(first, missing, 1)  # it would be seen nowhere else
    assert not first.locked()


def test_nested_structure_that_inherits(space):
    first, second = space.Value("x", Longer, Point(1, 2), Point(3, 4), b"label"), space.Value("x", Longer)
    first.weight = 0.5
    second.start.x = 7
    assert (second.start.x, second.end.y, second.label, second.weight) == (7, 4.0, b"label", 0.5)
    second.end = Point(9, 9)
    assert (first.end.x, first.start.x) == (9, 7)


def test_union(space):
    first, second = space.Value("x", Either), space.Value("x", Either)
    first.octets[:] = [1, 2, 3, 4]
    assert second.number == int.from_bytes(bytes([1, 2, 3, 4]), "little" if ctypes.c_int is LITTLE_INT else "big")
    second.point.y = 2.5
    assert first.point.y == 2.5


def test_bit_fields(space):
    first, second = space.Value("x", Bits, 5, 17, -1), space.Value("x", Bits)
    assert (second.low, second.high, second.sign) == (5, 17, -1)
    second.high += 32 + 1  # cut to fit
    assert (first.low, first.high, first.sign) == (5, 18, -1)


def test_packed_structure(space):
    first, second = space.Value("x", Packed, True, -1), space.Value("x", Packed)
    assert (second.flag, second.number) == (True, -1)
    assert memoryview(first).nbytes == 9


@pytest.mark.parametrize("structure", [Big, Little])
def test_byte_order_of_a_structure(space, structure):
    first, second = space.Value("x", structure, 1, 2), space.Value("x", structure)
    first.number += 1
    assert (second.number, second.half) == (2, 2)
    assert bytes(first.get_obj())[:4] == (2).to_bytes(4, "big" if structure is Big else "little")


@pytest.mark.parametrize("ctype", [BIG_INT, LITTLE_INT])
def test_byte_order_of_a_number(space, ctype):
    first, second = space.Value("x", ctype, 1), space.Value("x", ctype)
    first.value += 1
    assert second.value == second.get_obj().value == 2
    assert bytes(first.get_obj()) == (2).to_bytes(4, "big" if ctype is BIG_INT else "little")


def test_a_field_called_value(space):
    first, second = space.Value("x", WithValue, 1, 2), space.Value("x", WithValue)
    first.value += 10
    assert (second.value, second.other) == (11, 2)


@pytest.mark.parametrize("field", ["name", "owner", "add", "acquire", "get_obj", "_content"])
def test_a_field_with_a_name_that_is_taken(space, field):
    taken = structure(("free", ctypes.c_int), (field, ctypes.c_int))
    with pytest.raises(TypeError, match=f"'{field}'.*Structure another name|'{field}' of Structure.*give it another"):
        space.Value("x", taken)
    assert space.objects() == []


def test_empty_structure(space):
    assert ctypes.sizeof(space.Value("x", Empty).get_obj()) == 0


def test_subclass_of_a_simple_type(space):
    value = space.Value("x", Celsius, 300)
    assert value.value == pytest.approx(26.85)
    assert pickle.loads(pickle.dumps(value)).value == pytest.approx(26.85)
    assert type(value.get_obj()) is Celsius


def test_an_array_type_makes_an_array(space):
    value = space.Value("x", ctypes.c_short * 3, 1, 2)
    assert isinstance(value, interlock.Array)
    assert value[:] == [1, 2, 0]
    assert space.Array("x", "h", 3)[1] == 2
    table = space.Value("table", ctypes.c_char * 4 * 2)
    table[1].value = b"ab"
    assert space.Array("table", ctypes.c_char * 4, 2)[1].value == b"ab"


def test_buffer(space):
    value, other = space.Value("x", "i", 1), space.Value("x", "i")
    view = memoryview(value)
    assert (view.shape, view.itemsize, view.readonly) == ((), 4, False)
    view.cast("B").cast("i")[0] = 77
    assert other.value == 77
    raw = memoryview(space.Value("y", Point, 1, 2)).cast("B")
    assert bytes(raw) == bytes(Point(1, 2))


# --- the lock ---


def test_reading_and_writing_wait_for_the_lock(space, value):
    point = space.Value("p", Point)
    for handle, name in ((value, "value"), (point, "x")):
        for access in (lambda h=handle, n=name: getattr(h, n), lambda h=handle, n=name: setattr(h, n, 3)):
            with held_elsewhere(handle):
                task = sleeping(access)
            assert task.result() in (5, 0, None)
        assert getattr(handle, name) == 3


def test_the_lock_is_re_entrant(value):
    assert value.get_lock() is value
    with value as taken, value.get_lock():
        assert taken is True
        value.value += 1
        assert value.value == 6
        assert value.locked()
        assert Task(value.acquire, blocking=False).result() is False
    assert not value.locked()
    assert value.value == 6
    with pytest.raises(interlock.NotHeld):
        value.release()


def test_two_handles_have_one_lock(space, value):
    other = space.Value("x", "q")
    with value:
        assert Task(other.acquire, timeout=0.01).result() is False
        assert other.acquire(blocking=False)
        other.release()
    with other.hold(timeout=1) as held:
        assert held is other
        with pytest.raises(interlock.AcquireTimeout, match="Value 'x'"):
            Task(lambda: value.hold(timeout=0.01).__enter__()).result()
    assert not value.locked()


def test_owner_fence_and_statistics(space, value):
    assert value.owner is None
    assert value.recovered is None
    with value:
        fence = value.fence
        assert (value.owner.pid, value.owner.thread_id) == (os.getpid(), threading.get_native_id())
        assert value.recovered is None
    before = value.statistics()
    with space.Value("x", "q") as taken:
        assert taken
        assert value.fence > fence
    assert value.owner is None
    after = value.statistics()
    assert after.acquisitions == before.acquisitions + 1
    assert (after.contended, after.recoveries) == (before.contended, 0)


def test_an_error_under_the_lock_lets_go_of_it(space):
    for lock in (True, space.Lock("l"), space.RLock("r")):
        value = space.Value(None, Point, lock=lock)
        with pytest.raises(TypeError):
            value.x = "no number"
        with pytest.raises(ArithmeticError), value:
            fail()
        assert Task(value.acquire, blocking=False).result() is True


@pytest.mark.parametrize("to_main", [True, False])
def test_handler_that_raises_gets_out(value, to_main):
    with held_elsewhere(value):
        for access in (lambda: value.value, lambda: setattr(value, "value", 8)):
            with pytest.raises(ArithmeticError), signal_when_asleep(fail, to_main):
                access()
    assert Task(value.acquire, blocking=False).result() is True  # and it ends holding it
    assert value.get_obj().value == 5


def test_without_a_lock(space):
    raw, guarded = space.Value("x", "i", 1, lock=False), space.Value("x", "i")
    for missing in ("get_lock", "get_obj", "acquire", "release", "__enter__", "owner"):
        assert not hasattr(raw, missing)
    point = space.Value("p", Point, 1, lock=False)
    with held_elsewhere(guarded), held_elsewhere(space.Value("p", Point)):
        raw.value += 1
        point.x += 1
        assert (raw.value, point.x) == (2, 2)
    assert guarded.value == 2


@pytest.mark.parametrize("lock", [True, None])
def test_with_a_lock_of_its_own(space, lock):
    assert space.Value("x", "i", lock=lock).acquire(blocking=False)


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("name", ["l", None])
def test_under_a_given_lock(space, kind, name):
    lock = getattr(space, kind)(name)
    value, point = space.Value("x", "i", 1, lock=lock), interlock.Value("p", Point, lock=lock)
    assert value.get_lock() is lock
    assert point.space is space  # it lives with its lock
    with value as taken:
        assert taken is True
        assert lock.locked()
        value.get_obj().value += 1
        assert Task(lock.acquire, blocking=False).result() is False
    assert not lock.locked()
    assert value.acquire(timeout=1)
    tasks = [sleeping(lambda: value.value), sleeping(lambda: point.x), sleeping(setattr, point, "y", 1)]
    value.release()
    assert [task.result() for task in tasks] == [2, 0, None]
    assert not lock.locked()


def test_one_lock_for_several(space):
    lock = space.RLock("l")
    values = [space.Value(f"v{number}", "i", lock=lock) for number in range(3)]
    with lock:
        for value in values:
            value.value += 1
        assert Task(values[0].acquire, blocking=False).result() is False
    assert [value.value for value in values] == [1, 1, 1]


@pytest.mark.parametrize(
    "make",
    [lambda space: threading.Lock(), lambda space: threading.RLock(), lambda space: 3, lambda space: "l",
     lambda space: space.Semaphore("s"), lambda space: space.Condition("c"), lambda space: interlock.Lock],
)  # fmt: skip
def test_what_is_no_lock(space, make):
    lock = make(space)
    before = space.objects()
    with pytest.raises(TypeError, match=r"lock must be True, False, or an interlock Lock or RLock, not .* other processes"):
        space.Value("x", "i", lock=lock)
    assert space.objects() == before


def test_a_lock_of_another_space(space):
    """As for a Condition: who finds both by their names in one space must find the same."""
    other = interlock.Space("shm:other")
    with pytest.raises(ValueError, match="same space"):
        interlock.Value("x", "i", lock=other.Lock("l"), space=space)


# --- without the lock ---


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


# --- arguments ---


@pytest.mark.parametrize(
    ("args", "error", "says"),
    [
        (("x", "x"), TypeError, r"no such typecode: 'x'; there are .*q.*ctypes"),
        (("x", ""), TypeError, "no such typecode"),
        (("x", "ii"), TypeError, "no such typecode"),
        (("x", "P"), TypeError, "no such typecode"),
        (("x", 3), TypeError, "neither a typecode nor a ctypes type: 3"),
        (("x", int), TypeError, "neither a typecode nor a ctypes type: .*int"),
        (("x", None), TypeError, "neither"),
        (("x", ctypes.c_int(3)), TypeError, "neither"),
        (("x", b"i"), TypeError, "neither"),
        (("i", 0), TypeError, "neither"),  # multiprocessing's order
        (("x", ctypes.c_void_p), TypeError, "c_void_p is an address.*another process"),
        (("x", ctypes.c_char_p), TypeError, "c_char_p is an address"),
        (("x", ctypes.c_wchar_p), TypeError, "c_wchar_p is an address"),
        (("x", ctypes.py_object), TypeError, "py_object is an address"),
        (("x", ctypes.POINTER(ctypes.c_int)), TypeError, "is an address"),
        (("x", ctypes.CFUNCTYPE(ctypes.c_int)), TypeError, "is an address"),
        (("x", Pointing), TypeError, "is an address"),
        (("x", ctypes.c_char_p * 3), TypeError, "is an address"),
        (("x", ctypes.c_int, 1, 2), TypeError, "argument"),
        (("x", "i", "1"), TypeError, None),
        (("x", "i", 1.5), TypeError, None),
        (("x", Point, 1, 2, 3), TypeError, "too many"),
        (("x", ctypes.c_char, b"ab"), TypeError, None),
        (("x", ctypes.c_char * 3, b"abcd"), TypeError, None),
        (("x", ctypes.c_int * 2, 1, 2, 3), IndexError, None),
        (("x", ctypes.Structure), TypeError, None),
        (("x", ctypes.Union), TypeError, None),
        (("x", ctypes.Array), TypeError, None),
        (("x", ctypes.c_int.__base__), TypeError, None),
        ((3, "i"), TypeError, "name"),
        ((b"x", "i"), TypeError, "name"),
        (("", "i"), ValueError, "empty"),
        (("a\0b", "i"), ValueError, "NUL"),
        (("x" * 256, "i"), ValueError, "255"),
        (("x",), TypeError, "typecode_or_type"),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, error, says):
    with pytest.raises(error, match=says):
        interlock.Value(*args, space=space)
    assert space.objects() == []
    assert data_files(space) == []


def test_another_type_is_refused(space, value):
    for other in ("Q", "d", "i", "c", BIG_INT, Point, ctypes.c_double):
        with pytest.raises(
            interlock.ParameterMismatch, match=r"Value 'x' is in use with another type or lock; open it with the same"
        ) as raised:
            space.Value("x", other)
    assert isinstance(raised.value, ValueError)
    assert raised.value.name == "x"
    assert value.value == 5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BIG_INT, LITTLE_INT),
        (Big, Little),
        (ctypes.c_int32, ctypes.c_uint32),
        (ctypes.c_int32, ctypes.c_float),
        (ctypes.c_byte, ctypes.c_bool),
        (ctypes.c_byte, ctypes.c_char),
        (Point, WithValue),
        (structure(("x", BIG_INT)), structure(("x", LITTLE_INT))),
        (structure(("x", ctypes.c_int)), structure(("y", ctypes.c_int))),
        (structure(("x", ctypes.c_int, 3)), structure(("x", ctypes.c_int, 4))),
        (structure(("x", ctypes.c_int)), structure(("x", ctypes.c_int * 1))),
    ],
)  # fmt: skip
def test_types_that_are_not_the_same(space, first, second):
    """Opened under one name, they would read what the other wrote as something else."""
    kept = space.Value("x", first)
    with pytest.raises(interlock.ParameterMismatch):
        space.Value("x", second)
    assert kept.get_obj() is not None


def test_types_that_are_the_same(space):
    same = structure(("x", ctypes.c_int), ("y", ctypes.c_double))
    space.Value("x", Point, 3)
    assert space.Value("x", same).x == 3
    if ctypes.sizeof(ctypes.c_long) == 8:
        kept = space.Value("l", ctypes.c_int64, 1)
        assert space.Value("l", "l").value == kept.value


@pytest.mark.parametrize("other", ["Lock", "RLock", "RWLock", "Semaphore", "BoundedSemaphore", "Event", "Condition"])
def test_another_kind_is_refused(space, value, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Value; use another name.*unlink"):
        getattr(space, other)("x")
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Value"):
        space.Array("x", "q", 1)
    kept = getattr(space, other)("y")
    with pytest.raises(interlock.KindMismatch, match=rf"'y' is in use as an? {other}"):
        space.Value("y", "i")
    assert kept.name == "y"
    assert len(data_files(space)) == 1


# --- how long it lives ---


def test_named_ones_keep_their_content_without_handles(space):
    space.Value("x", Point, 3, 4)
    gc.collect()
    assert [(info.name, info.kind) for info in space.objects()] == [("x", "Value")]
    again = space.Value("x", Point, 5, 6)
    assert (again.x, again.y) == (3, 4.0)
    assert len(data_files(space)) == 1


def test_anonymous_ones_leave_nothing(space):
    kept = space.Value(None, "i", 1)
    before = data_files(space)
    assert len(before) == 1
    for _ in range(20):
        for lock in (True, False, space.Lock()):
            value = space.Value(None, Point, 1, lock=lock)
            value.x += 1
    assert len(data_files(space)) == 2
    del value, lock
    gc.collect()
    assert data_files(space) == before
    assert [info.name for info in space.objects() if info.kind == "Value"] == [kept.name]
    assert kept.value == 1


def test_anonymous_ones_are_not_one_another(space):
    first, second = space.Value(None, "i", 1), space.Value(None, "i", 2)
    with first:
        assert second.acquire(blocking=False)
        second.release()
    assert (first.value, second.value) == (1, 2)
    assert first.name != second.name


@pytest.mark.parametrize("hold", [lambda value: value.get_obj(), memoryview], ids=["object", "view"])
def test_a_view_outlives_the_handle(space, hold):
    value = space.Value(None, "i", 7)
    view = hold(value)
    del value
    gc.collect()
    assert len(data_files(space)) == 1
    assert bytes(view) == (7).to_bytes(4, "little")
    del view
    gc.collect()
    assert data_files(space) == []


def test_pickled_anonymous_ones_stay(space):
    """As long as the process that made them: somebody may still come for them."""
    value = space.Value(None, "i", 7)
    data = pickle.dumps(value)
    del value
    gc.collect()
    for _ in range(2):
        assert pickle.loads(data).add() in (8, 9)
    named = space.Value(None, "i", 7)
    name = named.name
    del named
    gc.collect()
    assert space.Value(name, "i").value == 7


def test_unlink(space):
    """Refused for as long as anybody can reach the data: a handle, a view, the content itself, a child."""
    value = space.Value("x", "q", 5)
    view, content = memoryview(space.Value("x", "q")), space.Value("x", "q", lock=False)._content
    child = forked_until_told()
    for hold in ("value", "view", "content", "child"):
        gc.collect()
        with pytest.raises(RuntimeError, match=r"'x' is in use.*a process has its data"):
            space.unlink("x")
        match hold:
            case "value":
                del value
            case "view":
                del view
            case "content":
                content = None
            case "child":
                child()
    gc.collect()
    assert content is None
    assert len(data_files(space)) == 1
    space.unlink("x")
    assert data_files(space) == []
    with pytest.raises(KeyError, match="x"):
        space.unlink("x")
    assert space.Value("x", "d", 0.5).value == 0.5  # the name begins anew


def forked_until_told():
    """Forks a child that lives until the function that is returned is called."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)

    def end():
        os.close(writer)
        assert os.waitpid(pid, 0)[1] == 0

    return end


def test_unlink_while_it_is_locked(space, value):
    with value, pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    assert value.value == 5


def test_unlink_of_what_a_dead_program_had(space):
    with Program(
        "import interlock; v = interlock.Value('x', 'i', 3); v.acquire(); print('has', flush=True); input()"
    ) as other:
        other.line()
        with pytest.raises(RuntimeError, match="'x' is in use"):
            space.unlink("x")
        other.kill()
    space.unlink("x")
    assert data_files(space) == []


def test_closed_space(directory):
    space = interlock.Space("shm:other")
    value = space.Value("x", "i", 3)
    space.close()
    for call in (value.acquire, lambda: value.value, lambda: space.Value("x", "i"), lambda: space.Value(None, "i")):
        with pytest.raises(interlock.SpaceUnavailable, match="closed"):
            call()
    assert value.get_obj().value == 3  # the memory is still there
    assert interlock.Space("shm:other").Value("x", "i").value == 3


# --- trouble with the files ---


def test_the_file_is_deleted_by_a_stranger(space):
    """Whoever comes next is refused until somebody has said unlink(): a second object beside the first would be a lie."""
    value = space.Value("x", "q", 5)
    (file,) = data_files(space)
    os.unlink(Path(space.path).parent / file)
    says = r"the data of Value 'x' .*was deleted or damaged.*end the programs.*unlink\(\)"
    for _ in range(2):
        with pytest.raises(interlock.SpaceUnavailable, match=says) as raised:
            space.Value("x", "q")
    assert raised.value.name == "x"
    assert value.add() == 6  # who has it keeps it
    assert [info.name for info in space.objects()] == ["x"]
    del value
    gc.collect()
    space.unlink("x")
    assert space.Value("x", "q").value == 0


@pytest.mark.parametrize("damage", ["truncated", "another object's", "no header"])
def test_the_file_is_damaged(space, damage):
    space.Value("x", "q", 5)
    (file,) = data_files(space)
    path = Path(space.path).parent / file
    if damage == "truncated":
        os.truncate(path, 70)
    elif damage == "no header":
        with open(path, "r+b") as broken:
            broken.write(bytes(8))
    else:
        space.Value("y", "q", 6)
        (other,) = set(data_files(space)) - {file}
        path.write_bytes((path.parent / other).read_bytes())
    with pytest.raises(interlock.SpaceUnavailable, match="was deleted or damaged"):
        space.Value("x", "q")
    space.unlink("x")
    assert space.Value("x", "q", 7).value == 7


def test_a_symbolic_link_in_place_of_the_file_is_not_followed(space, directory):
    space.Value("x", "q", 5)
    (file,) = data_files(space)
    os.rename(directory / file, directory / "elsewhere")
    os.symlink(directory / "elsewhere", directory / file)
    with pytest.raises(interlock.SpaceUnavailable):
        space.Value("x", "q")


def test_full_file_system(tiny, monkeypatch):
    """An exception, never a signal; and what there is can be used to its last byte."""
    monkeypatch.setenv("INTERLOCK_DIR", str(tiny))
    monkeypatch.setenv("INTERLOCK_SLOTS", "10")
    space, kept = interlock.Space("shm:default"), []

    def fill():
        while len(kept) < 100:
            kept.append(space.Value(f"v{len(kept)}", ctypes.c_char * 100_000))

    with pytest.raises(interlock.SpaceFull, match=r"100000 more bytes.*INTERLOCK_DIR") as raised:
        fill()
    assert raised.value.errno == errno.ENOSPC
    assert kept
    for array in kept:
        array.raw = b"x" * 100_000
    assert len(data_files(space)) == len(kept)
    assert f"v{len(kept)}" not in {info.name for info in space.objects()}  # what could not be made is not there
    del array
    kept.pop()
    space.unlink(f"v{len(kept)}")
    kept.append(space.Value("another", ctypes.c_char * 100_000))
    assert all(array[99_999] == b"x" for array in kept[:-1])


def test_the_memory_of_dead_programs_is_found_when_there_is_no_room(tiny, monkeypatch):
    monkeypatch.setenv("INTERLOCK_DIR", str(tiny))
    monkeypatch.setenv("INTERLOCK_SLOTS", "10")
    space = interlock.Space("shm:default")
    assert space.Value("first", "i").value == 0  # the sweep at a program's first object is behind us
    maker = (
        "import interlock, os; a = interlock.Array(None, 'b', 1_500_000); print('has', flush=True); input(); os._exit(1)"
    )
    with Program(maker) as program:
        program.line()
        with pytest.raises(interlock.SpaceFull):
            space.Array("big", "b", 1_500_000)
        program.kill()
    assert len(space.Array("big", "b", 1_500_000)) == 1_500_000


def test_limit_for_the_size_of_files(space):
    """Neither a signal nor half a file."""
    code = """
        import resource, signal, interlock
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        interlock.Value("small", "i", 3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            interlock.Array("x", "b", 100_001)
        except interlock.SpaceFull as error:
            print(error)
        print(interlock.Value("y", "i", 4).value)
    """
    with Program(code) as program:
        assert "100001 more bytes" in program.line()
        assert program.line() == "4"
        assert program.end()[0] == 0
    assert {info.name for info in space.objects()} == {"small", "y"}
    assert len(data_files(space)) == 2


def test_the_room_is_reserved(space):
    size = 1_000_000
    kept = space.Value("x", ctypes.c_char * size)
    (file,) = data_files(space)
    assert os.stat(Path(space.path).parent / file).st_blocks * 512 >= size
    assert len(kept) == size


# --- elsewhere ---


@pytest.mark.parametrize("name", ["x", None])
@pytest.mark.parametrize("lock", [True, False, "Lock", "RLock"])
def test_pickle(space, name, lock):
    given = getattr(space, lock)() if isinstance(lock, str) else lock
    for ctype in ("q", Point, Longer, Either, Bits, Big, Celsius):
        value = space.Value(name and f"{name} {ctype}", ctype, lock=given)
        copy = pickle.loads(pickle.dumps(value))
        assert type(copy._content) is type(value._content)
        ctypes.memset(ctypes.addressof(copy._content), 1, 2)
        assert bytes(value._content) == bytes(copy._content) != bytes(ctypes.sizeof(copy._content))
        if lock is False:
            assert not hasattr(copy, "get_lock")
        else:
            with copy.get_lock():
                assert Task(value.get_lock().acquire, blocking=False).result() is False
            assert type(copy.get_lock()) is type(value.get_lock()) or lock is True


def test_pickle_of_a_number_of_the_other_byte_order(space):
    for ctype in (BIG_INT, LITTLE_INT):
        value = space.Value(None, ctype, 3)
        copy = pickle.loads(pickle.dumps(value))
        copy.value += 1
        assert value.value == 4


def test_pickle_of_what_is_gone(space):
    data = pickle.dumps(space.Value("x", "i", 3))
    gc.collect()
    assert pickle.loads(data).value == 3
    gc.collect()
    space.unlink("x")
    with pytest.raises(interlock.SpaceUnavailable, match=r"Value 'x' .*is gone: it was unlinked, or its maker has ended"):
        pickle.loads(data)
    assert space.objects() == []  # an empty one is not made in its place


def test_works_in_a_forked_child(space, value):
    anonymous = space.Value(None, Point, 1)

    def child():
        anonymous.x += 1
        with value:
            return value.add(1), value.owner.pid == os.getpid(), anonymous.x

    assert in_child(child) == "(6, True, 2)"
    assert (value.value, anonymous.x) == (6, 2)
    with value:
        assert in_child(lambda: value.acquire(blocking=False)) == "False"
        assert in_child(value.release) == "NotOwner"
        assert value.locked()


def test_repr(space, value):
    assert repr(value) == "<interlock.Value 'x': c_longlong(5)>".replace("c_longlong", type(value.get_obj()).__name__)
    assert repr(space.Value("x", "q", lock=False)).endswith("'x': " + repr(value.get_obj()) + ">")
    assert repr(space.Value("y", "q", 5, lock=space.Lock("l"))).endswith("'y': " + repr(value.get_obj()) + ">")
    with held_elsewhere(value):
        assert "'x'" in repr(value)  # it does not wait


def test_subclass(space):
    class Counter(interlock.Value):
        def up(self):
            return self.add(1)

    assert Counter("y", "i", 3, space=space).up() == 4


def test_all_who_use_it_use_it_under_the_same_lock(space):
    """Two locks would exclude nobody, and updates be lost."""
    value = space.Value("x", "q")
    with pytest.raises(interlock.ParameterMismatch, match="in use with another type or lock"):
        space.Value("x", "q", lock=space.RLock("l"))
    under = space.Value("y", "q", lock=space.RLock("l"))
    assert space.Value("y", "q", lock=space.RLock("l")).get_lock().name == under.get_lock().name == "l"
    for other in (True, space.RLock("m")):
        with pytest.raises(interlock.ParameterMismatch):
            space.Value("y", "q", lock=other)
    assert value.value == under.value == 0


@pytest.mark.parametrize(
    ("code", "look"),
    [
        ("Value('x', 'q')", lambda value: value.value),
        ("Value('x', 'q')", lambda value: setattr(value, "value", 7)),
        ("Value('x', Point)", lambda value: value.x),
        ("Value('x', Point)", lambda value: setattr(value, "x", 7)),
        ("Array('x', 'q', 3)", lambda array: array[1:]),
    ],
)
def test_a_look_does_not_hide_a_death(space, code, look):
    """Who only reads has not repaired anything: the next one to take the lock is told."""
    program = f"""
        import interlock, os, signal
        from tests.unit.test_value import Point
        interlock.{code}.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    thing = eval(f"space.{code}", {"space": space, "Point": Point})
    with Program(program, cwd=Path(__file__).parents[2]) as holder:
        holder.end()
    look(thing)
    with thing:
        assert thing.recovered.pid == holder.pid
    with thing:
        assert thing.recovered is None
