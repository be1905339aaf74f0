"""Pictures and traces, as tests read them."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([A-Za-z0-9_#.]+)|(->)|([{}\[\];,=])|\s+', re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"


def tokens(text):
    """Those of DOT, as https://graphviz.org/doc/info/lang.html tells; quoted ones are given as (their text,)."""
    found, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, f"no DOT: {text[at : at + 40]!r}"
        at = match.end()
        if match[1] is not None:
            found.append((match[1],))
        elif match[0].strip():
            found.append(match[0])
    return found


def lines_of(quoted):
    """The lines of a label."""
    lines = re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], quoted[0]).split("\n")
    return [line.replace("&amp;", "&") for line in lines]


class Dot:
    """What a graph says: `label` its title; `boxes` lines by node; `arrows` (tail, head, style, is red)."""

    def __init__(self, text):
        words = iter(tokens(text))
        assert [next(words) for _ in range(3)] == ["digraph", "waits", "{"]
        self.boxes, self.arrows, self.red = {}, [], set()
        statement = []
        for word in words:
            if word not in (";", "}"):
                statement.append(word)
                continue
            if statement:
                self.take(statement)
            statement = []
        assert word == "}"

    def take(self, statement):
        attributes = {}
        if "[" in statement:
            start = statement.index("[")
            inner = [word for word in statement[start + 1 : -1] if word != ","]
            assert statement[-1] == "]"
            assert inner[1::3] == ["="] * (len(inner) // 3)
            attributes = dict(zip(inner[::3], inner[2::3], strict=True))
            statement = statement[:start]
        red = "color" in attributes and attributes["color"] == ("#c62828",)
        if statement[0] == "label":
            self.label = lines_of(statement[2])
        elif "->" in statement:
            self.arrows.append((statement[0], statement[2], attributes["style"], red))
        elif re.fullmatch(r"n\d+", statement[0]):
            self.boxes[statement[0]] = lines_of(attributes["label"])
            self.red |= {statement[0]} if red else set()

    def told(self):
        """Arrows as (first two lines of the tail's label, of the head's, what)."""
        what = {"solid": "waits for", "dashed": "is held by"}
        return {(*self.boxes[tail][:2], what[style], *self.boxes[head][:2]) for tail, head, style, _ in self.arrows}


def waits_of(dot):
    """(pid, object) of each who waits."""
    return {(pid_of(told[1]), told[3]) for told in dot.told() if told[2] == "waits for" and len(told) == 5}


def holds_of(dot):
    """(object, pid) of what is held."""
    return {(told[0], pid_of(told[4])) for told in dot.told() if told[2] == "is held by"}


def pid_of(line):
    return int(re.match(r"process (\d+)", line)[1])


class Drawn:
    """What an SVG shows: texts of each box, which are red, and all texts."""

    def __init__(self, text):
        self.root = ElementTree.fromstring(text)
        assert self.root.tag == f"{SVG}svg"
        self.texts = [each.text for each in self.root.iter(f"{SVG}text")]
        self.boxes = [group for group in self.root.iter(f"{SVG}g") if group.find(f"{SVG}title") is not None]
        self.red = [self.lines(box) for box in self.boxes if "alarm" in box.find(f"{SVG}rect").get("class")]
        self.heads = [each.get("class") for each in self.root.iter(f"{SVG}polygon")]

    @staticmethod
    def lines(box):
        return [each.text for each in box.iter(f"{SVG}text")]


# --- traces ---

REQUIRED = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid", "args"},
    "M": {"name", "ts", "pid", "tid", "args"},
    "C": {"name", "ts", "pid", "tid", "args"},
    "i": {"name", "cat", "ts", "pid", "tid", "s"},
}
META = {"process_name", "process_labels", "process_sort_index", "thread_name", "thread_sort_index"}


class Trace:
    """A trace that has been found valid: events with all they need, in order, slices that nest, a name for every track."""

    def __init__(self, text):
        whole = json.loads(text)
        self.about, self.events = whole["otherData"], whole["traceEvents"]
        assert whole["displayTimeUnit"] == "ms"
        for event in self.events:
            assert event.keys() >= REQUIRED[event["ph"]]
            assert event["ts"] >= 0
            assert type(event["pid"]) is type(event["tid"]) is int
        meta = [event for event in self.events if event["ph"] == "M"]
        assert self.events[: len(meta)] == meta
        assert {event["name"] for event in meta} <= META
        times = [event["ts"] for event in self.events[len(meta) :]]
        assert times == sorted(times)
        self.programs = {event["pid"]: event["args"]["name"] for event in meta if event["name"] == "process_name"}
        named = [event for event in meta if event["name"] == "thread_name"]
        self.tracks = {(event["pid"], event["tid"]): event["args"]["name"] for event in named}
        assert len(self.tracks) == len(named)
        self.slices = [event for event in self.events if event["ph"] == "X"]
        for event in self.slices:
            assert event["dur"] >= 0
            assert event["pid"] in self.programs
            assert (event["pid"], event["tid"]) in self.tracks
        for track in self.tracks:
            self.nests([event for event in self.slices if (event["pid"], event["tid"]) == track])
        for event in self.events:
            if event["ph"] == "C":
                assert all(type(number) in (int, float) for number in event["args"].values())

    @staticmethod
    def nests(slices):
        open_ends = []
        for event in slices:  # in nanoseconds: floats do not add up
            begin = round(event["ts"] * 1000)
            end = begin + round(event["dur"] * 1000)
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1], "slices of a track overlap"
            open_ends.append(end)

    @property
    def locks(self):
        (pid,) = [pid for pid, name in self.programs.items() if name == "locks"]
        return pid

    def of(self, pid, category=None):
        """The slices of a process."""
        return [event for event in self.slices if event["pid"] == pid and category in (None, event["cat"])]

    def holders(self, name):
        """The pids in the object's tracks, one after the other."""
        tracks = {tid for (pid, tid), title in self.tracks.items() if pid == self.locks and title.startswith(f"{name} (")}
        return [int(re.match(r"\d+", event["name"])[0]) for event in self.slices if event["tid"] in tracks]

    def counter(self, name):
        return [next(iter(event["args"].values())) for event in self.events if event["ph"] == "C" and event["name"] == name]

    def moments(self, name):
        return [event for event in self.events if event["ph"] == "i" and event["name"] == name]


def end_of(event):
    return event["ts"] + event["dur"]
