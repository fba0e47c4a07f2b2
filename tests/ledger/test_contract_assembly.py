"""What members decide together, on the contracts themselves: motions, votes, thresholds, and what follows from them."""

from __future__ import annotations

import pytest
from contracts import Chain, Refused, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from moot_world import FRESH, RULES, VOUCHER, World, account, bits

from folkmoot.ledger import statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing

WINDOW = RULES[2]
NEWCOMER = b"\x78" * 32
NEWCOMER_VOUCHER = int(statements.address_of(NEWCOMER), 16)
GRAVE = {Kind.ADMIT, Kind.REMOVE, Kind.REKEY, Kind.WEIGH, Kind.RULES, Kind.RETIRE}
HARMLESS: dict[Kind, tuple[int, ...]] = {
    Kind.ADMIT: (NEWCOMER_VOUCHER,),
    Kind.REMOVE: (5,),
    Kind.REKEY: (5, int(account(FRESH), 16)),
    Kind.STEER: (1, Standing.ADOPTED),
    Kind.BOUND: (2, 0),
    Kind.WEIGH: (5, 3),
    Kind.RULES: RULES,
    Kind.RETIRE: (1, 0x1234, 5),
    Kind.ENDOW: (1, 100),
}
"""Of each kind a motion that can be enacted in a moot of six with a proposed task."""


def motion(world: World, id: int):
    return world.ask("motions", id)[0]


@pytest.mark.parametrize("kind", Kind)
def test_a_motion_of_each_kind_passes_with_one_vote_more_than_its_share_and_not_with_its_share(kind):
    world = World(6)
    world.propose()
    moved = world.move(kind, *HARMLESS[kind])
    enough = 4  # of six, more than 50% and more than 66%
    for voter in range(1, enough):
        with refused("it has not passed"):
            world.call("enact", 8, moved)
        assert motion(world, moved).passed == 0
        world.call("vote", voter, moved, 1)
    assert motion(world, moved).passed == 1
    world.call("enact", 8, moved)
    assert world.event("Enacted") == {"motion": moved, "ayes": bits(range(enough)), "noes": 0}
    with refused("already enacted"):
        world.call("enact", 8, moved)
    with refused("already enacted"):
        world.call("vote", 4, moved, 0)


def test_grave_motions_need_more_than_ordinary_ones():
    world = World(5, rules=(50, 66, WINDOW))
    world.propose()
    for kind in Kind:
        words = tuple(4 if word == 5 and kind is not Kind.RETIRE else word for word in HARMLESS[kind])
        with world.chain.undone():
            if kind in GRAVE:
                with refused("it has not passed"):
                    world.decide(kind, *words, voters=(0, 1, 2))
            else:
                world.decide(kind, *words, voters=(0, 1, 2))
        with world.chain.undone():
            world.decide(kind, *words, voters=(0, 1, 2, 3))


def test_a_member_votes_once_and_its_vote_stands():
    world = World(4)
    moved = world.move(Kind.BOUND, 3, 0)
    assert tuple(motion(world, moved)) == (moved, 0, 5, (3, 0, 0), bytes(32), world.now + WINDOW, 1, 0, 0, 0, WINDOW)
    world.call("vote", 1, moved, 0)
    for voter, aye in ((0, 1), (0, 0), (1, 1), (1, 0)):
        with refused("already voted"):
            world.call("vote", voter, moved, aye)
    with refused("a vote is 0 or 1"):
        world.call("vote", 2, moved, 2)
    world.call("vote", 2, moved, 1)
    found = motion(world, moved)
    assert (found.ayes, found.noes, found.passed) == (0b0101, 0b0010, 0)
    with refused("no such motion"):
        world.call("vote", 0, moved + 1, 1)
    with refused("no such motion"):
        world.call("enact", 0, 0)


def test_votes_count_until_the_window_ends_and_a_motion_is_enacted_until_as_long_after():
    world = World(4)
    first, second = (world.move(Kind.BOUND, members, 0) for members in (2, 3))
    world.later(WINDOW - 1)
    world.call("vote", 1, first, 1)
    world.call("vote", 2, first, 1)
    world.later(1)
    with refused("the window is over"):
        world.call("vote", 1, second, 1)
    world.later(WINDOW - 1)
    world.call("enact", 0, first)
    with refused("it has not passed"):
        world.call("enact", 0, second)
    late = world.move(Kind.BOUND, 4, 0)
    for voter in (1, 2):
        world.call("vote", voter, late, 1)
    world.later(2 * WINDOW)
    with refused("too late to enact it"):
        world.call("enact", 0, late)


def test_other_rules_change_nothing_about_when_an_older_motion_lapses():
    world = World(4)
    old = world.move(Kind.BOUND, 4, 0)
    for voter in (1, 2):
        world.call("vote", voter, old, 1)
    world.decide(Kind.RULES, 50, 66, 10 * WINDOW)
    world.later(2 * WINDOW)
    with refused("too late to enact it"):
        world.call("enact", 0, old)
    new = world.decide(Kind.RULES, 50, 66, 10)
    assert motion(world, new).deadline == world.now + 10 * WINDOW
    assert world.ask("rules") == (50, 66, 10, new)


def test_a_motion_is_weighed_among_the_members_there_are_when_it_is_enacted():
    world = World(4, seats=6)
    removal = world.move(Kind.REMOVE, 3)
    for voter in (1, 2):
        world.call("vote", voter, removal, 1)
    world.join(4)
    with refused("it has not passed"):  # three of five
        world.call("enact", 0, removal)
    world.call("vote", 4, removal, 1)
    world.call("enact", 0, removal)
    other = world.move(Kind.BOUND, 2, 0, mover=1)
    world.call("vote", 4, other, 1)
    assert motion(world, other).passed == 0, "two of the four that are left"
    world.decide(Kind.REMOVE, 2, voters=(0, 1, 4))
    assert motion(world, other).passed == 1, "two of three"


def test_votes_of_removed_members_do_not_count_and_its_place_is_not_voted_from_again():
    world = World(5, seats=7)
    for_it = world.move(Kind.BOUND, 5, 0, mover=4)
    world.call("vote", 3, for_it, 1)
    world.call("vote", 2, for_it, 1)
    assert motion(world, for_it).passed == 1
    world.decide(Kind.REMOVE, 4, voters=(0, 1, 2, 3))
    assert (motion(world, for_it).ayes, motion(world, for_it).passed) == (0b11100, 0)
    world.decide(Kind.ADMIT, NEWCOMER_VOUCHER, voters=(0, 1, 2))
    world.chain.call(account(4), world.assembly, "join", "again", *_keys(99), "", world.voucher(4, NEWCOMER))
    assert world.read("number_of", account(4)) == 6
    world.call("vote", 4, for_it, 1)
    assert motion(world, for_it).ayes == 0b111100, "whoever comes back comes as a new member"
    assert motion(world, for_it).passed == 1, "three of five"


def _keys(number: int) -> tuple[bytes, bytes, bytes]:
    return bytes([number]) * 32, bytes([number + 1]) * 32, b"\3" * 64


def test_a_rekeyed_or_delegating_member_keeps_one_vote():
    world = World(4)
    moved = world.move(Kind.BOUND, 3, 0, mover=2)
    world.decide(Kind.REKEY, 2, int(account(FRESH), 16), voters=(0, 1, 3))
    with refused("already voted"):
        world.call("vote", FRESH, moved, 1)
    with refused("not a member"):
        world.call("vote", 2, moved, 1)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_motion_passes_exactly_when_its_ayes_outweigh_its_share_of_all_living_weight(data):
    n = data.draw(st.integers(1, 9), "members")
    ordinary = data.draw(st.integers(50, 99), "percent")
    world = World(n, rules=(50, 50, WINDOW))
    weights = data.draw(st.lists(st.integers(0, 4) | st.just(1_000_000), min_size=n, max_size=n), "weights")
    weights[0] = max(weights[0], 1)
    gone = data.draw(st.sets(st.integers(1, n - 1)) if n > 1 else st.just(set()), "gone")
    moved = world.move(Kind.BOUND, 1, 0, mover=n - 1)
    ayes = {n - 1} | data.draw(st.sets(st.integers(0, n - 1)), "ayes")
    for voter in range(n - 1):
        world.call("vote", voter, moved, int(voter in ayes))
    for member, weight in enumerate(weights):
        world.decide(Kind.WEIGH, member, weight)
    for member in sorted(gone):
        world.remove(member)
    world.decide(Kind.RULES, ordinary, 99, WINDOW)
    living = set(range(n)) - gone
    passes = 100 * sum(weights[m] for m in ayes & living) > ordinary * sum(weights[m] for m in living)
    assert motion(world, moved).passed == int(passes)


def test_votes_weigh_what_a_motion_has_made_of_them():
    world = World(4)
    assert [world.ask("weight_of", member) for member in range(4)] == [1, 1, 1, 1]
    world.decide(Kind.WEIGH, 3, 10)
    assert [world.ask("weight_of", member) for member in range(4)] == [1, 1, 1, 10]
    with refused("it has not passed"):
        world.decide(Kind.BOUND, 2, 0, voters=(0, 1, 2))
    world.decide(Kind.BOUND, 2, 0, voters=(3,))
    world.decide(Kind.WEIGH, 3, 0, voters=(3,))
    with refused("it has not passed"):
        world.decide(Kind.BOUND, 3, 0, voters=(3, 0))
    world.decide(Kind.BOUND, 3, 0, voters=(3, 0, 1))
    with refused("weight out of bounds"):
        world.decide(Kind.WEIGH, 256, 1)
    with refused("weight out of bounds"):
        world.decide(Kind.WEIGH, 0, 1_000_001)


def test_a_moot_never_loses_the_last_weight_of_its_votes():
    world = World(2)
    world.decide(Kind.WEIGH, 1, 0)
    with refused("someone must be able to vote"):
        world.decide(Kind.WEIGH, 0, 0)
    with refused("someone must be able to vote"):
        world.decide(Kind.REMOVE, 0)
    world.decide(Kind.REMOVE, 1)
    assert world.read("living") == 1


def test_words_that_no_motion_of_its_kind_can_have_are_refused_when_it_is_enacted():
    world = World(1)
    world.propose()
    for kind, words, reason in [
        (Kind.ADMIT, (0,), "voucher is empty"),
        (Kind.ADMIT, (2**160,), "not an address"),
        (Kind.ADMIT, (int(statements.address_of(VOUCHER), 16),), "voucher is used"),
        (Kind.REMOVE, (1,), "no such member"),
        (Kind.REMOVE, (2**255,), "no such member"),
        (Kind.REKEY, (1, 5), "no such member"),
        (Kind.REKEY, (0, 0), "account is empty"),
        (Kind.REKEY, (0, 2**160 + 1), "not an address"),
        (Kind.STEER, (2, 1), "no such task"),
        (Kind.STEER, (1, 0), "standing does not change so"),
        (Kind.STEER, (1, 2), "standing does not change so"),
        (Kind.STEER, (1, 4), "standing does not change so"),
        (Kind.BOUND, (257, 0), "limits out of bounds"),
        (Kind.BOUND, (2, 2), "limits out of bounds"),
        (Kind.RULES, (49, 66, 1000), "percent out of bounds"),
        (Kind.RETIRE, (1, 2**160, 0), "not an address"),
        (Kind.ENDOW, (1, 0), "amount out of bounds"),
        (Kind.ENDOW, (2, 5), "no such task"),
    ]:
        with world.chain.undone(), refused(reason):
            world.decide(kind, *words)
    for kind in (0, len(Kind) + 1, 2**200):
        with refused("no such kind of motion"):
            world.call("move", 0, kind, [0, 0, 0], bytes(32))


def test_a_member_that_floods_the_moot_with_motions_is_stopped_at_eight_open_ones_and_others_are_not():
    world = World(4)
    for _ in range(8):
        world.move(Kind.BOUND, 2, 0, mover=3)
    with refused("too many open motions of this member"):
        world.move(Kind.BOUND, 2, 0, mover=3)
    world.decide(Kind.BOUND, 2, 0, voters=(0, 1, 2))
    world.call("vote", 0, 5, 1)
    world.call("vote", 1, 5, 1)
    world.call("enact", 0, 5)
    world.move(Kind.BOUND, 2, 0, mover=3)
    with refused("too many open motions of this member"):
        world.move(Kind.BOUND, 2, 0, mover=3)
    world.later(WINDOW)
    for _ in range(8):
        world.move(Kind.BOUND, 2, 0, mover=3)
    assert world.ask("rules")[3] == 18


def test_a_member_that_floods_the_moot_with_tasks_is_stopped_at_eight_that_nobody_decided_on():
    world = World(4)
    tasks = [world.propose(sender=3) for _ in range(8)]
    with refused("too many proposals of this member"):
        world.propose(sender=3)
    world.steer(world.propose(sender=2), Standing.ADOPTED)
    world.steer(tasks[2], Standing.ADOPTED)
    world.propose(sender=3)
    with refused("too many proposals of this member"):
        world.propose(sender=3)
    for sender, task, reason in ((2, tasks[0], "not your task"), (3, tasks[2], "it is decided on")):
        with refused(reason):
            world.call("withdraw", sender, task)
    world.call("withdraw", 3, tasks[0])
    assert world.read("tasks", tasks[0])[0].standing == Standing.STOPPED
    world.propose(sender=3)


def test_nobody_but_the_assembly_calls_what_members_decide():
    world = World(3)
    task = world.propose()
    for name, arguments in {
        "seat": (account(8),),
        "use": (1, account(8), account(8)),
        "remove": (1,),
        "steer": (task, 1),
        "bound": (1, 0),
        "retire": (1, account(8), bytes(32)),
    }.items():
        for sender in (0, 8):
            with refused("only the assembly decides that"):
                world.chain.call(account(sender), world.moot, name, *arguments)
    with refused("only the assembly decides that"):
        world.chain.call(account(0), world.purse, "endow", task, 5)


def test_what_the_assembly_may_call_is_all_there_is_that_asks_for_it():
    chain = Chain()
    moot = chain.deploy(account(0), "Moot", account(9))
    reasons = {}
    for name, entry in chain.contracts[moot].functions.items():
        if entry["stateMutability"] == "nonpayable":
            with pytest.raises(Refused) as caught:
                chain.call(account(8), moot, name, *(_zero(item) for item in entry["inputs"]))
            reasons[name] = str(caught.value)
    assert all(reasons.values()), reasons
    gated = [name for name, reason in reasons.items() if reason == "only the assembly decides that"]
    assert gated == ["seat", "use", "remove", "steer", "bound", "retire"]


def _zero(item):
    if item["type"] == "tuple":
        return tuple(_zero(part) for part in item["components"])
    if item["type"].endswith("[]"):
        return []
    return {"address": "0x" + "00" * 20, "bytes32": bytes(32), "bytes": b""}.get(item["type"], 0)
