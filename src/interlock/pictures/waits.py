"""The wait-for graph of a space, as boxes and arrows: parties wait for objects, which parties have."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interlock.cli import plain
from interlock.cli.show import ago
from interlock.cli.table import OWNED, RWLOCK, clip
from interlock.errors import KINDS, count
from interlock.pictures import short
from interlock.records import Owner, owner_of
from interlock.watch import circles

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from interlock.space import Space

TEXT_MOST = 32  # characters in a line of a box; the whole is in its title
WAITERS_MOST = 24  # boxes of those who only wait, for each object; the others are a number


@dataclass(slots=True)
class Box:
    """Lines of harmless text, of which the first is the name; `whole` tells what did not fit."""

    party: bool
    lines: list[str]
    whole: str
    alarm: bool = False


@dataclass(slots=True)
class Arrow:
    """From who waits to the object (`has` is False), or from the object to who has it."""

    tail: int
    head: int
    has: bool
    alarm: bool = False


@dataclass(slots=True)
class Graph:
    """Boxes, arrows between them by number, and circles: the numbers of boxes that wait for each other. What it is of, and
    what is in it."""

    title: str
    summary: str = ""
    boxes: list[Box] = field(default_factory=list[Box])
    arrows: list[Arrow] = field(default_factory=list[Arrow])
    circles: list[list[int]] = field(default_factory=list[list[int]])


def draw(space: Space, chosen: Callable[[str], bool], held: bool) -> Graph:
    """Who waits for the chosen names, and who has them; with `held`, also of those that nobody waits for. A circle through
    one of them is there as a whole."""
    return _Drawing(space, chosen, held).graph


class _Drawing:
    """Parties are known by their marks (src/binding/watch.c), objects by their references."""

    def __init__(self, space: Space, chosen: Callable[[str], bool], held: bool) -> None:
        self.space, self.now = space, time.time()
        self.numbers: dict[Hashable, int] = {}
        self.known: dict[tuple[int, int, bool], Arrow] = {}
        stamp = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(self.now))
        self.graph = Graph(f"{plain(space.url)}   {stamp}")
        found = [rows for rows in circles(space) if any(chosen(row[3]) for row in rows)]
        waits = {row[0]: row for row in space._waits() if chosen(row[3])}
        waits |= {row[0]: row for rows in found for row in rows}
        self.processes = {slot: row for slot, *row in space._processes()}
        self.tasks = {row[8] for row in waits.values() if row[8][1] >> 32}
        self.waiters: dict[int, int] = {}  # how many there are of each object …
        self.seen: dict[int, int] = {}  # … and how many we have come to
        self.rest: dict[int, int] = {}
        self.told: set[tuple[int, int]] = set()  # which process has it, of each object in a circle
        for row in waits.values():
            self.waiters[row[7]] = self.waiters.get(row[7], 0) + 1
        for rows in found:
            self.circle(rows)
        holders = {self.known_as(mark) for row in waits.values() for mark in row[9]}
        for row in sorted(waits.values(), key=lambda row: row[2]):
            self.wait(row, row[8] in holders)
        if held:
            self.held(chosen)
        waiting = "1 waits" if len(waits) == 1 else f"{len(waits)} wait"
        told = f"{waiting} for {count(len(self.waiters), 'object')}" if waits else "Nobody waits"
        self.graph.summary = f"{told}; {count(len(found), 'deadlock')}" if found else told

    def known_as(self, mark: tuple[int, int]) -> tuple[int, int]:
        """The mark that a holder has if it waits: a task's, or that of the thread."""
        return mark if mark in self.tasks else (mark[0], mark[1] & 0xFFFFFFFF)

    def circle(self, rows: list[tuple[Any, ...]]) -> None:
        around: list[int] = []
        for row, following in zip(rows, (*rows[1:], rows[0]), strict=True):
            party, thing = self.party(row[8], row[1], row), self.thing(row[7], row[3], row[4])
            holder = self.party(following[8], following[1], following)
            self.told.add((thing, following[8][0]))
            for box in (party, thing):
                self.graph.boxes[box].alarm = True
                around.append(box)
            self.arrow(party, thing, False).alarm = True
            self.arrow(thing, holder, True).alarm = True
        self.graph.circles.append(around)

    def wait(self, row: tuple[Any, ...], has_something: bool) -> None:
        _, who, _, name, kind, _, holders, ref, mark, marks = row
        thing = self.thing(ref, name, kind)
        self.seen[ref] = self.seen.get(ref, 0) + 1
        if self.seen[ref] <= WAITERS_MOST or has_something or mark in self.numbers:
            self.arrow(self.party(mark, who, row), thing, False)
        else:
            self.more(thing)
        for holder, owner in zip(marks, holders, strict=True):
            self.has(thing, holder, owner)

    def has(self, thing: int, mark: tuple[int, int], owner: tuple[Any, ...]) -> None:
        """Who reads is known by the process, unless a circle has told which thread it is."""
        if mark[1] or (thing, mark[0]) not in self.told:
            self.arrow(thing, self.party(self.known_as(mark), owner, None), True)

    def held(self, chosen: Callable[[str], bool]) -> None:
        """Also what nobody waits for."""
        had: list[tuple[int, tuple[int, int]]] = [
            (ref, (slot, token))
            for ref, kind, slot, token, depth, _ in self.space._glance()
            if slot and kind in OWNED and (kind != RWLOCK or depth)
        ]
        had += [(ref, (slot, 0)) for ref, slot, _ in self.space._portions()]
        for ref, mark in had:
            name, kind = self.space._named(ref)
            if kind and chosen(name) and ref not in self.waiters and mark[0] in self.processes:
                pid, program, host, *_ = self.processes[mark[0]]
                self.has(self.thing(ref, name, kind), mark, (pid, mark[1] & 0xFFFFFFFF, program, host, 0, 0))

    def party(self, mark: tuple[int, int], figures: tuple[Any, ...], row: tuple[Any, ...] | None) -> int:
        number = self.numbers.get(mark)
        if number is None:
            number = self.numbers[mark] = len(self.graph.boxes)
            who = owner_of(*figures)
            thread = f", thread {thread_of(who)}" if who.thread_id not in (0, who.pid) else ""
            if mark in self.tasks:
                thread = f", a task{thread}"
            elif row is not None and not mark[1]:
                thread = ", some task"  # which one is not known: it is the process that will have it
            dead = "" if self.processes.get(mark[0], (0, "", "", 0, True))[4] else ", dead"
            host = f" on {who.host}" if who.host and who.host != os.uname().nodename else ""
            lines = [short(who.program), f"process {who.pid}{host}{thread}{dead}"]
            whole = f"{plain(who.program)}: {plain(lines[1])}"
            self.graph.boxes.append(Box(True, [clip(plain(line), TEXT_MOST) for line in lines], whole))
        box = self.graph.boxes[number]
        if row is not None and len(box.lines) == 2:
            box.lines.append(f"waits {ago(self.now - row[2] / 1e9)}")
        return number

    def thing(self, ref: int, name: str, kind: int) -> int:
        if ref not in self.numbers:
            self.numbers[ref] = len(self.graph.boxes)
            waiters = self.waiters.get(ref, 0)
            what = KINDS.get(kind, "gone") + (f", {count(waiters, 'waiter')}" if waiters else "")
            self.graph.boxes.append(Box(False, [clip(plain(name) or "?", TEXT_MOST), what], plain(name)))
        return self.numbers[ref]

    def more(self, thing: int) -> None:
        """One more that has no box of its own."""
        rest = self.rest[thing] = self.rest.get(thing, 0) + 1
        number = self.numbers.setdefault(("more", thing), len(self.graph.boxes))
        if rest == 1:
            self.graph.boxes.append(Box(True, [], ""))
            self.arrow(number, thing, False)
        self.graph.boxes[number].lines = [f"… and {rest} more"]

    def arrow(self, tail: int, head: int, has: bool) -> Arrow:
        if (tail, head, has) not in self.known:
            self.known[tail, head, has] = Arrow(tail, head, has)
            self.graph.arrows.append(self.known[tail, head, has])
        return self.known[tail, head, has]


def thread_of(who: Owner) -> str | int:
    """A thread's name, if it has one of its own, else its number."""
    main = owner_of(who.pid, who.pid, "", "").thread_name
    return who.thread_id if who.thread_name in (None, main) else who.thread_name
