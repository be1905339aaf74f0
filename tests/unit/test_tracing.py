"""Spans of waits, of each kind in threads and in tasks; and a hook that fails, which loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time

import pytest

import interlock
from interlock.engine import native
from tests.async_support import ACQUIRED, Holder, cancelled, in_loop, is_free, is_taken, waiting
from tests.cli import without_packages
from tests.support import (
    HANG_SECONDS,
    Program,
    Task,
    asleep,
    fail,
    in_child,
    in_thread,
    signal_when_asleep,
    sleeping,
    until,
)

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry is not installed: pip install 'interlock[test]'")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

KIND = {"RWLock.read": "RWLock", "RWLock.write": "RWLock", "Condition over Lock": "Lock", "Condition over RLock": "RLock"}
OPERATION = {"RWLock.read": "read", "RWLock.write": "write"}


class Traced:
    """A provider whose spans are kept."""

    def __init__(self):
        self.exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def waits(self):
        """The spans that interlock has made."""
        return [span for span in self.exporter.get_finished_spans() if span.instrumentation_scope.name == "interlock"]

    def wait(self):
        """The only one."""
        (span,) = self.waits()
        assert (span.attributes["interlock.space"], span.instrumentation_scope.version) == (
            "shm:default",
            interlock.__version__,
        )
        return span


def told(span):
    return span.name, span.attributes["interlock.name"], span.attributes["interlock.outcome"]


@pytest.fixture
def traced():
    traced = Traced()
    interlock.tracing.instrument(traced.provider)
    yield traced
    interlock.tracing.uninstrument()


@pytest.fixture
def failing(monkeypatch):
    """A hook that raises what is put in; what sys.unraisablehook was told."""
    raised, unraisable = [ArithmeticError], []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unraisable.append(told.exc_type))

    def hook(*_):
        raise raised[0]

    native.set_wait_hook(hook)
    yield raised, unraisable
    native.set_wait_hook(None)


@contextlib.contextmanager
def had_until_asleep(thing):
    """Another thread has it until this one, the main thread, sleeps."""
    with Holder(thing) as holder:

        def let_go():
            until(lambda: asleep(os.getpid()))
            holder.release()

        task = Task(let_go)
        yield
        task.result()


def expected(kind, outcome):
    """What told() says of a span, where a test's thing is taken."""
    name = "l" if kind.startswith("Condition over") else "x"
    return f"{OPERATION.get(kind, 'acquire')} {KIND.get(kind, kind)}", name, outcome


# --- in threads ---


@pytest.mark.parametrize("kind", ACQUIRED)
def test_a_thread_that_sleeps(space, traced, kind):
    thing = ACQUIRED[kind](space)

    def take():
        with traced.tracer.start_as_current_span("outer") as outer:
            assert thing.acquire() is True
            after = time.time_ns()
            thing.release()
        return outer, after

    before = time.time_ns()
    with Holder(thing) as holder:
        task = sleeping(take)
        asleep_at = time.time_ns()
        until(lambda: time.time_ns() > asleep_at + 2_000_000)
        let_go = time.time_ns()
        holder.release()
        outer, after = task.result()
    span = traced.wait()
    assert told(span) == expected(kind, "acquired")
    assert span.attributes["interlock.kind"] == span.name.split()[1]
    assert "error.type" not in span.attributes
    assert span.status.is_unset
    assert span.parent.span_id == outer.get_span_context().span_id
    assert before <= span.start_time <= asleep_at < let_go <= span.end_time <= after


@pytest.mark.parametrize("kind", ACQUIRED)
def test_a_thread_that_waits_in_vain(space, traced, kind):
    thing = ACQUIRED[kind](space)
    with Holder(thing):
        before = time.time_ns()
        assert thing.acquire(timeout=0.02) is False
    span = traced.wait()
    assert told(span) == expected(kind, "timeout")
    assert span.end_time - before > 19_000_000


def test_hold(space, traced):
    lock = space.Lock("x")
    with Holder(lock), pytest.raises(interlock.AcquireTimeout), lock.hold(timeout=0.01):
        pass
    assert told(traced.wait()) == ("acquire Lock", "x", "timeout")


