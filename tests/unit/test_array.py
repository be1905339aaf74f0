"""Array within one process. What it shares with Value is tested there: the lock, how long it lives, trouble with files."""

from __future__ import annotations

import ctypes
import gc
import io
import pickle
import sys

import numpy
import pytest

import interlock
from tests.ctypes_types import BIG_INT, TYPECODES, Big, Either, Point, Pointing, Segment
from tests.support import Task, data_files, fail, held_elsewhere, in_child, sleeping

LENGTH = 4


@pytest.fixture
def array(space):
    return space.Array("x", "i", [10, 20, 30, 40, 50])


# --- what it holds ---


@pytest.mark.parametrize("code", TYPECODES)
def test_every_typecode(space, code):
    ctype, zero, something = TYPECODES[code]
    first, second = space.Array("x", code, LENGTH), space.Array("x", ctype, LENGTH)
    assert list(first) == [zero] * LENGTH
    first[1] = something
    assert list(second) == [zero, something, zero, zero]
    assert second.get_obj()[1] == something
    first[:] = [something] * LENGTH if code not in "cu" else something * LENGTH
    assert list(second) == [something] * LENGTH
    assert type(first.get_obj()) is ctype * LENGTH


@pytest.mark.parametrize("code", TYPECODES)
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_every_typecode_with_a_first_content(space, code, kind):
    _, zero, something = TYPECODES[code]
    array = space.Array("x", code, kind([something, zero, something]))
    assert list(array) == [something, zero, something]
    assert list(space.Array("x", code, 3)) == list(space.Array("x", code, [zero] * 3)) == list(array)


@pytest.mark.parametrize(
    ("of", "first", "content"),
    [
        ("d", range(3), [0.0, 1.0, 2.0]),
        ("q", {5: 6}, [5]),
        ("i", (number * number for number in range(3)), [0, 1, 4]),
        ("c", b"abc", [b"a", b"b", b"c"]),
        ("c", bytearray(b"ab"), [b"a", b"b"]),
        ("u", "hé", ["h", "é"]),
        ("B", b"ab", [97, 98]),
        ("B", bytearray(b"ab"), [97, 98]),
        ("h", numpy.arange(3, dtype="h").tolist(), [0, 1, 2]),
        ("i", [], []),
        ("i", (), []),
        ("i", 0, []),
        ("i", True, [0]),
    ],
)
def test_initializers(space, of, first, content):
    array = space.Array("x", of, first)
    assert list(array) == content
    assert len(array) == len(content)


def test_items(space, array):
    other = space.Array("x", "i", 5)
    assert len(array) == len(other) == 5
    assert (other[0], other[-1], other[4]) == (10, 50, 50)
    other[-2] = 41
    assert array[3] == 41
    assert 41 in array
    assert 7 not in array
    assert list(reversed(array)) == [50, 41, 30, 20, 10]
    assert sorted(array) == [10, 20, 30, 41, 50]
    array[2] += 1
    assert other[2] == 31
    array[0] = 2**32 + 3  # cut to fit, as in ctypes
    assert array[0] == 3


def test_slices(space, array):
    other = space.Array("x", "i", 5)
    assert array[:] == [10, 20, 30, 40, 50]
    assert array[1:3] == [20, 30]
    assert array[::-2] == [50, 30, 10]
    assert array[3:1] == array[9:] == []
    other[1:3] = [21, 31]
    other[::4] = (11, 51)
    assert array[:] == [11, 21, 31, 40, 51]
    assert space.Array("c", "c", b"hello")[1:3] == b"el"
    assert space.Array("u", "u", "hello")[::2] == "hlo"


@pytest.mark.parametrize(
    ("key", "given", "error"),
    [
        (5, 1, IndexError),
        (-6, 1, IndexError),
        (10**30, 1, IndexError),
        ("0", 1, TypeError),
        (0.0, 1, TypeError),
        (None, 1, TypeError),
        ((0, 1), 1, TypeError),
        (0, "1", TypeError),
        (0, None, TypeError),
        (0, 1.5, TypeError),
        (slice(0, 2), [1], ValueError),
        (slice(0, 2), [1, 2, 3], ValueError),
        (slice(0, 2), 1, ValueError),
    ],
)
def test_bad_items_change_nothing(array, key, given, error):
    before = array[:]
    with pytest.raises(error):
        array[key] = given
    if not isinstance(key, slice) and key != 0:
        with pytest.raises(error):
            array[key]
    assert array[:] == before
    assert not array.locked()


