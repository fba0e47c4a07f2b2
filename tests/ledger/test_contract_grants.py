"""Consent on the contract itself: nobody's commit counts without a live grant, however it is posted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contracts import refused
from moot_world import TERMS, World

from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.round.view import Phase

GENESIS = b"\x90" * 32


def test_the_grant_that_makes_enough_opens_the_first_round():
    world = World(4)
    task = world.start(granting=(0, 2))
    gathering = world.view(task)
    assert (gathering.phase, gathering.round, gathering.parent) == (Phase.GATHERING, 0, GENESIS)
    world.grant(3, task)
    opened = world.view(task)
    assert (opened.phase, opened.round, opened.attempt) == (Phase.COMMIT, 1, 0)
    assert (opened.parent, opened.members, opened.expected) == (GENESIS, 0b1111, 0b1101)
    assert opened.commit_deadline == world.now + TERMS[3]


def test_a_member_grants_one_dataset_of_its_own_at_a_time():
    world = World(3)
    task = world.start(granting=())
    mine = world.describe(1)
    with refused("not your dataset"):
        world.call("grant", 2, task, mine, 0, 0, 0)
    with refused("no such dataset"):
        world.call("grant", 1, task, mine + 1, 0, 0, 0)
    with refused("no such task"):
        world.call("grant", 1, task + 1, mine, 0, 0, 0)
    world.call("grant", 1, task, mine, 0, 0, 0)
    assert world.read("grant_of", task, 1) == (mine, 0, 0, 0)
    with refused("already granted"):
        world.call("grant", 1, task, mine, 0, 0, 0)
    world.call("revoke", 1, task)
    assert world.read("grant_of", task, 1) == (0, 0, 0, 0)
    with refused("no grant"):
        world.call("revoke", 1, task)
    with refused("no grant"):
        world.call("attend", 1, task)


@pytest.fixture(params=["by itself", "by others"])
def commit(request: pytest.FixtureRequest) -> Callable[[World, int, int], None]:
    """Either way in which a member's commit gets onto the ledger."""

    def post(world: World, task: int, member: int) -> None:
        if request.param == "by itself":
            world.commit(task, member)
        else:
            world.call("commit_all", 8, *world.commits(task, member))

    return post


def test_nobody_commits_without_a_grant(commit):
    world = World(4)
    task = world.start()
    with refused("no grant"):
        commit(world, task, 3)
    world.call("revoke", 2, task)
    with refused("no grant"):
        commit(world, task, 2)


def test_nobody_commits_once_its_grant_has_ended_by_time(commit):
    world = World(4)
    task = world.start(granting=(0, 1))
    ends = world.now + 50
    world.grant(2, task, until=ends)
    assert world.read("grant_of", task, 2)[2] == ends
    world.later(49)
    with world.chain.undone():
        commit(world, task, 2)
    world.later(1)
    with refused("the grant has ended"):
        commit(world, task, 2)
    assert world.read("grant_of", task, 2) == (0, 0, 0, 0)
    commit(world, task, 1)


def test_nobody_commits_to_rounds_its_grant_is_not_for(commit):
    world = World(4)
    task = world.start(granting=(0, 1), terms=(5, 2, 3, 60, 30, 90, 0))
    world.grant(2, task, rounds=2)
    assert world.read("grant_of", task, 2)[3] == 2
    for _ in range(2):
        world.finish_round(task, (0, 1, 2))
    assert world.event("Revoked") == {"task": task, "member": 2, "dataset": 3}
    with refused("no grant"):
        commit(world, task, 2)
    assert (world.view(task).expected, world.read("tasks", task)[0].granted) == (0b011, 0b011)
    world.grant(2, task, rounds=1)
    assert world.read("grant_of", task, 2)[3] == 3, "the round being made is the first of those it is for"
    with world.chain.undone():
        commit(world, task, 2)
    world.finish_round(task, (0, 1), signers=range(4))
    with refused("no grant"):
        commit(world, task, 2)


