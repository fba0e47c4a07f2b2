"""What members' decisions make of their tasks and their moot, on the contracts themselves."""

from __future__ import annotations

import pytest
from contracts import refused
from moot_world import TERMS, World, account, commitment

from folkmoot.ledger import statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.round.view import Phase

NEWCOMER = b"\x78" * 32
NEWCOMER_VOUCHER = int(statements.address_of(NEWCOMER), 16)


def test_a_task_starts_once_it_is_adopted_and_enough_have_granted():
    world = World(4)
    task = world.propose()
    for member in range(3):
        world.grant(member, task)
    assert (world.view(task).phase, world.view(task).standing) == (Phase.GATHERING, Standing.PROPOSED)
    with refused("not this attempt"):
        world.call("commit", 0, task, 1, 0, commitment(0))
    world.steer(task, Standing.ADOPTED)
    assert (world.view(task).phase, world.view(task).expected) == (Phase.COMMIT, 0b0111)
    with refused("standing does not change so"):
        world.steer(task, Standing.ADOPTED)


def test_nobody_commits_to_a_paused_task_and_its_window_begins_anew_afterwards():
    world = World(4)
    task = world.start()
    world.commit(task, 0)
    world.steer(task, Standing.PAUSED)
    for committing in (lambda: world.commit(task, 1), lambda: world.call("commit_all", 0, *world.commits(task, 1, 2))):
        with refused("task is paused"):
            committing()
    world.later(10 * TERMS[3])
    world.steer(task, Standing.ADOPTED)
    at = world.view(task)
    assert (at.phase, at.round, at.attempt, at.committed, at.expected) == (Phase.COMMIT, 1, 1, 0, 0b0111)
    assert at.commit_deadline == world.now + 2 * TERMS[3]
    world.finish_round(task, (0, 1, 2))


def test_what_is_committed_when_a_task_is_paused_goes_on():
    world = World(4)
    task = world.start()
    world.commit(task, 0, 1, 2)
    world.steer(task, Standing.PAUSED)
    world.freeze(task, range(3))
    world.call("finalise", 0, *world.final(task, range(3)))
    assert (world.view(task).round, world.view(task).phase) == (2, Phase.COMMIT)
    world.steer(task, Standing.ADOPTED)
    assert world.view(task).attempt == 1
    world.finish_round(task, (0, 1, 2))
    world.commit(task, 0, 1, 2)
    world.steer(task, Standing.PAUSED)
    world.steer(task, Standing.ADOPTED)
    assert (world.view(task).attempt, world.view(task).committed) == (0, 0b0111), "commits that are closed stay"


def test_commits_that_are_closed_are_made_again_where_removed_members_words_are_wanting():
    world = World(7)
    task = world.start(granting=range(7), terms=(3, 2, 7, 60, 30, 90, 0))
    world.commit(task, *range(7))
    for gone in (6, 5, 4):
        world.decide(Kind.REMOVE, gone, voters=range(gone))
    with refused("no quorum"):
        world.freeze(task, range(4))
    world.later(TERMS[3])
    with refused("commits are closed"):
        world.call("retry", 0, task, 1, 0)
    world.steer(task, Standing.PAUSED)
    world.steer(task, Standing.ADOPTED)
    at = world.view(task)
    assert (at.phase, at.attempt, at.members, at.expected) == (Phase.COMMIT, 1, 0b1111, 0b1111)
    world.finish_round(task, range(4))


@pytest.mark.parametrize("upto", ["proposed", "gathering", "open", "committed", "closed", "frozen", "second round"])
def test_a_task_is_stopped_wherever_it_stands_and_its_last_final_round_is_its_end(upto):
    world = World(4)
    task = world.propose() if upto == "proposed" else world.start(granting=(0, 1))
    finals = 0
    if upto not in ("proposed", "gathering"):
        world.grant(2, task)
    if upto == "second round":
        world.finish_round(task, (0, 1, 2), model=b"\x51" * 32)
        finals = 1
    if upto in ("committed", "second round"):
        world.commit(task, 1)
    if upto in ("closed", "frozen"):
        world.commit(task, 0, 1, 2)
    if upto == "frozen":
        world.freeze(task, range(4))
        last = world.final(task, range(4))
    world.steer(task, Standing.STOPPED)
    at = world.view(task)
    assert (at.phase, at.round, at.standing) == (Phase.DONE, finals, Standing.STOPPED)
    assert at.parent == (b"\x51" if finals else b"\x90") * 32
    assert (at.committed, at.survivors) == (0, 0)
    assert world.read("progress", task) == (finals, 3, 1, 30)
    with refused("task is done"):
        world.steer(task, Standing.ADOPTED)
    with refused("task is done"):
        world.grant(3, task)
    if upto == "frozen":
        with refused("not this attempt"):
            world.call("finalise", 0, *last)


def test_tasks_promise_at_least_what_members_have_decided():
    world = World(3)
    world.decide(Kind.BOUND, 3, 1)
    assert world.read("condition") == (0b111, 0, 3, 1)
    with refused("fewer members than the moot allows"):
        world.propose((3, 2, 3, 60, 30, 90, 1))
    with refused("the moot allows sealed tasks only"):
        world.propose((3, 3, 3, 60, 30, 90, 0))
    world.propose((3, 3, 3, 60, 30, 90, 1))


@pytest.mark.parametrize("upto", ["gathering", "committed", "frozen", "too few survivors"])
def test_a_moot_that_has_moved_ends_its_rounds_and_opens_none(upto):
    world = World(4)
    task = world.start(granting=(0, 1))
    if upto != "gathering":
        world.grant(2, task)
        world.finish_round(task, (0, 1, 2), model=b"\x51" * 32)
    if upto in ("committed", "frozen", "too few survivors"):
        world.commit(task, 0, 1, 2)
    if upto == "frozen":
        world.freeze(task, range(4))
    world.decide(Kind.RETIRE, 7, int(account(5), 16), 99)
    assert world.event("Retired") == {"chain_id": 7, "successor": account(5), "state": (99).to_bytes(32, "big")}
    assert world.read("condition")[1] == 1
    if upto == "gathering":
        world.grant(2, task)
    elif upto == "committed":
        world.freeze(task, range(4))
    elif upto == "too few survivors":
        world.call("freeze", 0, *world.holdings(task, dict.fromkeys(range(4), 0)))
    if upto in ("committed", "frozen"):
        world.call("finalise", 0, *world.final(task, range(4), model=b"\x52" * 32))
    at = world.view(task)
    done = {"gathering": (0, b"\x90"), "too few survivors": (1, b"\x51")}.get(upto, (2, b"\x52"))
    assert (at.phase, at.round, at.parent[:1]) == (Phase.DONE, *done)
    assert (at.committed, at.survivors) == (0, 0)
    with refused("the moot has moved"):
        world.propose()
    with refused("the moot has moved"):
        world.decide(Kind.RETIRE, 7, int(account(6), 16), 99)
    world.decide(Kind.ADMIT, NEWCOMER_VOUCHER)
    with refused("the moot has moved"):
        world.join(9, voucher=NEWCOMER)
