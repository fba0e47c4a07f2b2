"""Who holds what: everyone computes the same plan, it is even, and what changes moves little."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.round.plan import Plan, make_plan, shard_bounds
from folkmoot.task import Policy

untimed = settings(deadline=None, max_examples=50)
PARENT = bytes(range(32))


def plan(members: list[int] | range, attempt: int = 0, parent: bytes = PARENT) -> Plan:
    return make_plan(members, parent, attempt, Policy())


@pytest.mark.parametrize("members", range(1, 9))
def test_up_to_eight_members_gather_whole_contributions(members: int) -> None:
    assert plan(range(members)).holders == (tuple(range(members)),)


@untimed
@given(st.sets(st.integers(0, 255), min_size=9, max_size=40))
def test_larger_rounds_have_a_shard_a_member_and_three_holders_a_shard(members: set[int]) -> None:
    dealt = plan(sorted(members))
    assert dealt.shards == len(members)
    for holders in dealt.holders:
        assert len(set(holders)) == 3
        assert list(holders) == sorted(holders)
        assert set(holders) <= members
    for member in members:
        assert dealt.held_by(member) == tuple(s for s, holders in enumerate(dealt.holders) if member in holders)


def test_the_work_is_spread() -> None:
    load = Counter(m for holders in plan(range(256)).holders for m in holders)
    assert sum(load.values()) == 3 * 256
    assert max(load.values()) <= 12


def test_another_parent_or_attempt_deals_anew() -> None:
    members = range(40)
    assert plan(members).holders != plan(members, parent=bytes(32)).holders
    again = plan(members, attempt=1)
    assert [h[:3] for h in again.holders] != [h[:3] for h in plan(members).holders]


@pytest.mark.parametrize("members", [9, 10, 16, 100, 256])
def test_every_attempt_doubles_the_holders_until_everyone_holds_everything(members: int) -> None:
    counts = [len(plan(range(members), attempt).holders[0]) for attempt in range(9)]
    assert counts == [min(3 << attempt, members) for attempt in range(9)]
    assert plan(range(members), 8).shards == plan(range(members), 1_000_000).shards == 1


@pytest.mark.parametrize("members", [9, 16, 64])
def test_a_member_who_leaves_moves_only_its_own_shards(members: int) -> None:
    before, after = plan(range(members)), plan(range(members - 1))
    for old, new in zip(before.holders, after.holders, strict=False):
        assert old == new or members - 1 in old


@untimed
@given(st.integers(0, 10_000), st.integers(1, 256))
def test_bounds_cut_words_evenly_and_leave_none_out(words: int, shards: int) -> None:
    bounds = shard_bounds(words, shards)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == words
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    sizes = {b - a for a, b in bounds}
    assert max(sizes) - min(sizes) <= 1
