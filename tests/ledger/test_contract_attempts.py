"""Rounds that do not come to their end at once, on the contract itself: new attempts, left-out members, expulsions."""

from __future__ import annotations

from contracts import refused
from moot_world import TERMS, World, bits

from folkmoot.ledger.records import Standing
from folkmoot.round.view import Phase

GENESIS = b"\x90" * 32


def frozen_ready(members: int = 4) -> tuple[World, int]:
    world = World(members)
    task = world.start(granting=range(members), terms=(3, 2, members, 60, 30, 90, 0))
    world.commit(task, *range(members))
    return world, task


def test_after_the_final_deadline_any_member_opens_the_next_attempt():
    world, task = frozen_ready(4)
    world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(4), 0b0111)))
    world.later(TERMS[5] - 1)
    with refused("before the deadline"):
        world.call("retry", 3, task, 1, 0)
    world.later(1)
    with refused("not this attempt"):
        world.call("retry", 3, task, 1, 1)
    world.call("retry", 3, task, 1, 0)
    at = world.view(task)
    assert (at.phase, at.round, at.attempt, at.expected, at.parent) == (Phase.COMMIT, 1, 1, 0b0111, GENESIS)
    with refused("before the deadline"):
        world.call("retry", 3, task, 1, 1)


def test_a_model_signed_for_an_abandoned_attempt_is_refused_in_the_next():
    world, task = frozen_ready(4)
    world.freeze(task, range(4))
    stale = world.final(task, range(4))
    world.later(TERMS[5])
    world.call("retry", 3, task, 1, 0)
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    with refused("not this attempt"):
        world.call("finalise", 0, *stale)
    with refused("signature is not the signer's"):
        world.call("finalise", 0, task, 1, 1, *stale[3:])


def test_a_round_short_of_commits_takes_in_a_member_who_joined_since():
    world = World(3, seats=4)
    task = world.start(terms=(3, 3, 3, 60, 30, 90, 0))
    world.commit(task, 0, 1)
    world.later(TERMS[3])
    with refused("no one new could commit"):
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
    with refused("not in this phase"):
        world.call("retry", 0, task, 0, 0)


def test_a_sealed_attempt_short_of_commits_gives_way_when_somebody_left_out_wants_in():
    world = World(4)
    task = world.start(granting=(0, 1, 2), terms=(3, 3, 3, 60, 30, 90, 1))
    world.grant(3, task)
    world.commit(task, 0, 1)
    with refused("before the deadline"):
        world.call("retry", 0, task, 1, 0)
    world.later(60)
    world.call("retry", 0, task, 1, 0)
    assert (world.view(task).attempt, world.view(task).dealt) == (1, bits((0, 1, 3)))
    world.later(120)
    with refused("no one new could commit"):
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
    world.later(90)
    world.call("retry", 0, task, 2, 0)
    assert (world.view(task).attempt, world.view(task).beacon) == (1, b"\x11" * 32)


def test_a_quorum_expels_a_member_from_a_task_for_good():
    world = World(4)
    task = world.start(granting=(0, 1, 2))
    for signers, reason in (((0, 1), "no quorum"), ((0, 1, 2, 5), "signer is not in the snapshot")):
        with refused(reason):
            world.call("expel", 0, *world.expulsion(task, 2, signers))
    with refused("signature is not the signer's"):
        world.call("expel", 0, task, 1, *world.expulsion(task, 2, (0, 1, 3))[2:])
    world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3)))
    assert world.read("tasks", task)[0].granted == bits((0, 1))
    with refused("already expelled"):
        world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3)))
    with refused("no grant"):
        world.commit(task, 2)
    with refused("expelled from this task"):
        world.grant(2, task)
    world.commit(task, 0, 1)
    assert world.view(task).closed_at > 0, "nobody waits for the one who was expelled"


