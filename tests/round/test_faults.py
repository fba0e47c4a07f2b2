"""Schedules of faults, from seeds: nothing that must never be happens, and what must happen does.

One schedule again: ``FOLKMOOT_FAULTS='3:gathered:CRASHES+LOSS' pytest tests/round/test_faults.py -k again``.
"""

from __future__ import annotations

import itertools
import os
from random import Random

import pytest
from fault_liar import Liar
from fault_task import GENESIS
from fault_words import sign
from faults import Fault, Moot, Schedule, judge_safety

from folkmoot.digest import blob_hash
from folkmoot.ledger import statements
from folkmoot.round.commitment import decode_masked_inputs
from folkmoot.round.plan import make_plan
from folkmoot.round.view import members_of
from folkmoot.task import Policy, read_state

PLAIN = [kind for kind in Fault if not kind.about_masks]
PAIRS = list(itertools.combinations(PLAIN, 2))


def names(*kinds: Fault) -> str:
    return "+".join(kind.name for kind in kinds)


@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: names(*kinds))
def test_any_two_faults_at_once_cost_time_and_nothing_else(kinds: tuple[Fault, Fault]) -> None:
    Schedule("0", frozenset(kinds), sharded=False).play()


@pytest.mark.parametrize("kind", PLAIN, ids=names)
def test_any_fault_costs_time_and_nothing_else_where_contributions_are_sharded(kind: Fault) -> None:
    Schedule("0", frozenset({kind}), sharded=True).play()


@pytest.mark.parametrize("kind", Fault, ids=names)
def test_any_fault_costs_time_and_nothing_else_where_contributions_are_masked(kind: Fault) -> None:
    Schedule("0", frozenset({kind}), sharded=False, masked=True).play()


@pytest.mark.parametrize("kind", [kind for kind in Fault if kind.about_masks], ids=names)
@pytest.mark.parametrize("other", [Fault.CRASHES, Fault.DEAD, Fault.LOSS, Fault.WITHHELD], ids=names)
def test_lies_about_masks_beside_lost_members_cost_time_and_nothing_else(kind: Fault, other: Fault) -> None:
    Schedule("1", frozenset({kind, other}), sharded=False, masked=True).play()


@pytest.mark.parametrize("kind", [Fault.CRASHES, Fault.WITHHELD, Fault.WRONG_SHARES], ids=names)
def test_masked_contributions_are_sharded_too(kind: Fault) -> None:
    Schedule("0", frozenset({kind}), sharded=True, masked=True).play()


@pytest.mark.skipif("FOLKMOOT_FAULTS" not in os.environ, reason="set FOLKMOOT_FAULTS to the name of a schedule")
def test_a_schedule_again() -> None:
    Schedule.named(os.environ["FOLKMOOT_FAULTS"]).play()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: names(*kinds))
def test_any_two_faults_many_times(kinds: tuple[Fault, Fault], seed: int) -> None:
    Schedule(str(seed), frozenset(kinds), sharded=False).play()


@pytest.mark.long
@pytest.mark.parametrize("kinds", PAIRS, ids=lambda kinds: names(*kinds))
def test_any_two_faults_where_contributions_are_sharded(kinds: tuple[Fault, Fault]) -> None:
    Schedule("1", frozenset(kinds), sharded=True, large=True).play()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("kinds", list(itertools.combinations(Fault, 2)), ids=lambda kinds: names(*kinds))
def test_any_two_faults_where_contributions_are_masked(kinds: tuple[Fault, Fault], seed: int) -> None:
    Schedule(str(seed), frozenset(kinds), sharded=False, masked=True).play()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000))
def test_any_faults_at_all(seed: int) -> None:
    chance = Random(seed)
    kinds = frozenset(chance.sample(PLAIN, chance.randint(3, 7)))
    sharded = seed % 5 == 0
    Schedule(str(seed), kinds, sharded, large=sharded).play()


def test_the_same_seed_plays_the_same_schedule() -> None:
    ends = set()
    for _ in range(2):
        schedule = Schedule("7", frozenset({Fault.LOSS, Fault.CRASHES, Fault.GARBAGE}), sharded=False)
        schedule.play()
        clock = schedule.moot.clock
        ends.add((clock.now, clock.events, schedule.moot.ledger.finals[-1].model))
    assert len(ends) == 1


# ---- what people see ----------------------------------------------------------------------------------------------


