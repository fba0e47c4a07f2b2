"""A task's rounds on the contract itself: consent, commits, survivors, finals, retries."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moot_world import TERMS, World, account, bits, commitment, key, later, other_half

from folkmoot.ledger import statements
from folkmoot.round.view import Phase

GENESIS = b"\x90" * 32


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with boa.env.anchor():
        yield


def now() -> int:
    return boa.env.timestamp


def event(world: World, name: str):
    return next(e for e in world.moot.get_logs() if type(e).__name__ == name)


# ---- consent


def test_the_grant_that_makes_enough_opens_the_first_round():
    world = World(4)
    task = world.start(granting=(0, 2))
    gathering = world.view(task)
    assert (gathering.phase, gathering.round, gathering.parent) == (Phase.GATHERING, 0, GENESIS)
    world.grant(3, task)
    opened = world.view(task)
    assert (opened.phase, opened.round, opened.attempt) == (Phase.COMMIT, 1, 0)
    assert (opened.parent, opened.members, opened.expected) == (GENESIS, 0b1111, 0b1101)
    assert opened.commit_deadline == now() + TERMS[3]


def test_a_member_grants_one_dataset_of_its_own_at_a_time():
    world = World(3)
    task = world.start(granting=())
    mine = world.call("describe", 1, b"\1" * 32, 5)
    with boa.reverts("not your dataset"):
        world.call("grant", 2, task, mine, 0)
    with boa.reverts("no such dataset"):
        world.call("grant", 1, task, mine + 1, 0)
    with boa.reverts("no such task"):
        world.call("grant", 1, task + 1, mine, 0)
    world.call("grant", 1, task, mine, 0)
    assert world.moot.grant_of(task, 1) == (mine, 0)
    with boa.reverts("already granted"):
        world.call("grant", 1, task, mine, 0)
    world.call("revoke", 1, task)
    assert world.moot.grant_of(task, 1) == (0, 0)
    with boa.reverts("no grant"):
        world.call("revoke", 1, task)
    with boa.reverts("no grant"):
        world.call("attend", 1, task)


def test_nobody_commits_without_a_live_grant():
    world = World(4)
    task = world.start()
    with boa.reverts("no grant"):
        world.commit(task, 3)
    world.call("revoke", 2, task)
    with boa.reverts("no grant"):
        world.commit(task, 2)


def test_a_round_stops_waiting_for_a_member_that_withdraws():
    world = World(3)
    task = world.start()
    world.commit(task, 0, 1)
    assert world.view(task).closed_at == 0
    world.call("revoke", 2, task)
    assert world.view(task).closed_at == now()
    assert world.view(task).expected == 0b011


def test_a_late_grant_and_attend_put_a_member_among_the_expected_of_the_next_round():
    world = World(5)
    task = world.start()
    world.grant(3, task)
    world.call("attend", 1, task)
    world.call("attend", 1, task)
    assert world.view(task).expected == 0b00111
    world.commit(task, 0, 2)
    later(TERMS[3])
    world.freeze(task, range(5))
    world.call("finalise", 0, *world.final(task, range(5)))
    assert world.view(task).expected == 0b01111


# ---- commits


def test_commits_close_when_all_expected_came():
    world = World(4)
    task = world.start(granting=(0, 1, 2, 3), terms=(3, 2, 4, 60, 30, 90, 0))
    world.commit(task, 3, 0, 1)
    assert world.view(task).closed_at == 0
    with boa.reverts("commits are open"):
        world.freeze(task, range(4))
    with boa.reverts("already committed"):
        world.commit(task, 1)
    world.commit(task, 2)
    assert world.view(task).closed_at == now()
    assert list(world.view(task).commits) == [commitment(member) for member in range(4)]


def test_commits_close_at_the_deadline_when_enough_came():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    world.commit(task, 0, 1)
    later(TERMS[3] - 1)
    with boa.reverts("commits are open"):
        world.freeze(task, range(4))
    later(1)
    with boa.reverts("commits are closed"):
        world.commit(task, 2)
    world.freeze(task, range(4))
    assert world.view(task).survivors == 0b0011


def test_past_the_deadline_commits_are_taken_until_there_are_enough():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    later(10 * TERMS[3])
    world.commit(task, 0)
    assert world.view(task).closed_at == 0
    world.commit(task, 2)
    assert world.view(task).closed_at == now()
    with boa.reverts("commits are closed"):
        world.commit(task, 1)


def test_a_commit_names_its_attempt_and_holds_something():
    world = World(3)
    task = world.start()
    for round, attempt in [(0, 0), (2, 0), (1, 1)]:
        with boa.reverts("not this attempt"):
            world.call("commit", 0, task, round, attempt, b"\1" * 32)
    with boa.reverts("hash is empty"):
        world.call("commit", 0, task, 1, 0, b"\0" * 32)


# ---- freeze


def frozen_ready(members: int = 4) -> tuple[World, int]:
    world = World(members)
    task = world.start(granting=range(members), terms=(3, 2, members, 60, 30, 90, 0))
    world.commit(task, *range(members))
    return world, task


def test_a_contributor_survives_when_at_most_f_attestations_lack_it():
    world, task = frozen_ready(4)
    held = {0: 0b0111, 1: 0b0101, 3: 0b1111}
    world.call("freeze", 2, *world.holdings(task, held))
    at = world.view(task)
    assert (at.phase, at.survivors) == (Phase.FROZEN, 0b0111)
    assert at.final_deadline == now() + TERMS[5]


def test_attestations_of_fewer_than_a_quorum_freeze_nothing():
    world, task = frozen_ready(4)
    with boa.reverts("no quorum"):
        world.freeze(task, (0, 1))
    with boa.reverts("no quorum"):
        world.freeze(task, ())


def test_attestations_must_be_of_the_snapshot_of_this_attempt_and_each_by_its_voter():
    world, task = frozen_ready(4)
    held = dict.fromkeys(range(3), 0b1111)
    task_, round, attempt, voters, holdings, signatures = world.holdings(task, held)
    refused = [
        ("signature is not the signer's", (0b1011, holdings, signatures)),
        ("signature is not the signer's", (voters, [0b1111, 0b1111, 0b0111], signatures)),
        ("signature is not the signer's", (voters, holdings, signatures[65:] + signatures[:65])),
        ("signature is malleable", (voters, holdings, signatures[:130] + other_half(signatures[130:]))),
        ("signatures do not match signers", (voters, holdings, signatures[:-1])),
        ("holdings do not match voters", (voters, holdings[:2], signatures)),
        ("signer is not in the snapshot", (voters | 1 << 4, [*holdings, 0b1111], signatures + signatures[:65])),
    ]
    for reason, arguments in refused:
        with boa.reverts(reason):
            world.call("freeze", 0, task_, round, attempt, *arguments)
    with boa.reverts("signature is not the signer's"):
        world.call("freeze", 0, *world.holdings(task, held, attempt=1))
    world.call("freeze", 0, task_, round, attempt, voters, holdings, signatures)
    with boa.reverts("not in this phase"):
        world.call("freeze", 0, task_, round, attempt, voters, holdings, signatures)


def test_too_few_survivors_open_the_next_attempt_with_doubled_windows():
    world, task = frozen_ready(4)
    for attempt in range(8):
        window = TERMS[3] << min(attempt, 6)
        assert world.view(task).commit_deadline == now() + window
        later(3)
        if attempt:
            world.commit(task, *range(4))
        world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(3), 0b0001)))
        at = world.view(task)
        assert (at.phase, at.round, at.attempt, at.parent) == (Phase.COMMIT, 1, attempt + 1, GENESIS)
        assert (at.committed, at.survivors, at.expected, at.closed_at) == (0, 0, 0b1111, 0)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_survivors_are_those_the_rule_names_whatever_is_attested(data):
    with boa.env.anchor():
        n = data.draw(st.integers(1, 13), "members")
        world = World(n)
        committed = data.draw(st.sets(st.integers(0, n - 1), min_size=1), "committed")
        task = world.start(granting=sorted(committed), terms=(1, 1, len(committed), 60, 30, 90, 0))
        world.commit(task, *sorted(committed))
        faults = (n - 1) // 3
        enough = (n + faults) // 2 + 1
        voters = data.draw(st.sets(st.integers(0, n - 1), min_size=enough), "voters")
        held = {voter: data.draw(st.integers(0, 2**256 - 1) | st.integers(0, 2**n - 1)) for voter in sorted(voters)}
        world.call("freeze", 0, *world.holdings(task, held))
        survivors = [j for j in committed if sum(not h >> j & 1 for h in held.values()) <= faults]
        at = world.view(task)
        if survivors:
            assert (at.phase, at.survivors) == (Phase.FROZEN, bits(survivors))
        else:
            assert (at.phase, at.attempt) == (Phase.COMMIT, 1)


# ---- finals


def test_a_final_round_opens_the_next_and_the_last_one_ends_the_task():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(2, 2, 3, 60, 30, 90, 0))
    world.finish_round(task, (0, 1, 2), model=b"\x01" * 32)
    at = world.view(task)
    assert (at.phase, at.round, at.attempt, at.parent) == (Phase.COMMIT, 2, 0, b"\x01" * 32)
    world.finish_round(task, (0, 1, 2), model=b"\x02" * 32)
    at = world.view(task)
    assert (at.phase, at.round, at.parent) == (Phase.DONE, 2, b"\x02" * 32)
    for call in ("commit", "freeze", "finalise"):
        arguments = {
            "commit": (b"\1" * 32,),
            "freeze": (0, [], b""),
            "finalise": (b"\1" * 32, b"\1" * 32, b"\1" * 32, 0, b""),
        }[call]
        with boa.reverts("not in this phase"):
            world.call(call, 0, task, 2, 0, *arguments)
    with boa.reverts("task is done"):
        world.grant(3, task)


def test_the_event_of_a_final_round_has_all_that_a_replay_needs():
    world, task = frozen_ready(4)
    world.call("freeze", 0, *world.holdings(task, dict.fromkeys((0, 1, 3), 0b1011)))
    arguments = world.final(task, (0, 2, 3))
    world.call("finalise", 1, *arguments)
    final = event(world, "Finalised")
    assert (final.task, final.round, final.attempt, final.parent) == (task, 1, 0, GENESIS)
    assert (final.inputs, final.aggregate, final.model) == arguments[3:6]
    assert (final.survivors, final.members, final.signers, final.time) == (0b1011, 0b1111, 0b1101, now())
    assert list(final.commits) == [commitment(member) for member in (0, 1, 3)]
    assert final.signatures == arguments[-1]


def test_a_final_round_needs_a_quorum_under_exactly_its_outcome():
    world, task = frozen_ready(4)
    with boa.reverts("not in this phase"):
        world.call("finalise", 0, *world.final(task, range(4)))
    world.freeze(task, range(4))
    with boa.reverts("no quorum"):
        world.call("finalise", 0, *world.final(task, (0, 1)))
    good = world.final(task, (0, 1, 2))
    for at in (3, 4, 5):
        spoilt = list(good)
        spoilt[at] = b"\x66" * 32
        with boa.reverts("signature is not the signer's"):
            world.call("finalise", 0, *spoilt)
    thrice = (*good[:-1], good[-1][:65] * 3)
    with boa.reverts("signature is not the signer's"):
        world.call("finalise", 0, *thrice)
    world.call("finalise", 0, *good)
    with boa.reverts("not this attempt"):
        world.call("finalise", 0, *good)


def test_members_who_join_during_a_round_count_from_the_next():
    world = World(4, seats=6)
    task = world.start(granting=(0, 1, 2))
    world.join(4)
    world.grant(4, task)
    with boa.reverts("not in the snapshot"):
        world.commit(task, 4)
    world.finish_round(task, (0, 1, 2))
    at = world.view(task)
    assert (at.members, at.expected) == (0b11111, 0b10111)
    world.commit(task, 4)


# ---- retries


def test_after_the_final_deadline_any_member_opens_the_next_attempt():
    world, task = frozen_ready(4)
    world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(4), 0b0111)))
    later(TERMS[5] - 1)
    with boa.reverts("before the deadline"):
        world.call("retry", 3, task, 1, 0)
    later(1)
    with boa.reverts("not this attempt"):
        world.call("retry", 3, task, 1, 1)
    world.call("retry", 3, task, 1, 0)
    at = world.view(task)
    assert (at.phase, at.round, at.attempt, at.expected, at.parent) == (Phase.COMMIT, 1, 1, 0b0111, GENESIS)
    with boa.reverts("before the deadline"):
        world.call("retry", 3, task, 1, 1)


def test_a_model_signed_for_an_abandoned_attempt_is_refused_in_the_next():
    world, task = frozen_ready(4)
    world.freeze(task, range(4))
    stale = world.final(task, range(4))
    later(TERMS[5])
    world.call("retry", 3, task, 1, 0)
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    with boa.reverts("not this attempt"):
        world.call("finalise", 0, *stale)
    with boa.reverts("signature is not the signer's"):
        world.call("finalise", 0, task, 1, 1, *stale[3:])


def test_a_round_short_of_commits_takes_in_a_member_who_joined_since():
    world = World(3, seats=4)
    task = world.start(terms=(3, 3, 3, 60, 30, 90, 0))
    world.commit(task, 0, 1)
    later(TERMS[3])
    with boa.reverts("no one new could commit"):
        world.call("retry", 0, task, 1, 0)
    world.join(3)
    world.grant(3, task)
    world.call("retry", 0, task, 1, 0)
    at = world.view(task)
    assert (at.attempt, at.members, at.expected) == (1, 0b1111, 0b1011)
    world.finish_round(task, (0, 1, 3))
    assert world.view(task).round == 2


def test_a_task_that_gathers_cannot_be_retried():
    world = World(3)
    task = world.start(granting=(0,))
    with boa.reverts("not in this phase"):
        world.call("retry", 0, task, 0, 0)
    assert world.moot.number_of(account(0)) == 1


def test_a_sealed_attempt_takes_commits_only_of_those_it_was_dealt_to():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(3, 2, 3, 60, 30, 90, 1))
    world.grant(3, task)
    assert world.view(task).dealt == bits((0, 1, 2))
    with boa.reverts("not dealt in"):
        world.commit(task, 3)
    world.call("revoke", 2, task)
    assert (world.view(task).dealt, world.view(task).expected) == (bits((0, 1, 2)), bits((0, 1)))
    world.commit(task, 0, 1)
    world.freeze(task, (0, 1, 2))
    world.call("finalise", 0, *world.final(task, (0, 1, 2)))
    assert world.view(task).dealt == bits((0, 1, 3)), "who granted meanwhile is dealt in with the next round"


def test_a_sealed_attempt_short_of_commits_gives_way_when_somebody_left_out_wants_in():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(3, 3, 3, 60, 30, 90, 1))
    world.grant(3, task)
    world.commit(task, 0, 1)
    with boa.reverts("before the deadline"):
        world.call("retry", 0, task, 1, 0)
    later(60)
    world.call("retry", 0, task, 1, 0)
    assert (world.view(task).attempt, world.view(task).dealt) == (1, bits((0, 1, 3)))
    later(120)
    with boa.reverts("no one new could commit"):
        world.call("retry", 0, task, 1, 1)
    world.call("attend", 2, task)
    world.call("retry", 0, task, 1, 1)
    assert world.view(task).dealt == bits((2,)), "nobody had committed, so only who asked is waited for"


def test_the_beacon_is_the_last_rounds_inputs_and_stays_over_attempts():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(3, 2, 3, 60, 30, 90, 1))
    assert world.view(task).beacon == bytes(32)
    world.finish_round(task, (0, 1, 2))
    assert world.view(task).beacon == b"\x11" * 32
    world.commit(task, 0, 1, 2)
    world.freeze(task, (0, 1, 2))
    later(90)
    world.call("retry", 0, task, 2, 0)
    assert (world.view(task).attempt, world.view(task).beacon) == (1, b"\x11" * 32)


def test_a_quorum_expels_a_member_from_a_task_for_good():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    for signers, reason in (((0, 1), "no quorum"), ((0, 1, 2, 5), "signer is not in the snapshot")):
        with boa.reverts(reason):
            world.call("expel", 0, *world.expulsion(task, 2, signers))
    with boa.reverts("signature is not the signer's"):
        world.call("expel", 0, task, 1, *world.expulsion(task, 2, (0, 1, 3))[2:])
    world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3)))
    assert world.moot.tasks(task)[0].granted == bits((0, 1))
    with boa.reverts("already expelled"):
        world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3)))
    with boa.reverts("no grant"):
        world.commit(task, 2)
    with boa.reverts("expelled from this task"):
        world.grant(2, task)
    world.commit(task, 0, 1)
    assert world.view(task).closed_at > 0, "nobody waits for the one who was expelled"


def test_a_sealed_attempt_goes_on_without_those_whose_masks_a_quorum_cannot_take_off():
    world = World(4)
    task = world.start(granting=range(4), terms=(3, 2, 4, 60, 30, 90, 1))
    world.commit(task, *range(4))
    world.freeze(task, range(4))

    def openings(opened: dict[int, int], survivors: int = 0b1111) -> tuple[object, ...]:
        signatures = [
            statements.sign(key(v), statements.opening_digest(world.domain, task, 1, 0, survivors, opened[v]))
            for v in sorted(opened)
        ]
        return task, 1, 0, bits(opened), [opened[v] for v in sorted(opened)], b"".join(signatures)

    with boa.reverts("all masks are open"):
        world.call("freeze", 0, *openings({0: 0b1111, 1: 0b1111, 2: 0b0111}))
    with boa.reverts("signature is not the signer's"):  # a word on what is held says nothing of what is open
        world.call("freeze", 0, *world.holdings(task, {0: 0b0111, 1: 0b0111, 2: 0b0111}))
    with boa.reverts("too few would survive"):
        world.call("freeze", 0, *openings({0: 0b0001, 1: 0b0001, 2: 0b0001}))
    world.call("freeze", 0, *openings({0: 0b0111, 1: 0b0111, 2: 0b0111}))
    assert (world.view(task).survivors, world.view(task).dealt, world.view(task).attempt) == (0b0111, 0b1111, 0)
    with boa.reverts("signature is not the signer's"):  # a word on other survivors is void
        world.call("freeze", 0, *openings({0: 0b0011, 1: 0b0011, 2: 0b0011}))
    world.call("finalise", 0, *world.final(task, (0, 1, 2)))
    assert world.view(task).round == 2


def test_a_frozen_sealed_attempt_is_made_again_by_its_survivors_alone():
    world = World(4)
    task = world.start(granting=range(3), terms=(3, 2, 3, 60, 30, 90, 1))
    world.grant(3, task)
    world.commit(task, *range(3))
    world.freeze(task, range(3))
    later(90)
    world.call("retry", 0, task, 1, 0)
    assert (world.view(task).attempt, world.view(task).dealt) == (1, 0b0111)


def test_an_open_attempt_that_is_frozen_stays_as_it_is():
    world = World(4)
    task = world.start(granting=range(4), terms=(3, 2, 4, 60, 30, 90, 0))
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    with boa.reverts("not in this phase"):
        world.freeze(task, range(4))