def test_items_are_not_deleted(array):
    for key in (0, slice(0, 2)):
        with pytest.raises(TypeError, match="cannot be deleted"):
            del array[key]
    assert len(array) == 5


def test_characters(space):
    first, second = space.Array("x", "c", b"hello"), space.Array("x", ctypes.c_char, 5)
    assert second.value == second.raw == b"hello"
    first.value = b"ab"
    assert second.value == b"ab"
    assert second.raw == b"ab\0lo"
    first.raw = b"12345"
    assert second[:] == b"12345"
    with pytest.raises(ValueError, match="too long"):
        first.value = b"123456"
    with pytest.raises(ValueError, match=r"size|long"):
        first.raw = b"123456"
    with pytest.raises(TypeError):
        first.value = "str"
    assert second.raw == b"12345"
    wide, other = space.Array("wide", "u", 4), space.Array("wide", "u", 4)
    wide.value = "hé"
    assert other.value == "hé"
    with pytest.raises(ValueError, match="too long"):
        wide.value = "too long"
    for numbers in (space.Array("y", "i", 3), space.Array("z", "B", 3)):
        assert not hasattr(numbers, "value")
        assert not hasattr(numbers, "raw")


def test_arrays_of_structures(space):
    first, second = space.Array("x", Point, [(1, 2), (3, 4)]), space.Array("x", Point, 2)
    assert (second[1].x, second[1].y) == (3, 4.0)
    second[0].x = 9  # an item is not a copy
    assert first[0].x == 9
    first[1] = Point(7, 8)
    assert second[1].y == 8.0
    for item in first[:]:
        item.y = 0
    assert [item.y for item in second] == [0, 0]
    assert space.Array("nested", Segment, 3)[2].end.x == 0
    union = space.Array("union", Either, 2)
    union[1].octets[3] = 1
    assert space.Array("union", Either, 2)[1].number != 0


def test_arrays_of_arrays(space):
    first, second = space.Array("x", ctypes.c_int * 2, [(1, 2), (3, 4), (5, 6)]), space.Array("x", ctypes.c_int * 2, 3)
    assert [list(row) for row in second] == [[1, 2], [3, 4], [5, 6]]
    second[1][0] = 30
    assert first[1][:] == [30, 4]
    first[0] = (ctypes.c_int * 2)(8, 9)
    assert second[0][1] == 9
    deep = space.Array("deep", ctypes.c_char * 5 * 2, 3)
    deep[2][1].value = b"abc"
    assert space.Array("deep", ctypes.c_char * 5 * 2, 3)[2][1].value == b"abc"
    assert len(memoryview(deep).cast("B")) == 30


@pytest.mark.parametrize("of", [BIG_INT, Big])
def test_byte_order(space, of):
    array = space.Array("x", of, 2)
    if of is Big:
        array[1].number = 1
    else:
        array[1] = 1
    assert bytes(array.get_obj())[ctypes.sizeof(of) :][:4] == b"\0\0\0\1"


def test_long_doubles_and_bools(space):
    assert space.Array("x", ctypes.c_longdouble, [0.5, 1.5])[:] == [0.5, 1.5]
    assert space.Array("y", "?", [0, 2, ""])[:] == [False, True, False]


# --- the memory itself ---


def test_memoryview(space, array):
    view = memoryview(array)
    assert (view.shape, view.itemsize, view.nbytes, view.readonly, view.contiguous) == ((5,), 4, 20, False, True)
    view.cast("B").cast("i")[4] = 77
    assert space.Array("x", "i", 5)[4] == 77
    array[0] = -1
    assert bytes(view)[:4] == b"\xff" * 4
    table = memoryview(space.Array("table", ctypes.c_short * 2, 3))
    assert (table.shape, table.itemsize) == ((3, 2), 2)


