"""`interlock top`: who holds what, who waits, and deadlocks, drawn anew again and again.

The terminal is put back as it was whatever ends us but SIGKILL: its modes, its cursor and the screen that was there; and
before Ctrl-Z stops us. Signals only set a flag and end the wait for the next frame, so none comes in the middle of one.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from typing import TYPE_CHECKING

from interlock.cli import plain, say
from interlock.cli.show import ago
from interlock.cli.table import BOLD, OWNED, RED, RESET, Parser, Seen, answer, clip, table, told
from interlock.errors import KINDS, InterlockError
from interlock.records import owner_of
from interlock.watch import deadlocks, describe, waits

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.space import Space
    from interlock.watch import Waiting

DESCRIPTION = "Shows the processes of a space, what they hold, who waits the longest, and deadlocks. q or Ctrl-C ends it."
EPILOG = """\
"held since" is when a holder was first seen holding it. A terminal is needed: for a look from a script there is
'interlock list --json'.
"""

# Another screen, no cursor, and lines that do not wrap; and back.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, LINE_END, REST = "\x1b[H", "\x1b[K", "\x1b[J"
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
LOOKED_AT = 200  # holders of so many names are asked for since when, and shown in that order


class Section:
    """A title, lines, how many more there would be, and whether it is red."""

    def __init__(self, title: str, lines: list[str], more: int = 0, alarm: bool = False) -> None:
        self.title, self.lines, self.more, self.alarm = title, lines, more, alarm


def seconds(text: str) -> float:
    """The value of --interval."""
    digits = text.replace(".", "", 1)
    if digits.isascii() and digits.isdecimal() and len(digits) < 12 and 0.1 <= float(text) <= 86400:
        return float(text)
    raise argparse.ArgumentTypeError(f"seconds from 0.1 to 86400 (2, 0.5), not {text!r}")


def parser() -> Parser:
    made = Parser("top", DESCRIPTION, EPILOG)
    made.add_argument("--interval", metavar="SECONDS", type=seconds, default=1.0, help="between two looks; without this, 1")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    if not (sys.stdin and sys.stdout and os.isatty(0) and os.isatty(1)) or os.environ.get("TERM") == "dumb":
        say("top draws on a terminal, and this is none: use 'interlock list', or 'interlock list --json' in programs")
        return os.EX_USAGE
    coloured = not os.environ.get("NO_COLOR")
    return answer(given.space, lambda space: Screen(coloured).run(lambda size: frame(space, *size), given.interval))


# --- the terminal ---


class Screen:
    """The terminal while it is ours."""

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured
        self.modes = termios.tcgetattr(0)
        self.killed_by = self.stopped_by = 0

    def run(self, draw: Callable[[tuple[int, int]], list[Section]], interval: float) -> int:
        """Draws until somebody ends it. Returns the exit status."""
        awake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handled = {
            number: signal.signal(number, self.note) for number in (*ENDING, signal.SIGINT, signal.SIGTSTP, signal.SIGWINCH)
        }
        woken_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        try:
            self.enter()
            while not self.killed_by:
                size = shutil.get_terminal_size()
                self.write(self.text(draw((max(1, size.columns), max(1, size.lines))), size.columns, size.lines))
                if self.is_over(awake, interval):
                    break
        except InterlockError:
            raise
        except OSError:  # the terminal has gone, and nobody is there to be told
            return os.EX_IOERR
        finally:
            self.leave()
            signal.set_wakeup_fd(woken_before)
            for number, handler in handled.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            os.close(awake)
            os.close(wake)
        if self.killed_by not in (0, signal.SIGINT):
            signal.signal(self.killed_by, signal.SIG_DFL)
            os.kill(os.getpid(), self.killed_by)
        return os.EX_OK

    def note(self, number: int, _: object) -> None:
        if number == signal.SIGTSTP:
            self.stopped_by = number
        elif number != signal.SIGWINCH:
            self.killed_by = number

    def enter(self) -> None:
        tty.setcbreak(0, termios.TCSADRAIN)
        self.write(ENTER)

    def leave(self) -> None:
        try:
            self.write(LEAVE)
            termios.tcsetattr(0, termios.TCSADRAIN, self.modes)
        except (OSError, termios.error):  # it has gone
            return

    def write(self, text: str) -> None:
        rest = memoryview(text.encode(errors="backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(1, rest) :]
            except BlockingIOError:  # whoever had the terminal before us left it so
                select.select([], [1], [], 1)

    def is_over(self, awake: int, interval: float) -> bool:
        """Waits for the next frame's time, or for what comes before: False. True: it is to end."""
        end = time.monotonic() + interval
        while not self.killed_by:
            ready = select.select([0, awake], [], [], max(0.0, end - time.monotonic()))[0]
            if awake in ready:
                os.read(awake, 4096)
                if self.stopped_by:
                    self.stop()
                return self.killed_by != 0  # the size has changed, say: at once
            if 0 in ready:
                keys = os.read(0, 4096)
                if not keys or set(keys) & set(b"qQ\x03"):
                    return True
            if not ready:
                return False
        return True

    def stop(self) -> None:
        """Stops as any program does that Ctrl-Z stops, and goes on with the terminal as it is by then."""
        self.stopped_by = 0
        self.leave()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        self.modes = termios.tcgetattr(0)
        self.enter()

    def text(self, sections: list[Section], columns: int, lines: int) -> str:
        """A frame: of each section as much as there is room for."""
        rooms = shares([1 + len(section.lines) + (section.more > 0) for section in sections], max(1, lines))
        shown: list[str] = []
        for section, room in zip(sections, rooms, strict=True):
            body, more = section.lines, section.more
            if len(body) + (more > 0) > room - 1:
                kept = max(0, room - 2)
                body, more = body[:kept], more + len(body) - kept
            if more:
                body = [*body, f"… {more} more"]
            for number, line in enumerate([section.title, *body][:room]):
                style = (RED if section.alarm else "") + (BOLD if number == 0 else "")
                cut = clip(line, max(1, columns))
                shown.append(f"{style}{cut}{RESET}" if style and self.coloured else cut)
        return HOME + "\r\n".join(f"{line}{LINE_END}" for line in shown) + REST


