"""Values of structures and unions, and which types are the same."""

from __future__ import annotations

import ctypes

import pytest

import interlock
from tests.ctypes_types import (
    BIG_INT,
    LITTLE_INT,
    Big,
    Bits,
    Either,
    Empty,
    Little,
    Longer,
    Packed,
    Point,
    WithValue,
    structure,
)


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


def test_a_field_called_value(space):
    first, second = space.Value("x", WithValue, 1, 2), space.Value("x", WithValue)
    first.value += 10
    assert (second.value, second.other) == (11, 2)


@pytest.mark.parametrize("field", ["name", "owner", "add", "acquire", "get_obj", "_content", "_class"])
def test_a_field_with_a_name_that_is_taken(space, field):
    taken = structure(("free", ctypes.c_int), (field, ctypes.c_int))
    says = f"every Value has a '{field}': give that field of Structure another name, or .*v.content.{field}"
    with pytest.raises(TypeError, match=says):
        space.Value("x", taken)
    assert space.objects() == []
    value = space.Value("x", structure(("content", taken)), (1, 2))
    with value:
        assert (value.content.free, getattr(value.content, field)) == (1, 2)


def test_empty_structure(space):
    assert ctypes.sizeof(space.Value("x", Empty).get_obj()) == 0


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