@pytest.mark.parametrize("kind", ACQUIRED)
def test_what_does_not_sleep_makes_no_span(space, traced, kind):
    thing = ACQUIRED[kind](space)
    thing.acquire()
    thing.release()
    with Holder(thing):
        assert thing.acquire(False) is False

    async def in_task():
        assert await thing.acquire_async() is True
        thing.release()

    if hasattr(thing, "acquire_async"):
        in_loop(in_task)
    assert traced.waits() == []


def test_an_event(space, traced):
    event = space.Event("ready")
    assert event.wait(0.01) is False
    task = sleeping(event.wait)
    event.set()
    assert task.result() is True
    assert event.wait() is True
    assert [told(span) for span in traced.waits()] == [
        ("wait Event", "ready", "timeout"),
        ("wait Event", "ready", "notified"),
    ]


@pytest.mark.parametrize("lock", [None, "Lock", "RLock"])
def test_a_condition(space, traced, lock):
    """One span from the wait's begin until it has the lock again."""
    changed = space.Condition("stock", lock and getattr(space, lock)("l"))

    def wait():
        with changed:
            return changed.wait(HANG_SECONDS)

    task = sleeping(wait)
    with changed:
        changed.notify()
        notified = time.time_ns()
        until(lambda: time.time_ns() > notified + 5_000_000)
        let_go = time.time_ns()
    assert task.result() is True
    with changed:
        assert changed.wait(0.01) is False
    first, second = traced.waits()
    assert told(first) == ("wait Condition", "stock", "notified")
    assert first.end_time >= let_go
    assert told(second) == ("wait Condition", "stock", "timeout")


def test_a_barrier(space, traced):
    barrier = space.Barrier("start", 2)
    task = sleeping(barrier.wait)
    assert {barrier.wait(), task.result()} == {0, 1}
    assert told(traced.wait()) == ("wait Barrier", "start", "notified")
    traced.exporter.clear()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.01)
    span = traced.wait()
    assert told(span) == ("wait Barrier", "start", "error")
    assert span.attributes["error.type"] == "threading.BrokenBarrierError"


def test_an_exception_ends_the_wait(space, traced):
    """And comes out of it as without tracing."""
    lock = space.Lock("x")
    with Holder(lock), pytest.raises(ArithmeticError), signal_when_asleep(fail):
        lock.acquire()
    span = traced.wait()
    assert told(span) == ("acquire Lock", "x", "error")
    assert span.attributes["error.type"] == "ArithmeticError"
    assert not span.status.is_ok
    assert not span.status.is_unset


def test_ctrl_c_ends_the_wait(space, traced):
    lock = space.Lock("x")
    with Holder(lock), pytest.raises(KeyboardInterrupt), signal_when_asleep(lambda: signal.default_int_handler(2, None)):
        lock.acquire()
    span = traced.wait()
    assert told(span) == ("acquire Lock", "x", "cancelled")
    assert span.status.is_unset


def test_a_field_that_has_the_name_of_ours(directory):
    """A structure's fields are attributes of a Value of interlock.mp, which is in the default space."""
    with Program("""
        import ctypes, threading
        import interlock
        from interlock.mp import Value
        from tests.unit.test_tracing import Traced
        class Named(ctypes.Structure):
            _fields_ = [("name", ctypes.c_int), ("space", ctypes.c_int)]
        traced = Traced()
        interlock.tracing.instrument(traced.provider)
        value = Value(Named, 1, 2)
        results = []
        with value:
            thread = threading.Thread(target=lambda: results.append(value.acquire(timeout=0.01)))
            thread.start()
            thread.join()
        assert results == [False]
        attributes = traced.wait().attributes
        assert attributes["interlock.name"].startswith("anonymous-"), attributes
        assert attributes["interlock.kind"] == "Value", attributes
    """) as program:
        assert program.end() == (0, "", "")


# --- in tasks ---


