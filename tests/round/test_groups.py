"""Mask groups: everyone deals the same, a third has no power over a seed, and of no member both kinds are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_group import BEACON

from folkmoot.round.groups import deal, neighbours, released
from folkmoot.round.plan import Plan
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
    assert neighbours(order) == neighbours(range(17))


def test_another_beacon_deals_anew() -> None:
    other = bytes(reversed(BEACON))
    assert deal(BEACON, range(40), 4) != deal(other, range(40), 4)


@pytest.mark.parametrize("n", [2, 3, 32, 33, 100, 256])
def test_however_large_a_group_is_everyone_is_a_neighbour_of_everyone(n: int) -> None:
    """defence: neighbours. Of a few neighbours more than a third may be liars, and keep back what they hold."""
    assert neighbours(range(n)) == {i: tuple(j for j in range(n) if j != i) for i in range(n)}


def test_a_beacon_has_32_bytes() -> None:
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="a beacon has 32 bytes"):
            deal(wrong, range(4), 2)


@pytest.mark.parametrize("n", [5, 33, 34, 100, 256])
def test_a_third_of_a_group_can_neither_rebuild_a_seed_nor_keep_it_back(n: int) -> None:
    """defence: share_threshold, neighbours. Of those who fail or lie the silent member is one itself."""
    faults, holders = (n - 1) // 3, len(neighbours(range(n))[0])
    assert faults < share_threshold(holders) <= holders - (faults - 1)


def test_a_group_that_a_second_freeze_took_a_member_from_is_never_unmasked() -> None:
    """defence: Plan.rows, by those whom the attempt was first frozen with. Of one group the others are summed."""
    three = Plan(((0,),), tuple(range(12)), secret=True, groups=((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)))
    everyone, left_out = (1 << 12) - 1, (1 << 12) - 1 - (1 << 5)
    assert three.rows(everyone, everyone) == three.groups
    assert three.rows(left_out, left_out) == ((0, 1, 2, 3), (4, 6, 7), (8, 9, 10, 11)), "it never was a survivor"
    assert three.rows(left_out, everyone) == ((0, 1, 2, 3), (8, 9, 10, 11))
    one = replace(three, groups=(tuple(range(12)),))
    assert one.rows(left_out, everyone) == ((*range(5), *range(6, 12)),)


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
    near = neighbours(range(n))
    for count in range(2, n + 1):
        for survivors in combinations(range(n), count):
            known = {(d, t) for d in range(n) for t in released(d, near[d], survivors)}
            known |= {(t, d) for d, t in known}
            for member in range(n):
                pairs_known = all((member, j) in known for j in survivors if j != member)
                assert ((member, member) in known) == (member in survivors)
                assert pairs_known == (member not in survivors)