def test_numpy_shares_the_memory(space):
    array, other = space.Array("x", "d", 6), space.Array("x", "d", 6)
    grid = numpy.frombuffer(array).reshape(2, 3)
    assert grid.dtype == numpy.float64
    grid[:] = [[0, 1, 2], [3, 4, 5]]
    grid += 0.5
    assert other[:] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    other[5] = -1.0
    assert grid[1, 2] == -1.0
    assert grid.__array_interface__["data"] == (ctypes.addressof(array.get_obj()), False)
    assert numpy.shares_memory(grid, numpy.asarray(array.get_obj()))


@pytest.mark.parametrize("code", [code for code in TYPECODES if code not in "cu"])
def test_numpy_reads_every_typecode(space, code):
    ctype, zero, something = TYPECODES[code]
    array = space.Array("x", code, [something, zero], lock=False)
    for seen in (numpy.asarray(memoryview(array)), numpy.frombuffer(array, numpy.dtype(ctype))):
        assert seen.tolist() == [something, zero]
        seen[1] = something
        assert array[1] == something
        array[1] = zero


def test_numpy_outlives_the_handle(space):
    array = space.Array(None, "q", 1000)
    numbers = numpy.frombuffer(array, "q")
    del array
    gc.collect()
    numbers[:] = range(1000)
    assert numbers.sum() == 499500
    assert len(data_files(space)) == 1
    del numbers
    gc.collect()
    assert data_files(space) == []


def test_whoever_takes_a_buffer_gets_the_memory(space):
    array = space.Array("x", "B", 5)
    assert io.BytesIO(b"hello").readinto(array) == 5
    assert bytes(array) == bytes(space.Array("x", "B", 5)) == b"hello"
    assert bytearray(array) == b"hello"
    assert ctypes.c_uint16.from_buffer(array, 1).value == int.from_bytes(b"el", sys.byteorder)


def test_no_items(space):
    for name in ("x", None):
        array = space.Array(name, "d", 0)
        assert (len(array), array[:], list(array), memoryview(array).nbytes) == (0, [], [], 0)
        with pytest.raises(IndexError):
            array[0]
        with array:
            assert pickle.loads(pickle.dumps(array))[:] == []
    with pytest.raises(interlock.ParameterMismatch):
        space.Array("x", "d", 1)


def test_many_items(space):
    array = space.Array(None, "q", 1_000_000)
    array[999_999] = -1
    numbers = numpy.frombuffer(array, "q")
    assert numbers.sum() == -1
    numbers[:] = numpy.arange(1_000_000)
    assert array[123_456] == 123_456


# --- the lock ---


def test_items_and_slices_wait_for_the_lock(array):
    def put(key, given):
        array[key] = given

    for access in (
        lambda: array[0],
        lambda: array[1:3],
        lambda: put(0, 1),
        lambda: put(slice(1, 3), (2, 3)),
        lambda: list(array),
    ):
        with held_elsewhere(array):
            task = sleeping(access)
            assert len(array) == 5  # that one does not change
        task.result()
    assert array[:] == [1, 2, 3, 40, 50]


def test_characters_wait_for_the_lock(space):
    array = space.Array("y", "c", b"abc")
    for access in (lambda: array.value, lambda: array.raw, lambda: setattr(array, "value", b"x")):
        with held_elsewhere(array):
            task = sleeping(access)
        task.result()
    assert array.raw == b"x\0c"


def test_the_lock_is_re_entrant(space, array):
    assert array.get_lock() is array
    with array as taken, array.get_lock():
        assert taken is True
        array[:] = [number + 1 for number in array]
        assert Task(space.Array("x", "i", 5).acquire, blocking=False).result() is False
    assert array[:] == [11, 21, 31, 41, 51]
    assert array.owner is None
    with pytest.raises(ArithmeticError), array.hold(timeout=1):
        fail()
    before = array.fence
    with array:
        assert array.fence > before
        assert array.recovered is None
        assert array.statistics().recoveries == 0


