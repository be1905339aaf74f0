"""Programs in C and in Python under the same locks, and how the former are compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import interlock
from tests.c_programs import ROOT, CProgram, compile_program, config
from tests.support import HANG_SECONDS, Program, Task, sleeping, until

EXAMPLE = ROOT / "examples" / "c_and_python"
PACKAGE = Path(interlock.__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module", params=["shared", "static"])
def counter(made, request):
    options = ["--static"] if request.param == "static" else []
    return compile_program(EXAMPLE / "counter.c", made / f"counter-{request.param}", *options)


@pytest.fixture(scope="module")
def peer(made):
    return compile_program(ROOT / "tests" / "capi" / "peer.c", made / "peer")


def test_count_together(directory, tmp_path, counter):
    file, times = tmp_path / "count.txt", 3000
    python = [sys.executable, str(EXAMPLE / "counter.py"), str(file), str(times)]
    programs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in [[counter, file, str(times)]] * 3 + [python] * 3
    ]
    for program in programs:
        _, errors = program.communicate(timeout=HANG_SECONDS)
        assert (program.returncode, errors) == (0, "")
    assert file.read_text() == f"{6 * times}\n"
    assert [path.name for path in directory.iterdir()] == [f"interlock-{os.geteuid()}-default.ilk"]


KINDS = ["Lock", "RLock", "RWLock"]


def opened(kind, space):
    """A handle of it that excludes others, and can say who has it."""
    handle = getattr(space, kind)("x")
    return handle.write if kind == "RWLock" else handle


@pytest.mark.parametrize("kind", KINDS)
def test_python_takes_over_from_c(space, peer, kind):
    lock = opened(kind, space)
    with CProgram(peer, "hold", kind, "x") as holder:
        assert holder.line() == "held 0"
        assert not lock.acquire(timeout=0)
        assert (lock.owner.pid, lock.owner.thread_id) == (holder.pid, holder.pid)
        assert "peer hold" in lock.owner.program
        with pytest.raises(interlock.NotOwner):
            lock.release()
        waiter = sleeping(lock.acquire)
        holder.kill()
        assert waiter.result() is True
        assert lock.recovered.pid == holder.pid
        assert "peer hold" in lock.recovered.program


HOLDER = """
    import interlock, sys
    lock = getattr(interlock, sys.argv[1])("x")
    lock = lock.write if sys.argv[1] == "RWLock" else lock
    lock.acquire()
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_c_takes_over_from_python(space, peer, kind):
    with Program(HOLDER, kind) as holder:
        assert holder.line() == "held"
        with CProgram(peer, "hold", kind, "x") as heir:
            until(lambda: any(wait.pid == heir.pid for wait in space.wait_graph()))
            holder.kill()
            assert heir.line() == f"held {holder.pid}"
            assert opened(kind, space).owner.pid == heir.pid
            heir.say()
            assert heir.line() == "released 0"
            assert heir.end()[0] == 0
    assert opened(kind, space).acquire(timeout=0)


def test_a_killed_c_programs_permit_comes_back(space, peer):
    limit = space.BoundedSemaphore("x", 1)
    with CProgram(peer, "hold", "BoundedSemaphore", "x") as holder:
        assert holder.line() == "held 0"
        assert not limit.acquire(timeout=0)
        holder.kill()
    assert limit.acquire(timeout=0)


@pytest.mark.parametrize("latest", ["C", "Python"])
def test_a_deadlock_with_c_is_found_in_python(directory, peer, latest):
    space = interlock.Space("shm:default", deadlock="raise")
    first, second = space.Lock("first"), space.Lock("second")
    has, go_on = threading.Event(), threading.Event()

    def cross():
        with second:
            has.set()
            assert go_on.wait(HANG_SECONDS)
            with first:
                pass

    with CProgram(peer, "nest", "first", "second") as other:
        assert other.line() == "held 0"
        task = Task(cross)
        assert has.wait(HANG_SECONDS)
        if latest == "C":
            go_on.set()
            until(lambda: first.waiters)
            other.say()
        else:
            other.say()
            until(lambda: second.waiters)
            go_on.set()
        with pytest.raises(interlock.DeadlockDetected, match="deadlock"):
            task.result()
        assert other.line() == "held 0"
        assert other.end()[0] == 0


def test_what_is_refused_is_said(space, peer):
    with space.RLock("x"):
        with CProgram(peer, "hold", "Lock", "x") as refused:
            status, _, errors = refused.end()
    assert status == 1
    assert errors == (
        f"Lock 'x' of the space at {space.path} (it is a RLock): the name is in use for another kind of object: "
        "use another name, or unlink that object\n"
    )


def test_names_in_utf_8(space, peer):
    with CProgram(peer, "hold", "Lock", "schlüssel 🔒") as holder:
        assert holder.line() == "held 0"
        assert not space.Lock("schlüssel 🔒").acquire(timeout=0)
        assert [info.name for info in space.objects()] == ["schlüssel 🔒"]


# --- interlock config ---


def test_symbols():
    """Only the API leaves the libraries."""
    library, archive = PACKAGE / "lib" / "libinterlock.so", PACKAGE / "lib" / "libinterlock.a"
    declared = set(re.findall(r"\b(interlock_\w+)\(", (PACKAGE / "include" / "interlock.h").read_text()))
    for command in (["nm", "-D", "--defined-only", library], ["nm", "-g", "--defined-only", archive]):
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert {line.split()[-1] for line in lines if len(line.split()) == 3} == declared


def test_a_path_with_spaces(made, directory):
    package = made / "a place, with 'spaces'"
    shutil.copytree(PACKAGE, package / "interlock", ignore=shutil.ignore_patterns("__pycache__"))
    for options in ([], ["--static"]):
        program = compile_program(EXAMPLE / "counter.c", package / "counter", *options, package=package)
        done = subprocess.run([program, made / "spaces.txt", "10"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "20\n"


def test_options():
    include, lib = PACKAGE / "include", PACKAGE / "lib"
    assert config("--cflags").stdout == f"-I{include}\n"
    assert config("--libs").stdout == f"-L{lib} -linterlock -Wl,-rpath,{lib} -pthread\n"
    assert config("--libs", "--static").stdout == f"{lib}/libinterlock.a -pthread\n"
    assert config().returncode == os.EX_USAGE
    assert "--cflags, --libs or both" in config().stderr
    assert config("--cflags", "--static").returncode == os.EX_USAGE
    assert "interlock config --cflags --libs" in config("--help").stdout


def test_libraries_that_were_not_built(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "interlock", ignore=shutil.ignore_patterns("__pycache__", "lib"))
    refused = config("--cflags", package=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{tmp_path}/interlock/lib/libinterlock.so is missing; install interlock anew" in refused.stderr


def test_elsewhere_there_are_none(monkeypatch):
    from interlock.cli.config import options

    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(interlock.SpaceUnavailable, match="needs Linux; this is plan9"):
        options(True, True, False)
