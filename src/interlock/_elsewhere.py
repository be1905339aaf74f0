"""Stands in for the extension where there is none: everything imports, and says plainly what is missing when it is used."""

from __future__ import annotations

import sys

from interlock.errors import SpaceUnavailable

LAYOUT_VERSION = 0
SLOTS_LIMIT = 0


def set_hooks(*_hooks: object) -> None:
    """Nothing to lend them to."""


def set_wait_hook(_hook: object) -> None:
    """No wait will end."""


def _refuse() -> SpaceUnavailable:
    return SpaceUnavailable(f"shared-memory spaces need Linux; this is {sys.platform}")


class Space:
    """Cannot be made here."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        raise _refuse()


class Handle:
    """Cannot be made here."""

    def __new__(cls, *_arguments: object, **_options: object) -> Handle:
        raise _refuse()


class LockHandle(Handle):
    """Cannot be made here."""


class Hold:
    """Never comes to be made here."""


class Lock(LockHandle):
    """Cannot be made here."""


class RLock(LockHandle):
    """Cannot be made here."""


class Semaphore(Handle):
    """Cannot be made here."""


class Event(Handle):
    """Cannot be made here."""


class Condition(Handle):
    """Cannot be made here."""


class Barrier(Handle):
    """Cannot be made here."""


class BoundedSemaphore(Handle):
    """Cannot be made here."""


class ReadLock(LockHandle):
    """Cannot be made here."""


class WriteLock(LockHandle):
    """Cannot be made here."""


class Data(Handle):
    """Cannot be made here."""


class Value(Data):
    """Cannot be made here."""


class Array(Data):
    """Cannot be made here."""