def test_without_a_lock(space, array):
    raw = space.Array("x", "i", 5, lock=False)
    for missing in ("get_lock", "get_obj", "acquire", "__enter__"):
        assert not hasattr(raw, missing)
    with held_elsewhere(array):
        raw[1:3] = [raw[0], raw[4]]
    assert array[:] == [10, 10, 50, 40, 50]
    characters = space.Array("c", "c", 3, lock=False)
    characters.value = b"ab"
    assert characters.raw == b"ab\0"


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_under_a_given_lock(space, kind):
    lock = getattr(space, kind)("l")
    array = interlock.Array("x", "i", [1, 2], lock=lock)
    assert array.get_lock() is lock
    assert array.space is space
    with array:
        assert lock.locked()
        array.get_obj()[0] = 5
        task = sleeping(lambda: array[:])
    assert task.result() == [5, 2]
    assert not lock.locked()


def test_increments_by_many_threads_are_exact(space):
    def count():
        array = space.Array("x", "i", 2)
        for _ in range(500):
            with array:
                array[0] += 1
                array[1] -= 1

    for task in [Task(count) for _ in range(4)]:
        task.result()
    assert space.Array("x", "i", 2)[:] == [2000, -2000]


# --- arguments ---


@pytest.mark.parametrize(
    ("args", "error", "says"),
    [
        (("x", "i", -1), ValueError, "-1 items"),
        (("x", "i", -(10**30)), ValueError, "items"),
        (("x", "i", 1.5), TypeError, None),
        (("x", "i", None), TypeError, None),
        (("x", "i", "12"), TypeError, None),
        (("x", "i", [1, "2"]), TypeError, None),
        (("x", "i", [1.5]), TypeError, None),
        (("x", "c", [b"ab"]), TypeError, None),
        (("x", ctypes.c_char * 3, [b"abcd"]), TypeError, None),
        (("x", Point, [(1, 2, 3)]), RuntimeError, "too many"),  # as ctypes has it
        (("x", ctypes.c_int * 2, [(1, 2, 3)]), (IndexError, TypeError, RuntimeError), None),
        (("x", "i", 2**64), OverflowError, None),
        (("x", "i", 10**30), OverflowError, None),
        (("x", "ii", 1), TypeError, "no such typecode"),
        (("x", int, 1), TypeError, "neither a typecode nor a ctypes type"),
        (("x", ctypes.c_void_p, 1), TypeError, "is an address"),
        (("x", Pointing, 1), TypeError, "is an address"),
        (("x", ctypes.POINTER(Point) * 2, 1), TypeError, "is an address"),
        ((3, "i", 1), TypeError, "name"),
        (("", "i", 1), ValueError, "empty"),
        (("i", 10), TypeError, r"write interlock.Array\('name', 'i', 10\)"),  # multiprocessing's order
        (("i", [10]), TypeError, r"write interlock.Array\('name', 'i', \[10\]\)"),
        ((ctypes.c_int, 10), TypeError, r"write interlock.Array\('name', ctypes.c_int, 10\)"),
        (("x",), TypeError, r"typecode_or_type is missing .*: write interlock.Array\('x', 'd', 100\)"),
        (("x", "i"), TypeError, r"size_or_initializer is missing .*: write interlock.Array\('x', 'i', 100\)"),
        (("x", "i", 1, True), TypeError, None),
    ],
)
def test_bad_constructor_arguments_make_nothing(space, args, error, says):
    with pytest.raises(error, match=says):
        interlock.Array(*args, space=space)
    assert space.objects() == []
    assert data_files(space) == []


@pytest.mark.parametrize("size", [2**40, 2**56, 2**62, 2**63 - 1])
def test_more_than_there_can_be(space, size):
    with pytest.raises(interlock.SpaceFull, match=rf"needs {size} more bytes.*INTERLOCK_DIR") as raised:
        space.Array("x", "b", size)
    assert raised.value.errno != 0
    assert space.objects() == []
    assert data_files(space) == []
    assert space.Array("x", "b", 10)[9] == 0


