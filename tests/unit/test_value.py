"""Value within one process: what it holds, arguments, what can be asked, elsewhere."""

from __future__ import annotations

import ctypes
import gc
import operator
import os
import pickle
from pathlib import Path

import pytest

import interlock
from tests.ctypes_types import BIG_INT, INTEGERS, LITTLE_INT, TYPECODES, Big, Bits, Celsius, Either, Longer, Point, Pointing
from tests.support import Program, Task, data_files, held_elsewhere, in_child

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


@pytest.mark.parametrize("ctype", [BIG_INT, LITTLE_INT])
def test_byte_order_of_a_number(space, ctype):
    first, second = space.Value("x", ctype, 1), space.Value("x", ctype)
    first.value += 1
    assert second.value == second.get_obj().value == 2
    assert bytes(first.get_obj()) == (2).to_bytes(4, "big" if ctype is BIG_INT else "little")


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
        (("x", None), TypeError, "missing"),
        (("x", ctypes.c_int(3)), TypeError, "neither"),
        (("x", b"i"), TypeError, "neither"),
        (("i",), TypeError, r"the name comes first, None for an anonymous one: write interlock.Value\('name', 'i'\)"),
        (("i", 0), TypeError, r"write interlock.Value\('name', 'i', 0\)"),  # multiprocessing's order
        ((ctypes.c_int, 0), TypeError, r"write interlock.Value\('name', ctypes.c_int, 0\)"),
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
        (("x",), TypeError, r"typecode_or_type is missing .*: write interlock.Value\('x', 'q'\)"),
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
            interlock.ParameterMismatch,
            match=r"Value 'x' is in use with another type or lock; open it with the same.*asked for: \w+, \d+ bytes?\)",
        ) as raised:
            space.Value("x", other)
    assert isinstance(raised.value, ValueError)
    assert raised.value.name == "x"
    assert value.value == 5


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


@pytest.mark.parametrize("convert", [int, float, complex, operator.index])
def test_it_is_no_number(space, convert):
    """Python reads numbers from the bytes of what has a buffer, as text."""
    for value in (space.Value("x", "q", ord("7")), space.Value("y", "q", lock=False)):
        with pytest.raises(TypeError, match=r"an interlock\.\w*Value is not a number: take its \.value"):
            convert(value)
    with pytest.raises(TypeError, match=r"an interlock\.Array is not a number: take an item of it"):
        convert(space.Array("z", "c", b"7"))


def test_subclass(space):
    class Counter(interlock.Value):
        def up(self):
            return self.add(1)

    assert Counter("y", "i", 3, space=space).up() == 4


def test_all_who_use_it_use_it_under_the_same_lock(space):
    """Two locks would exclude nobody, and updates be lost."""
    value = space.Value("x", "q")
    says = r"in use with another type or lock.*asked for: c_long\w*, 8 bytes under the lock 'l'"
    with pytest.raises(interlock.ParameterMismatch, match=says):
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
        from tests.ctypes_types import Point
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
