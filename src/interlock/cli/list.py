"""`interlock list`: the names of a space."""

from __future__ import annotations

import gc
from operator import itemgetter
from typing import TYPE_CHECKING

from interlock.cli import plain
from interlock.cli.table import (
    BOLD,
    BOUNDED,
    ORPHAN,
    OWNED,
    RESET,
    YELLOW,
    Parser,
    Seen,
    answer,
    end_as_others_do,
    put,
    table,
    terminal,
    told,
)
from interlock.errors import KINDS
from interlock.space import is_made_up

if TYPE_CHECKING:
    from interlock.space import Space

HEADER = ("NAME", "KIND", "STATE", "WAITERS", "HOLDER", "FENCE")
DESCRIPTION = "Lists the objects of a space by name: a snapshot. It makes nothing, and holds nobody up."
EPILOG = """\
STATE is held or free; read or written for an RWLock; so many taken for a BoundedSemaphore; - for what nobody can have.
After the death of an owner, "recovered" is what its successor holds, and "orphaned" what is to be taken yet. WAITERS are
those who have waited for more than some milliseconds. Locks that nobody holds or waits for may be missing: the space
forgets them.

--json prints an array, with an object for each name:
  name, kind      "orders", "Lock"
  held            whether somebody holds it; null for what nobody can have
  holders         who: pid, program, host, alive; null in place of one who came or went just now
  waiters         how many have waited for more than some milliseconds
  recovered       whether an owner died holding it, and nobody has released it in good order since
  fence           the number of its latest acquisition; null for what has none
  anonymous       whether its name was made up
"""


def parser() -> Parser:
    made = Parser("list", DESCRIPTION, EPILOG)
    made.add_argument("--all", action="store_true", help="anonymous objects, too")
    made.add_argument("--json", action="store_true", help="print JSON: see below")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    gc.disable()  # it would look through a hundred thousand rows again and again, a third of the time, and find nothing
    return answer(given.space, lambda space: put((as_json if given.json else as_table)(space, given.all)))


def chosen(seen: Seen, everything: bool) -> list[tuple[str, int, int, int, int]]:
    rows = seen.rows
    if not everything:
        rows = [row for row in rows if not (row[0].startswith("anonymous-") and is_made_up(row[0]))]
    return sorted(rows, key=itemgetter(0))


def as_json(space: Space, everything: bool) -> str:
    import json

    seen = Seen(space)
    rows: list[dict[str, object]] = []
    for name, kind, half, fence, ref in chosen(seen, everything):
        owned = kind in OWNED
        holders = [party and party.record() for party in seen.holders(kind, half, ref)]
        rows.append(
            {
                "name": name,
                "kind": KINDS.get(kind, f"kind {kind}"),
                "held": bool(holders) if owned or kind == BOUNDED else None,
                "holders": holders,
                "waiters": seen.waiting.get((name, kind), 0),
                "recovered": owned and half & ORPHAN != 0,
                "fence": fence if owned else None,
                "anonymous": name.startswith("anonymous-") and is_made_up(name),
            }
        )
    return f"{json.dumps(rows)}\n"


def as_table(space: Space, everything: bool) -> str:
    seen = Seen(space)
    width, coloured = terminal()
    rows = chosen(seen, everything)
    columns = [
        [plain(row[0]) for row in rows],
        [KINDS.get(row[1], f"kind {row[1]}") for row in rows],
        [seen.state(kind, half, ref) for _, kind, half, _, ref in rows],
        [str(seen.waiting.get((name, kind), "")) for name, kind, *_ in rows],
        [told(seen.holders(kind, half, ref)) for _, kind, half, _, ref in rows],
        [str(fence) if kind in OWNED else "" for _, kind, _, fence, _ in rows],
    ]
    header, *lines = table(HEADER, columns, width, right=("WAITERS", "FENCE"), spare=("FENCE",))
    if coloured:
        header = f"{BOLD}{header}{RESET}"
        lines = [
            f"{YELLOW}{line}{RESET}" if kind in OWNED and half & ORPHAN else line
            for line, (_, kind, half, _, _) in zip(lines, rows, strict=True)
        ]
    return "\n".join([header, *lines, ""])
