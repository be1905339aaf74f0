"""synchronized: a function that runs under a lock."""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from interlock.lock import Lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.space import Space

P = ParamSpec("P")
R = TypeVar("R")


def synchronized(
    name: str, *, timeout: float | None = -1, space: Space | str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: run the function while holding Lock(name).

    Args:
        name: the lock's name.
        timeout: seconds to wait at most for the lock, each call; -1 or None: for ever.
        space: a Space or its URL; None: the default space.

    The decorated function raises AcquireTimeout when the lock was not to be had in time; it did not run then. A function
    that calls itself waits for itself: the lock is not re-entrant.

    Raises:
        TypeError: for a coroutine function, since waiting would stop its event loop; for a name that is no str.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - @synchronized without parentheses
        raise TypeError(f'write @synchronized("name"): it takes a lock\'s name, not {type(name).__name__}')

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if iscoroutinefunction(function):
            raise TypeError(
                f"synchronized() cannot guard the coroutine function {function.__qualname__}: "
                "waiting for the lock would stop the event loop"
            )
        lock = Lock(name, space=space)

        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with lock.hold(timeout):
                return function(*args, **kwargs)

        return guarded

    return decorate
