"""`interlock show`: everything that is known of a name."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from interlock.cli import plain, say
from interlock.cli.table import BOUNDED, OWNED, RWLOCK, Parser, Seen, answer, end_as_others_do, put
from interlock.errors import KINDS, count
from interlock.records import Owner, owner_of
from interlock.space import is_made_up
from interlock.watch import waits

if TYPE_CHECKING:
    from interlock.space import Space
    from interlock.watch import Waiting

DESCRIPTION = "Tells everything that is known of one name: a snapshot. It makes nothing, and holds nobody up."
EPILOG = """\
--json prints an object. Times are seconds since the epoch, null where not known.
  name, kind, anonymous
  held         whether somebody holds it; null for what nobody can have
  owners       who: pid, thread_id (0: not known), thread_name, program, host, since, and how many reads or permits (count)
  recovered    the owner who died holding it, as long as nobody has released it in good order since: as owners, and when its
               death was noticed (died); else null
  fence, statistics {acquisitions, contended, recoveries, waited}: of kinds that have an owner, since the name came into use
  value (Semaphore), is_set (Event), parties, waiting and broken (Barrier), permits and free (BoundedSemaphore)
  waiters      those who have waited for more than some milliseconds, the longest first: pid, thread_id, thread_name,
               program, host, since, and whether for a notice, or a permit of a Semaphore, that nobody has (notice)