def moot(members: int, **policy: int) -> Moot:
    terms = {"rounds": 3, "min_members": 2, "start_members": members} | policy
    return Moot(
        Random(str((members, policy))), Policy(**terms, train_seconds=12, exchange_seconds=6, final_seconds=8), members
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("members", [2, 3, 4, 8, 9, 16])
def test_without_faults_every_round_takes_one_attempt_and_counts_everyone(members: int) -> None:
    calm = moot(members, min_members=1)
    assert calm.run(60) < 30
    judge_safety(calm)
    assert [final.attempt for final in calm.ledger.finals] == [0, 0, 0]
    assert all(final.survivors == (1 << members) - 1 for final in calm.ledger.finals)


@pytest.mark.parametrize("members", [4, 10])
def test_below_the_minimum_the_moot_waits_says_so_and_resumes_when_members_return(members: int) -> None:
    # The quorum that signs is still there: members without data help to aggregate.
    short = moot(members, min_members=members)
    short.run(4)
    gone = short.peers[members - 1]
    short.peers[members - 1].crash()
    before = len(short.ledger.finals)
    short.run(100)
    assert len(short.ledger.finals) <= before + 1
    for peer in short.peers[:-1]:
        assert peer.reasons[-1] == f"paused: {members - 1} of at least {members} members have contributed"
    gone.start()
    assert short.run(60) < 60
    judge_safety(short)
    assert all(final.survivors.bit_count() == members for final in short.ledger.finals)


def test_below_a_quorum_the_moot_waits_for_a_quorum_and_resumes() -> None:
    torn = moot(5, rounds=2)
    torn.run(2)
    for peer in torn.peers[:2]:
        peer.crash()
    torn.run(200)
    assert not torn.ledger.finals
    assert {peer.reasons[-1] for peer in torn.peers[2:]} <= {
        "waits for a quorum to hold the contributions",
        "waits for a quorum to sign the model",
    }
    before = torn.network.requests
    torn.run(3600)
    assert torn.network.requests - before < 3 * 3600, "those who wait for a quorum chatter"
    torn.peers[0].start()
    assert torn.run(120) < 120
    judge_safety(torn)


def test_below_the_minimum_a_new_member_is_let_in_at_once() -> None:
    short = moot(4, min_members=4, rounds=2)
    short.peers[3].failing = True
    short.run(60)
    assert not short.ledger.finals
    newcomer = short.add_peer(short.ledger.join())
    newcomer.start()
    short.run(5)
    assert newcomer.reasons == ["joins with the next round"]
    short.ledger.grant(newcomer.index)
    assert short.run(120) < 120
    judge_safety(short)
    assert all(final.survivors == 0b10111 for final in short.ledger.finals)


def test_a_member_that_joins_late_is_counted_from_the_next_round_but_one() -> None:
    growing = moot(4, rounds=5)
    growing.run(1)
    newcomer = growing.add_peer(growing.ledger.join())
    newcomer.start()
    growing.ledger.grant(newcomer.index)
    growing.run(100)
    judge_safety(growing)
    assert [final.survivors >> 4 & 1 for final in growing.ledger.finals] == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("step", range(1, 130, 3))
def test_a_member_killed_at_any_step_of_a_round_is_counted_again_in_the_next(step: int) -> None:
    killed = moot(4, rounds=3, min_members=3)
    killed.peers[2].crash_at = {step}
    assert killed.run(120) < 120
    judge_safety(killed)
    assert killed.ledger.finals[-1].survivors == 0b1111


def test_a_commit_posted_by_a_process_that_died_before_it_showed_anything_is_opened_by_the_next() -> None:
    cut = moot(4, rounds=1, min_members=4)
    while not cut.ledger.view().committed >> 1 & 1:
        cut.run(0.01)
    cut.peers[1].crash()
    while not cut.ledger.view().closed(int(cut.clock.now)):
        cut.run(0.01)
    cut.peers[1].start()
    assert cut.run(30) < 10
    judge_safety(cut)
    assert cut.ledger.finals[0].attempt == 0


def test_who_withdraws_its_grant_before_commits_close_shows_nothing() -> None:
    wary = moot(4, rounds=1)
    while not wary.ledger.view().committed >> 1 & 1:
        wary.run(0.01)
    assert not wary.ledger.view().closed(int(wary.clock.now))
    wary.ledger.post(1, "revoke", 1)
    assert wary.run(60) < 60
    judge_safety(wary)
    shown = {reveal for peer in wary.peers if peer.index != 1 for reveal in peer.disk.blobs}
    own = next(iter(wary.peers[1].disk.journal.values()))[1]
    assert not shown & set(own.shards)
    assert wary.ledger.finals[0].survivors == 0b1101


def test_all_asleep_for_a_day_go_on_where_they_were() -> None:
    for asleep_at in (0.5, 2.0, 3.0, 3.5, 4.0, 5.0):
        tired = moot(5)
        tired.run(asleep_at)
        for peer in tired.peers:
            peer.paused_until = tired.clock.now + 86_400
        tired.run(86_400)
        assert tired.run(200) < 200
        judge_safety(tired)


def test_when_all_holders_of_a_shard_are_dead_the_others_sum_it_in_the_same_attempt() -> None:
    bereft = moot(12, rounds=1)
    holders = make_plan(range(12), blob_hash(GENESIS), 0, Policy()).holders[5]
    for member in holders:
        bereft.peers[member].failing = True  # they only help: what they held, its contributors still have
    while not bereft.ledger.view().survivors:
        bereft.run(0.01)
    for member in holders:
        bereft.peers[member].crash()
    assert bereft.run(100) < 20
    judge_safety(bereft)
    assert bereft.ledger.finals[0].attempt == 0
    assert bereft.ledger.finals[0].survivors.bit_count() == 9


# ---- sums of groups, and a rule over them -----------------------------------------------------------------------


def grouped(
    members: int, chance: int = 0, liars: frozenset[int] = frozenset(), lies: frozenset[str] = frozenset()
) -> Moot:
    """A moot whose rule sees three secret groups or more."""
    policy = Policy(
        rounds=4,
        min_members=12,
        start_members=members,
        secrecy="sums",
        robust="trimmed-mean",
        faults=1,
        clip=20.0,
        train_seconds=12,
        exchange_seconds=6,
        final_seconds=8,
    )
    return Moot(Random(chance), policy, members, liars, lies)


def test_the_first_round_draws_the_randomness_that_deals_the_groups_of_the_second() -> None:
    calm = grouped(13)
    assert calm.run(120) < 60
    judge_safety(calm)
    disk = calm.peers[0].disk.blobs
    first = read_state(disk[calm.ledger.finals[0].model])
    assert all(not array.any() for array in first.arrays.values()), "nothing was trained"
    assert read_state(disk[calm.ledger.finals[1].model]).arrays["w"].any()
    deals = set()
    for before, final in itertools.pairwise(calm.ledger.finals):
        plan = make_plan(range(13), final.parent, 0, calm.policy, dealt=members_of(final.dealt), beacon=before.inputs)
        assert sorted(map(len, plan.groups)) == [4, 4, 5]
        deals.add(plan.groups)
    assert len(deals) == 3, "every round deals anew"


def test_a_group_that_loses_one_is_summed_without_it_and_one_that_loses_two_not_at_all() -> None:
    for seed in range(3):
        torn = grouped(16, chance=seed)
        while not (torn.ledger.view().round == 3 and torn.ledger.view().committed):
            torn.run(0.1)
        view = torn.ledger.view()
        plan = make_plan(range(16), view.parent, 0, torn.policy, dealt=members_of(view.dealt), beacon=view.beacon)
        gone = (*plan.groups[0][:2], plan.groups[1][0])
        for member in gone:
            torn.peers[member].crash()
        assert torn.run(200) < 200
        judge_safety(torn)
        final = torn.ledger.finals[2]
        summed = [m for row in plan.rows(final.survivors, final.first_survivors) for m in row]
        assert len(plan.rows(final.survivors, final.first_survivors)) >= 3
        assert not any(member in summed and not final.survivors >> member & 1 for member in gone)


def test_a_group_whose_members_know_different_seeds_at_half_time_is_left_out_whole() -> None:
    """defence: Plan.rows. A quorum goes on without one member of a group, with a liar's word for the rest of it."""
    torn = grouped(16)
    while not (torn.ledger.view().round == 2 and torn.ledger.view().survivors):
        torn.run(0.05)
    view, key = torn.ledger.view(), torn.ledger.key()
    plan = make_plan(range(16), view.parent, 0, torn.policy, dealt=members_of(view.dealt), beacon=view.beacon)
    opened = view.survivors & ~(1 << plan.groups[0][0])
    said = statements.opening_digest(torn.ledger.domain, *key, view.survivors, opened)
    torn.ledger.freeze(0, key, {member: (opened, sign(member, said)) for member in range(16)})
    assert torn.run(200) < 200, torn.story()
    judge_safety(torn)
    final = torn.ledger.finals[1]
    assert (final.attempt, final.survivors, final.first_survivors) == (0, opened, view.survivors)
    told = decode_masked_inputs(torn.peers[0].disk.blobs[final.inputs])[1]
    assert set(told) == set(range(16)) - set(plan.groups[0]), "of the group no mask is on record"


@pytest.mark.parametrize(
    "lie", ["wrong seeds", "wrong shares", "bad boxes", "late contribution", "no seeds", "wrong model"]
)
def test_a_liar_among_the_groups_costs_time_and_nothing_else(lie: str) -> None:
    troubled = grouped(14, liars=frozenset({3}), lies=frozenset({lie}))
    assert troubled.run(600) < 600, troubled.story()
    judge_safety(troubled)


@pytest.mark.parametrize("groups", [False, True])
def test_a_survivor_whose_seeds_nobody_can_rebuild_stops_no_attempt_and_nothing_is_summed_twice(groups: bool) -> None:
    """defence: unmask. Else the attempt is made again among others, with the same contributions,
    and the difference of two sums is one member's."""
    troubled = grouped(13, liars=frozenset({3})) if groups else masked(7, liars=frozenset({3}))
    liar = troubled.peers[3]
    assert isinstance(liar, Liar)
    liar.lies = frozenset({"empty boxes", "no seeds"})
    assert troubled.run(400) < 400, troubled.story()
    judge_safety(troubled)
    assert [final.attempt for final in troubled.ledger.finals] == [0] * len(troubled.ledger.finals)
    assert not any(final.survivors >> 3 & 1 for final in troubled.ledger.finals[1:])


def masked(members: int, liars: frozenset[int] = frozenset()) -> Moot:
    policy = Policy(
        rounds=3,
        min_members=3,
        start_members=members,
        secrecy="sums",
        train_seconds=12,
        exchange_seconds=6,
        final_seconds=8,
    )
    return Moot(Random(0), policy, members, liars)
