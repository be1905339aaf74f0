"""Programs whose threads gevent has replaced: a wait stops its greenlet, and not the others."""

from __future__ import annotations

import pytest

from tests.support import HOLDER, Program

pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")

PATCHED = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, interlock, sys, threading
    ticks = 0
    def tick():
        global ticks
        while True:
            ticks += 1
            gevent.sleep(0.001)
    gevent.spawn(tick)
"""

KINDS = {
    "Lock": "first = second = interlock.Lock('x')",
    "RLock": "first = second = interlock.RLock('x')",
    "Semaphore": "first = second = interlock.Semaphore('x')",
    "BoundedSemaphore": "first = second = interlock.BoundedSemaphore('x')",
    "write, write": "first = second = interlock.RWLock('x').write",
    "read, write": "lock = interlock.RWLock('x'); first, second = lock.read, lock.write",
    "write, read": "lock = interlock.RWLock('x'); first, second = lock.write, lock.read",
    "Condition": "first = second = interlock.Condition('x')",
}


def run(code: str) -> str:
    with Program(PATCHED + code) as program:
        status, out, err = program.end()
        assert (status, err) == (0, "")
        return out


@pytest.mark.parametrize("kind", KINDS)
def test_greenlets_exclude_each_other(directory, kind):
    """Also those of one thread, whom a re-entrant lock must not take for one; and the others run meanwhile."""
    out = run(f"""
    {KINDS[kind]}
    inside = []
    def visit(lock, name):
        with lock:
            inside.append(name)
            before = ticks
            while ticks < before + 5:
                gevent.sleep(0)
            inside.append(name)
    gevent.joinall([gevent.spawn(visit, first, 1), gevent.spawn(visit, second, 2)], raise_error=True)
    assert not second.acquire(False) or second.release() is None
    print(inside)
    """)
    assert out in ("[1, 1, 2, 2]\n", "[2, 2, 1, 1]\n")


def test_another_process_holds_it(directory):
    with Program(HOLDER, "x") as holder:
        assert holder.line() == "held"
        with Program(
            PATCHED
            + """
    lock = interlock.Lock('x')
    waiting = gevent.spawn(lock.acquire)
    before = ticks
    while ticks < before + 20:
        gevent.sleep(0.001)
    assert not waiting.ready()
    print("waits", flush=True)
    assert waiting.get()
    print("has it", lock.recovered is not None)
    """
        ) as program:
            assert program.line() == "waits"
            holder.kill()
            assert program.end() == (0, "has it True\n", "")


def test_signalling(directory):
    out = run("""
    condition, items = interlock.Condition("c"), []
    def consume():
        with condition:
            condition.wait_for(lambda: items)
            return items.pop()
    consumers = [gevent.spawn(consume) for _ in range(5)]
    for number in range(5):
        gevent.sleep(0)
        with condition:
            items.append(number)
            condition.notify()
    print(sorted(consumer.get() for consumer in consumers))
    barrier = interlock.Barrier("b", 3)
    print(sorted(party.get() for party in [gevent.spawn(barrier.wait) for _ in range(3)]))
    event = interlock.Event("e")
    waiters = [gevent.spawn(event.wait) for _ in range(50)]
    gevent.sleep(0.01)
    event.set()
    print({waiter.get() for waiter in waiters}, event.wait(0))
    """)
    assert out == "[0, 1, 2, 3, 4]\n[0, 1, 2]\n{True} True\n"


def test_timeouts_and_kills_leave_nothing_behind(directory):
    out = run("""
    lock = interlock.Lock("x")
    with lock:
        print(gevent.spawn(lock.acquire, timeout=0.02).get())
        def impatient():
            with gevent.Timeout(0.02, False):
                lock.acquire()
                return "had it"
            return "gave up"
        print(gevent.spawn(impatient).get())
        killed = [gevent.spawn(lock.acquire) for _ in range(20)]
        gevent.sleep(0.01)
        gevent.killall(killed)
    print(lock.acquire(timeout=10))
    lock.release()
    condition = interlock.Condition("c")
    def wait():
        with condition:
            condition.wait()
    killed = gevent.spawn(wait)
    gevent.sleep(0.01)
    killed.kill()
    print(condition.acquire(False))
    """)
    assert out == "False\ngave up\nTrue\nTrue\n"


def test_nothing_left_to_happen(directory):
    """As among gevent's own locks: whoever waits for what no greenlet can give finds out."""
    with Program("""
    from gevent import monkey
    monkey.patch_all()
    import gevent, interlock
    lock = interlock.Lock("x")
    lock.acquire()
    print(lock.acquire(timeout=0.05))
    """) as program:
        assert program.end() == (0, "False\n", "")


def test_a_forked_child(directory):
    out = run("""
    import os
    lock = interlock.Lock("x")
    lock.acquire()
    waiting = gevent.spawn(lock.acquire)
    gevent.sleep(0.01)
    pid = os.fork()
    if pid == 0:
        assert not lock.acquire(timeout=0.02)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not waiting.ready()
    lock.release()
    print(waiting.get())
    """)
    assert out == "True\n"


def test_asyncio_is_refused(directory):
    with Program(
        PATCHED
        + """
    import asyncio
    lock = interlock.Lock("x")
    lock.acquire()
    asyncio.run(lock.acquire_async())
    """
    ) as program:
        status, _, err = program.end()
        assert status == 1
        assert "gevent has replaced" in err


def test_spans_of_greenlets(directory):
    """Each is child of the span that its greenlet is in."""
    pytest.importorskip("opentelemetry.sdk", reason="opentelemetry is not installed: pip install 'interlock[test]'")
    assert (
        run("""
    from tests.unit.test_tracing import Traced, told
    traced = Traced()
    interlock.tracing.instrument(traced.provider)
    lock, outers = interlock.Lock("x"), []
    def use():
        with traced.tracer.start_as_current_span("outer") as outer:
            outers.append(outer.get_span_context().span_id)
            with lock:
                pass
    with lock:
        waiting = [gevent.spawn(use) for _ in range(2)]
        gevent.sleep(0.02)
    gevent.joinall(waiting, raise_error=True)
    spans = traced.waits()
    assert [told(span) for span in spans] == [("acquire Lock", "x", "acquired")] * 2, spans
    assert sorted(span.parent.span_id for span in spans) == sorted(outers)
    """)
        == ""
    )
