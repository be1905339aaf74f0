"""What an observer sees of a space, look by look: who held what, who waited, how often locks were taken.

A look reads what is in shared memory anyway. It takes no lock, so it holds nobody up, and it sees only what is there at its
moment: a hold lasts from the look that first saw it to the first one that did not, and one that fits between two looks is
seen by none. Two holds by the same thread are told apart by the fence, which rises with each acquisition; how much it has
risen gives the acquisitions a second. A wait is noted in shared memory when its first slice ends (src/engine/il_note.c),
after some milliseconds, with the moment when it began; shorter ones are not seen at all.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from interlock.cli import plain
from interlock.cli.table import OWNED, RWLOCK
from interlock.errors import KINDS, SpaceUnavailable
from interlock.records import owner_of
from interlock.watch import circles, describe, waiting_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from interlock.space import Space

CIRCLES_EVERY_NS = 100_000_000  # there may be thousands of waits to walk through
EVENTS_MOST = 2_000_000  # some 500 bytes each in the file, and in memory until then


class Party(NamedTuple):
    """Who acts: a process by its slot and start, and the token of a thread or task; 0: nobody knows which."""

    slot: int
    started: int
    token: int


@dataclass(slots=True)
class Slice:
    """A hold or a wait, in nanoseconds of the monotonic clock. A hold began after the look `unseen`; both ended after the
    look `seen`."""

    party: Party
    ref: int
    waits: bool
    unseen: int
    begin: int
    seen: int
    end: int
    looks: int
    more: dict[str, Any]  # what else is told of it
    deadlock: bool = False


@dataclass(slots=True)
class Recording:
    """All that was seen. Times are in nanoseconds of the monotonic clock; texts are harmless."""

    url: str
    began: int
    began_wall: float
    interval: int
    ended: int = 0
    looks: int = 0
    late: int = 0  # looks that came more than an interval too late
    slices: list[Slice] = field(default_factory=list[Slice])
    counts: list[tuple[int, int, str, float]] = field(
        default_factory=list[tuple[int, int, str, float]]
    )  # when, reference, of what, how many
    deadlocks: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    ends: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])  # slot and start -> when
    objects: dict[int, tuple[str, str]] = field(default_factory=dict[int, tuple[str, str]])  # name and kind
    processes: dict[tuple[int, int], tuple[int, str]] = field(
        default_factory=dict[tuple[int, int], tuple[int, str]]
    )  # slot and start -> pid, program
    threads: dict[Party, str] = field(default_factory=dict[Party, str])
    tasks: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])  # slot and token of those that are no threads

    @property
    def is_full(self) -> bool:
        return len(self.slices) + len(self.counts) >= EVENTS_MOST


class Observer:
    """Looks at a space again and again."""

    def __init__(self, space: Space, chosen: Callable[[str], bool], interval: int) -> None:
        self.space, self.chosen = space, chosen
        self.recording = Recording(plain(space.url), time.monotonic_ns(), time.time(), interval)
        self.last = self.recording.began
        self.elsewhere: set[tuple[int, int]] = (
            set()
        )  # slot and start of those on other hosts, whose numbers mean others here
        self.file = os.stat(space.path)
        self.alive = self.processes()
        self.open: dict[Hashable, Slice] = {}
        self.left_out: set[int] = set()
        self.fences: dict[int, int] = {}
        self.counted: dict[tuple[int, str], float] = {}
        self.circles_at = 0
        self.told: set[frozenset[Any]] = set()

    def look(self) -> None:
        """One look. Raises SpaceError when the space has gone."""
        self.stays()
        held, shares, waits = self.space._glance(), self.space._portions(), self.space._waits()
        now = time.monotonic_ns()
        after = self.processes()
        # One that came or went meanwhile may have the slot that another had: nobody is told of for somebody else.
        same = {slot: started for slot, started in after.items() if self.alive.get(slot) == started}
        seen: dict[Hashable, Slice] = {}
        self.see_waits(seen, waits, same, now)
        for ref, kind, slot, token, depth, fence in held:
            if kind in OWNED and self.known(ref):
                if kind != RWLOCK:  # whose readers have no fence
                    self.count_rate(ref, fence, now)
                if slot in same and (kind != RWLOCK or depth):
                    party = Party(slot, same[slot], token)
                    self.see(seen, (ref, party, fence), party, ref, now, {"fence": fence})
        for ref, slot, had in shares:
            if slot in same and self.known(ref):
                party = Party(slot, same[slot], 0)
                self.see(seen, (ref, party, had), party, ref, now, {"count": had})
        self.close(seen, now)
        for slot, started in self.alive.items():
            if after.get(slot) != started:
                self.recording.ends.setdefault((slot, started), now)
        if waits and now - self.circles_at >= CIRCLES_EVERY_NS:
            self.circles_at = now
            self.see_circles(now)
        self.alive = after
        self.recording.looks += 1
        self.recording.late += now - self.last > 2 * self.recording.interval
        self.last = self.recording.ended = now

    def end(self) -> Recording:
        self.close({}, self.last)
        return self.recording

    def stays(self) -> None:
        """The file of the space may be deleted, and what is mapped says nothing of that."""
        path = self.space.path
        try:
            found = os.stat(path)
        except OSError as error:
            raise SpaceUnavailable(
                f"the space at {path} has gone: {error.strerror}", path=path, errno=error.errno
            ) from None
        if (found.st_dev, found.st_ino) != (self.file.st_dev, self.file.st_ino):
            raise SpaceUnavailable(f"the space at {path} has gone: there is another file in its place", path=path)

    def processes(self) -> dict[int, int]:
        """Slot -> start of those who live."""
        found: dict[int, int] = {}
        for slot, pid, program, host, started, alive in self.space._processes():
            if alive:
                found[slot] = started
            if (slot, started) not in self.recording.processes:
                elsewhere = f" on {host}" if host and host != os.uname().nodename else ""
                if elsewhere:
                    self.elsewhere.add((slot, started))
                self.recording.processes[slot, started] = pid, plain(f"{program}{elsewhere}")
        return found

    def known(self, ref: int) -> bool:
        """Whether it is one of the chosen names."""
        if ref in self.recording.objects:
            return True
        if ref in self.left_out:
            return False
        name, kind = self.space._named(ref)
        if not kind:  # it has moved on
            return False
        if not self.chosen(name):
            self.left_out.add(ref)
            return False
        self.recording.objects[ref] = plain(name), KINDS.get(kind, f"kind {kind}")
        return True

    def see_waits(self, seen: dict[Hashable, Slice], waits: list[tuple[Any, ...]], same: dict[int, int], now: int) -> None:
        waiters: dict[int, int] = {}
        for key, _, _, _, _, notice, _, ref, (slot, token), _ in waits:
            if slot not in same or not self.known(ref):
                continue
            party = Party(slot, same[slot], token)
            if token >> 32:
                self.recording.tasks.add((slot, token))
            waiters[ref] = waiters.get(ref, 0) + 1
            more = (
                {"waited before, ms": round((self.recording.began - key[1]) / 1e6, 3)}
                if key[1] < self.recording.began
                else {}
            )
            begin = min(max(key[1], self.recording.began), now)
            self.see(seen, key, party, ref, begin, {**more, "for a notice": True} if notice else more, waits=True)
        for ref, _ in [each for each in self.counted if each[1] == "waiters"]:
            waiters.setdefault(ref, 0)
        for ref, number in waiters.items():
            self.count(now, ref, "waiters", number)

    def see(
        self,
        seen: dict[Hashable, Slice],
        key: Hashable,
        party: Party,
        ref: int,
        begin: int,
        more: dict[str, Any],
        waits: bool = False,
    ) -> None:
        slice_ = self.open.get(key)
        if slice_ is None:
            slice_ = Slice(party, ref, waits, self.last, begin, begin, begin, 0, more)
            self.name(party)
        slice_.looks += 1
        seen[key] = slice_

    def close(self, seen: dict[Hashable, Slice], now: int) -> None:
        """What this look has not seen any more is over."""
        for key, slice_ in self.open.items():
            if key not in seen:
                slice_.end = now
                self.recording.slices.append(slice_)
        for slice_ in seen.values():
            slice_.seen = now
        self.open = seen

    def name(self, party: Party) -> None:
        """Names a thread while it lives."""
        if party not in self.recording.threads:
            pid, program = self.recording.processes[party.slot, party.started]
            owner = owner_of(pid, party.token & 0xFFFFFFFF, program, "")
            named = owner.thread_id != pid and party[:2] not in self.elsewhere
            self.recording.threads[party] = plain(owner.thread_name or "") if named else ""

    def count_rate(self, ref: int, fence: int, now: int) -> None:
        before = self.fences.get(ref)
        self.fences[ref] = fence
        if before is not None and now > self.last:
            self.count(self.last, ref, "acquisitions a second", round((fence - before) * 1e9 / (now - self.last), 1))

    def count(self, when: int, ref: int, what: str, number: float) -> None:
        """Notes a number that has changed."""
        if self.counted.get((ref, what), 0) != number:
            self.counted[ref, what] = number
            self.recording.counts.append((when, ref, what, number))

    def see_circles(self, now: int) -> None:
        for rows in circles(self.space):
            keys = frozenset(row[0] for row in rows)
            ours = [slice_ for key, slice_ in self.open.items() if key in keys]
            for slice_ in ours:
                slice_.deadlock = True
            if ours and keys not in self.told:
                self.told.add(keys)
                title, *parties = describe(tuple(map(waiting_of, rows))).split("\n  ")
                self.recording.deadlocks.append((now, plain(f"{title} {'; '.join(parties)}".rstrip())))