@pytest.mark.parametrize("kind", ACQUIRED)
def test_tasks_that_wait(space, traced, kind, run):
    """Each has a span in its own context, also if another's step got it."""
    thing = ACQUIRED[kind](space)
    outers = {}

    async def use(number):
        with traced.tracer.start_as_current_span(f"outer {number}") as outer:
            async with thing:
                outers[outer.get_span_context().span_id] = time.time_ns()

    async def main():
        with Holder(thing) as holder:
            tasks = await waiting(*map(use, range(3)))
            let_go = time.time_ns()
            holder.release()
            await asyncio.gather(*tasks)
        return let_go

    before = time.time_ns()
    let_go = run(main)
    spans = traced.waits()
    assert [told(span) for span in spans] == [expected(kind, "acquired")] * 3
    assert {span.parent.span_id for span in spans} == set(outers)
    assert all(before <= span.start_time <= let_go <= span.end_time <= outers[span.parent.span_id] for span in spans)


@pytest.mark.parametrize("kind", [kind for kind in ACQUIRED if "Condition" not in kind])
def test_tasks_that_wait_in_vain(space, traced, kind, run):
    thing = ACQUIRED[kind](space)

    async def main():
        with Holder(thing):
            assert await thing.acquire_async(timeout=0.01) is False
            (task,) = await waiting(thing.acquire_async())
            assert await cancelled(task)
        assert is_free(thing)

    run(main)
    assert [told(span) for span in traced.waits()] == [expected(kind, "timeout"), expected(kind, "cancelled")]


def test_hold_in_a_task(space, traced, run):
    lock = space.Lock("x")

    async def main():
        with Holder(lock), pytest.raises(interlock.AcquireTimeout):
            async with lock.hold(timeout=0.01):
                pass

    run(main)
    assert told(traced.wait()) == ("acquire Lock", "x", "timeout")


def test_signals_in_tasks(space, traced, run):
    ready, changed, start = space.Event("ready"), space.Condition("stock"), space.Barrier("start", 2)

    async def wait():
        async with changed:
            return await changed.wait_async()

    async def main():
        tasks = await waiting(ready.wait_async(), wait(), start.wait_async())
        ready.set()
        async with changed:
            changed.notify()
        await start.wait_async()
        assert await asyncio.gather(*tasks) == [True, True, 0]
        (task,) = await waiting(wait())
        assert await cancelled(task)

    run(main)
    assert sorted(told(span) for span in traced.waits()) == [
        ("wait Barrier", "start", "notified"),
        ("wait Condition", "stock", "cancelled"),
        ("wait Condition", "stock", "notified"),
        ("wait Event", "ready", "notified"),
    ]


# --- in children ---


def test_a_forked_child(space, traced):
    def wait():
        space.Event("never").wait(0.01)
        return told(traced.wait())

    assert in_child(wait) == repr(("wait Event", "never", "timeout"))
    assert traced.waits() == []


# --- on and off ---


def test_off(space, traced):
    interlock.tracing.uninstrument()
    space.Event("never").wait(0.01)
    assert traced.waits() == []


def test_another_provider(space, traced):
    another = Traced()
    interlock.tracing.instrument(another.provider)
    space.Event("never").wait(0.01)
    assert (len(traced.waits()), len(another.waits())) == (0, 1)


def test_the_global_provider_set_later(directory):
    with Program("""
        import interlock
        interlock.tracing.instrument()
        event = interlock.Event("never")
        event.wait(0.01)
        from opentelemetry import trace
        from tests.unit.test_tracing import Traced, told
        traced = Traced()
        trace.set_tracer_provider(traced.provider)
        event.wait(0.01)
        print(told(traced.wait()))
    """) as program:
        assert program.end() == (0, "('wait Event', 'never', 'timeout')\n", "")


def test_without_opentelemetry():
    done = without_packages("import interlock; interlock.tracing.instrument()")
    assert done.returncode == 1
    assert (
        "ModuleNotFoundError: interlock.tracing needs opentelemetry-api: pip install 'interlock[opentelemetry]'"
        in done.stderr
    )


# --- a hook that fails ---


