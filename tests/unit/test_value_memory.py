"""Value's memory: how long it lives, and trouble with the files."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import pickle
from pathlib import Path

import pytest

import interlock
from tests.ctypes_types import Point
from tests.support import Program, data_files

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
