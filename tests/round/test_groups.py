"""Mask groups: everyone deals the same, colluders surround nobody, and of no member both kinds of seed are known."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_group import BEACON

from folkmoot.round.groups import FULL_UP_TO, NO_BEACON, deal, degree, neighbours, released
from folkmoot.task.policy import share_threshold

untimed = settings(deadline=None, max_examples=60)
members = st.sets(st.integers(0, 255), min_size=1, max_size=60)
beacons = st.binary(min_size=32, max_size=32)


@untimed
@given(beacons, members, st.integers(1, 20))
def test_dealing_puts_every_member_into_one_group_of_a_size_as_even_as_can_be(
    beacon: bytes, all_members: set[int], size: int
) -> None:
    groups = deal(beacon, sorted(all_members), size)
    assert sorted(m for group in groups for m in group) == sorted(all_members)
    assert all(list(group) == sorted(group) for group in groups)
    assert len(groups) == max(1, len(all_members) // size)
    sizes = {len(group) for group in groups}
    assert max(sizes) - min(sizes) <= 1
    assert len(all_members) < size or min(sizes) >= size


@untimed
@given(beacons, st.permutations(range(17)))
def test_the_order_in_which_members_are_named_changes_nothing(beacon: bytes, order: list[int]) -> None:
    assert deal(beacon, order, 4) == deal(beacon, range(17), 4)
    assert deal(beacon, order, None) == (tuple(range(17)),)
    assert neighbours(beacon, order) == neighbours(beacon, range(17))


def test_another_beacon_deals_anew() -> None:
    other = bytes(reversed(BEACON))
    assert deal(BEACON, range(40), 4) != deal(other, range(40), 4)
    assert neighbours(BEACON, range(40)) != neighbours(other, range(40))


@pytest.mark.parametrize("n", [2, 3, 10, FULL_UP_TO])
def test_in_small_groups_everyone_is_a_neighbour(n: int) -> None:
    assert degree(n) == n - 1
    assert neighbours(BEACON, range(n)) == {i: tuple(j for j in range(n) if j != i) for i in range(n)}


@pytest.mark.parametrize("n", [33, 34, 40, 100, 256])
def test_in_large_groups_each_member_has_as_many_neighbours_and_each_of_them_has_it(n: int) -> None:
    near = neighbours(BEACON, range(n))
    assert list(near) == list(range(n))
    for member, others in near.items():
        assert len(set(others)) == degree(n)
        assert list(others) == sorted(others)
        assert all(member in near[j] for j in others)
        assert member not in others


def test_without_a_beacon_even_a_large_group_is_full() -> None:
    """defence: neighbours' condition on NO_BEACON. Whoever knows the circle beforehand can surround a member."""
    assert all(len(others) == 99 for others in neighbours(NO_BEACON, range(100)).values())


def test_a_beacon_has_32_bytes() -> None:
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="a beacon has 32 bytes"):
            neighbours(wrong, range(4))
        with pytest.raises(ValueError, match="a beacon has 32 bytes"):
            deal(wrong, range(4), 2)


@pytest.mark.parametrize(("n", "k"), [(33, 16), (50, 24), (100, 48), (256, 84), (500, 102)])
def test_degrees_are_these(n: int, k: int) -> None:
    assert degree(n) == k


@pytest.mark.parametrize("n", [33, 50, 100, 256, 500])
def test_colluders_surround_an_honest_member_with_a_probability_below_2_to_the_minus_40(n: int) -> None:
    colluders = (n - 1) // 3

    def chance(k: int) -> Fraction:
        """By the ways to draw the colluders; the code counts the ways to draw the neighbours."""
        placed = range(share_threshold(k), min(k, colluders) + 1)
        ways = sum(comb(k, c) * comb(n - 1 - k, colluders - c) for c in placed)
        return (n - colluders) * Fraction(ways, comb(n - 1, colluders))

    assert chance(degree(n)) < Fraction(1, 2**40)
    assert all(chance(k) >= Fraction(1, 2**40) for k in range(2, degree(n), 2))


@given(st.integers(0, 9), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_the_dead_release_nothing_and_the_living_their_own_and_what_they_share_with_the_dead(
    dealer: int, near: set[int], survivors: set[int]
) -> None:
    """defence: released."""
    given_out = released(dealer, sorted(near - {dealer}), survivors)
    if dealer not in survivors:
        assert given_out == ()
    else:
        assert given_out == (dealer, *sorted(near - survivors - {dealer}))


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_for_no_member_self_mask_and_pair_masks_are_both_known(n: int) -> None:
    """defence: released. Holds for every survivor set: one of a survivor's masks stays unknown with each survivor."""
    near = neighbours(NO_BEACON, range(n))
    for count in range(2, n + 1):
        for survivors in combinations(range(n), count):
            known = {(d, t) for d in range(n) for t in released(d, near[d], survivors)}
            known |= {(t, d) for d, t in known}
            for member in range(n):
                pairs_known = all((member, j) in known for j in survivors if j != member)
                assert ((member, member) in known) == (member in survivors)
                assert pairs_known == (member not in survivors)
