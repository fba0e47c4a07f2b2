"""Members lost at any point of a masked round: the others get the exact sum of those who survive it.

Real machines and masks against the real contract, in virtual time.
"""

from __future__ import annotations

import itertools
from random import Random

import pytest
from fault_liar import Liar
from fault_peer import Peer
from fault_words import Disk
from faults import Moot, judge_safety

from folkmoot.round.commitment import decode_masked_inputs
from folkmoot.round.events import Action, Key
from folkmoot.round.view import Phase, members_of
from folkmoot.task import Policy

POINTS = {
    "before it commits": "postcommit",
    "after it commits": "push",
    "after it shows its contribution": "sendholding",
    "after the freeze": "release",
}
"""When a member dies, and the action that it dies of."""
LOST = frozenset({"before it commits", "after it commits"})
"""Who dies then is not among the survivors."""


def secret_moot(n: int, seed: int = 0, liars: frozenset[int] = frozenset()) -> Moot:
    policy = Policy(
        rounds=1,
        min_members=3,
        start_members=n,
        secrecy="sums",
        train_seconds=6,
        exchange_seconds=3,
        final_seconds=8,
        gather_up_to=40,
    )
    return Moot(Random(seed), policy, n, liars)


def dies_of(peer: Peer, action: str) -> None:
    """Let the peer die when it is about to carry this out, for good."""

    def die(_: Action) -> None:
        peer.crash()

    setattr(peer, f"do_{action}", die)


def is_silent(peer: Peer) -> None:
    """Let the peer live, but tell no seed and no share."""
    peer.do_release = lambda action: None
    peer.known_seeds = lambda wanted: None


def disks(moot: Moot) -> list[Disk]:
    return [peer.disk for peer in moot.peers]


def judge(moot: Moot, survivors: set[int]) -> None:
    """Raise ``AssertionError`` unless the round ended in one attempt with the exact sum of these survivors."""
    assert moot.run(60) < 60, moot.story()
    judge_safety(moot)
    (final,) = moot.ledger.finals
    key = Key(1, 1, final.attempt)
    assert (final.attempt, set(members_of(final.survivors))) == (0, survivors)
    # judge_safety compared the sum with these, in Python's integers
    assert all((key, member) in moot.diary.plain for member in survivors)
    record = next(disk.blobs[final.inputs] for disk in disks(moot) if final.inputs in disk.blobs)
    _, seeds = decode_masked_inputs(record)
    lost = set(range(len(moot.peers))) - survivors
    assert {member: set(told) for member, told in seeds.items()} == {m: {m} | lost for m in survivors}


@pytest.mark.parametrize("n", [5, 6, 7, 8])
@pytest.mark.parametrize("point", POINTS)
def test_one_member_lost_leaves_the_exact_sum_of_the_survivors(point: str, n: int) -> None:
    """defence: released names what survivors share with the lost; the machine's AskSeeds, Masking._rebuilt."""
    moot = secret_moot(n)
    dies_of(moot.peers[1], POINTS[point])
    judge(moot, set(range(n)) - ({1} if point in LOST else set()))


@pytest.mark.parametrize("n", [6, 7, 8])
@pytest.mark.parametrize("points", list(itertools.combinations_with_replacement(POINTS, 2)), ids=" and ".join)
def test_two_members_lost_leave_the_exact_sum_of_the_survivors(points: tuple[str, str], n: int) -> None:
    """defence: released names what survivors share with the lost; the machine's AskSeeds, Masking._rebuilt."""
    moot = secret_moot(n)
    for member, point in zip((1, n - 2), points, strict=True):
        dies_of(moot.peers[member], POINTS[point])
    judge(moot, set(range(n)) - {m for m, point in zip((1, n - 2), points, strict=True) if point in LOST})


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_members_who_live_but_tell_no_seed_are_not_needed(n: int) -> None:
    """defence: the machine's AskSeeds, Masking._rebuilt."""
    moot = secret_moot(n)
    is_silent(moot.peers[0])
    judge(moot, set(range(n)))


def test_a_liar_in_a_large_group_forces_no_second_sum_and_the_round_goes_on_without_it() -> None:
    """defence: neighbours, unmask. Else one whose seeds nobody can rebuild has the attempt made again among others."""
    n, liar, lost = 34, 3, 20
    moot = secret_moot(n, liars=frozenset({liar}))
    assert isinstance(moot.peers[liar], Liar)
    moot.peers[liar].lies = frozenset({"empty boxes", "no seeds"})
    dies_of(moot.peers[lost], "release")
    assert moot.run(60) < 60, moot.story()
    judge_safety(moot)
    (final,) = moot.ledger.finals
    assert (final.attempt, set(members_of(final.survivors))) == (0, set(range(n)) - {liar})
    assert final.first_survivors == (1 << n) - 1


@pytest.mark.parametrize("n", [5, 7])
def test_a_member_that_comes_back_after_the_freeze_takes_nothing_from_the_sum(n: int) -> None:
    """Its masks made anew are the same, and it tells its seeds for the same survivors."""
    moot = secret_moot(n)
    late = moot.peers[2]
    dies_of(late, "release")
    while moot.ledger.view().phase is not Phase.FROZEN:
        moot.run(0.05)
    moot.run(0.2)
    delattr(late, "do_release")
    late.start()
    judge(moot, set(range(n)))
