"""How slices of a recording are put in tracks, and what a thread's own waits tell of them."""

from __future__ import annotations

import random

import pytest

from interlock.pictures.recording import Party, Slice
from interlock.pictures.trace import lanes, settle

ME = Party(1, 1, 1)


def slices(*spans):
    """Of (begin, end), holds as looks tell that come every ten; of (begin, end, True), waits."""
    return [Slice(ME, 1, len(span) == 3, span[0] - 10, span[0], span[1] - 10, span[1], 1, {}) for span in spans]


def in_lanes(*spans):
    return [(each.begin, each.end, lane) for each, lane in lanes(slices(*spans))]


def settled(*spans):
    ours = slices(*spans)
    settle(ours)
    return [(each.begin, each.end) for each in ours]


def test_what_nests_or_follows_is_in_one_lane():
    assert in_lanes((0, 9), (1, 4), (2, 3), (4, 9), (9, 12)) == [(0, 9, 0), (1, 4, 0), (2, 3, 0), (4, 9, 0), (9, 12, 0)]


def test_what_overlaps_is_in_another_lane():
    assert in_lanes((0, 5), (3, 8), (6, 9)) == [(0, 5, 0), (3, 8, 1), (6, 9, 0)]


@pytest.mark.parametrize("seed", range(50))
def test_lanes_nest(seed):
    chance = random.Random(seed)
    spans = [(begin, begin + chance.randrange(20)) for begin in (chance.randrange(100) for _ in range(40))]
    by_lane = {}
    for begin, end, lane in in_lanes(*spans):
        by_lane.setdefault(lane, []).append((begin, end))
    assert sorted(span for lane in by_lane.values() for span in lane) == sorted(spans)
    for lane in by_lane.values():
        for one in lane:
            for other in lane:
                assert not one[0] < other[0] < one[1] < other[1]


def test_what_was_over_when_a_wait_was_seen_was_over_when_it_began():
    assert settled((0, 20), (13, 90, True)) == [(0, 13), (13, 90)]


def test_what_was_first_seen_in_a_wait_was_there_before():
    assert settled((13, 90, True), (20, 100)) == [(13, 90), (13, 100)]


def test_what_no_look_can_have_mistaken_stays_as_it_is():
    """A lock that was broken while its holder waited, say."""
    assert settled((0, 60), (13, 90, True)) == [(0, 60), (13, 90)]
    assert settled((13, 90, True), (60, 100)) == [(13, 90), (60, 100)]
    assert settled((0, 100), (13, 90, True), (20, 30)) == [(0, 100), (13, 90), (20, 30)]
