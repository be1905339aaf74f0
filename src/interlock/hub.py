"""Waiting in gevent's greenlets.

In a program whose threads gevent has replaced, a wait must not stop the thread, in which all greenlets run. So whoever
would sleep in the engine lets the hub run instead, which looks at the waits of its greenlets as an asyncio loop does at
those of its tasks. Greenlets stand for threads: a re-entrant lock belongs to the greenlet that took it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent
import gevent.event
import gevent.hub
from greenlet import getcurrent

from interlock.engine import native
from interlock.space import open_port

if TYPE_CHECKING:
    from interlock.space import Space

READ = 1  # of gevent's event loops

_tokens: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_hubs: WeakKeyDictionary[Any, dict[Space, _Hub]] = WeakKeyDictionary()


class _Hub:
    """What the greenlets of one hub wait for in one space."""

    def __init__(self, hub: Any, space: Space) -> None:
        self.port = open_port(space)
        self.watcher = hub.loop.io(self.port.fileno(), READ)
        self.asleep: set[Any] = set()

    def sleep(self, waiter: native.Waiter) -> None:
        event = waiter.owner = gevent.event.Event()
        self.port.watch(waiter, False)
        self.asleep.add(event)
        if len(self.asleep) == 1:  # not longer than anybody waits: the hub must see when nothing is left to happen
            self.watcher.start(self.poll)
        try:
            event.wait()
        finally:
            self.port.forget(waiter)
            self.asleep.discard(event)
            if not self.asleep:
                self.watcher.stop()

    def poll(self) -> None:
        if self.port.inherited:  # by a forked child, whose greenlets wait anew
            self.watcher.stop()
            for event in self.asleep:
                event.set()
            return
        for event, _, _ in self.port.poll():
            event.set()


def sleep(waiter: native.Waiter) -> None:
    """Lets other greenlets run until it is time to look at the wait again."""
    hub = gevent.hub.get_hub()
    spaces = _hubs.setdefault(hub, {})
    space = waiter.handle.space
    mine = spaces.get(space)
    if mine is None or mine.port.inherited:
        mine = spaces[space] = _Hub(hub, space)
    mine.sleep(waiter)


def token_of(greenlet: Any) -> int:
    """What stands for a greenlet where a thread has its own number."""
    token = _tokens.get(greenlet)
    if token is None:
        token = _tokens[greenlet] = native.new_token()
    return token


def running() -> bool:
    """Code always runs in a greenlet."""
    return True


def current(_: object) -> Any:
    """The greenlet that runs."""
    return getcurrent()


# To the extension, when it finds that gevent has replaced the threads.
LENT = (running, current, token_of, sleep)