def shares(wanted: list[int], room: int) -> list[int]:
    """Divides lines between sections: who wants less than its part leaves the rest to the others. The first come first."""
    given = [0] * len(wanted)
    while room and any(has < wants for has, wants in zip(given, wanted, strict=True)):
        for number, wants in enumerate(wanted):
            if room and given[number] < wants:
                given[number] += 1
                room -= 1
    return given


# --- what is shown ---


def frame(space: Space, columns: int, lines: int) -> list[Section]:
    """The sections of a frame, of text that is harmless in a terminal."""
    seen, waiting, now = Seen(space), waits(space), time.time()
    processes = space.processes()
    held = [row for row in seen.rows if seen.holders(row[1], row[2], row[4])]
    what = f"processes: {len(processes)}, held: {len(held)}, waiting: {len(waiting)}"
    sections = [Section(f"{plain(space.url)}  {time.strftime('%H:%M:%S')}  {what}  (q: end)", [])]
    for cycle in deadlocks(space):
        title, *rest = describe(cycle).split("\n  ")
        sections.append(Section(plain(f"DEADLOCK: {title}"), [f"  {plain(line)}" for line in rest], alarm=True))
    if waiting:
        sections.append(waiting_section(waiting, columns, lines, now))
    sections.append(held_section(space, seen, held, columns, lines, now))
    oldest = sorted(processes, key=lambda each: each.started)[:lines]
    header, *rows = table(
        ("PROCESS", "FOR", "PROGRAM", "HOST"),
        [
            [f"{each.pid}{'' if each.alive else ' dead'}" for each in oldest],
            [ago(now - each.started) for each in oldest],
            [plain(each.program) for each in oldest],
            [plain(each.host or "") for each in oldest],
        ],
        columns,
    )
    sections.append(Section(header, rows, len(processes) - len(rows)))
    return sections


def waiting_section(everybody: list[Waiting], columns: int, lines: int, now: float) -> Section:
    waiting = everybody[:lines]
    header, *rows = table(
        ("WAITS FOR", "SINCE", "PROCESS", "HELD BY"),
        [
            [plain(each.name) for each in waiting],
            [ago(now - each.since) for each in waiting],
            [plain(f"{each.pid} {each.program}") for each in waiting],
            [
                plain(", ".join(str(owner.pid) for owner in each.owners[:3]) + (", …" if len(each.owners) > 3 else ""))
                for each in waiting
            ],
        ],
        columns,
    )
    return Section(header, rows, len(everybody) - len(rows))


def held_section(
    space: Space, seen: Seen, everything: list[tuple[str, int, int, int, int]], columns: int, lines: int, now: float
) -> Section:
    """What is waited for comes first, then what has been held the longest. Readers and permits have no time."""

    def waiters(row: tuple[str, int, int, int, int]) -> int:
        return seen.waiting.get((row[0], row[1]), 0)

    held = sorted(everything, key=lambda row: (-waiters(row), row[0]))[:LOOKED_AT]
    since: dict[str, float] = {}
    for name, kind, *_ in held:
        facts = space._look(name) if kind in OWNED else None
        owner = owner_of(*facts["owner"]) if facts and facts["owner"] else None
        if owner and owner.since:
            since[name] = owner.since
    held = sorted(held, key=lambda row: (-waiters(row), since.get(row[0], now), row[0]))[:lines]
    header, *rows = table(
        ("HELD", "SINCE", "BY", "WAITERS", "KIND"),
        [
            [plain(row[0]) for row in held],
            [ago(now - since[row[0]]) if row[0] in since else "" for row in held],
            [told(seen.holders(row[1], row[2], row[4])) for row in held],
            [str(waiters(row) or "") for row in held],
            [f"{KINDS.get(row[1], '?')}, {seen.state(row[1], row[2], row[4])}" for row in held],
        ],
        columns,
        right=("WAITERS",),
    )
    return Section(header, rows, len(everything) - len(rows))
