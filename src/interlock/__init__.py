"""Locks that hold between threads, processes and programs: one name, one object, everywhere.

    import interlock

    with interlock.Lock("orders"):
        ...                             # nobody else on this machine is in here

See README for what each kind is for, ARCHITECTURE for how it works.
"""

from __future__ import annotations

from interlock._version import __version__
from interlock.errors import (
    AcquireTimeout,
    DeadlockDetected,
    InterlockError,
    KindMismatch,
    LayoutMismatch,
    NotHeld,
    NotOwner,
    ParameterMismatch,
    SpaceError,
    SpaceFull,
    SpaceUnavailable,
)
from interlock.lock import Lock
from interlock.rlock import RLock
from interlock.space import Space

__all__ = [
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

# On first use: not every program needs them, and some are dearer to import than everything above together (dataclasses).
_LATE = {
    "Array": "interlock.array",
    "Barrier": "interlock.barrier",
    "BoundedSemaphore": "interlock.bounded_semaphore",
    "Condition": "interlock.condition",
    "Event": "interlock.event",
    "RWLock": "interlock.rwlock",
    "Semaphore": "interlock.semaphore",
    "Value": "interlock.value",
    "LockStatistics": "interlock.records",
    "ObjectInfo": "interlock.records",
    "Owner": "interlock.records",
    "synchronized": "interlock.decorator",
    "Process": "interlock.watch",
    "Waiting": "interlock.watch",
}

# The last two need what the extras "prometheus" and "opentelemetry" bring.
_MODULES = ("mp", "metrics", "tracing")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from interlock import metrics as metrics
    from interlock import mp as mp
    from interlock import tracing as tracing
    from interlock.array import Array
    from interlock.barrier import Barrier
    from interlock.bounded_semaphore import BoundedSemaphore
    from interlock.condition import Condition
    from interlock.decorator import synchronized
    from interlock.event import Event
    from interlock.records import LockStatistics, ObjectInfo, Owner
    from interlock.rwlock import RWLock
    from interlock.semaphore import Semaphore
    from interlock.value import Value
    from interlock.watch import Process, Waiting


def __getattr__(name: str) -> object:
    if name not in _MODULES and name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"interlock.{name}")
    value = getattr(import_module(_LATE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "mp"})
