"""Where the boxes of a directed graph go, in layers.

The method is that of Sugiyama, Tagawa and Toda (Methods for Visual Understanding of Hierarchical System Structures, 1981):
cycles are broken, layers are the longest paths, what spans several layers gets a place in each, and each layer is put in
the order of its neighbours' barycentres. Two things are our own. A known circle is not cut open, which would make a long
chain of it, but folded: one half of it goes down, the other half comes up again. And places are the least squares of what
everybody wants, as far as the order allows it ("pool adjacent violators").
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Point = tuple[float, float]
    Edge = tuple[int, int]

BETWEEN_LAYERS, BETWEEN_BOXES, BETWEEN_LINES, BETWEEN_PARTS = 64.0, 16.0, 10.0, 40.0
LINE = 4.0  # the room of a line that passes a layer
LAYER_MOST = 13  # so many that only wait stand side by side; more make another layer
SWEEPS = 12
FOLDS_MOST, BOXES_FOLDED = 12, 60  # how many ways to fold a circle are tried, and among how many boxes
PAGE = 1.5  # width by height that is pleasant


class Layout:
    """Width and height; the middle of each box; of each edge the points that it goes through, from the side of one box to
    the side of the other, in pairs: straight lines between the two of a pair, curves to the next one."""

    __slots__ = ("boxes", "height", "routes", "upright", "width")

    def __init__(self, boxes: dict[int, Point], routes: dict[int, list[Point]], upright: set[int], size: Point) -> None:
        self.boxes, self.routes, self.upright = boxes, routes, upright  # upright: edges whose layers lie below each other
        self.width, self.height = size


def layout(sizes: Sequence[Point], edges: Sequence[Edge], circles: Sequence[Sequence[int]] = ()) -> Layout:
    """Lays out boxes of these sizes. Each circle is a list of boxes, with an edge from each to the next one."""
    parts = [_lie_or_stand(part, sizes, edges, circles) for part in components(len(sizes), edges)]
    return _side_by_side(parts)


def components(count: int, edges: Iterable[Edge]) -> list[list[int]]:
    """The boxes that hang together, the largest part first."""
    near: list[list[int]] = [[] for _ in range(count)]
    for tail, head in edges:
        near[tail].append(head)
        near[head].append(tail)
    found: list[list[int]] = []
    seen: set[int] = set()
    for start in range(count):
        part: list[int] = []
        ahead = [start]
        while ahead:
            box = ahead.pop()
            if box not in seen:
                seen.add(box)
                part.append(box)
                ahead.extend(near[box])
        if part:
            found.append(sorted(part))
    return sorted(found, key=len, reverse=True)


def _lie_or_stand(
    part: list[int], sizes: Sequence[Point], edges: Sequence[Edge], circles: Sequence[Sequence[int]]
) -> Layout:
    """Layers from left to right, or from top to bottom, and circles folded here or there: whichever is nearer to a page."""
    inside = set(part)
    ours = {number: edge for number, edge in enumerate(edges) if edge[0] in inside}
    rounds = [circle for circle in circles if circle and circle[0] in inside]
    folds = min(max(map(len, rounds), default=1), FOLDS_MOST) if len(part) <= BOXES_FOLDED else 1
    tries: list[Layout] = []
    for fold in range(folds):
        turned = [[*circle[fold % len(circle) :], *circle[: fold % len(circle)]] for circle in rounds]
        tries += [_Layers(part, ours, turned, sizes, upright).placed() for upright in (False, True)]
    return min(tries, key=lambda each: max(each.width / PAGE, each.height))


def _side_by_side(parts: Sequence[Layout]) -> Layout:
    """Parts in rows, as words on a page."""
    wide = max([part.width for part in parts], default=0.0)
    whole = sum((part.width + BETWEEN_PARTS) * (part.height + BETWEEN_PARTS) for part in parts)
    room = max(wide, (whole * PAGE) ** 0.5)
    together = Layout({}, {}, set(), (0.0, 0.0))
    x = y = row = 0.0
    for part in parts:
        if x and x + part.width > room:
            x, y, row = 0.0, y + row + BETWEEN_PARTS, 0.0
        together.boxes |= {box: (x + at[0], y + at[1]) for box, at in part.boxes.items()}
        together.routes |= {edge: [(x + at[0], y + at[1]) for at in route] for edge, route in part.routes.items()}
        together.upright |= part.upright
        x, row = x + part.width + BETWEEN_PARTS, max(row, part.height)
        together.width = max(together.width, x - BETWEEN_PARTS)
        together.height = y + row
    return together


class _Layers:
    """One part, its layers one after the other along an axis; `across` it they have their order.

    A node is a box or, numbered from -1 downwards, the place of an edge in a layer that it passes."""

    def __init__(
        self,
        part: list[int],
        edges: dict[int, Edge],
        circles: Sequence[Sequence[int]],
        sizes: Sequence[Point],
        upright: bool,
    ) -> None:
        self.edges, self.upright, self.next_node = edges, upright, 0
        self.along = {box: sizes[box][1 if upright else 0] for box in part}
        self.across = {box: sizes[box][0 if upright else 1] for box in part}
        self.forward = forward(part, edges, circles)
        self.layer_of = ranks(part, self.forward.values())
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer_of.values()) + 1)]
        for box in part:
            self.layers[self.layer_of[box]].append(box)
        self.chains = {number: self._chain(*edge) for number, edge in self.forward.items()}
        self.before: dict[int, list[int]] = {node: [] for layer in self.layers for node in layer}
        self.after: dict[int, list[int]] = {node: [] for layer in self.layers for node in layer}
        for chain in self.chains.values():
            for one, next_one in pairwise(chain):
                self.after[one].append(next_one)
                self.before[next_one].append(one)
        first = {node: chain[0] for chain in self.chains.values() for node in chain[1:-1]}
        for layer in self.layers:  # what passes a layer begins between those beside whom it would stand
            layer.sort(key=lambda node: first.get(node, node))

    def _chain(self, upper: int, lower: int) -> list[int]:
        """The nodes of an edge, with a new one in each layer that it passes."""
        chain = [upper]
        for layer in range(self.layer_of[upper] + 1, self.layer_of[lower]):
            node = self.next_node = self.next_node - 1
            self.across[node] = LINE
            self.layers[layer].append(node)
            chain.append(node)
        return [*chain, lower]

    def placed(self) -> Layout:
        self._order()
        middle = self._spread()
        first = min(at - self.across[node] / 2 for node, at in middle.items())
        last = max(at + self.across[node] / 2 for node, at in middle.items())
        starts: list[float] = []
        ends: list[float] = []
        for layer in self.layers:
            starts.append(ends[-1] + BETWEEN_LAYERS if ends else 0.0)
            ends.append(starts[-1] + max(self.along[node] for node in layer if node >= 0))

        def point(along: float, across: float) -> Point:
            return (across - first, along) if self.upright else (along, across - first)

        boxes: dict[int, Point] = {}
        for layer, start, end in zip(self.layers, starts, ends, strict=True):
            boxes |= {node: point((start + end) / 2, middle[node]) for node in layer if node >= 0}
        ports = self._ports(middle)
        routes: dict[int, list[Point]] = {}
        for number, chain in self.chains.items():
            route: list[Point] = []
            for place, node in enumerate(chain, self.layer_of[chain[0]]):
                start, end, at = starts[place], ends[place], middle[node] + ports.get((number, node), 0.0)
                if node == chain[0]:
                    start = (start + end + self.along[node]) / 2
                elif node == chain[-1]:
                    end = (start + end - self.along[node]) / 2
                route += [point(start, at), point(end, at)]
            routes[number] = route if self.forward[number] == self.edges[number] else route[::-1]
        size = (last - first, ends[-1]) if self.upright else (ends[-1], last - first)
        return Layout(boxes, routes, set(self.chains) if self.upright else set(), size)

    def _order(self) -> None:
        """Sorts each layer by where its neighbours are, down and up again, and keeps the best of all."""
        best, fewest = [layer[:] for layer in self.layers], self._crossings()
        places = {node: place for layer in self.layers for place, node in enumerate(layer)}
        for sweep in range(SWEEPS):
            if fewest == 0:
                break
            down = sweep % 2 == 0
            near = self.before if down else self.after
            for layer in self.layers if down else self.layers[::-1]:
                centres = {node: _mean([places[each] for each in near[node]], places[node]) for node in layer}
                layer.sort(key=centres.__getitem__)
                places |= {node: place for place, node in enumerate(layer)}
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [layer[:] for layer in self.layers], crossings
        self.layers = best

    def _crossings(self) -> int:
        total = 0
        places = {node: place for layer in self.layers for place, node in enumerate(layer)}
        for layer in self.layers:
            ends: list[int] = []
            for _, end in sorted((places[node], places[other]) for node in layer for other in self.after[node]):
                total += len(ends) - bisect_right(ends, end)
                insort(ends, end)
        return total

    def _spread(self) -> dict[int, float]:
        """The middle of each node: near its neighbours', and as far from those beside it as it has to be."""
        middle: dict[int, float] = {}
        for layer in self.layers:
            middle |= self._fit(layer, [0.0] * len(layer))
        for sweep in range(2 * SWEEPS):
            down = sweep % 2 == 0
            for layer in self.layers if down else self.layers[::-1]:
                near = self.before if down else self.after
                wanted = [_mean([middle[each] for each in near[node]], middle[node]) for node in layer]
                middle |= self._fit(layer, wanted)
        return middle

    def _fit(self, layer: list[int], wanted: list[float]) -> dict[int, float]:
        offsets: list[float] = []
        for place, node in enumerate(layer):
            if place == 0:
                offsets.append(0.0)
                continue
            left = layer[place - 1]
            gap = BETWEEN_LINES if node < 0 or left < 0 else BETWEEN_BOXES
            offsets.append(offsets[-1] + (self.across[left] + self.across[node]) / 2 + gap)
        fitted = rising([want - offset for want, offset in zip(wanted, offsets, strict=True)])
        return {node: at + offset for node, at, offset in zip(layer, fitted, offsets, strict=True)}

    def _ports(self, middle: dict[int, float]) -> dict[tuple[int, int], float]:
        """How far from the middle of its box each edge begins or ends: they stand in the order of where they come from."""
        sides: dict[tuple[int, bool], list[tuple[float, int]]] = {}
        for number, chain in self.chains.items():
            sides.setdefault((chain[0], True), []).append((middle[chain[1]], number))
            sides.setdefault((chain[-1], False), []).append((middle[chain[-2]], number))
        ports: dict[tuple[int, int], float] = {}
        for (box, _), lines in sides.items():
            step = min(14.0, (self.across[box] - 16) / len(lines))
            for place, (_, number) in enumerate(sorted(lines)):
                ports[number, box] = (place - (len(lines) - 1) / 2) * step
        return ports


