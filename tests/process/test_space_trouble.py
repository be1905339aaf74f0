"""Spaces that are missing, foreign, full, damaged or taken away: a clear error, and nothing overwritten or lost."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import interlock
from tests.support import HOLDER, Program, in_child

BOOT_ID = slice(96, 112)  # where the header has it (src/engine/il_layout.h)


def refusal(function=lambda: interlock.Space("shm:default")):
    with pytest.raises(interlock.SpaceError) as raised:
        function()
    assert isinstance(raised.value, OSError)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), str(copy), copy.path, copy.errno) == (
        type(raised.value),
        str(raised.value),
        raised.value.path,
        raised.value.errno,
    )
    return raised.value


def test_directory_missing(directory, monkeypatch):
    monkeypatch.setenv("INTERLOCK_DIR", str(directory / "none"))
    error = refusal()
    assert type(error) is interlock.SpaceUnavailable
    assert error.errno == errno.ENOENT
    assert "INTERLOCK_DIR" in str(error)


def test_directory_relative(directory, monkeypatch):
    monkeypatch.setenv("INTERLOCK_DIR", "spaces")
    assert "absolute" in str(refusal())


def test_directory_is_a_file(directory, monkeypatch):
    (directory / "file").write_bytes(b"")
    monkeypatch.setenv("INTERLOCK_DIR", str(directory / "file"))
    assert "not a directory" in str(refusal())


def test_directory_others_may_write(directory):
    directory.chmod(0o777)
    assert "other users" in str(refusal())
    directory.chmod(0o1777)
    interlock.Space("shm:default")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_directory_of_another_user_or_not_writable(directory, monkeypatch):
    def as_nobody(mode):
        directory.chmod(mode)
        os.setuid(65534)
        try:
            interlock.Space("shm:default")
        except interlock.SpaceUnavailable as error:
            return str(error)

    assert "no permission to write" in in_child(lambda: as_nobody(0o755))
    monkeypatch.setenv("INTERLOCK_DIR", str(directory / "theirs"))
    (directory / "theirs").mkdir()
    os.chown(directory / "theirs", 65534, 65534)
    os.setegid(65534)
    os.seteuid(65533)
    try:
        assert "belongs to another user" in str(refusal())
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_of_another_user(space, directory):
    os.chown(space.path, 65534, 65534)
    code = "import interlock; interlock.Space('shm:default')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "belongs to another user" in done.stderr


def run_default_space():
    """What a program of its own says on opening the default space."""
    code = "import interlock\ntry: interlock.Space('shm:default')\nexcept Exception as e: print(type(e).__name__, e)"
    return subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)


def test_mode_that_lets_others_in(space):
    os.chmod(space.path, 0o660)
    said = run_default_space()
    assert said.startswith("SpaceUnavailable")
    assert "0600" in said


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"INTERLK\0", b"\0" * 8192, os.urandom(1 << 16), b"INTERLK\0" + b"\xff" * 10000]
)
def test_garbage_in_its_place(directory, content):
    path = directory / f"interlock-{os.geteuid()}-default.ilk"
    path.write_bytes(content)
    path.chmod(0o600)
    error = refusal()
    assert type(error) is interlock.LayoutMismatch
    assert "left as it is" in str(error)
    assert str(path) in str(error)
    assert error.path == str(path)
    assert path.read_bytes() == content


def test_another_layout_version(directory):
    interlock.Space("shm:made")
    made = (directory / f"interlock-{os.geteuid()}-made.ilk").read_bytes()
    path = directory / f"interlock-{os.geteuid()}-default.ilk"
    path.write_bytes(made[:8] + (77).to_bytes(4, "little") + made[12:])
    path.chmod(0o600)
    before = path.read_bytes()
    error = refusal()
    assert type(error) is interlock.LayoutMismatch
    assert "version 77" in str(error)
    assert str(path) in str(error)
    assert path.read_bytes() == before


def test_file_of_an_earlier_boot_is_replaced(directory):
    interlock.Space("shm:made")
    made = bytearray((directory / f"interlock-{os.geteuid()}-made.ilk").read_bytes())
    made[BOOT_ID] = bytes(16)
    path = directory / f"interlock-{os.geteuid()}-default.ilk"
    path.write_bytes(made)
    path.chmod(0o600)
    with interlock.Space("shm:default").Lock("x") as held:
        assert held
    assert path.read_bytes()[BOOT_ID] != bytes(16)


def test_another_boot_id_does_not_matter_while_a_process_lives(space):
    """A container may be shown another boot id than its host: a space in use is not a leftover."""
    with Program(HOLDER, "x") as holder:
        assert holder.line() == "held"
        with open(space.path, "r+b") as file:
            file.seek(BOOT_ID.start)
            file.write(bytes(16))
        with Program("import interlock; print(interlock.Lock('x').acquire(blocking=False), flush=True)") as other:
            assert other.line() == "False"


def test_symbolic_link_in_its_place(directory):
    interlock.Space("shm:made")
    os.symlink(directory / f"interlock-{os.geteuid()}-made.ilk", directory / f"interlock-{os.geteuid()}-default.ilk")
    assert type(refusal()) is interlock.SpaceUnavailable


def test_fifo_in_its_place(directory):
    os.mkfifo(directory / f"interlock-{os.geteuid()}-default.ilk", 0o600)
    assert type(refusal()) is interlock.LayoutMismatch


def test_no_room_to_make_it(tiny, monkeypatch):
    (tiny / "filler").write_bytes(b"x" * 2_500_000)
    monkeypatch.setenv("INTERLOCK_DIR", str(tiny))
    error = refusal()
    assert type(error) is interlock.SpaceFull
    assert error.errno == errno.ENOSPC
    assert "more bytes" in str(error)
    assert "INTERLOCK_DIR" in str(error)
    assert os.listdir(tiny) == ["filler"]


def test_no_room_to_grow(tiny, monkeypatch):
    """A full file system is an exception, never a signal, and what is held stays held."""
    monkeypatch.setenv("INTERLOCK_DIR", str(tiny))
    monkeypatch.setenv("INTERLOCK_SLOTS", "100")
    space = interlock.Space("shm:default")
    held = []

    def hold_many():
        for number in range(100_000):
            held.append(space.Lock(f"held-{number}"))
            assert held[-1].acquire(blocking=False)

    assert type(refusal(hold_many)) is interlock.SpaceFull
    assert len(held) > 100  # more or less of them, by how their names happen to fall into buckets
    for lock in held:
        assert lock.locked()
        lock.release()


def test_no_room_to_grow_matters_to_held_names_only(tiny, monkeypatch):
    monkeypatch.setenv("INTERLOCK_DIR", str(tiny))
    monkeypatch.setenv("INTERLOCK_SLOTS", "100")
    space = interlock.Space("shm:default")
    for number in range(20_000):
        with space.Lock(f"name-{number}"):
            pass
    assert os.stat(space.path).st_blocks * 512 < 3_000_000


def test_out_of_slots(directory, monkeypatch):
    monkeypatch.setenv("INTERLOCK_SLOTS", "3")
    holders = [Program(HOLDER, f"x{number}") for number in range(3)]
    assert [holder.line() for holder in holders] == ["held"] * 3
    space = interlock.Space("shm:default")
    error = refusal(lambda: space.Lock("y"))
    assert type(error) is interlock.SpaceFull
    assert "INTERLOCK_SLOTS" in str(error)
    holders[0].kill()
    lock = space.Lock("x0")
    assert lock.acquire(blocking=False)
    assert lock.recovered.pid == holders[0].pid
    for holder in holders:
        holder.__exit__()


@pytest.mark.parametrize("slots", ["0", "-1", "many", "65536", "1.5"])
def test_bad_number_of_slots(directory, monkeypatch, slots):
    monkeypatch.setenv("INTERLOCK_SLOTS", slots)
    with pytest.raises(ValueError, match="INTERLOCK_SLOTS"):
        interlock.Space("shm:default")


@pytest.mark.parametrize("url", ["", "shm", "shm:", "redis://localhost", "shm:a\0b", "shm:" + "x" * 201])
def test_bad_url(directory, url):
    with pytest.raises(ValueError, match="space"):
        interlock.Space(url)


@pytest.mark.parametrize("url", ["shm:a b", "shm:../../etc/passwd", "shm:ünï", "shm:" + "x" * 200, "shm:."])
def test_good_url(directory, url):
    space = interlock.Space(url)
    assert os.path.dirname(space.path) == str(directory)
    with (
        space.Lock("x"),
        Program(
            "import interlock, sys; print(interlock.Lock('x', space=sys.argv[1]).acquire(blocking=False))", url
        ) as other,
    ):
        assert other.line() == "False"


def taken_away(directory, space, how):
    path = space.path
    if how == "deleted":
        os.unlink(path)
    elif how == "replaced":
        os.rename(path, directory / "aside")
        shutil.copy(directory / "aside", path)
    else:
        os.truncate(path, {"truncated to nothing": 0, "truncated": 4096, "truncated in the cells": 2_500_000}[how])


WAYS = ["deleted", "replaced", "truncated to nothing", "truncated", "truncated in the cells"]


@pytest.mark.parametrize("how", WAYS)
def test_taken_away_while_in_use(space, directory, how):
    held, free = space.Lock("held"), space.Lock("free")
    names = [space.Lock(f"n{number}") for number in range(50)]
    held.acquire()
    errors = []

    def wait():
        try:
            held.acquire(timeout=60)
        except interlock.SpaceError as error:
            errors.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not any(info.waited_for for info in space.objects()):
        time.sleep(0.001)
    taken_away(directory, space, how)
    waiter.join()
    assert [type(error) for error in errors] == [interlock.SpaceUnavailable]
    assert "restart" in str(errors[0])
    for function in (
        lambda: interlock.Lock("new", space=space),
        lambda: held.acquire(timeout=1),
        space.objects,
        lambda: space.unlink("free"),
    ):
        assert type(refusal(function)) is interlock.SpaceUnavailable
    for lock in [free, *names]:  # either still works on the old file or says so; it never dies of a signal
        try:
            with lock:
                pass
        except interlock.SpaceUnavailable:
            pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_truncated_under_a_program_with_faulthandler(space, when):
    enable = "import faulthandler; faulthandler.enable()"
    code = f"""
        {enable if when == "before" else ""}
        import interlock, sys
        lock = interlock.Lock("x")
        {enable if when == "after" else ""}
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            lock.acquire()
        except interlock.SpaceUnavailable:
            print("told", flush=True)
    """
    with Program(code) as program:
        assert program.line() == "ready"
        os.truncate(space.path, 0)
        program.say()
        assert program.line() == "told"


def test_other_bus_errors_still_kill(directory):
    code = """
