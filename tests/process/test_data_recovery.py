"""on_recover of Value and Array: repairs after a death, before anything else is done under the lock."""

from __future__ import annotations

import gc
import pickle
import weakref

import pytest

from tests.support import Program


@pytest.mark.parametrize("use", ["with", "look", "write", "hold"])
@pytest.mark.parametrize("make", ["Value('x', 'q')", "Array('x', 'q', 3)"])
def test_on_recover(space, make, use):
    """It is called once, with the lock held, before anything is done with the content of somebody who died over it."""
    program = f"""
        import interlock, os, signal
        interlock.{make}.acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    told = []

    def repair(owner):
        told.append((owner.pid, thing.locked(), thing.recovered.pid))
        memoryview(thing).cast("B")[0] = 9

    thing = eval(f"space.{make[:-1]}, on_recover=repair)", {"space": space, "repair": repair})
    assert thing.on_recover is repair
    with Program(program) as holder:
        holder.end()
    match use, make[0]:
        case "with", _:
            with thing:
                assert thing.get_obj() is not None
        case "hold", _:
            with thing.hold(timeout=1):
                pass
        case "look", "V":
            assert thing.value == 9
        case "look", _:
            assert thing[0] == 9
        case "write", "V":
            thing.value = 9
        case "write", _:
            thing[1:] = [9, 9]
    with thing:
        assert thing.recovered is None
    assert told == [(holder.pid, True, holder.pid)]


def test_on_recover_that_raises_leaves_the_mark(space):
    def fail(owner):
        raise ArithmeticError(owner.pid)

    value = space.Value("x", "q", 5, on_recover=fail)
    with Program("import interlock, os; interlock.Value('x', 'q').acquire(); os._exit(1)") as holder:
        holder.end()
    for use in (value.acquire, lambda: value.value, lambda: setattr(value, "value", 6)):
        with pytest.raises(ArithmeticError, match=str(holder.pid)):
            use()
        assert not value.locked()
    with space.Value("x", "q") as _, pytest.raises(AssertionError):
        raise AssertionError(value.recovered.pid)
    assert value.value == 5


def report(owner):
    """Something that pickles."""


def test_on_recover_travels(space):
    for thing in (space.Value("x", "q", on_recover=report), space.Array("y", "q", 3, on_recover=report)):
        assert pickle.loads(pickle.dumps(thing)).on_recover is report
    assert space.Value("x", "q").on_recover is None


def test_on_recover_that_knows_its_value_is_collected(space):
    def make():
        value = space.Value("x", "q", on_recover=lambda owner: value.add())
        return weakref.ref(value)

    gone = make()
    gc.collect()
    assert gone() is None


def test_on_recover_of_no_lock_of_its_own(space):
    for make in (
        lambda **options: space.Value("x", "q", on_recover=report, **options),
        lambda **options: space.Array("x", "q", 3, on_recover=report, **options),
    ):
        with pytest.raises(TypeError, match="there is none"):
            make(lock=False)
        with pytest.raises(TypeError, match="give it to the lock"):
            make(lock=space.RLock("l"))
    with pytest.raises(TypeError, match="on_recover must be callable, not int"):
        space.Value("x", "q", on_recover=3)
