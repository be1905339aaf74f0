"""The package as such: what it exports, what it costs to import, what it says where it cannot work."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import interlock

NAMES = [
    "AcquireTimeout",
    "Array",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "DeadlockDetected",
    "Event",
    "InterlockError",
    "KindMismatch",
    "LayoutMismatch",
    "Lock",
    "LockStatistics",
    "NotHeld",
    "NotOwner",
    "ObjectInfo",
    "Owner",
    "ParameterMismatch",
    "Process",
    "RLock",
    "RWLock",
    "Semaphore",
    "Space",
    "SpaceError",
    "SpaceFull",
    "SpaceUnavailable",
    "Value",
    "Waiting",
    "__version__",
    "synchronized",
]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_exports():
    assert sorted(interlock.__all__) == NAMES
    assert set(NAMES) <= set(dir(interlock))
    for name in NAMES:
        assert getattr(interlock, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Lokc'"):
        _ = interlock.Lokc


def test_mp_needs_no_import_of_its_own():
    code = "import interlock, sys; 'mp' in dir(interlock) or 1/0; print('interlock.mp' in sys.modules, interlock.mp.Value)"
    assert run(code).stdout.startswith("False <function Value")


def test_import_is_lean():
    """The modules that are dear to import come when they are needed."""
    done = run("import interlock, sys; print(*sys.modules)")
    dear = {"dataclasses", "inspect", "typing", "threading", "tempfile", "multiprocessing", "asyncio", "logging", "re"}
    assert done.returncode == 0
    assert not dear & set(done.stdout.split())


def test_elsewhere_it_imports_and_says_so():
    done = run("""
import sys
sys.platform, sys.modules["interlock._engine"] = "plan9", None
import interlock
for use in (
    lambda: interlock.Lock("x"), lambda: interlock.RLock(), lambda: interlock.Space("shm:x"),
    lambda: interlock.Value("x", "q"), lambda: interlock.Array("x", "q", 3), lambda: interlock.mp.Event(),
):
    try: use()
    except interlock.SpaceUnavailable as error: print(error)
""")
    assert done.stdout.splitlines() == ["shared-memory spaces need Linux; this is plan9"] * 6, done.stderr


def test_a_broken_build_on_linux_is_not_hidden():
    done = run('import sys; sys.modules["interlock._engine"] = None; import interlock')
    assert "interlock._engine" in done.stderr.splitlines()[-1]


EXCEPTIONS = {
    interlock.AcquireTimeout: TimeoutError,
    interlock.NotHeld: (RuntimeError, ValueError),
    interlock.NotOwner: interlock.NotHeld,
    interlock.DeadlockDetected: RuntimeError,
    interlock.KindMismatch: TypeError,
    interlock.ParameterMismatch: ValueError,
    interlock.SpaceError: OSError,
    interlock.SpaceFull: interlock.SpaceError,
    interlock.LayoutMismatch: interlock.SpaceError,
    interlock.SpaceUnavailable: interlock.SpaceError,
}


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_exceptions(kind):
    bases = EXCEPTIONS[kind]
    for base in bases if isinstance(bases, tuple) else (bases,):
        assert issubclass(kind, base)
    error = kind("what is wrong", name="orders", path="/somewhere")
    error.cycle = ["a", "b"]
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.name, copy.path, copy.cycle) == (
        kind,
        "what is wrong",
        "orders",
        "/somewhere",
        ["a", "b"],
    )
