"""Types of every sort for the tests of Value and Array, to be found by their names in other programs."""

from __future__ import annotations

import ctypes

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


class Taken(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int) for name in ("name", "space", "owner", "hold", "on_recover"))


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
