"""Waiting in asyncio tasks.

The primitives themselves take the first step, in C; what comes here is what could not be had at once, as a Waiter. One
Port for each loop and space looks at all of them, in the loop's own thread, when the kernel or the engine's one listening
thread says so. Waiters for the same thing stand in a queue, of which only the first is looked at: a thousand tasks that
want one lock cost as much as one.

A task that is cancelled finds its wait either pending, and abandons it, or granted, and gives back what it got.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from interlock.engine import native
from interlock.space import open_port

if TYPE_CHECKING:
    from collections.abc import Hashable

    from interlock.space import Space

_tokens: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Space, _Loop]] = WeakKeyDictionary()


def token_of(task: asyncio.Task[Any]) -> int:
    """What stands for a task where a thread has its own number."""
    token = _tokens.get(task)
    if token is None:
        token = _tokens[task] = native.new_token()
    return token


class _Wait:
    """A task's wait."""

    __slots__ = ("after", "before", "error", "future", "key", "result", "waiter")

    def __init__(self, waiter: native.Waiter, key: Hashable) -> None:
        self.waiter, self.key = waiter, key
        self.before: Any = None  # in its queue, which is a ring; None: it stands in none
        self.after: Any = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter.owner = self

    def step(self) -> bool:
        """Whether it has come to its end."""
        try:
            self.result = self.waiter.step()
        except BaseException as error:
            self.error = error
        return self.waiter.over

    def tell(self) -> None:
        """Lets the task go on, with what came of it. One that was cancelled sees to that itself."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class _Loop:
    """What the tasks of one loop wait for in one space."""

    def __init__(self, loop: asyncio.AbstractEventLoop, space: Space) -> None:
        self.port = open_port(space)
        self.queues: dict[Hashable, _Wait] = {}  # the first of each
        loop.add_reader(self.port.fileno(), self.poll)

    def poll(self) -> None:
        for wait, result, error in self.port.poll():
            wait.result, wait.error = result, error
            wait.tell()
            self.leave(wait)

    def enter(self, wait: _Wait) -> None:
        first = self.queues.get(wait.key) if wait.key is not None else None
        self.port.watch(wait.waiter, first is not None)
        if wait.key is None:
            return
        if first is None:
            first = self.queues[wait.key] = wait.before = wait.after = wait
        else:
            wait.before, wait.after = first.before, first
            wait.before.after = first.before = wait

    def _take_out(self, wait: _Wait) -> None:
        before, after = wait.before, wait.after
        wait.before = wait.after = None
        if after is wait:
            del self.queues[wait.key]
            return
        before.after, after.before = after, before
        if self.queues[wait.key] is wait:
            self.queues[wait.key] = after

    def leave(self, wait: _Wait) -> None:
        """Out of its queue. Whoever is the first now is looked at, and so on."""
        if wait.after is None:
            return
        first = self.queues[wait.key] is wait
        self._take_out(wait)
        while first and (head := self.queues.get(wait.key)) is not None:
            if not head.waiter.over:  # else poll() has found its end as well, and is about to tell
                if not head.step():
                    self.port.watch(head.waiter, False)
                    return
                self.port.forget(head.waiter)
                head.tell()
            self._take_out(head)

    def abandon(self, wait: _Wait, may_wait: bool) -> bool:
        """Whether it goes on, to a good end: not if that has to be waited for, and must not be."""
        goes_on = wait.waiter.abandon()
        if goes_on and wait.step():
            goes_on = False
        if goes_on and not may_wait:
            goes_on = wait.waiter.abandon()
        if goes_on:
            self.port.watch(wait.waiter, False)
        else:
            self.port.forget(wait.waiter)
            self.leave(wait)
        return goes_on


def _loop_of(space: Space) -> _Loop:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a task can wait for this in asyncio's event loops only, and none is running here: in trio and others, let a "
            "thread of theirs acquire it; outside of tasks, call the method without _async"
        ) from None
    spaces = _loops.setdefault(running, {})
    loop = spaces.get(space)
    if loop is None or loop.port.inherited:
        _forget_closed_loops()
        loop = spaces[space] = _Loop(running, space)
    return loop


def _forget_closed_loops() -> None:
    """What they leave goes with the garbage, some time; their descriptors go now."""
    for reference in _loops.keyrefs():  # a list: other threads' loops come meanwhile
        loop = reference()
        if loop is not None and loop.is_closed():
            _loops.pop(loop, None)


async def settle(waiter: native.Waiter, queued: bool = True) -> Any:
    """Waits until the Waiter's act has come to its end. Returns what came of it."""
    handle: native.Handle = waiter.handle
    loop = _loop_of(handle.space)
    # One that has the gate of an RWLock already, which others in the queue wait for, does not stand behind them.
    wait = _Wait(waiter, (type(handle), handle._name) if queued and not waiter.stage else None)
    try:
        loop.enter(wait)
        result = await wait.future
        waiter.tell(result is not False, None)  # Ctrl-C may come in there, and the task would not know what it holds
        return result
    except BaseException as reason:
        try:
            if not waiter.over:
                if loop.abandon(wait, may_wait=not isinstance(reason, GeneratorExit)):
                    await _to_the_end(loop, wait)
            elif wait.error is None and wait.result is not False:
                waiter.give_back()
        finally:
            waiter.tell(False, reason)
        raise


async def _to_the_end(loop: _Loop, wait: _Wait) -> None:
    """Whoever gives up waiting for a condition must have the lock again before it may go."""
    while not wait.waiter.over:
        wait.future = asyncio.get_running_loop().create_future()
        try:
            await wait.future
        except asyncio.CancelledError:
            continue
        except BaseException:
            if not wait.waiter.over:
                loop.abandon(wait, may_wait=False)
            raise


async def settle_hold(begun: Any, lock: Any, timeout: float | None, blocking: bool) -> Any:
    """For `async with lock.hold(…)`."""
    if begun is not False and not await settle(begun):
        begun = False
    if begun is False:
        from interlock.locklike import timeout_of

        raise timeout_of(lock, timeout, blocking)
    return lock


async def acquire(handle: Any, timeout: float | None) -> bool:
    """Acquires a lock, a permit, or waits for an event."""
    begun = handle._ask(timeout)
    return begun if isinstance(begun, bool) else await settle(begun)


async def wait(handle: Any, timeout: float | None) -> Any:
    """Waits for a condition or at a barrier."""
    _loop_of(handle.space)  # before the condition's lock is let go of, in case there is none
    begun = handle._ask_wait(timeout)
    return await settle(begun, queued=False) if isinstance(begun, native.Waiter) else begun


# To the extension, which asks for it when the first task waits.
LENT = (asyncio._get_running_loop, asyncio.current_task, token_of, settle_hold, settle)
