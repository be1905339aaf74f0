"""synchronized: a function that runs under a lock."""

from __future__ import annotations

from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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
    that calls itself waits for itself: the lock is not re-entrant. A coroutine function waits in its task, and its loop
    goes on meanwhile.

    Raises:
        TypeError: for a generator function of either kind, whose body runs after the call; for a name that is no str.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - @synchronized without parentheses
        raise TypeError(f'write @synchronized("name"): it takes a lock\'s name, not {type(name).__name__}')

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"synchronized() cannot guard the generator function {function.__qualname__}: "
                "its body runs after the call; take the lock inside"
            )
        lock = Lock(name, space=space)

        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            with lock.hold(timeout):
                return function(*args, **kwargs)

        @wraps(function)
        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with lock.hold(timeout):
                return await function(*args, **kwargs)  # type: ignore[misc]

        return guarded_async if iscoroutinefunction(function) else guarded  # type: ignore[return-value]

    return decorate
