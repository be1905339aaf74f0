"""OpenTelemetry spans for waits. Needs opentelemetry-api, which interlock[opentelemetry] brings::

    interlock.tracing.instrument()

A span for each acquire(), wait() and `with` that had to sleep, in threads, tasks and greenlets, from when it began to wait
until it goes on, child of the span that it waits in. What need not sleep makes none, and costs nothing more.

Its name is "acquire Lock", "read RWLock", "wait Condition" and the like. Its attributes::

    interlock.name, interlock.kind, interlock.space   "orders", "Lock", "shm:default"
    interlock.operation                               "acquire", "read", "write" (of an RWLock) or "wait"
    interlock.outcome                                 "acquired"; "notified" for a wait; "timeout"; "cancelled": a task was
                                                      cancelled, or Ctrl-C, GreenletExit and the like ended it; "error"
    error.type                                        of what it raised, if it did: "interlock.errors.DeadlockDetected"

A span is made while its thread has what it waited for. What goes wrong in that loses nothing: sys.unraisablehook is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interlock.engine import native
from interlock.errors import KINDS
from interlock.locklike import own

try:
    from opentelemetry import trace
except ModuleNotFoundError as error:
    if error.name not in ("opentelemetry", "opentelemetry.trace"):
        raise
    raise ModuleNotFoundError(
        "interlock.tracing needs opentelemetry-api: pip install 'interlock[opentelemetry]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["instrument", "uninstrument"]


def instrument(tracer_provider: trace.TracerProvider | None = None) -> None:
    """Makes spans from now on, in this process and those it forks: by this provider, or None: by the global one, also one
    that is set later. Called again, it replaces the provider."""
    from interlock import __version__

    native.set_wait_hook(_hook(trace.get_tracer("interlock", __version__, tracer_provider)))


def uninstrument() -> None:
    """Makes no more spans."""
    native.set_wait_hook(None)


def _hook(tracer: trace.Tracer) -> Callable[[Any, int, int, bool, BaseException | None, bool], None]:
    def make_span(handle: Any, began: int, ended: int, done: bool, error: BaseException | None, acquires: bool) -> None:
        kind = KINDS[own(handle, "_kind")]
        if kind == "Condition" and acquires and handle._lock is not None:
            handle = handle._lock  # that is what was waited for
            kind = KINDS[own(handle, "_kind")]
        operation = _operation(handle, kind) if acquires else "wait"
        attributes: dict[str, str] = {
            "interlock.name": own(handle, "_name"),
            "interlock.kind": kind,
            "interlock.space": own(handle, "space").url,
            "interlock.operation": operation,
            "interlock.outcome": _outcome(operation, done, error),
        }
        if error is not None:
            attributes["error.type"] = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        span = tracer.start_span(f"{operation} {kind}", attributes=attributes, start_time=began)
        if isinstance(error, Exception):
            span.set_status(trace.StatusCode.ERROR, str(error))
        span.end(ended)

    return make_span


def _operation(handle: Any, kind: str) -> str:
    if kind == "RWLock":
        return "read" if isinstance(handle, native.ReadLock) else "write"
    return "wait" if kind in ("Event", "Barrier") else "acquire"


def _outcome(operation: str, done: bool, error: BaseException | None) -> str:
    if error is not None:
        return "error" if isinstance(error, Exception) else "cancelled"
    if not done:
        return "timeout"
    return "notified" if operation == "wait" else "acquired"
