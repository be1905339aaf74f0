"""Prometheus metrics of spaces: interlock.metrics.Collector. Needs prometheus_client, which interlock[prometheus] brings::

    prometheus_client.REGISTRY.register(interlock.metrics.Collector())

The counts are in shared memory: they are of all processes that use the space, whichever of them is asked, and so the same
from each of gunicorn's workers, with prometheus_client's multiprocess mode or without. Reading them makes no name and takes
no lock of a program's.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from fnmatch import translate
from typing import TYPE_CHECKING

from interlock.errors import KINDS, OWNED, InterlockError
from interlock.space import Space, glimpse, is_made_up, url_of

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise ModuleNotFoundError(
        "interlock.metrics needs prometheus_client: pip install 'interlock[prometheus]'", name=error.name
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

__all__ = ["Collector"]

logger = logging.getLogger("interlock.metrics")

PERMITS = 0x7FFFFFFF  # IL_PERMITS in src/engine/il_layout.h

# Without interlock_, and without _total. All have the label space; those of names have name and kind, too.
SPACES = {
    "up": "1 if the space could be read for this scrape, else 0, and why is logged.",
    "processes": "Living processes that use the space.",
    "deadlocks": "Circles in which threads, tasks and processes wait for each other.",
}
COUNTERS = {  # in the order of LockStatistics
    "acquisitions": "How often it was taken, by an RWLock's writers only.",
    "contended": "How many acquisitions had to wait.",
    "recoveries": "Owners who died holding it.",
    "waited_seconds": "Seconds that contended acquisitions waited.",
}
GAUGES = {
    "held": "1 if anybody holds it, reads, or has a permit, else 0.",
    "readers": "Reads under an RWLock.",
    "permits": "Permits of a BoundedSemaphore, free and taken.",
    "permits_free": "Permits to be had of a Semaphore or BoundedSemaphore.",
    "waiters": "Who has waited for it for more than some milliseconds.",
}


class Collector:
    """Collector(space=None, names="*", anonymous=False)

    What a prometheus_client registry asks for the metrics of spaces: each scrape is a snapshot.

    Args:
        space: a Space or its URL, or several of them; None: the default space. It may be made later, or anew.
        names: which names have series of their own: a pattern of fnmatch, `"order-*"`, or several. Each name makes up to
            seven series, so where there is one for each key, choose: `names=("orders", "stock-*")`.
        anonymous: whether anonymous objects have, too. Each is a new name, and a program may make many.

    A space that cannot be read has interlock_up 0 and no other series. Why is logged by "interlock.metrics", and is in
    `trouble`. A name that is unlinked, or forgotten by the space because nobody uses it, loses its series, and begins at
    zero when it is used again: a counter's reset, which Prometheus' rate() and increase() allow for.

    Fork: works in the child. Threads: may be scraped by several.

    Raises:
        TypeError, ValueError: a URL or a pattern that is none.
    """

    def __init__(
        self,
        space: Space | str | Iterable[Space | str | None] | None = None,
        names: str | Iterable[str] = "*",
        anonymous: bool = False,
    ) -> None:
        spaces = (space,) if space is None or isinstance(space, Space | str) else tuple(space)
        self.spaces = {url_of(each): each for each in spaces}
        patterns = (names,) if isinstance(names, str) else names
        self.names = [re.compile(translate(each)) for each in patterns]
        self.anonymous = anonymous
        self.trouble: dict[str, Exception] = {}

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """The metrics, without figures. Needs no space."""
        return _families().values()

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """The metrics, as they are now."""
        families = _families()
        for url, given in self.spaces.items():
            try:
                totals, objects = _read(glimpse(given), self.wants)
            except (InterlockError, OSError) as error:
                if str(self.trouble.get(url)) != str(error):
                    logger.warning("%s cannot be read: %s", url, error)
                self.trouble[url] = error
                families["up"].add_metric([url], 0)
                continue
            self.trouble.pop(url, None)
            for metric, value in totals.items():
                families[metric].add_metric([url], value)
            for name, kind, figures in objects:
                for metric, value in figures.items():
                    families[metric].add_metric([url, name, kind], value)
        return families.values()

    def wants(self, name: str) -> bool:
        """Whether a name has series of its own."""
        return (self.anonymous or not is_made_up(name)) and any(each.match(name) for each in self.names)


def _families() -> dict[str, CounterMetricFamily | GaugeMetricFamily]:
    labels = ("space", "name", "kind")
    return {
        **{name: GaugeMetricFamily(f"interlock_{name}", text, labels=labels[:1]) for name, text in SPACES.items()},
        **{name: CounterMetricFamily(f"interlock_{name}", text, labels=labels) for name, text in COUNTERS.items()},
        **{name: GaugeMetricFamily(f"interlock_{name}", text, labels=labels) for name, text in GAUGES.items()},
    }


def _read(
    space: Space, wants: Callable[[str], bool]
) -> tuple[Mapping[str, float], list[tuple[str, str, Mapping[str, float]]]]:
    """The figures of a space, and name, kind and figures of each of the names that are wanted."""
    # First: to read the names takes a place among the processes, where there was none.
    totals = {"up": 1, "processes": sum(each.alive for each in space.processes()), "deadlocks": len(space.deadlocks())}
    waiters = Counter((name, kind) for _, _, _, name, kind, *_ in space._waits())
    shared: Counter[int] = Counter()
    for ref, _, count in space._portions():
        shared[ref] += count
    objects: list[tuple[str, str, Mapping[str, float]]] = []
    for name, *_ in space._list():
        facts = space._look(name) if wants(name) else None
        if facts is not None and facts["kind"] in KINDS:
            kind = KINDS[facts["kind"]]
            figures = {**_figures(kind, facts, shared[facts["ref"]]), "waiters": waiters[name, facts["kind"]]}
            objects.append((name, kind, figures))
    return totals, objects


def _figures(kind: str, facts: dict[str, Any], shared: int) -> dict[str, float]:
    """The figures of an object of which processes have `shared` reads or permits."""
    if kind == "Semaphore":
        return {"permits_free": facts["state"] & PERMITS}
    if kind == "BoundedSemaphore":
        permits = facts["parameter"]
        return {"held": shared > 0, "permits": permits, "permits_free": max(0, permits - shared)}
    if kind not in OWNED:
        return {}
    figures: dict[str, float] = dict(zip(COUNTERS, facts["counts"], strict=True))
    if kind == "RWLock":
        # A writer's lock is the readers' gate as well: it writes from a depth of 1 on.
        return {**figures, "held": shared > 0 or (facts["owner"] is not None and facts["depth"] > 0), "readers": shared}
    return {**figures, "held": facts["owner"] is not None}
