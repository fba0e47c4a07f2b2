"""A task's rounds on the contract itself: commits, survivors, finals."""

from __future__ import annotations

from types import SimpleNamespace

from contracts import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from moot_world import TERMS, World, bits, commitment, other_half

from folkmoot.round.view import Phase

GENESIS = b"\x90" * 32


# ---- commits


def test_commits_close_when_all_expected_came():
    world = World(4)
    task = world.start(granting=(0, 1, 2, 3), terms=(3, 2, 4, 60, 30, 90, 0))
    world.commit(task, 3, 0, 1)
    assert world.view(task).closed_at == 0
    with refused("commits are open"):
        world.freeze(task, range(4))
    with refused("already committed"):
        world.commit(task, 1)
    world.commit(task, 2)
    assert world.view(task).closed_at == world.now
    assert world.event("Committed")["hashes"] == (commitment(2),)


def test_commits_close_at_the_deadline_when_enough_came():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    world.commit(task, 0, 1)
    world.later(TERMS[3] - 1)
    with refused("commits are open"):
        world.freeze(task, range(4))
    world.later(1)
    with refused("commits are closed"):
        world.commit(task, 2)
    world.freeze(task, range(4))
    assert world.view(task).survivors == 0b0011


def test_past_the_deadline_commits_are_taken_until_there_are_enough():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    world.later(10 * TERMS[3])
    world.commit(task, 0)
    assert world.view(task).closed_at == 0
    world.commit(task, 2)
    assert world.view(task).closed_at == world.now
    with refused("commits are closed"):
        world.commit(task, 1)


def test_a_commit_names_its_attempt_and_holds_something():
    world = World(3)
    task = world.start()
    for round, attempt in [(0, 0), (2, 0), (1, 1)]:
        with refused("not this attempt"):
            world.call("commit", 0, task, round, attempt, b"\1" * 32)
    with refused("hash is empty"):
        world.call("commit", 0, task, 1, 0, b"\0" * 32)


def test_one_transaction_commits_for_all_who_signed_and_is_worth_what_their_own_would_be():
    world = World(4)
    task = world.start(granting=range(4), terms=(3, 2, 4, 60, 30, 90, 0))
    world.commit(task, 1)
    world.call("commit_all", 8, *world.commits(task, 0, 3))
    assert world.event("Committed") == {
        "task": task,
        "round": 1,
        "attempt": 0,
        "members": 0b1001,
        "hashes": (commitment(0), commitment(3)),
    }
    assert (world.view(task).committed, world.view(task).closed_at) == (0b1011, 0)
    world.call("commit_all", 8, *world.commits(task, 2))
    assert (world.view(task).committed, world.view(task).closed_at) == (0b1111, world.now)


def test_a_joint_commit_counts_for_all_its_signers_or_for_none():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    good = world.commits(task, 0, 1, 2)
    *where, members, hashes, signatures = good
    mirrored = other_half(signatures[:65]) + signatures[65:]
    swapped = signatures[65:130] + signatures[:65] + signatures[130:]
    for reason, wrong in [
        ("hashes do not match members", (0, [], b"")),
        ("hashes do not match members", (members, hashes[:2], signatures)),
        ("hashes do not match members", (0b011, hashes, signatures)),
        ("signatures do not match signers", (members, hashes, signatures[:-1])),
        ("signatures do not match signers", (members, hashes, signatures + bytes(65))),
        ("signature is malleable", (members, hashes, mirrored)),
        ("signature is not the signer's", (members, hashes, swapped)),
        ("signature is not the signer's", (members, [hashes[1], hashes[0], hashes[2]], signatures)),
        ("signature is not the signer's", (0b1011, hashes, signatures)),
        ("hash is empty", (1, [bytes(32)], world.signed_commits((task, 1, 0), {0: bytes(32)}))),
        ("no grant", world.commits(task, 0, 3)[3:]),
        ("signature is not the signer's", world.commits(task, 0, 5)[3:]),
    ]:
        with refused(reason):
            world.call("commit_all", 0, *where, *wrong)
    for elsewhere in ((task, 1, 1), (task, 2, 0), (task + 1, 1, 0)):
        told = world.signed_commits(elsewhere, dict(enumerate(hashes)))
        with refused("signature is not the signer's"):
            world.call("commit_all", 0, *where, members, hashes, told)
        with refused("not this attempt"):
            world.call("commit_all", 0, *elsewhere, members, hashes, told)
    world.commit(task, 1)
    with refused("already committed"):
        world.call("commit_all", 0, *good)
    assert world.view(task).committed == 0b0010


def test_all_of_a_full_moot_commit_at_once():
    world = World(256)
    task = world.start(granting=range(256), terms=(2, 2, 256, 60, 30, 90, 0))
    world.call("commit_all", 0, *world.commits(task, *range(256)))
    assert world.view(task).committed == 2**256 - 1


def test_a_sealed_attempt_takes_commits_only_of_those_it_was_dealt_to():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(3, 2, 3, 60, 30, 90, 1))
    world.grant(3, task)
    assert world.view(task).dealt == bits((0, 1, 2))
    with refused("not dealt in"):
        world.commit(task, 3)
    with refused("not dealt in"):
        world.call("commit_all", 0, *world.commits(task, 2, 3))
    world.call("revoke", 2, task)
    assert (world.view(task).dealt, world.view(task).expected) == (bits((0, 1, 2)), bits((0, 1)))
    world.commit(task, 0, 1)
    world.freeze(task, (0, 1, 2))
    world.call("finalise", 0, *world.final(task, (0, 1, 2)))
    assert world.view(task).dealt == bits((0, 1, 3)), "who granted meanwhile is dealt in with the next round"


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
    assert at.final_deadline == world.now + TERMS[5]


