"""A recording as a trace that Perfetto and chrome://tracing show: the Trace Event Format, as JSON.

Each process has a track for each of its threads, with what that held and waited for. Beside them a made-up process,
"locks", has a track for each object, with who held it, and counters. Slices of one track lie one after the other or one
within the other; what does not, as with locks that are released in the order in which they were taken, goes on a further
track.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from interlock.pictures import short

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from interlock.pictures.recording import Party, Recording, Slice

Event = dict[str, Any]
MADE_UP = 1 << 22  # no pid or thread has a number from here on (PID_MAX_LIMIT in Linux' threads.h)
NOTE = (
    "Sampled: a hold lasts from the look that first saw it to the first one that did not, and shorter ones may be missing. "
    "Waits are seen once they have lasted for some milliseconds; they begin exactly."
)


def trace(recording: Recording) -> Iterator[str]:
    """The file, piece by piece."""
    about = {
        "space": recording.url,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(recording.began_wall)),
        "seconds": round((recording.ended - recording.began) / 1e9, 3),
        "interval_ms": recording.interval / 1e6,
        "looks": recording.looks,
        "late_looks": recording.late,
        "note": NOTE,
    }
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(about)},"traceEvents":[\n'
    between = ""
    for event in _Trace(recording).events():
        yield f"{between}{json.dumps(event, separators=(',', ':'))}"
        between = ",\n"
    yield "\n]}\n"


class _Trace:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.next_number = MADE_UP
        self.locks = self.number()
        self.pids: dict[tuple[int, int], int] = {}
        for key, (pid, _) in recording.processes.items():
            self.pids[key] = self.number() if pid in self.pids.values() else pid
        self.tids: dict[Hashable, int] = {}
        self.named: list[Event] = []
        self.names = {self.actor(party): name for party, name in recording.threads.items()}

    def events(self) -> list[Event]:
        events = [*self.slices()]
        events += [*self.marks({event["pid"]: event["tid"] for event in events}), *self.counters()]
        events.sort(key=lambda event: (event["ts"], -event.get("dur", 0.0)))
        return [*self.process_names(events), *self.named, *events]

    def number(self) -> int:
        self.next_number += 1
        return self.next_number - 1

    def us(self, at: int) -> float:
        return (at - self.recording.began) / 1000

    def slices(self) -> Iterator[Event]:
        by_party: dict[Party, list[Slice]] = {}
        by_object: dict[int, list[Slice]] = {}
        for slice_ in self.recording.slices:
            by_party.setdefault(self.actor(slice_.party), []).append(slice_)
            if not slice_.waits:
                by_object.setdefault(slice_.ref, []).append(slice_)
        for ref, ours in by_object.items():
            for slice_, lane in lanes(ours):
                name, kind = self.recording.objects[ref]
                track = self.track(("object", ref), lane, self.locks, f"{name} ({kind})", len(self.tids))
                yield {**self.slice(slice_, self.locks, track), "name": self.told(slice_.party)}
        for actor, ours in by_party.items():
            if actor.token:
                settle(ours)
            for slice_, lane in lanes(ours):
                yield self.slice(slice_, self.pids[actor.slot, actor.started], self.thread_track(actor, lane))

    def slice(self, slice_: Slice, pid: int, track: int) -> Event:
        name, kind = self.recording.objects[slice_.ref]
        what = "DEADLOCK, waits for " if slice_.deadlock else "waits for " if slice_.waits else ""
        return {
            "ph": "X",
            "name": f"{what}{name}",
            "cat": "wait" if slice_.waits else "hold",
            "ts": self.us(slice_.begin),
            "dur": (slice_.end - slice_.begin) / 1000,
            "pid": pid,
            "tid": track,
            "cname": "terrible" if slice_.deadlock else "bad" if slice_.waits else "good",
            "args": {"object": name, "kind": kind, "looks": slice_.looks, **slice_.more},
        }

    def marks(self, used: dict[int, int]) -> Iterator[Event]:
        """Moments: deadlocks, and ends of processes, on one of the tracks that these have."""
        for when, text in self.recording.deadlocks:
            track = self.track("deadlocks", 0, self.locks, "deadlocks", -1)
            mark = {"ph": "i", "name": "deadlock", "cat": "deadlock", "s": "g", "cname": "terrible", "args": {"told": text}}
            yield {**mark, "ts": self.us(when), "pid": self.locks, "tid": track}
        for key, when in self.recording.ends.items():
            pid = self.pids[key]
            if pid in used:
                mark = {"ph": "i", "name": "process gone", "cat": "process", "s": "p"}
                yield {**mark, "ts": self.us(when), "pid": pid, "tid": used[pid]}

    def counters(self) -> Iterator[Event]:
        for when, ref, what, number in self.recording.counts:
            name = f"{self.recording.objects[ref][0]}: {what}"
            yield {"ph": "C", "name": name, "ts": self.us(when), "pid": self.locks, "tid": 0, "args": {what: number}}

    def actor(self, party: Party) -> Party:
        """A thread, whatever of it acts; or a task that has waited."""
        if (party.slot, party.token) in self.recording.tasks:
            return party
        return party._replace(token=party.token & 0xFFFFFFFF)

    def told(self, party: Party) -> str:
        """Who it is, in a slice: "4711/4713 orders.py"."""
        pid, program = self.recording.processes[party.slot, party.started]
        thread = party.token & 0xFFFFFFFF
        return f"{pid}{f'/{thread}' if thread not in (0, pid) else ''} {short(program)}"

    def thread_track(self, actor: Party, lane: int) -> int:
        key = actor.slot, actor.started
        pid = self.recording.processes[key][0]
        thread = actor.token & 0xFFFFFFFF
        if not actor.token:
            return self.track(actor, lane, self.pids[key], "process: reads, permits, tasks", 1)
        name = self.names[actor] or ("main thread" if thread == pid else f"thread {thread}")
        if actor.token >> 32:
            name = f"task {actor.token >> 32} in {name}"
        number = None if actor.token >> 32 or thread in self.tids.values() else thread
        return self.track(actor, lane, self.pids[key], name, 0 if thread == pid else 2, number)

    def track(self, key: Hashable, lane: int, pid: int, name: str, place: int, number: int | None = None) -> int:
        """The number of a track; a new one is named."""
        if (key, lane) not in self.tids:
            tid = self.tids[key, lane] = self.number() if lane or number is None else number
            whole = f"{name} ({lane + 1})" if lane else name
            for what, args in (("thread_name", {"name": whole}), ("thread_sort_index", {"sort_index": place})):
                self.named.append({"ph": "M", "name": what, "ts": 0, "pid": pid, "tid": tid, "args": args})
        return self.tids[key, lane]

    def process_names(self, events: Iterable[Event]) -> Iterator[Event]:
        used = {event["pid"] for event in events}
        named = [(self.locks, "locks", "")]
        named += [(self.pids[key], short(program), program) for key, (_, program) in self.recording.processes.items()]
        for place, (pid, name, whole) in enumerate(named):
            if pid in used:
                for what, args in (
                    ("name", {"name": name}),
                    ("labels", {"labels": whole}),
                    ("sort_index", {"sort_index": place}),
                ):
                    if pid == self.locks and what == "labels":
                        continue
                    yield {"ph": "M", "name": f"process_{what}", "ts": 0, "pid": pid, "tid": 0, "args": args}


def settle(slices: list[Slice]) -> None:
    """A thread's own waits tell exactly what looks tell only to their interval: while it waits it does nothing else. So
    what was last seen before it began to wait was over by then, and what was first seen after that it has had since before.
    """
    slices.sort(key=lambda each: (each.begin, -each.end))
    going: list[Slice] = []
    for each in slices:
        going = [other for other in going if other.end > each.begin]
        for other in going:
            if each.waits and other.seen <= each.begin:
                other.end = each.begin
            elif other.waits and each.unseen <= other.begin and other.end < each.end:
                each.begin = other.begin
        going.append(each)


def lanes(slices: Sequence[Slice]) -> Iterator[tuple[Slice, int]]:
    """Each slice with the first lane where it lies after or within the others."""
    open_ends: list[list[int]] = []
    for each in sorted(slices, key=lambda each: (each.begin, -each.end)):
        for lane, ends in enumerate(open_ends):
            while ends and ends[-1] <= each.begin:
                ends.pop()
            if not ends or each.end <= ends[-1]:
                ends.append(each.end)
                yield each, lane
                break
        else:
            yield each, len(open_ends)
            open_ends.append([each.end])
