"""Who waits for whom: snapshots, and deadlocks told.

A wait is seen once it has lasted for some milliseconds. Snapshots are put together from what every process notes of itself
in shared memory; they take no lock and wait for nobody.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from interlock.errors import KINDS, DeadlockDetected
from interlock.records import Owner, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock.engine import native

logger = logging.getLogger("interlock")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A thread or task that waits.

    Attributes:
        name: of what it waits for, "orders".
        kind: of what it waits for, "Lock".
        notice: whether it waits to be told something, by a notification, an event, a permit or the other parties of a
            barrier, and not for what somebody has.
        pid, program, host: as of an Owner.
        thread_id, thread_name: as of an Owner. Of a task, those of its loop's thread; 0 and None for tasks that wait for a
            kind that does not tell tasks apart.
        since: when the wait began, seconds since the epoch.
        owners: who has it. Several, if readers or permits are waited for.
    """

    name: str
    kind: str
    notice: bool
    pid: int
    thread_id: int
    thread_name: str | None
    program: str
    host: str | None
    since: float
    owners: tuple[Owner, ...]

    def __str__(self) -> str:
        return f"{_party(self)} waits for {self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that uses a space.

    Attributes:
        pid: in its own PID namespace.
        program: start of its command line.
        host: its host name.
        started: when it began to use the space, seconds since the epoch.
        alive: whether it lives; the traces of one that does not are removed by whoever needs its place.
    """

    pid: int
    program: str
    host: str | None
    started: float
    alive: bool


def _party(who: Waiting | Owner) -> str:
    thread = f" thread {who.thread_name or who.thread_id}" if who.thread_id else ""
    return f"process {who.pid}{thread} ({who.program})"


def waiting_of(row: tuple[Any, ...]) -> Waiting:
    _, party, since_ns, name, kind, notice, holders, *_ = row
    who = owner_of(*party)
    return Waiting(
        name=name,
        kind=KINDS.get(kind, "gone"),
        notice=notice,
        pid=who.pid,
        thread_id=who.thread_id,
        thread_name=who.thread_name,
        program=who.program,
        host=who.host,
        since=since_ns / 1e9,
        owners=tuple(owner_of(*row) for row in holders),
    )


def waits(space: native.Space) -> list[Waiting]:
    """Those who wait for anything in the space, the longest first."""
    return sorted(map(waiting_of, space._waits()), key=lambda each: each.since)


def waiters(handle: native.Handle) -> list[Waiting]:
    """Those who wait for what the handle refers to, the longest first."""
    kind = handle._kind
    return [each for each in waits(handle.space) if each.name == handle._name and each.kind == KINDS[kind]]


def processes(space: native.Space) -> list[Process]:
    return [
        Process(pid, program, host or None, started_ns / 1e9, alive)
        for _, pid, program, host, started_ns, alive in space._processes()
    ]


def deadlocks(space: native.Space) -> list[tuple[Waiting, ...]]:
    return [tuple(map(waiting_of, rows)) for rows in circles(space)]


def circles(space: native.Space) -> list[list[tuple[Any, ...]]]:
    """Each cycle once: if it is there in two looks, its parties have waited, and kept what they have, all along."""
    seen = [_by_parties(space._cycles()) for _ in range(2)]
    return [rows for parties, rows in seen[1].items() if parties in seen[0]]


def _by_parties(cycles: Iterable[list[tuple[Any, ...]]]) -> dict[frozenset[Any], list[tuple[Any, ...]]]:
    return {frozenset(row[0] for row in rows): rows for rows in cycles}


def describe(cycle: Sequence[Waiting]) -> str:
    """A deadlock in words, a line for each party."""
    now = time()
    if len(cycle) == 1:
        advice = " (an RLock may be taken again)" if cycle[0].kind == "Lock" else ""
        return f"{_party(cycle[0])} waits for {cycle[0].kind} {cycle[0].name!r}, which it has itself{advice}"
    lines = [f"{len(cycle)} parties wait for each other:"]
    for each, holder in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
        wait = f"has waited {now - each.since:.1f} s for {each.kind} {each.name!r}"
        lines.append(f"  {_party(each)} {wait}, which {_party(holder)} has")
    return "\n".join(lines)


def tell(handle: native.Handle, rows: list[tuple[Any, ...]], logs: bool, raises: bool) -> None:
    """What the extension calls for a deadlock that the caller is part of. Raises DeadlockDetected if it is the victim."""
    cycle = tuple(map(waiting_of, rows))
    text = describe(cycle)
    if logs:
        logger.warning("deadlock in %s: %s", handle.space.path, text)
    if raises:
        raise DeadlockDetected(
            f"deadlock, of which this wait is the victim: {text}; release what this thread has, so that the others go on",
            name=handle._name,
            path=handle.space.path,
            cycle=cycle,
        )