def test_attestations_of_fewer_than_a_quorum_freeze_nothing():
    world, task = frozen_ready(4)
    with refused("no quorum"):
        world.freeze(task, (0, 1))
    with refused("no quorum"):
        world.freeze(task, ())


def test_attestations_must_be_of_the_snapshot_of_this_attempt_and_each_by_its_voter():
    world, task = frozen_ready(4)
    held = dict.fromkeys(range(3), 0b1111)
    task_, round, attempt, voters, holdings, signatures = world.holdings(task, held)
    wrong = [
        ("signature is not the signer's", (0b1011, holdings, signatures)),
        ("signature is not the signer's", (voters, [0b1111, 0b1111, 0b0111], signatures)),
        ("signature is not the signer's", (voters, holdings, signatures[65:] + signatures[:65])),
        ("signature is malleable", (voters, holdings, signatures[:130] + other_half(signatures[130:]))),
        ("signatures do not match signers", (voters, holdings, signatures[:-1])),
        ("holdings do not match voters", (voters, holdings[:2], signatures)),
        ("signer is not in the snapshot", (voters | 1 << 4, [*holdings, 0b1111], signatures + signatures[:65])),
    ]
    for reason, arguments in wrong:
        with refused(reason):
            world.call("freeze", 0, task_, round, attempt, *arguments)
    with refused("signature is not the signer's"):
        world.call("freeze", 0, *world.holdings(task, held, attempt=1))
    world.call("freeze", 0, task_, round, attempt, voters, holdings, signatures)
    with refused("not in this phase"):
        world.call("freeze", 0, task_, round, attempt, voters, holdings, signatures)


def test_too_few_survivors_open_the_next_attempt_with_doubled_windows():
    world, task = frozen_ready(4)
    for attempt in range(8):
        window = TERMS[3] << min(attempt, 6)
        assert world.view(task).commit_deadline == world.now + window
        world.later(3)
        if attempt:
            world.commit(task, *range(4))
        world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(3), 0b0001)))
        at = world.view(task)
        assert (at.phase, at.round, at.attempt, at.parent) == (Phase.COMMIT, 1, attempt + 1, GENESIS)
        assert (at.committed, at.survivors, at.expected, at.closed_at) == (0, 0, 0b1111, 0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_survivors_are_those_the_rule_names_whatever_is_attested(data):
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


def test_a_full_moot_whose_attestations_differ_as_much_as_they_can_is_frozen_within_a_block():
    world = World(256)
    task = world.start(granting=range(256), terms=(2, 2, 256, 60, 30, 90, 0))
    world.call("commit_all", 0, *world.commits(task, *range(256)))
    held = {voter: (2**256 - 1) ^ (2**256 - 1 >> voter) for voter in range(256)}
    world.call("freeze", 0, *world.holdings(task, held))
    survivors = [j for j in range(256) if sum(not h >> j & 1 for h in held.values()) <= 85]
    assert world.view(task).survivors == bits(survivors)


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
        with refused("not in this phase"):
            world.call(call, 0, task, 2, 0, *arguments)
    with refused("task is done"):
        world.grant(3, task)


def test_the_event_of_a_final_round_has_all_that_a_replay_needs():
    world, task = frozen_ready(4)
    world.call("freeze", 0, *world.holdings(task, dict.fromkeys((0, 1, 3), 0b1011)))
    arguments = world.final(task, (0, 2, 3))
    world.call("finalise", 1, *arguments)
    final = SimpleNamespace(**world.event("Finalised"))
    assert (final.task, final.round, final.attempt, final.parent) == (task, 1, 0, GENESIS)
    assert (final.inputs, final.aggregate, final.model) == arguments[3:6]
    assert (final.survivors, final.members, final.signers, final.time) == (0b1011, 0b1111, 0b1101, world.now)
    assert final.dealt == 0
    assert final.signatures == arguments[-1]


def test_a_final_round_needs_a_quorum_under_exactly_its_outcome():
    world, task = frozen_ready(4)
    with refused("not in this phase"):
        world.call("finalise", 0, *world.final(task, range(4)))
    world.freeze(task, range(4))
    with refused("no quorum"):
        world.call("finalise", 0, *world.final(task, (0, 1)))
    good = world.final(task, (0, 1, 2))
    for at in (3, 4, 5):
        spoilt = list(good)
        spoilt[at] = b"\x66" * 32
        with refused("signature is not the signer's"):
            world.call("finalise", 0, *spoilt)
    thrice = (*good[:-1], good[-1][:65] * 3)
    with refused("signature is not the signer's"):
        world.call("finalise", 0, *thrice)
    world.call("finalise", 0, *good)
    with refused("not this attempt"):
        world.call("finalise", 0, *good)


def test_members_who_join_during_a_round_count_from_the_next():
    world = World(4, seats=6)
    task = world.start(granting=(0, 1, 2))
    world.join(4)
    world.grant(4, task)
    with refused("not in the snapshot"):
        world.commit(task, 4)
    world.finish_round(task, (0, 1, 2))
    at = world.view(task)
    assert (at.members, at.expected) == (0b11111, 0b10111)
    world.commit(task, 4)
