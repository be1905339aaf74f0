"""What the commands that tell of a space share: their options and refusals, tables that fit a terminal, and its holders."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from interlock import errors
from interlock.cli import folded, plain, say, status_of
from interlock.errors import KINDS, InterlockError
from interlock.space import existing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from interlock.space import Space

BOLD, RED, YELLOW, RESET = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
OWNED = frozenset(number for number, kind in KINDS.items() if kind in errors.OWNED)
RWLOCK = next(number for number, kind in KINDS.items() if kind == "RWLock")
BOUNDED = next(number for number, kind in KINDS.items() if kind == "BoundedSemaphore")
OWNER, ORPHAN = 0xFFFF, 0x40000  # IL_OWNER, IL_ORPHAN in src/engine/il_layout.h


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Texts, too, fit the terminal, with their lists and examples as they were written."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return folded(text, width)


class Parser(argparse.ArgumentParser):
    """One that says what is wrong as `interlock run` does."""

    def __init__(self, verb: str, description: str, epilog: str = "", space: bool = True) -> None:
        super().__init__(
            prog=f"interlock {verb}",
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=Formatter,
        )
        if space:
            self.add_argument("--space", metavar="URL", help="without this, $INTERLOCK_SPACE or shm:default")

    def error(self, message: str) -> NoReturn:
        say(f"{message}: see '{self.prog} --help'")
        sys.exit(os.EX_USAGE)


def answer(url: str | None, ask: Callable[[Space], int]) -> int:
    """Asks the space, which must exist. Returns the exit status, having said what was wrong."""
    try:
        return ask(existing(url))
    except UnicodeEncodeError as error:
        say(f"the name is not UTF-8: {error.object!r}")
        return os.EX_USAGE
    except (InterlockError, OSError, ValueError, TypeError) as error:
        say(str(error))
        return status_of(error)


def end_as_others_do() -> None:
    """Ctrl-C, and a reader of our output that has gone, end us without a word."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it


def put(text: str) -> int:
    """Writes all of it to stdout. Returns the exit status."""
    rest = memoryview(text.encode(errors="backslashreplace"))
    try:
        if sys.stdout is None:  # closed when we began; what has its number by now is no place for it
            raise OSError(0, "it is closed")
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:
                import select

                select.select([], [1], [])
    except OSError as error:
        say(f"cannot write to stdout: {error.strerror}")
        return os.EX_IOERR
    return os.EX_OK


# --- tables ---


def terminal() -> tuple[int | None, bool]:
    """How many columns stdout has, None if it is no terminal; and whether it is to be coloured."""
    if sys.stdout is None or not os.isatty(1):
        return None, False
    import shutil

    return max(1, shutil.get_terminal_size().columns), not os.environ.get("NO_COLOR")


