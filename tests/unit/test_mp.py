"""interlock.mp where it goes beyond what multiprocessing's own tests ask (tests/conformance)."""

from __future__ import annotations

import ctypes
import pickle

import pytest

import interlock
from interlock import mp
from interlock.value import new_value
from tests.ctypes_types import Taken, structure
from tests.support import Program, held_elsewhere, sleeping


def made(space, of, *args, lock=True):
    """mp.Value, which uses the default space, in another one."""
    return mp._made(new_value(interlock.Value, None, of, args, lock, space, fields_first=True))


@pytest.mark.parametrize("lock", [True, False, "RLock"])
def test_fields_called_like_what_only_interlock_has(space, lock):
    """Code written for multiprocessing knows nothing of these attributes, and a Value of its structures works as ever."""
    if lock == "RLock":
        lock = space.RLock()
    value = made(space, Taken, 1, 2, 3, 4, 5, lock=lock)
    assert (value.name, value.space, value.owner, value.hold, value.on_recover) == (1, 2, 3, 4, 5)
    value.name = value.space = 7
    copy = pickle.loads(pickle.dumps(value))
    assert (copy.name, copy.space, copy.owner) == (7, 7, 3)
    copy.owner = 8
    assert value.owner == 8
    assert "Taken" in repr(value)
    if lock is not False:
        with held_elsewhere(value.get_lock()):
            assert not value.acquire(timeout=0.01)
            task = sleeping(lambda: value.name)
        assert task.result() == 7


def test_such_a_value_as_the_lock_of_another(space):
    lock = made(space, Taken, 1, 2, 3, 4, 5)
    value = made(space, "i", 3, lock=lock)
    with held_elsewhere(lock):
        assert sleeping(lambda: value.value)
    assert pickle.loads(pickle.dumps(value)).value == 3


@pytest.mark.parametrize("field", ["acquire", "release", "get_lock", "get_obj", "_content", "__enter__"])
def test_fields_called_like_what_it_needs(space, field):
    with pytest.raises(TypeError, match=f"every Value has a '{field}': give that field of Structure another name"):
        made(space, structure((field, ctypes.c_int)))


def test_in_the_default_space(directory):
    program = """
        import ctypes, interlock
        class Named(ctypes.Structure):
            _fields_ = [("name", ctypes.c_int)]
        print(interlock.mp.Value(Named, 5).name, interlock.mp.RawValue(Named, 6).name)
    """
    with Program(program) as program:
        assert program.line() == "5 6"


def test_the_rules_of_interlock_stay(space):
    with pytest.raises(TypeError, match="every Value has a 'name'"):
        space.Value(None, Taken)
