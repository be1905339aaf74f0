"""The marks that interlock sets itself, as ratios and figures of one run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measures import Rows

OURS, THREADS, PROCESSES = "interlock.Lock", "threading.Lock", "multiprocessing.Lock"


class Mark(NamedTuple):
    """`value` must be at most, or at least, `bound`."""

    what: str
    value: float
    at_most: bool
    bound: float

    @property
    def reached(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def marks(results: dict[str, Rows]) -> Iterator[Mark]:
    """Every mark whose measure was taken."""
    oldest = sys.version_info[:2] == (3, 11)
    if "uncontended" in results:
        rows = results["uncontended"]
        with_ratio = rows[OURS]["with_ns"] / rows[THREADS]["with_ns"]
        pair_ratio = rows[OURS]["pair_ns"] / rows[PROCESSES]["pair_ns"]
        yield Mark("`with`, by threading.Lock's time", with_ratio, True, 0.55 if oldest else 0.65)
        yield Mark("acquire+release, by multiprocessing.Lock's time", pair_ratio, True, 0.65 if oldest else 1.0)
    if "contended" in results:
        rows = results["contended"]
        for column, rate in rows[OURS].items():
            count = int(column.removeprefix("rate_"))
            ratio = rate / rows[PROCESSES][column]
            yield Mark(f"rate of {count} processes, by multiprocessing.Lock's", ratio, False, 2.5 if count <= 16 else 1.0)
    if "fairness" in results:
        yield Mark("least by most turns", results["fairness"][OURS]["least_by_most"], False, 0.8)
    if "recovery" in results:
        yield Mark("recovery, median ms", results["recovery"][OURS]["median_ms"], True, 15)
        yield Mark("recovery, p99 ms", results["recovery"][OURS]["p99_ms"], True, 60)
    if "names" in results:
        yield Mark("µs a name", results["names"][OURS]["us"], True, 1.5)
    for name, row in results.get("memory", {}).items():
        yield Mark(f"resident MB: {name}", row["resident_mb"], True, 128)
        yield Mark(f"file's MB: {name}", row["file_mb"], True, 128)
    for name, row in results.get("sleepers", {}).items():
        yield Mark(f"% of one core: {name}", row["cpu_percent"], True, 2)
    if "imports" in results:
        rows = results["imports"]
        ratio = rows["interlock"]["import_ms"] / rows["multiprocessing.synchronize"]["import_ms"]
        yield Mark("import, by multiprocessing.synchronize's time", ratio, True, 1)
    if "commands" in results:
        row = results["commands"]["interlock run NAME true"]
        yield Mark("`interlock run`, by the time of `python -c pass` + 2 flocks", row["by_bound"], True, 1)
    if "watched" in results:
        rows = results["watched"]
        ratio = rows["looked at"]["pair_ns"] / rows["nobody looks"]["pair_ns"]
        yield Mark(
            "acquire+release while another process looks 20 times a second, by that while none does", ratio, True, 1.03
        )
        ratio = rows["recorded"]["pair_ns"] / rows["nobody looks"]["pair_ns"]
        yield Mark("acquire+release while `interlock record` looks, by that while nobody does", ratio, True, 1.03)
    for name, row in results.get("listing", {}).items():
        yield Mark(f"`{name.partition(',')[0]}` of 100,000 names, ms", row["command_ms"], True, 500)
    if "permits" in results:
        rows = results["permits"]
        for name in rows:
            if name.startswith("interlock."):
                for column, what in (("with_ns", "`with`"), ("pair_ns", "acquire+release")):
                    ratio = rows[name][column] / rows["multiprocessing.Semaphore"][column]
                    yield Mark(f"{name}: {what}, by multiprocessing.Semaphore's time", ratio, True, 1)
    if "flags" in results:
        rows = results["flags"]
        for column, what in (("is_set_ns", "is_set()"), ("wait_ns", "wait()")):
            ratio = rows["multiprocessing.Event"][column] / rows["interlock.Event"][column]
            yield Mark(f"Event.{what} when set, times faster than multiprocessing's", ratio, False, 5)
    if "pingpong" in results:
        rows = results["pingpong"]
        ours = rows["interlock.Condition"]
        ratio = rows["multiprocessing.Condition"]["round_us"] / ours["round_us"]
        yield Mark("Condition ping-pong, by multiprocessing.Condition's rate", ratio, False, 3)
        floor = 1.5 * rows["raw futex, in C"]["round_us"] + ours["calls_us"]
        yield Mark("Condition ping-pong, by 1.5 raw futex ping-pongs + the calls", ours["round_us"] / floor, True, 1)
    if "readers" in results:
        rows = results["readers"]["interlock.RWLock.read"]
        yield Mark("2 reader processes, by one's rate", rows["rate_2"] / rows["rate_1"], False, 1.6)
    if "sides" in results:
        row = results["sides"]["interlock.RWLock"]
        for side in ("read", "write"):
            yield Mark(f"longest wait to {side}, ms, of 4 readers and 2 writers", row[f"{side}_wait_ms"], True, 100)
    if "values" in results:
        rows = results["values"]
        ratio = rows["interlock.Value"]["add_ns"] / rows["multiprocessing.Value"]["add_ns"]
        yield Mark("`value += 1` under the lock, by multiprocessing.Value's time", ratio, True, 1)
    for name, row in results.get("deaths", {}).items():
        yield Mark(f"{name}: until the others go on, longest ms", row["longest"], True, 60)
    if "counting" in results:
        rows = results["counting"]
        for count in (2, 4, 8):
            ratio = rows["interlock.Value.add()"][f"rate_{count}"] / rows["multiprocessing.Value"][f"rate_{count}"]
            yield Mark(f"Value.add(), {count} processes, by multiprocessing.Value's rate under its lock", ratio, False, 10)
    if "tasks_free" in results:
        rows = results["tasks_free"]
        for name, peer in (
            ("Lock", "Lock"),
            ("RLock", "Lock"),
            ("RWLock.read", "Lock"),
            ("RWLock.write", "Lock"),
            ("Semaphore", "Semaphore"),
            ("BoundedSemaphore", "Semaphore"),
        ):
            ratio = rows[f"interlock.{name}"]["async_with_ns"] / rows[f"asyncio.{peer}"]["async_with_ns"]
            yield Mark(f"`async with` {name}, by asyncio.{peer}'s time", ratio, True, 1.5)
    if "tasks_handoff" in results:
        rows = {name: row["median_us"] for name, row in results["tasks_handoff"].items()}
        ours = rows["interlock.Lock, a task waits"]
        bound = 2 * rows["interlock.Lock, a thread waits"] + rows["a turn of the event loop"]
        yield Mark("hand-off to a task, by twice a thread's + a turn of the loop", ours / bound, True, 1)
        yield Mark(
            "hand-off to a task, times faster than AsyncFileLock's", rows["filelock.AsyncFileLock"] / ours, False, 20
        )
    for name, row in results.get("tasks_waiting", {}).items():
        if "interlock" in name:
            yield Mark(f"10,000 tasks wait for {name}: bytes a wait", row["bytes_more"], True, 1024)
            yield Mark(f"10,000 tasks wait for {name}: % of one core", row["cpu_percent"], True, 2)


def table(results: dict[str, Rows]) -> str:
    """A Markdown table of what was to be reached and what was."""
    lines = ["| Mark | to reach | measured | |", "| --- | ---: | ---: | --- |"]
    for mark in marks(results):
        bound = f"{'≤' if mark.at_most else '≥'} {mark.bound:g}"
        lines.append(f"| {mark.what} | {bound} | {mark.value:.2f} | {'reached' if mark.reached else 'MISSED'} |")
    return "\n".join(lines)