import mmap, os, signal, sys, tempfile, interlock
interlock.Lock("x")
if sys.argv[1] == "sent": os.kill(os.getpid(), signal.SIGBUS)
with tempfile.TemporaryFile() as file:
    file.truncate(4096)
    memory = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
    memory[0]
"""
    for how in ("sent", "fault"):
        done = subprocess.run([sys.executable, "-c", code, how], capture_output=True, timeout=60, check=False)
        assert done.returncode == -signal.SIGBUS


def test_new_file_is_refused_while_the_deleted_one_is_in_use(space, directory):
    with Program(HOLDER, "x") as holder:
        assert holder.line() == "held"
        os.unlink(space.path)
        said = run_default_space()
        assert said.startswith("SpaceUnavailable")
        assert "deleted while process" in said
        assert not os.path.exists(space.path)


def test_handle_of_a_space_that_is_gone(directory):
    code = """
        import interlock, pickle, sys
        print(pickle.dumps(interlock.Lock("x")).hex(), flush=True)
    """
    with Program(code) as program:
        pickled = bytes.fromhex(program.line())
        assert program.end()[0] == 0
    assert pickle.loads(pickled).acquire(blocking=False)
    path = directory / f"interlock-{os.geteuid()}-default.ilk"
    os.rename(path, directory / "aside")
    code = """