def forward(part: Iterable[int], edges: dict[int, Edge], circles: Iterable[Sequence[int]]) -> dict[int, Edge]:
    """The edges, some of them turned round so that there is no cycle. Of a circle, the second half is."""
    turned: dict[int, Edge] = {}
    for circle in circles:
        for place, (tail, head) in enumerate(zip(circle, (*circle[1:], circle[0]), strict=True)):
            for number, edge in edges.items():
                if edge == (tail, head):
                    turned.setdefault(number, edge if place < len(circle) / 2 else (head, tail))
    ways = edges | turned
    out: dict[int, list[int]] = {}
    for number, (tail, _) in ways.items():
        out.setdefault(tail, []).append(number)
    done: set[int] = set()
    for start in part:
        path: dict[int, list[int]] = {} if start in done else {start: list(out.get(start, ()))}
        while path:
            box = next(reversed(path))
            if not path[box]:
                done.add(box)
                del path[box]
                continue
            number = path[box].pop()
            head = ways[number][1]
            if head in path:
                ways[number] = (head, box)
            elif head not in done:
                path[head] = list(out.get(head, ()))
    return ways


def ranks(part: Iterable[int], edges: Iterable[Edge]) -> dict[int, int]:
    """The layer of each box: the longest path that leads to it. What nothing leads to goes as near as it can."""
    into: dict[int, set[int]] = {box: set() for box in part}
    out: dict[int, set[int]] = {box: set() for box in part}
    for tail, head in edges:
        into[head].add(tail)
        out[tail].add(head)
    layer = dict.fromkeys(into, 0)
    open_ways = {box: len(tails) for box, tails in into.items()}
    ready = [box for box, ways in open_ways.items() if ways == 0]
    for box in ready:  # which grows
        for head in out[box]:
            layer[head] = max(layer[head], layer[box] + 1)
            open_ways[head] -= 1
            if open_ways[head] == 0:
                ready.append(head)
    crowds: dict[int, list[int]] = {}
    for box, tails in into.items():
        if not tails and out[box]:
            crowds.setdefault(min(layer[head] for head in out[box]) - 1, []).append(box)
    for near, crowd in crowds.items():
        columns = -(-len(crowd) // LAYER_MOST)
        layer |= {box: near - place % columns for place, box in enumerate(crowd)}
    least = min(layer.values())
    return {box: rank - least for box, rank in layer.items()}


def rising(wanted: Sequence[float]) -> list[float]:
    """The numbers nearest to these, by least squares, of which none is less than the one before it."""
    pools: list[tuple[float, int]] = []  # mean, of how many
    for want in wanted:
        pools.append((want, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, few), (other, more) = pools[-2:]
            pools[-2:] = [((one * few + other * more) / (few + more), few + more)]
    return [mean for mean, count in pools for _ in range(count)]


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise
