"""Every case of small moots, one by one: who may sign what, whose commits count, who survives, what passes."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from contracts import Refused
from moot_world import World, account, bits, commitment

from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.round.view import Phase, faults, quorum


def subsets(n: int):
    """All sets of the first ``n`` numbers."""
    return [set(some) for size in range(n + 1) for some in combinations(range(n), size)]


def taken(world: World, name: str, *arguments: object) -> bool:
    """Whether the call is taken; it is taken back at once."""
    with world.chain.undone():
        try:
            world.call(name, 0, *arguments)
        except Refused:
            return False
        return True


@pytest.mark.parametrize("n", range(1, 8))
def test_of_all_sets_of_members_exactly_the_quorums_freeze_finalise_and_expel(n: int):
    world = World(n)
    task = world.start(granting=range(n), terms=(2, 1, n, 60, 30, 90, 0))
    world.commit(task, *range(n))
    for some in subsets(n):
        assert taken(world, "freeze", *world.holdings(task, dict.fromkeys(some, bits(range(n))))) == (
            len(some) >= quorum(n)
        )
        assert taken(world, "expel", *world.expulsion(task, 0, some)) == (len(some) >= quorum(n))
    world.freeze(task, range(n))
    for some in subsets(n):
        assert taken(world, "finalise", *world.final(task, some)) == (len(some) >= quorum(n))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_of_all_attestations_exactly_those_survive_that_at_most_f_lack(n: int):
    world = World(n)
    task = world.start(granting=range(n), terms=(2, 1, n, 60, 30, 90, 0))
    world.commit(task, *range(n))
    voters = range(quorum(n))
    for held in product(range(2**n), repeat=len(voters)):
        with world.chain.undone():
            world.call("freeze", 0, *world.holdings(task, dict(zip(voters, held, strict=True))))
            survivors = [j for j in range(n) if sum(not each >> j & 1 for each in held) <= faults(n)]
            at = world.view(task)
            assert (at.phase, at.survivors) == ((Phase.FROZEN, bits(survivors)) if survivors else (Phase.COMMIT, 0))


@pytest.mark.parametrize("percents", [(50, 66), (50, 50), (66, 80), (99, 99)])
@pytest.mark.parametrize("n", range(1, 6))
def test_of_all_sets_of_votes_exactly_those_pass_that_outweigh_their_share(n: int, percents: tuple[int, int]):
    world = World(n, rules=(*percents, 1000))
    for kind, percent in ((Kind.BOUND, percents[0]), (Kind.RULES, percents[1])):
        for some in subsets(n):
            if not some:
                continue
            with world.chain.undone():
                words = (2, 0, 0) if kind is Kind.BOUND else (50, 50, 1000)
                motion = world.move(kind, *words, mover=min(some))
                for voter in range(n):
                    if voter != min(some):
                        world.call("vote", voter, motion, int(voter in some))
                assert taken(world, "enact", motion) == (100 * len(some) > percent * n)


FLAWS = ["no grant", "revoked", "ended by time", "ended by rounds", "expelled", "removed", "delegated", "paused"]
"""What may be wrong with member 2, or its task, when it commits."""


def flawed(flaws: tuple[str, ...]) -> tuple[World, int]:
    world = World(5)
    task = world.start(granting=(0, 1, 3), terms=(4, 2, 3, 60, 30, 90, 0))
    if "no grant" not in flaws:
        until = world.now + 5 if "ended by time" in flaws else 0
        world.grant(2, task, until=until, rounds=int("ended by rounds" in flaws))
    world.finish_round(task, (0, 1, 3), signers=range(5))
    if "revoked" in flaws and "no grant" not in flaws and "ended by rounds" not in flaws:
        world.call("revoke", 2, task)
    if "expelled" in flaws:
        world.call("expel", 0, *world.expulsion(task, 2, (0, 1, 3, 4)))
    if "delegated" in flaws:
        world.delegate(2, 1000)
    if "removed" in flaws:
        world.decide(Kind.REMOVE, 2, voters=(0, 1, 3, 4))
    if "paused" in flaws:
        world.decide(Kind.STEER, task, Standing.PAUSED, voters=(0, 1, 3))
    world.later(5)
    return world, task


@pytest.mark.parametrize("flaws", [some for size in range(len(FLAWS) + 1) for some in combinations(FLAWS, size)])
def test_of_all_that_may_be_wrong_with_consent_any_single_thing_keeps_a_commit_out(flaws: tuple[str, ...]):
    world, task = flawed(flaws)
    sound = set(flaws) <= {"delegated"}
    where = (task, 2, 0)
    assert taken(world, "commit_all", *world.commits(task, 2)) == sound
    for number in {2, world.delegates.get(2, 2)}:
        with world.chain.undone():
            try:
                world.chain.call(account(number), world.moot, "commit", *where, commitment(2))
                done = True
            except Refused:
                done = False
        assert done == sound
    old = world.delegates.pop(2, None)
    if old is not None:
        assert not taken(world, "commit_all", *world.commits(task, 2)), "the main account's signature is nobody's"
