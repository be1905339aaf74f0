"""Names: what is one, and that one name is one object of one kind."""

from __future__ import annotations

import gc

import pytest

import interlock

KINDS = [interlock.Lock, interlock.RLock]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("", ValueError, "empty"),
        ("x" * 256, ValueError, "255 bytes"),
        ("ä" * 128, ValueError, "256"),
        ("a\0b", ValueError, "NUL"),
        ("\ud800", ValueError, "surrogates"),
        (5, TypeError, r"not int: write R?Lock\(\"5\"\)"),
        (b"orders", TypeError, "bytes"),
        (1.5, TypeError, "float"),
    ],
)
def test_bad_name(kind, name, error, says, space):
    with pytest.raises(error, match=says):
        kind(name, space=space)


@pytest.mark.parametrize("name", ["x", "x" * 255, "ä" * 127, "a/b c\n\t%", "注文", "anonymous-", "."])
def test_good_name(name, space):
    lock = interlock.Lock(name, space=space)
    with lock:
        assert not interlock.Lock(name, space=space).acquire(blocking=False)
    assert lock.name == name


def test_names_that_differ_late_are_different(space):
    locks = [interlock.Lock("n" * 254 + last, space=space) for last in "abc"]
    for lock in locks:
        assert lock.acquire(blocking=False)
    for lock in locks:
        lock.release()


def test_anonymous_locks_are_different(space):
    first, second = interlock.Lock(space=space), interlock.Lock(None, space=space)
    assert first.name != second.name
    with first:
        assert second.acquire(blocking=False)
    second.release()


def test_two_handles_are_one_lock(space):
    first, second = (interlock.Lock("x", space=space) for _ in range(2))
    with first:
        assert second.locked()
        assert not second.acquire(timeout=0.01)
    assert second.acquire(timeout=0.01)
    first.release()


def test_spaces_share_nothing(directory):
    with interlock.Space("shm:one").Lock("x"):
        assert interlock.Space("shm:two").Lock("x").acquire(blocking=False)


def test_other_kind_of_name_in_use(space):
    lock = interlock.Lock("x", space=space)
    with pytest.raises(interlock.KindMismatch, match=r"'x' is in use as a Lock") as raised:
        interlock.RLock("x", space=space)
    assert isinstance(raised.value, TypeError)
    assert (raised.value.name, raised.value.in_use_as) == ("x", "Lock")
    with lock, pytest.raises(interlock.KindMismatch):
        interlock.RLock("x", space=space)


def test_kind_can_change_after_unlink_and_old_handles_are_told(space):
    old = interlock.Lock("x", space=space)
    space.unlink("x")
    with interlock.RLock("x", space=space), pytest.raises(interlock.KindMismatch):
        old.acquire(blocking=False)


def test_unlink(space):
    lock = interlock.Lock("x", space=space)
    with lock, pytest.raises(RuntimeError, match="held or waited for"):
        space.unlink("x")
    space.unlink("x")
    with pytest.raises(KeyError):
        space.unlink("x")
    with lock:  # the handle looks its name up again
        assert [info.name for info in space.objects()] == ["x"]


def test_anonymous_objects_say_so(space):
    kept = [space.Lock("x"), space.Event(), space.Event("anonymous-y"), space.Value(None, "i")]
    kept[1].set()
    for handle in (kept[0], kept[3]):
        handle.acquire()
    infos = {info.name: info.anonymous for info in space.objects()}
    assert infos == {handle.name: handle in (kept[1], kept[3]) for handle in kept}


def test_forgotten_names_come_back(space):
    """More names than the table keeps: old handles still are the lock of their name, and fences never fall."""
    first = interlock.Lock("first", space=space)
    with first:
        fence = first.fence
    for number in range(60_000):
        with interlock.Lock(f"name-{number}", space=space):
            pass
    assert len(space.objects()) < 50_000
    again = interlock.Lock("first", space=space)
    with first:
        assert again.locked()
        assert not again.acquire(blocking=False)
        assert first.fence == again.fence > fence


def test_held_locks_are_never_forgotten(space):
    held = [interlock.Lock(f"held-{number}", space=space) for number in range(3000)]
    for lock in held:
        assert lock.acquire(blocking=False)
    for number in range(60_000):
        interlock.Lock(f"name-{number}", space=space)
    for lock in held:
        assert not interlock.Lock(lock.name, space=space).acquire(blocking=False)
        lock.release()


def test_a_hundred_thousand_held_at_once(space):
    """Past its soft limit the table grows for locks that are held."""
    held = [interlock.Lock(f"held-{number}", space=space) for number in range(100_000)]
    for lock in held:
        assert lock.acquire(blocking=False)
    assert sum(info.held for info in space.objects()) == 100_000
    for lock in held:
        lock.release()
    del held
    gc.collect()