@pytest.mark.parametrize("ends", ["by time", "by rounds"])
def test_a_grant_that_ended_takes_no_place_in_any_attempt_that_opens_later(ends, commit):
    world = World(4)
    task = world.start(granting=(0, 1))
    if ends == "by rounds":
        world.grant(2, task, rounds=1)
        world.finish_round(task, (0, 1, 2))
    else:
        world.grant(2, task, until=world.now + 61)
        world.commit(task, 0, 1)
        world.later(61)
        world.freeze(task, range(4))
        world.later(90)
        world.call("retry", 0, task, 1, 0)
    assert (world.view(task).members, world.view(task).expected) == (0b1111, 0b0011)
    with refused("no grant"):
        commit(world, task, 2)
    with refused("no grant"):
        world.call("attend", 2, task)


def test_a_grant_that_ended_does_not_start_a_task_and_is_no_bar_to_another():
    world = World(4)
    task = world.start(granting=())
    world.grant(0, task, until=world.now + 10)
    world.grant(1, task)
    with refused("already granted"):
        world.grant(0, task)
    world.later(10)
    world.grant(2, task)
    assert world.view(task).phase == Phase.GATHERING, "two of the three that it takes"
    world.grant(0, task)
    assert (world.view(task).phase, world.view(task).expected) == (Phase.COMMIT, 0b0111)


def test_adoption_counts_the_grants_that_are_live_then():
    world = World(4)
    task = world.propose()
    world.grant(0, task, until=world.now + 10)
    for member in (1, 2):
        world.grant(member, task)
    world.later(10)
    world.steer(task, Standing.ADOPTED)
    assert world.view(task).phase == Phase.GATHERING
    world.grant(3, task)
    assert (world.view(task).phase, world.view(task).expected) == (Phase.COMMIT, 0b1110)


def test_a_grants_limits_have_bounds():
    world = World(2)
    task = world.start(granting=())
    dataset = world.describe(0)
    for reason, limits in [
        ("limit out of bounds", (2**64, 0, 0)),
        ("until out of bounds", (0, world.now, 0)),
        ("until out of bounds", (0, 1, 0)),
        ("until out of bounds", (0, 2**48, 0)),
        ("rounds out of bounds", (0, 0, 1_000_001)),
    ]:
        with refused(reason):
            world.call("grant", 0, task, dataset, *limits)
    world.call("grant", 0, task, dataset, 2**64 - 1, 2**48 - 1, 1_000_000)
    assert world.read("grant_of", task, 0) == (dataset, 2**64 - 1, 2**48 - 1, 1_000_000)


@pytest.mark.parametrize("how", ["expelled", "removed", "paused"])
def test_a_grant_is_worth_nothing_to_whom_the_members_have_shut_out(how, commit):
    world = World(4)
    task = world.start()
    reason = "no grant"
    if how == "expelled":
        world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3)))
    elif how == "removed":
        world.decide(Kind.REMOVE, 2, voters=(0, 1, 3))
        reason = "not a member"
    else:
        world.steer(task, Standing.PAUSED)
        reason = "task is paused"
    with refused(reason):
        commit(world, task, 2)


def test_a_round_stops_waiting_for_a_member_that_withdraws():
    world = World(3)
    task = world.start()
    world.commit(task, 0, 1)
    assert world.view(task).closed_at == 0
    world.call("revoke", 2, task)
    assert world.view(task).closed_at == world.now
    assert world.view(task).expected == 0b011


def test_a_late_grant_and_attend_put_a_member_among_the_expected_of_the_next_round():
    world = World(5)
    task = world.start()
    world.grant(3, task)
    world.call("attend", 1, task)
    world.call("attend", 1, task)
    assert world.view(task).expected == 0b00111
    world.commit(task, 0, 2)
    world.later(TERMS[3])
    world.freeze(task, range(5))
    world.call("finalise", 0, *world.final(task, range(5)))
    assert world.view(task).expected == 0b01111
