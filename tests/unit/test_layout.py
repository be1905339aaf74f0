"""Where boxes and lines go: none over another, whatever the graph."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.pictures.layout import components, forward, layout, ranks, rising

SIZES = st.lists(st.floats(-1e6, 1e6), max_size=30)


def ring(count):
    """Parties 0, 2, 4 … wait for objects 1, 3, 5 …"""
    return [(number, (number + 1) % (2 * count)) for number in range(2 * count)], [[*range(2 * count)]]


def tangle(seed):
    """Some boxes and any edges between them, some circles told."""
    chance = random.Random(seed)
    count = chance.randrange(2, 40)
    edges = list({tuple(chance.sample(range(count), 2)) for _ in range(chance.randrange(1, 60))})
    circles = []
    if chance.random() < 0.5 and count > 6:
        circles = [chance.sample(range(count), 6)]
        edges = list({*edges, *zip(circles[0], (*circles[0][1:], circles[0][0]), strict=True)})
    return edges, circles


GRAPHS = {
    "own lock": ring(1),
    "ring of 3": ring(3),
    "ring of 10": ring(10),
    "crowd of 40": ([(number, 40) for number in range(40)] + [(40, 41)], []),
    "chain": ([(number, number + 1) for number in range(9)], []),
    "two parts": ([(0, 1), (2, 3)], []),
    **{f"tangle {seed}": tangle(seed) for seed in range(60)},
}


def placed(edges, circles):
    """Boxes as (left, top, right, bottom), and the routes."""
    count = 1 + max(box for edge in edges for box in edge)
    sizes = [(60 + 17 * (number % 9), 40 + 16 * (number % 3)) for number in range(count)]
    found = layout(sizes, edges, circles)
    boxes = {
        number: (x - sizes[number][0] / 2, y - sizes[number][1] / 2, x + sizes[number][0] / 2, y + sizes[number][1] / 2)
        for number, (x, y) in found.boxes.items()
    }
    assert len(boxes) == count
    return found, boxes


def inside(point, box, by=0.01):
    return box[0] + by < point[0] < box[2] - by and box[1] + by < point[1] < box[3] - by


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_no_box_over_another_or_outside(graph):
    found, boxes = placed(*graph)
    for one, other in combinations(boxes.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    for box in boxes.values():
        assert min(box) >= -0.01
        assert box[2] <= found.width + 0.01
        assert box[3] <= found.height + 0.01


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_lines_lead_from_box_to_box_and_through_none(graph):
    found, boxes = placed(*graph)
    for number, (tail, head) in enumerate(graph[0]):
        route = found.routes[number]
        for end, box in ((route[0], boxes[tail]), (route[-1], boxes[head])):
            along = 1 if number in found.upright else 0
            assert min(abs(end[along] - box[along]), abs(end[along] - box[along + 2])) < 0.01  # on its side
            assert box[1 - along] < end[1 - along] < box[3 - along]
        assert len(route) % 2 == 0
        for one, other in zip(route[::2], route[1::2], strict=True):
            for step in range(101):
                point = [a + (b - a) * step / 100 for a, b in zip(one, other, strict=True)]
                assert not any(inside(point, box) for box in boxes.values())


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_layers(graph):
    """Each edge, turned round or not, leads to a later layer: no cycle is left."""
    edges, circles = graph
    part = sorted({box for edge in edges for box in edge})
    ways = forward(part, dict(enumerate(edges)), circles)
    assert {number: {*edge} for number, edge in ways.items()} == {number: {*edge} for number, edge in enumerate(edges)}
    layer = ranks(part, ways.values())
    assert all(layer[tail] < layer[head] for tail, head in ways.values())
    assert min(layer.values()) == 0


def test_a_circle_is_folded():
    edges, circles = ring(10)
    ways = forward(range(20), dict(enumerate(edges)), circles)
    assert max(ranks(range(20), ways.values()).values()) == 10


def test_parts():
    assert components(6, [(0, 3), (3, 4), (1, 5)]) == [[0, 3, 4], [1, 5], [2]]
    assert components(0, []) == []
    nothing = layout([], [])
    assert (nothing.width, nothing.height, nothing.boxes, nothing.routes) == (0, 0, {}, {})


@given(SIZES)
def test_rising(wanted):
    fitted = rising(wanted)
    assert len(fitted) == len(wanted)
    assert all(one <= other + 1e-6 for one, other in pairwise(fitted))
    assert sum(fitted) == pytest.approx(sum(wanted), abs=1e-3)
    assert rising(sorted(wanted)) == sorted(wanted)