def test_a_sealed_attempt_goes_on_without_those_whose_masks_a_quorum_cannot_take_off():
    world = World(4)
    task = world.start(granting=range(4), terms=(3, 2, 4, 60, 30, 90, 1))
    world.commit(task, *range(4))
    world.freeze(task, range(4))

    with refused("all masks are open"):
        world.call("freeze", 0, *world.openings(task, {0: 0b1111, 1: 0b1111, 2: 0b0111}))
    with refused("signature is not the signer's"):  # a word on what is held says nothing of what is open
        world.call("freeze", 0, *world.holdings(task, {0: 0b0111, 1: 0b0111, 2: 0b0111}))
    with refused("too few would survive"):
        world.call("freeze", 0, *world.openings(task, {0: 0b0001, 1: 0b0001, 2: 0b0001}))
    void = world.openings(task, {0: 0b0011, 1: 0b0011, 2: 0b0011})
    world.call("freeze", 0, *world.openings(task, {0: 0b0111, 1: 0b0111, 2: 0b0111}))
    assert (world.view(task).survivors, world.view(task).dealt, world.view(task).attempt) == (0b0111, 0b1111, 0)
    assert world.view(task).first_survivors == 0b1111, "seeds were told for all of them"
    with refused("signature is not the signer's"):  # a word on other survivors is void
        world.call("freeze", 0, *void)
    world.call("finalise", 0, *world.final(task, (0, 1, 2)))
    assert (world.event("Finalised")["survivors"], world.event("Finalised")["first_survivors"]) == (0b0111, 0b1111)
    assert (world.view(task).round, world.view(task).first_survivors) == (2, 0)


def test_an_attempt_left_by_one_and_then_by_another_keeps_the_survivors_that_it_was_first_frozen_with():
    world = World(7)
    task = world.start(granting=range(7), terms=(3, 2, 7, 60, 30, 90, 1))
    world.commit(task, *range(7))
    world.freeze(task, range(7))
    for left in (0b0111111, 0b0011111):
        world.call("freeze", 0, *world.openings(task, dict.fromkeys(range(5), left)))
        assert (world.view(task).survivors, world.view(task).first_survivors) == (left, 0b1111111)
    world.later(90)
    world.call("retry", 0, task, 1, 0)
    assert (world.view(task).dealt, world.view(task).first_survivors) == (0b0011111, 0)
    world.commit(task, *range(5))
    world.freeze(task, range(5))
    assert world.view(task).first_survivors == 0b0011111, "what another attempt was frozen with is forgotten"


def frozen_once(members: int = 5) -> tuple[World, int]:
    """A sealed round whose first attempt was frozen with all but the last of the members, who came after it opened,
    and came to nothing: its second attempt is open."""
    world = World(members)
    dealt = range(members - 1)
    task = world.start(granting=dealt, terms=(3, 3, members - 1, 60, 30, 90, 1))
    world.grant(members - 1, task)
    world.commit(task, *dealt)
    world.freeze(task, dealt)
    world.later(90)
    world.call("retry", 0, task, 1, 0)
    return world, task


def test_a_frozen_sealed_attempt_is_made_again_by_its_survivors_alone():
    world, task = frozen_once()
    assert (world.view(task).attempt, world.view(task).dealt, world.view(task).shut) == (1, 0b01111, 1)


def test_nobody_new_comes_in_after_a_frozen_sealed_attempt_by_asking_for_another_one():
    world, task = frozen_once()
    world.commit(task, 0, 1)
    world.call("attend", 4, task)
    world.later(world.view(task).commit_deadline - world.now)
    with refused("no one new could commit"):
        world.call("retry", 4, task, 1, 1)


def test_nobody_new_comes_in_after_a_frozen_sealed_attempt_by_a_pause():
    world, task = frozen_once()
    world.call("attend", 4, task)
    world.steer(task, Standing.PAUSED)
    world.steer(task, Standing.ADOPTED)
    assert (world.view(task).attempt, world.view(task).dealt) == (2, 0b01111)


def test_nobody_new_comes_in_after_a_frozen_sealed_attempt_where_the_next_has_too_few_survivors():
    world, task = frozen_once()
    world.commit(task, 0, 1, 2)
    world.call("attend", 4, task)
    world.later(world.view(task).commit_deadline - world.now)
    world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(4), 0b0011)))
    at = world.view(task)
    assert (at.attempt, at.phase) == (2, Phase.COMMIT)
    assert at.dealt == 0b01111, "member 3, who was dealt in and missed the attempt, may still come"


def test_whoever_was_left_out_of_a_frozen_sealed_round_is_in_again_with_the_next():
    world, task = frozen_once()
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    world.later(world.view(task).final_deadline - world.now)
    world.call("retry", 0, task, 1, 1)
    assert (world.view(task).attempt, world.view(task).dealt) == (2, 0b01111), "however often it is frozen"
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    world.call("attend", 4, task)
    world.call("finalise", 0, *world.final(task, range(4)))
    assert (world.view(task).round, world.view(task).dealt, world.view(task).shut) == (2, 0b11111, 0)


def test_an_open_attempt_that_is_frozen_stays_as_it_is():
    world = World(4)
    task = world.start(granting=range(4), terms=(3, 2, 4, 60, 30, 90, 0))
    world.commit(task, *range(4))
    world.freeze(task, range(4))
    with refused("not in this phase"):
        world.freeze(task, range(4))