@pytest.mark.parametrize("kind", ACQUIRED)
def test_a_thread_keeps_what_it_got(space, failing, kind):
    thing = ACQUIRED[kind](space)
    with had_until_asleep(thing):
        assert thing.acquire() is True
    assert failing[1] == [ArithmeticError]
    assert is_taken(thing)
    thing.release()
    native.set_wait_hook(None)
    assert is_free(thing)


@pytest.mark.parametrize("kind", ACQUIRED)
def test_a_task_keeps_what_it_got(space, failing, kind, run):
    thing = ACQUIRED[kind](space)

    async def use():
        async with thing:
            assert is_taken(thing)

    async def main():
        with Holder(thing) as holder:
            (task,) = await waiting(use())
            holder.release()
            await task

    run(main)
    assert failing[1] == [ArithmeticError]
    native.set_wait_hook(None)
    assert is_free(thing)


def test_an_exception_stays_what_it_is(space, failing):
    lock = space.Lock("x")
    with Holder(lock), pytest.raises(ZeroDivisionError) as caught, signal_when_asleep(lambda: 1 // 0):
        lock.acquire()
    assert failing[1] == [ArithmeticError]
    assert caught.value.__traceback__ is not None
    assert caught.value.__context__ is None


def test_a_notification_is_not_lost(space, failing):
    changed = space.Condition("stock")

    def wait():
        with changed:
            return changed.wait(HANG_SECONDS)

    tasks = [sleeping(wait), sleeping(wait)]
    for count in (1, 2):
        with changed:
            changed.notify()
        until(lambda count=count: sum(not task.is_alive() for task in tasks) == count)
    assert [task.result() for task in tasks] == [True, True]
    assert failing[1] == [ArithmeticError] * 2


def test_ctrl_c_in_the_hook(space, failing):
    """It comes out in the program, where the lock is the `with` statement's to release."""
    failing[0][0] = KeyboardInterrupt
    lock, inside = space.Lock("x"), []
    with had_until_asleep(lock), pytest.raises(KeyboardInterrupt):
        with lock:
            inside.append(in_thread(lock.acquire, False))
            in_thread(int)
    assert failing[1] == []
    assert inside in ([], [False])
    native.set_wait_hook(None)
    assert is_free(lock)


@pytest.mark.parametrize("kind", ACQUIRED)
def test_ctrl_c_in_the_hook_of_a_task(space, failing, kind):
    """It comes out of the wait, which gives back what it got."""
    failing[0][0] = KeyboardInterrupt
    thing = ACQUIRED[kind](space)

    async def main():
        await thing.acquire_async()

    loop = asyncio.new_event_loop()  # asyncio.run() would have Ctrl-C cancel the task
    try:
        with Holder(thing) as holder:
            task = loop.create_task(main())
            loop.run_until_complete(asyncio.sleep(0.02))
            holder.release()
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(task)
    finally:
        loop.close()
    assert failing[1] == []
    native.set_wait_hook(None)
    assert is_free(thing)


def test_what_a_signal_handler_raises_in_the_hook(space, failing):
    """It ends the program as it was meant to."""

    def hook(*_):
        signal.raise_signal(signal.SIGTERM)

    def on_term(*_):
        raise SystemExit(3)

    before = signal.signal(signal.SIGTERM, on_term)
    lock = space.Lock("x")
    native.set_wait_hook(hook)
    try:
        with had_until_asleep(lock), pytest.raises(SystemExit) as raised:
            with lock:
                in_thread(int)
    finally:
        signal.signal(signal.SIGTERM, before)
        native.set_wait_hook(None)
    assert raised.value.code == 3
    assert failing[1] == []
    assert is_free(lock)


def test_what_the_hook_waits_for_it_is_not_told_of(space):
    event, lock, calls = space.Event("never"), space.Lock("x"), []

    def hook(handle, *_):
        calls.append(handle.name)
        assert event.wait(0.01) is False

    native.set_wait_hook(hook)
    try:
        with had_until_asleep(lock):
            assert lock.acquire() is True
        lock.release()
    finally:
        native.set_wait_hook(None)
    assert calls == ["x"]
