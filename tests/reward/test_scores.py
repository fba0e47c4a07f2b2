"""From words on groups to scores of members."""

from __future__ import annotations

import doctest
import random
from collections.abc import Sequence
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.reward import Scored, agreed, member_scores, scored, scoring_groups
from folkmoot.reward.scores import RIDGE, UNIT
from folkmoot.reward.wire import LIMIT

WORDS = st.integers(-LIMIT, LIMIT)
BEACON = bytes(range(32))


def dealt(seed: int, members: int, size: int) -> tuple[tuple[int, ...], ...]:
    order = random.Random(seed).sample(range(members), members)
    return tuple(tuple(sorted(order[at : at + size])) for at in range(0, members, size))


def exact(rounds: int, worth: Sequence[float], size: int, gain: int = 10**9) -> list[Scored]:
    """Rounds in which a group has exactly what its members are worth."""
    mean, made = sum(worth) / len(worth), []
    for number in range(rounds):
        groups = dealt(number, len(worth), size)
        apart = [round(gain * sum(worth[member] - mean for member in group)) for group in groups]
        made.append(Scored(groups, round(gain * sum(worth)), tuple(apart)))
    return made


@given(st.lists(WORDS, min_size=1, max_size=15), st.lists(WORDS, max_size=6), st.integers(0, 3))
def test_liars_make_an_effect_smaller_at_most(honest: list[int], lies: list[int], more: int) -> None:
    found = agreed([*lies, *honest], len(lies) + more)
    ordered = sorted(honest)
    low, high = ordered[(len(honest) - 1) // 2], ordered[len(honest) // 2]
    assert min(0, low) <= found <= max(0, high)
    assert abs(found) <= max(abs(low), abs(high))


@given(st.lists(WORDS, min_size=1, max_size=15))
def test_without_liars_it_is_the_median(words: list[int]) -> None:
    ordered = sorted(words)
    middle = ordered[(len(words) - 1) // 2], ordered[len(words) // 2]
    assert agreed(words) == (0 if middle[0] < 0 < middle[1] else min(middle, key=abs))


def test_of_liars_alone_nothing_is_believed() -> None:
    assert agreed([5, 5, 5], liars=3) == agreed([]) == 0
    assert scored([(0,), (1,)], {2: [5, 1], 3: [5, 1]}, liars=2) == Scored(((0,), (1,)))


def test_words_that_are_no_effects_count_as_missing() -> None:
    groups = [(0, 1), (2, 3)]
    told: dict[int, Sequence[int]] = {scorer: [100 + scorer, -50] for scorer in range(6)}
    absurd: list[Sequence[int]] = [[], [1], [1, 2, 3], [LIMIT + 1, 0], [True, False], [0.5, 1.0]]  # type: ignore[list-item]
    for word in absurd:
        assert scored(groups, {**told, 6: word}, 1) == scored(groups, told, 1)


def test_nobody_is_heard_on_what_sets_its_own_group_apart() -> None:
    groups = [(0, 1), (2, 3)]
    told = {2: [10, 0], 3: [10, 0], 4: [10, 0], 0: [10, 0], 1: [10, 0]}
    boasting = {**told, 0: [LIMIT, -LIMIT], 1: [LIMIT, -LIMIT]}
    assert scored(groups, told).apart[0] == scored(groups, boasting).apart[0] == 5


@given(st.permutations(range(7)), st.data())
def test_the_order_in_which_words_come_does_not_matter(order: list[int], data: st.DataObject) -> None:
    groups = ((0, 4), (1, 2, 6), (3, 5))
    told = {scorer: data.draw(st.lists(WORDS, min_size=3, max_size=3)) for scorer in range(7)}
    assert scored(groups, {scorer: told[scorer] for scorer in order}, 2) == scored(groups, told, 2)


def test_members_are_told_apart_though_only_groups_are_seen() -> None:
    worth = [0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.05, 0.05, 0.0, 0.0, -0.05, -0.1]
    found = member_scores(exact(200, worth, 4))
    stake = np.mean([one.stake for one in exact(200, worth, 4)])
    np.testing.assert_allclose(np.array([*found.values()]) / UNIT, np.array(worth) * 10**9 / stake, atol=0.02)


def test_scores_solve_the_ridge_regression_that_they_are_said_to() -> None:
    draw = random.Random(7)
    rounds, left = [], []
    for number in range(9):
        groups = dealt(number, 7, 3)[: 2 + number % 2]
        rounds.append(Scored(groups, draw.randrange(10**9), tuple(draw.randrange(-(10**8), 10**8) for _ in groups)))
    scale = np.mean([one.stake**2 for one in rounds])
    rows, right = [np.sqrt(RIDGE * scale) * np.eye(7)], [np.zeros(7)]
    for one in rounds:
        row = np.array([[float(member in group) for member in range(7)] for group in one.groups])
        sizes = row.sum(axis=1, keepdims=True)
        rows.append(one.stake * (row - sizes / one.members * row.sum(axis=0)))
        right.append(np.array(one.apart, dtype=np.float64))
        left.append((one.stake * one.gain / one.members, one.stake**2))
    apart = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    level = sum(gain for gain, _ in left) / sum(square for _, square in left)
    np.testing.assert_allclose([*member_scores(rounds).values()], (level + apart) * UNIT, atol=1.0)


def test_while_rounds_are_few_all_are_scored_alike() -> None:
    worth = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    spread = [np.ptp([*member_scores(exact(rounds, worth, 2)).values()]) / UNIT for rounds in (1, 3, 10, 100)]
    assert spread == sorted(spread)
    assert spread[0] < spread[-1] / 2


def test_rounds_that_say_nothing_leave_all_alike() -> None:
    assert member_scores([]) == {}
    assert member_scores([Scored(((0, 1), (2,)))]) == {0: 0, 1: 0, 2: 0}
    assert member_scores([Scored(((0, 1), (2,)), 0, (0, 0))]) == {0: 0, 1: 0, 2: 0}
    one_group = member_scores([Scored(((0, 1, 2, 3),), 400, (0,))] * 5)
    assert set(one_group.values()) == {UNIT // 4}


def test_members_that_are_always_together_have_one_score() -> None:
    found = member_scores([Scored(((0, 1), (2, 3)), 100, (40, -40)), Scored(((0, 1), (2,), (3,)), 100, (9, 6, -15))])
    assert found[0] == found[1] > found[2] > found[3]


def test_nobody_gains_by_missing_rounds_in_which_little_was_learned() -> None:
    early = [Scored(groups, 10**6, (0, 0)) for groups in (((0, 1), (2, 3)), ((0, 2), (1, 3)))]
    late = [Scored(groups, 10**4, (0,) * len(groups)) for groups in (((1, 2), (3,)), ((1, 3), (2,)))]
    assert len(set(member_scores([*early, *late]).values())) == 1


@given(st.integers(1, 1000))
def test_scores_do_not_depend_on_the_unit_of_the_loss(scale: int) -> None:
    rounds = exact(6, [0.5, 0.2, 0.2, 0.1, 0.0, 0.0], 2, gain=10**5)
    larger = [Scored(one.groups, one.gain * scale, tuple(scale * a for a in one.apart)) for one in rounds]
    first, other = member_scores(rounds), member_scores(larger)
    assert all(abs(first[member] - other[member]) <= 1 for member in first)


def test_scoring_groups_are_dealt_by_the_beacon_and_none_before_there_is_one() -> None:
    assert scoring_groups([3, 1, 2], bytes(32), 1) == ((1,), (2,), (3,))
    assert scoring_groups(range(9), bytes(32), 3) == ()
    assert sorted(member for group in scoring_groups(range(9), BEACON, 3) for member in group) == list(range(9))
    assert scoring_groups(range(9), BEACON, 3) != scoring_groups(range(9), BEACON[::-1], 3)


@pytest.mark.parametrize("name", ["availability", "scores", "split", "wire"])
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(import_module(f"folkmoot.reward.{name}")).failed == 0