Exit status: 0; 1 if there is no such name; 64 for wrong use, 65 for a space of another version, 66 if it cannot be used.
"""


def parser() -> Parser:
    made = Parser("show", DESCRIPTION, EPILOG)
    made.add_argument("name", metavar="NAME")
    made.add_argument("--json", action="store_true", help="print JSON: see below")
    return made


def main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    end_as_others_do()
    return answer(given.space, lambda space: show(space, given.name, given.json))


def show(space: Space, name: str, as_json: bool) -> int:
    facts = look(space, name)
    if facts is None:
        say(f"{name!r} is no name in the space at {space.path}: nobody has made it, or it was forgotten since")
        return 1
    if as_json:
        import json

        return put(f"{json.dumps(facts)}\n")
    lines = [plain(name), *(f"  {title:<12}{plain(text)}".rstrip() for title, text in told(facts))]
    return put("\n".join([*lines, ""]))


def look(space: Space, name: str) -> dict[str, Any] | None:
    """What --json prints; None if there is no such name, and none is made."""
    raw = space._look(name)
    if raw is None:
        return None
    number, ref = raw["kind"], raw["ref"]
    kind = KINDS.get(number, f"kind {number}")
    owner = owner_of(*raw["owner"]) if raw["owner"] else None
    portions = Seen(space).portions(ref) if number in (RWLOCK, BOUNDED) else []
    owners: list[dict[str, Any] | None] = []
    if portions:
        owners = [
            None if party is None else {**sharer(party.pid, party.program, party.host), "count": had}
            for party, had in portions
        ]
    elif owner and number in OWNED and (number != RWLOCK or raw["depth"]):
        owners = [record(owner)]
    facts: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "anonymous": is_made_up(name),
        "held": bool(owners) if number in OWNED or number == BOUNDED else None,
        "owners": owners,
        "recovered": None,
    }
    if number in OWNED:
        if raw["left_by"]:
            dead = owner_of(*raw["left_by"])
            facts["recovered"] = {**record(dead), "died": dead.died}
        acquisitions, contended, recoveries, waited = raw["counts"]
        facts["fence"] = raw["fence"]
        facts["statistics"] = {
            "acquisitions": acquisitions,
            "contended": contended,
            "recoveries": recoveries,
            "waited": waited,
        }
    match kind:
        case "Semaphore":
            facts["value"] = raw["state"] & 0x7FFFFFFF  # IL_PERMITS in src/engine/il_layout.h
        case "Event":
            facts["is_set"] = raw["state"] & 1 != 0  # IL_FLAG_SET
        case "Barrier":
            facts |= {"parties": raw["parameter"], "waiting": raw["waiting"], "broken": raw["broken"]}
        case "BoundedSemaphore":
            taken = sum(had for _, had in portions)
            facts |= {"permits": raw["parameter"], "free": max(0, raw["parameter"] - taken)}
        case _:
            pass
    facts["waiters"] = [waiter(each) for each in waits(space) if (each.name, each.kind) == (name, kind)]
    return facts


def record(owner: Owner) -> dict[str, Any]:
    return {
        "pid": owner.pid,
        "thread_id": owner.thread_id,
        "thread_name": owner.thread_name,
        "program": owner.program,
        "host": owner.host,
        "since": owner.since,
        "count": 1,
    }


def sharer(pid: int, program: str, host: str) -> dict[str, Any]:
    return record(owner_of(pid, 0, program, host))


def waiter(waiting: Waiting) -> dict[str, Any]:
    return {
        "pid": waiting.pid,
        "thread_id": waiting.thread_id,
        "thread_name": waiting.thread_name,
        "program": waiting.program,
        "host": waiting.host,
        "since": waiting.since,
        "notice": waiting.notice,
    }


# --- for people ---


def told(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Titles and texts, as they are: to be escaped."""
    lines = [("kind", facts["kind"] + (", anonymous" if facts["anonymous"] else ""))]
    what = {"RWLock": "read", "BoundedSemaphore": "permit"}.get(facts["kind"])
    if facts["held"] is False:
        lines.append(("held", "no"))
    for owner in facts["owners"]:
        lines.append(("held by", "one who came or went just now" if owner is None else party(owner)))
        if owner and what and (owner["count"] > 1 or not owner["thread_id"]):
            lines[-1] = ("held by", f"{lines[-1][1]}, {count(owner['count'], what)}")
        if owner and owner["since"]:
            lines.append(("since", when(owner["since"])))
    if facts["recovered"]:
        dead = facts["recovered"]
        was = "recovered" if facts["held"] else "orphaned"
        lines.append((was, f"left by {party(dead)}, who died holding it; noticed {when(dead['died'])}"))
    match facts["kind"]:
        case "Semaphore":
            lines.append(("value", str(facts["value"])))
        case "Event":
            lines.append(("set", "yes" if facts["is_set"] else "no"))
        case "Barrier":
            lines.append(("parties", f"{facts['parties']}, of which {facts['waiting']} wait"))
            lines.append(("broken", "yes" if facts["broken"] else "no"))
        case "BoundedSemaphore":
            lines.append(("permits", f"{facts['permits']}, of which {facts['free']} are free"))
        case _:
            pass
    if "statistics" in facts:
        numbers = facts["statistics"]
        lines.append(("fence", str(facts["fence"])))
        times = count(numbers["acquisitions"], "time")
        lines.append(("taken", f"{times}, {numbers['contended']} after waiting, {numbers['waited']:.3f} s in sum"))
        lines.append(("deaths", f"{numbers['recoveries']} of its owners died holding it"))
    for number, each in enumerate(facts["waiters"]):
        for_what = " to be told" if each["notice"] else ""
        text = f"{party(each)} waits{for_what} since {when(each['since'])}"
        lines.append(("" if number else f"waiters {len(facts['waiters'])}", text))
    return lines


def party(who: dict[str, Any]) -> str:
    thread = f" thread {who['thread_name'] or who['thread_id']}" if who["thread_id"] else ""
    host = f" on {who['host']}" if who["host"] and who["host"] != os.uname().nodename else ""
    return f"process {who['pid']}{thread} ({who['program']}){host}"


def when(seconds: float) -> str:
    """A time of today, or a day, and how long ago that is."""
    now = time.time()
    same = time.localtime(now)[:3] == time.localtime(seconds)[:3]
    clock = time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    return f"{clock}, {ago(now - seconds)} ago"


def ago(seconds: float) -> str:
    """ "0.3 s", "5 m 3 s", "2 h 5 m", "3 d 2 h"."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
