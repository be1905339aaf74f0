"""Lock and RLock within one process: arguments, exceptions, what can be asked."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
import time
import weakref

import pytest

import interlock
from tests.support import in_thread

KINDS = [interlock.Lock, interlock.RLock]
pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def lock(kind, space):
    return kind("x", space=space)


def test_acquire_and_release(lock):
    assert lock.acquire() is True
    assert lock.locked()
    assert lock.release() is None
    assert not lock.locked()


def test_with(lock):
    with lock as entered:
        assert entered is True
        assert lock.locked()
    assert not lock.locked()


def test_with_releases_after_an_exception(lock):
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    assert not lock.locked()


def test_another_thread_is_kept_out(lock):
    with lock:
        assert in_thread(lock.acquire, blocking=False) is False
        before = time.monotonic()
        assert in_thread(lock.acquire, timeout=0.05) is False
        assert time.monotonic() - before >= 0.05


def test_waiter_gets_it(lock):
    lock.acquire()
    got = threading.Event()

    def wait():
        lock.acquire()
        got.set()
        lock.release()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    assert not got.is_set()
    lock.release()
    thread.join()
    assert got.is_set()


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "says"),
    [
        ((), {"timeout": -2}, ValueError, "non-negative"),
        ((), {"timeout": -1e-9}, ValueError, "non-negative"),
        ((), {"timeout": float("-inf")}, ValueError, "non-negative"),
        ((), {"timeout": float("nan")}, ValueError, "non-negative"),
        ((), {"timeout": 1e10}, OverflowError, "too large"),
        ((), {"timeout": float("inf")}, OverflowError, "too large"),
        ((), {"timeout": 10**400}, OverflowError, "too large"),
        ((), {"timeout": "1"}, TypeError, "timeout must be a number of seconds, or None for ever, not str"),
        ((False, 1), {}, ValueError, "non-blocking"),
        ((False,), {"timeout": 0}, ValueError, "non-blocking"),
        ((1, 2, 3), {}, TypeError, "at most 2"),
        ((True,), {"blocking": True}, TypeError, "multiple values"),
        ((), {"wait": True}, TypeError, "unexpected keyword"),
    ],
)
def test_bad_arguments_take_nothing(lock, args, kwargs, error, says):
    with pytest.raises(error, match=says):
        lock.acquire(*args, **kwargs)
    assert not lock.locked()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((True,), {}),
        ((1, -1), {}),
        ((True, None), {}),
        ((), {"block": True, "timeout": None}),
        ((), {"blocking": False, "timeout": -1}),
        ((), {"timeout": 0}),
        ((), {"timeout": threading.TIMEOUT_MAX}),
        ((0,), {}),
    ],
)
def test_good_arguments(lock, args, kwargs):
    assert lock.acquire(*args, **kwargs) is True
    assert in_thread(lock.acquire, False) is False
    lock.release()


def test_release_of_what_nobody_holds(lock):
    for error in (interlock.NotHeld, RuntimeError, ValueError):
        with pytest.raises(error, match="not held"):
            lock.release()


def test_hold(lock):
    with lock.hold(timeout=1) as held:
        assert held is lock
        assert lock.locked()
    assert not lock.locked()


def test_hold_raises_when_not_in_time(lock):
    def hold(**how):
        with lock.hold(**how):
            pytest.fail("entered")

    with lock:
        error = in_thread(hold, timeout=0.01)
        assert isinstance(error, interlock.AcquireTimeout)
        assert isinstance(error, TimeoutError)
        assert "'x'" in str(error)
        assert "0.01 s" in str(error)
        assert isinstance(in_thread(hold, blocking=False), interlock.AcquireTimeout)
        assert in_thread(lock.acquire, False) is False  # a failed hold released nothing


def test_fence_rises(lock, kind, space):
    other = kind("x", space=space)
    seen = []
    for handle in (lock, other, lock):
        with handle:
            seen.append(handle.fence)
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_statistics(lock):
    for _ in range(3):
        with lock:
            pass
    lock.acquire()
    thread = threading.Thread(target=lambda: (lock.acquire(), lock.release()))
    thread.start()
    while not any(info.waited_for for info in lock.space.objects()):
        time.sleep(0.001)
    time.sleep(0.02)
    lock.release()
    thread.join()
    counts = lock.statistics()
    assert (counts.acquisitions, counts.contended, counts.recoveries) == (5, 1, 0)
    assert counts.waited >= 0.02
    with pytest.raises(AttributeError):
        counts.acquisitions = 0


def test_owner(lock):
    assert lock.owner is None
    with lock:
        before = time.time()
        owner = lock.owner
        assert owner.pid == __import__("os").getpid()
        assert owner.thread_id == threading.get_native_id()
        assert owner.thread_name == threading.current_thread().name
        assert sys.argv[0].rpartition("/")[2][:8] in owner.program or "python" in owner.program
        assert owner.died is None
        assert abs(owner.since - before) < 5
        assert lock.owner.since == pytest.approx(owner.since, abs=0.01)
    assert lock.owner is None
    assert lock.recovered is None


def test_repr(lock, kind):
    assert repr(lock).startswith(f"<unlocked interlock.{kind.__name__} object 'x' at 0x")
    with lock:
        assert repr(lock).startswith("<locked ")


def test_pickle(lock, kind):
    copy = pickle.loads(pickle.dumps(lock))
    assert type(copy) is kind
    with lock:
        assert in_thread(copy.acquire, False) is False
    assert copy.acquire(False)
    copy.release()


def test_pickle_of_an_anonymous_lock(kind, space):
    lock = kind(space=space)
    copy = pickle.loads(pickle.dumps(lock))
    with lock:
        assert in_thread(copy.acquire, False) is False


def test_weakref(kind, space):
    lock = kind("x", space=space)
    ref = weakref.ref(lock)
    assert ref() is lock
    del lock
    gc.collect()
    assert ref() is None


def test_dropping_a_handle_releases_nothing(kind, space):
    kind("x", space=space).acquire()
    gc.collect()
    assert in_thread(kind("x", space=space).acquire, False) is False


def test_subclass(kind, space):
    class Named(kind):
        calls = 0

        def acquire(self, *args, **kwargs):
            type(self).calls += 1
            return super().acquire(*args, **kwargs)

    class Deeper(Named):
        calls = 0

    for cls in (Named, Deeper):
        lock = cls("y", space=space)
        lock.acquire()
        lock.release()
        assert cls.calls == 1
        assert type(pickle.loads(pickle.dumps(kind("y", space=space)))) is kind
        with lock:
            pass


def test_overrides_of_several_bases_take_precedence_in_order(kind, space):
    class Traced(kind):
        calls = 0

        def acquire(self, *args, **kwargs):
            Traced.calls += 1
            return super().acquire(*args, **kwargs)

    class Tagged(kind):
        pass

    class Both(Tagged, Traced):
        pass

    lock = Both("x", space=space)
    lock.acquire()
    lock.release()
    assert Traced.calls == 1


def test_a_mixin_hears_of_its_subclasses(kind):
    class Mixin:
        heard = None

        def __init_subclass__(cls, tag=None, **rest):
            super().__init_subclass__(**rest)
            Mixin.heard = (cls.__name__, tag)

    class Mixed(kind, Mixin, tag=3):
        pass

    assert Mixin.heard == ("Mixed", 3)
    with pytest.raises(TypeError):

        class Wrong(kind, tag=3):
            pass


def test_a_handle_whose_cell_was_given_away_knows_its_lock(kind, space):
    """Names are a cache: an old handle finds its name again, whatever it is asked."""
    space_was = interlock.Space("shm:crowded")
    for number in range(50_000):
        kind(f"early-{number}", space=space_was)
    old = kind("orders", space=space_was)
    for number in range(150_000):
        kind(f"late-{number}", space=space_was)
    new = kind("orders", space=space_was)
    assert new.acquire(blocking=False)
    assert old.locked()
    assert old.owner.pid == new.owner.pid
    assert old.fence == new.fence
    assert old.statistics() == new.statistics()
    if kind is interlock.RLock:
        assert old._recursion_count() == 1
    old.release()
    assert not new.locked()
    with pytest.raises(interlock.NotHeld):
        new.release()


def test_bad_constructor_arguments(kind, space):
    with pytest.raises(TypeError, match="callable"):
        kind("x", space=space, on_recover=3)
    with pytest.raises(TypeError, match="Space or its URL"):
        kind("x", space=3)
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\) takes at most 1 positional"):
        kind("x", "y")
    with pytest.raises(TypeError, match=rf"\b{kind.__name__}\(\)"):
        kind("x", timeout=3)


def test_many_threads_count_right(kind, space):
    lock, total = kind("x", space=space), [0]

    def count():
        for _ in range(2000):
            with lock:
                number = total[0]
                if number % 50 == 0:
                    time.sleep(0)
                total[0] = number + 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == [16_000]


def test_condition_of_the_standard_library(kind, space):
    condition = threading.Condition(kind("x", space=space))
    ready = []

    def wait():
        with condition:
            ready.append("waiting")
            assert condition.wait_for(lambda: "go" in ready, timeout=30)
            ready.append("done")

    thread = threading.Thread(target=wait)
    thread.start()
    while "waiting" not in ready:
        time.sleep(0.001)
    with condition:
        ready.append("go")
        condition.notify()
    thread.join()
    assert ready[-1] == "done"


def test_default_space_is_found_by_url_and_by_default(kind, directory):
    code = f"""
import interlock
mine, same, other = (interlock.{kind.__name__}("x", space=space) for space in (None, "shm:default", "shm:else"))
mine.acquire()
assert same.locked() and not other.locked()
assert mine.space is same.space
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    subprocess.run(
        [sys.executable, "-c", code.replace("shm:default", "shm:given")],
        check=True,
        timeout=60,
        env={**__import__("os").environ, "INTERLOCK_SPACE": "shm:given"},
    )