import pickle, sys
try: pickle.loads(bytes.fromhex(sys.argv[1]))
except Exception as e: print(type(e).__name__, e)
"""

    def loaded_elsewhere():
        return subprocess.check_output([sys.executable, "-c", code, pickled.hex()], text=True, timeout=60)

    said = loaded_elsewhere()
    assert said.startswith("SpaceUnavailable")
    assert "does not exist" in said
    assert not path.exists()
    subprocess.run([sys.executable, "-c", "import interlock; interlock.Space('shm:default')"], check=True, timeout=60)
    said = loaded_elsewhere()
    assert said.startswith("SpaceUnavailable")
    assert "made anew" in said


def test_closed_space(directory):
    space = interlock.Space("shm:default")
    lock = space.Lock("x")
    space.close()
    assert space.closed
    for function in (lock.acquire, lambda: space.Lock("y"), space.objects, lambda: space.unlink("x")):
        error = refusal(function)
        assert type(error) is interlock.SpaceUnavailable
        assert str(error).startswith(f"this Space object, for {space.path}, was closed: ")
        assert str(error).endswith("make another, and new handles from that")
    with interlock.Space("shm:default").Lock("x") as again:
        assert again


def test_closed_default_space_is_opened_anew(directory):
    code = """
import interlock
with interlock.Lock("x").space: pass
with interlock.Lock("x") as held: print(held)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "True\n"


def test_default_space_stays_what_it_was(directory):
    code = """
import interlock, os
lock = interlock.Lock("x")
lock.acquire()
os.environ["INTERLOCK_SPACE"] = "shm:other"
print(interlock.Space().Lock("x").acquire(blocking=False), interlock.Lock("x").acquire(blocking=False))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "False False\n"


def test_a_space_is_opened_once(space):
    with pytest.raises(RuntimeError, match="opened once"):
        space.__init__("shm:other")
    with space.Lock("x"):
        pass


def test_a_space_never_opened(directory):
    class Forgetful(interlock.Space):
        def __init__(self):
            pass

    for never in (interlock.Space.__new__(interlock.Space), Forgetful()):
        with pytest.raises(ValueError, match="never opened"):
            interlock.Lock("x", space=never)
        assert type(refusal(never.objects)) is interlock.SpaceUnavailable
        assert never.closed


def test_nothing_is_left_behind(space, directory):
    with space.Lock("x"):
        pass
    assert os.listdir(directory) == [f"interlock-{os.geteuid()}-default.ilk"]
