"""Bounties in whole units: what is set aside is what is paid."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from folkmoot.reward import AVAILABILITY, MILLION, season, split

POTS = st.integers(0, 10**30)
SCORES = st.none() | st.integers(-(10**12), 10**12)
MEMBERS = st.lists(st.tuples(SCORES, st.integers(0, 10**6)), min_size=1, max_size=40)
SHARES = st.integers(0, MILLION)


@given(POTS, MEMBERS, SHARES)
@example(7, [(None, 0)], 0)
@example(7, [(None, 0), (-1, 0)], MILLION)
@example(7, [(None, 3), (None, 0)], 0)
def test_what_is_paid_is_what_was_set_aside(pot: int, members: list[tuple[int | None, int]], share: int) -> None:
    paid = split(pot, *map(list, zip(*members, strict=True)), share)
    assert sum(paid) == pot
    assert all(part >= 0 for part in paid)


@given(POTS, st.lists(MEMBERS, min_size=1, max_size=8), SHARES)
def test_a_whole_season_pays_the_whole_bounty(
    bounty: int, rounds: list[list[tuple[int | None, int]]], share: int
) -> None:
    pots = season(bounty, len(rounds))
    assert sum(pots) == bounty
    assert len(set(pots[:-1])) <= 1
    paid = [
        split(pot, *map(list, zip(*members, strict=True)), share) for pot, members in zip(pots, rounds, strict=True)
    ]
    assert sum(map(sum, paid)) == bounty


@given(POTS, st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40))
def test_nobody_is_more_than_a_unit_off_its_exact_part(pot: int, scores: list[int]) -> None:
    positive = [max(0, score) for score in scores]
    if sum(positive):
        for part, weight in zip(split(pot, scores, [0] * len(scores)), positive, strict=True):
            assert abs(part * sum(positive) - pot * weight) < sum(positive)


@given(POTS, st.lists(st.integers(0, 9), min_size=1, max_size=9))
def test_who_scores_more_is_not_paid_less(pot: int, scores: list[int]) -> None:
    paid = list(zip(scores, split(pot, scores, [0] * len(scores)), strict=True))
    assert all(part >= other for score, part in paid for less, other in paid if less < score)


def test_usefulness_and_availability_are_paid_apart() -> None:
    assert split(1000, [30, 10, -5, None], [2, 2, 2, 2], 200_000) == (650, 250, 50, 50)
    assert split(1000, [30, 10, -5, None], [2, 2, 2, 2], 0) == (750, 250, 0, 0)
    assert split(1000, [30, 10, -5, None], [1, 0, 0, 3], MILLION) == (250, 0, 0, 750)
    assert split(1000, [1, 1, 1, None], [0, 0, 0, 1])[-1] == 1000 * AVAILABILITY // MILLION


def test_units_that_are_left_over_go_to_the_first_of_equals() -> None:
    assert split(5, [1, 1, 1], [0, 0, 0]) == (2, 2, 1)
    assert split(1, [0, 0, 0], [0, 0, 0]) == (1, 0, 0)


def test_where_nobody_helped_those_who_took_part_get_equal_parts() -> None:
    assert split(90, [-3, 0, None, -1], [0, 0, 9, 0], 0) == (30, 30, 0, 30)


def test_where_nobody_took_part_service_is_paid_and_without_that_everyone() -> None:
    assert split(90, [None, None, None], [1, 0, 2], 0) == (30, 0, 60)
    assert split(90, [None, None, None], [0, 0, 0], 0) == (30, 30, 30)


def test_where_nobody_served_all_goes_to_the_useful() -> None:
    assert split(90, [2, 1, None], [0, 0, 0], MILLION) == (60, 30, 0)


def test_a_single_member_gets_it_all() -> None:
    assert split(77, [-5], [3]) == split(77, [None], [0]) == (77,)


def test_what_cannot_be_split_is_refused() -> None:
    for scores, points in (([], []), ([1], [1, 1])):
        with pytest.raises(ValueError, match="each member has one of both"):
            split(1, scores, points)
    with pytest.raises(ValueError, match="pot is -1"):
        split(-1, [1], [1])
    with pytest.raises(ValueError, match="number of points is -1"):
        split(1, [1], [-1])
    with pytest.raises(ValueError, match="millionths"):
        split(1, [1], [1], MILLION + 1)
    with pytest.raises(ValueError, match="bounty is -1"):
        season(-1, 3)
    with pytest.raises(ValueError, match="at least 1 round"):
        season(1, 0)