def cells(text: str) -> int:
    """How many columns a terminal needs for a text."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(0 if category(c) in ("Mn", "Me") else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, width: int) -> str:
    """As much of a printable text as fits."""
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[: min(len(text) - 1, width - 1)]
    return f"{text}…"[:width]


def table(
    header: Sequence[str],
    columns: Sequence[list[str]],
    width: int | None,
    right: Iterable[str] = (),
    spare: Iterable[str] = (),
) -> list[str]:
    """The lines of a table, its header first. Given a width, the last columns are left away if they are spare; columns are
    cut short, the widest first, and then left away from the right, until it fits."""
    shown = [[title, *column] for title, column in zip(header, columns, strict=True)]
    widths = [max(map(len, column)) if "".join(column).isascii() else max(map(cells, column)) for column in shown]
    if width is not None:
        while sum(widths) + 2 * (len(widths) - 1) > width and header[len(widths) - 1] in spare:
            widths.pop()
        while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > LEAST:
            widths[widths.index(max(widths))] -= 1
        while sum(widths) + 2 * (len(widths) - 1) > width and len(widths) > 1:
            widths.pop()
        widths[0] = min(widths[0], width)
    laid: list[list[str]] = []
    for number, (whole, wide) in enumerate(zip(shown, widths, strict=False)):
        column = whole if width is None else [clip(cell, wide) for cell in whole]
        ascii_only = "".join(column).isascii()
        if header[number] in right:
            laid.append([cell.rjust(wide if ascii_only else wide - cells(cell) + len(cell)) for cell in column])
        elif number == len(widths) - 1:
            laid.append(column)
        else:
            laid.append([cell.ljust(wide if ascii_only else wide - cells(cell) + len(cell)) for cell in column])
    return list(map("  ".join, zip(*laid, strict=True)))


LEAST = 7  # no column is cut shorter


# --- who holds what ---


class Party:
    """A process that holds something: `alive` is False for one whose death nobody has noticed yet."""

    __slots__ = ("alive", "host", "pid", "program")

    def __init__(self, pid: int, program: str, host: str, alive: bool) -> None:
        self.pid, self.program, self.host, self.alive = pid, program, host, alive

    def __str__(self) -> str:
        return plain(f"{self.pid} {self.program}{'' if self.alive else ' (dead)'}")

    def record(self) -> dict[str, object]:
        return {"pid": self.pid, "program": self.program, "host": self.host or None, "alive": self.alive}


class Seen:
    """A snapshot of a space: its raw rows (Space._list), and what else they are to be read with."""

    def __init__(self, space: Space) -> None:
        before = self._processes(space)
        self.rows = space._list()
        portions = space._portions()
        after = self._processes(space)
        # One that came or went meanwhile may have the slot that another had: nobody is told of for somebody else.
        self._parties = {
            slot: Party(pid, program, host, alive)
            for slot, (pid, program, host, started, alive) in after.items()
            if slot in before and (before[slot][0], before[slot][3]) == (pid, started)
        }
        self._portions: dict[int, list[tuple[int, int]]] = {}
        for ref, slot, count in portions:
            self._portions.setdefault(ref, []).append((slot, count))
        self.waiting: dict[tuple[str, int], int] = {}
        for row in space._waits():
            self.waiting[row[3], row[4]] = self.waiting.get((row[3], row[4]), 0) + 1

    @staticmethod
    def _processes(space: Space) -> dict[int, tuple[int, str, str, int, bool]]:
        return {
            slot: (pid, program, host, started, alive) for slot, pid, program, host, started, alive in space._processes()
        }

    def portions(self, ref: int) -> list[tuple[Party | None, int]]:
        """Who reads, or has permits, and how often."""
        return [(self._parties.get(slot), count) for slot, count in self._portions.get(ref, ())]

    def holders(self, kind: int, half: int, ref: int) -> list[Party | None]:
        """Who has it; None for one who has come or gone just now."""
        if kind in (RWLOCK, BOUNDED) and ref in self._portions:
            return [self._parties.get(slot) for slot, _ in self._portions[ref]]
        if kind in OWNED and half & OWNER:
            return [self._parties.get(half & OWNER)]
        return []

    def state(self, kind: int, half: int, ref: int) -> str:
        """ "held", "free", "3 taken"; "-" for what nobody can have."""
        portions = self._portions.get(ref, ())
        if kind == BOUNDED:
            taken = sum(count for _, count in portions)
            return f"{taken} taken" if taken else "free"
        if kind not in OWNED:
            return "-"
        held = half & OWNER or (kind == RWLOCK and portions)
        state = ("read" if portions else "written" if held else "free") if kind == RWLOCK else "held" if held else "free"
        if half & ORPHAN:
            state += ", recovered" if held else ", orphaned"
        return state


def told(parties: Sequence[Party | None]) -> str:
    """Who holds something, in a cell of a table."""
    known = [str(party) for party in parties if party]
    if not parties:
        return ""
    first = known[0] if known else "?"
    return f"{first} and {len(parties) - 1} more" if len(parties) > 1 else first
