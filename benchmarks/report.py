"""Tables and plots of what was measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measures import Rows

TITLES = {
    "with_ns": "`with`, ns",
    "pair_ns": "acquire+release, ns",
    **{f"rate_{count}": f"{count} processes" for count in (1, 2, 4, 8, 16, 64)},
    **{f"parties_{count}": f"{count} parties" for count in (2, 4, 8, 16, 32)},
    "median_us": "median, µs",
    "p99_us": "p99, µs",
    "least_by_most": "least/most turns",
    "longest_ms": "longest wait, ms",
    "median_ms": "median, ms",
    "p99_ms": "p99, ms",
    "us": "µs a name",
    "resident_mb": "resident, MB",
    "file_mb": "space's file, MB",
    "cpu_percent": "% of one core",
    "import_ms": "import, ms",
    "command_ms": "start to end, ms",
    "by_bound": "by `python -c pass` + 2 flocks",
    "is_set_ns": "is_set(), ns",
    "wait_ns": "wait(), ns",
    "round_us": "round, µs",
    "calls_us": "of which Python's calls, µs",
    "add_ns": "one more, ns",
    "read_ns": "value, ns",
    "longest": "longest, ms",
    "reads": "reads a second",
    "read_wait_ms": "longest wait to read, ms",
    "writes": "writes a second",
    "write_wait_ms": "longest wait to write, ms",
    "async_with_ns": "`async with`, ns",
    "bytes_more": "bytes a wait",
    "threads": "threads",
}
HEADINGS = {
    "uncontended": "Nobody waiting",
    "contended": "Increments a second under contention",
    "handoff": "Hand-off to a sleeping process",
    "fairness": "8 processes, 1 ms each",
    "recovery": "Holder killed: until the waiter has it",
    "names": "Many names, each opened, locked and released once",
    "memory": "Memory bounded over many names",
    "sleepers": "Asleep",
    "imports": "Import",
    "commands": "A command under a lock",
    "listing": "All names of a space, told in a shell",
    "permits": "Semaphores and readers, nobody waiting",
    "flags": "Event that is set",
    "pingpong": "There and back between two processes",
    "readers": "Reads a second, nobody writing",
    "rounds": "One round of a barrier, µs",
    "contended_permits": "Turns a second, all wanting the one permit, or to write",
    "sides": "4 readers and 2 writers, 1 ms each",
    "values": "A Value, nobody else there",
    "deaths": "One dies: until the others have gone on",
    "counting": "Increments a second of one Value",
    "tasks_free": "In asyncio, nobody waiting",
    "tasks_handoff": "From a release in another process until a waiter goes on",
    "tasks_waiting": "10,000 tasks wait for",
    "watched": "A lock that nobody else wants, looked at or recorded by another process",
}


def machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(measure: str, rows: Rows) -> str:
    """A Markdown table."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [
        f"| {HEADINGS[measure]} | " + " | ".join(TITLES[column] for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    lines += [
        f"| {lock} | " + " | ".join(figure(row.get(column)) for column in columns) + " |" for lock, row in rows.items()
    ]
    return "\n".join(lines)


def plot(measure: str, rows: Rows, path: Path) -> None:
    """Horizontal bars on a logarithmic scale, a group per lock."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    locks = list(rows)[::-1]
    figure_, axes = plt.subplots(figsize=(9, 0.28 * len(locks) * (len(columns) + 1) + 1.2))
    height = 0.8 / len(columns)
    for index, column in enumerate(columns):
        places = [number + 0.4 - (index + 0.5) * height for number in range(len(locks))]
        values = [rows[lock].get(column, 0) for lock in locks]
        bars = axes.barh(places, values, height, label=TITLES[column])
        axes.bar_label(bars, [figure(value) if value else "" for value in values], padding=2, fontsize=7)
    axes.set_yticks(range(len(locks)), locks, fontsize=8)
    axes.set_xscale("linear" if measure == "fairness" else "log")
    axes.set_title(HEADINGS[measure], loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    if len(columns) > 1:
        axes.legend(fontsize=7, loc="lower right")
    figure_.tight_layout()
    figure_.savefig(path, dpi=110)
    plt.close(figure_)