def test_another_type_or_size_is_refused(space, array):
    for of, size in (
        ("i", 4),
        ("i", 6),
        ("I", 5),
        ("f", 5),
        ("i", [1]),
        (ctypes.c_int * 5, 1),
        (ctypes.c_int * 1, 5),
        (BIG_INT, 5),
    ):
        with pytest.raises(
            interlock.ParameterMismatch, match=r"Array 'x' is in use with another type, size or lock; open it with the"
        ):
            space.Array("x", of, size)
    with pytest.raises(interlock.ParameterMismatch, match=r"asked for: c_double \* 7, 56 bytes\)$"):
        space.Array("x", "d", 7)
    assert array[:] == [10, 20, 30, 40, 50]


@pytest.mark.parametrize("other", ["Lock", "RLock", "RWLock", "Semaphore", "BoundedSemaphore", "Event", "Condition"])
def test_another_kind_is_refused(space, array, other):
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as an? Array; use another name.*unlink"):
        getattr(space, other)("x")
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as an? Array"):
        space.Value("x", "i")
    kept = getattr(space, other)("y")
    with pytest.raises(interlock.KindMismatch, match=rf"'y' is in use as an? {other}"):
        space.Array("y", "i", 1)
    assert (kept.name, len(array)) == ("y", 5)


# --- elsewhere ---


@pytest.mark.parametrize("name", ["x", None])
@pytest.mark.parametrize("lock", [True, False, "Lock", "RLock"])
def test_pickle(space, name, lock):
    given = getattr(space, lock)() if isinstance(lock, str) else lock
    for of in ("q", "c", "u", "?", Point, Segment, Big, ctypes.c_int * 2, ctypes.c_char * 3 * 2, Point * 2):
        array = space.Array(name and f"{name} {of}", of, 3, lock=given)
        copy = pickle.loads(pickle.dumps(array))
        assert type(copy._content) is type(array._content)
        ctypes.memset(ctypes.addressof(copy._content), 1, 2)
        assert bytes(memoryview(array).cast("B")) == bytes(memoryview(copy).cast("B"))
        if lock is False:
            assert not hasattr(copy, "get_lock")
        else:
            with copy.get_lock():
                assert Task(array.get_lock().acquire, blocking=False).result() is False


def test_pickle_of_what_is_gone(space):
    data = pickle.dumps(space.Array("x", "i", 3))
    gc.collect()
    space.unlink("x")
    with pytest.raises(interlock.SpaceUnavailable, match=r"Array 'x' .*is gone"):
        pickle.loads(data)
    assert space.objects() == []


def test_works_in_a_forked_child(space, array):
    anonymous = space.Array(None, "d", 2)

    def child():
        anonymous[1] = 2.5
        numpy.frombuffer(array, "i")[:] += 1
        with array:
            return array[:]

    assert in_child(child) == "[11, 21, 31, 41, 51]"
    assert anonymous[:] == [0.0, 2.5]
    assert array[0] == 11


def test_anonymous_ones_leave_nothing(space):
    kept = space.Array(None, "i", [1])
    before = data_files(space)
    for _ in range(20):
        for lock in (True, False):
            assert space.Array(None, "c", b"abc", lock=lock)[:] == b"abc"
    gc.collect()
    assert data_files(space) == before
    assert [info.name for info in space.objects()] == [kept.name]


def test_unlink(space):
    array = space.Array("x", "i", 5)
    numbers = numpy.frombuffer(array, "i")
    del array
    gc.collect()
    with pytest.raises(RuntimeError, match="'x' is in use"):
        space.unlink("x")
    assert numbers.sum() == 0
    del numbers
    gc.collect()
    space.unlink("x")
    assert data_files(space) == []
    assert space.Array("x", "d", 7)[:] == [0.0] * 7


def test_repr(space, array):
    assert repr(array).startswith("<interlock.Array 'x': ")
    assert "'x'" in repr(space.Array("x", "i", 5, lock=False))
    assert "'y'" in repr(space.Array("y", "i", 5, lock=space.Lock("l")))
    with held_elsewhere(array):
        assert "'x'" in repr(array)  # it does not wait
