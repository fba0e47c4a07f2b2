"""Who gets into a moot, with which accounts and keys, and what may be said there, on the contracts themselves."""

from __future__ import annotations

import pytest
from contracts import CHAIN, Refused, refused
from moot_world import (
    FRESH,
    NAME,
    RULES,
    TERMS,
    VOUCHER,
    World,
    account,
    fields,
    key,
    other_half,
)

from folkmoot.ledger import statements
from folkmoot.ledger.address import created_address
from folkmoot.ledger.assembly import elders_hash
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.statements import Domain

OTHER = b"\x78" * 32
OTHER_VOUCHER = statements.address_of(OTHER)


def test_the_founder_is_member_0_with_what_it_told_of_itself():
    world = World(1, seats=4, heritage=b"\x0e" * 32)
    told = (world.moot, NAME, 4, statements.address_of(VOUCHER), b"\x0e" * 32, world.purse)
    assert world.ask("about") == (*told, elders_hash(()))
    assert world.read("about") == (1, world.assembly)
    (founder,) = world.ask("members", 0)
    assert tuple(founder) == (account(0), account(0), *fields(0), 0)
    assert world.read("counts") == (1, 0, 0)
    assert world.read("condition") == (1, 0, 0, 0)
    assert world.ask("rules") == (*RULES, 0)


def test_only_the_founder_of_a_moot_that_names_it_makes_its_assembly():
    world = World(1, seats=4)
    fixed = (NAME, 4, statements.address_of(VOUCHER), bytes(32), [], world.purse, list(RULES))
    with refused("the moot has another assembly"):
        world.chain.deploy(account(0), "Assembly", world.moot, *fixed, *fields(0))
    # the next contract of account 5 would be this moot's assembly, but account 5 is not its founder
    moot = world.chain.deploy(account(0), "Moot", created_address(account(5), 0))
    with refused("not the moot's founder"):
        world.chain.deploy(account(5), "Assembly", moot, *fixed, *fields(0))


def test_a_moot_needs_a_name_1_to_256_seats_and_rules_in_bounds():
    for seats in (257, 2**255):
        with refused("seats out of bounds"):
            World(1, seats=seats)
    for rules, reason in [
        ((49, 66, 1000), "percent out of bounds"),
        ((67, 66, 1000), "percent out of bounds"),
        ((50, 100, 1000), "percent out of bounds"),
        ((50, 66, 9), "window out of bounds"),
        ((50, 66, 90 * 86_400 + 1), "window out of bounds"),
    ]:
        with refused(reason):
            World(1, rules=rules)
    assert World(1, rules=(99, 99, 10)).ask("rules") == (99, 99, 10, 0)


# ---- vouchers


def test_the_founding_voucher_fills_the_seats_and_no_more():
    world = World(4)
    assert [member.account for member in world.ask("members", 0)] == [account(i) for i in range(4)]
    with refused("voucher is not usable"):
        world.join(4)


def test_a_voucher_signed_for_another_account_or_by_another_key_admits_no_one():
    world = World(1, seats=4)
    with refused("voucher is not usable"):
        world.call("join", 2, *fields(2), world.voucher(1))
    with refused("voucher is not usable"):
        world.join(1, voucher=OTHER)


def test_a_voucher_of_another_assembly_or_of_the_moot_admits_no_one_here():
    world = World(1, seats=4)
    for contract in (world.moot, world.purse):
        signature = statements.sign(VOUCHER, statements.voucher_digest(Domain(CHAIN, contract), account(1)))
        with refused("voucher is not usable"):
            world.call("join", 1, *fields(1), signature)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_half, "signature is malleable"),
        (lambda s: s[:64] + b"\x00", "signature is malleable"),
        (lambda s: s[:64] + b"\x1d", "signature is malleable"),
        (lambda s: b"\x00" * 64 + b"\x1b", "signature is invalid"),
        (lambda s: s[:64], "voucher signature is not 65 bytes"),
    ],
)
def test_a_voucher_with_a_crooked_signature_is_refused(spoil, reason):
    world = World(1, seats=4)
    with refused(reason):
        world.call("join", 1, *fields(1), spoil(world.voucher(1)))


def test_a_voted_voucher_admits_one_member_and_is_never_voted_for_again():
    world = World(3)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16), voters=(0, 1))
    assert world.ask("is_usable", OTHER_VOUCHER) == 1
    world.join(9, voucher=OTHER)
    assert world.read("number_of", account(9)) == 4
    assert world.ask("is_usable", OTHER_VOUCHER) == 0
    with refused("voucher is not usable"):
        world.join(10, voucher=OTHER)
    with refused("voucher is used"):
        world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16), voters=(0, 1, 2))


def test_half_of_a_moot_admits_nobody():
    world = World(6)
    motion = world.move(Kind.ADMIT, int(OTHER_VOUCHER, 16))
    for voter in (1, 2):
        world.call("vote", voter, motion, 1)
    with refused("it has not passed"):
        world.call("enact", 0, motion)
    world.call("vote", 3, motion, 1)
    world.call("enact", 0, motion)
    assert world.ask("is_usable", OTHER_VOUCHER) == 1, "four of six are more than two thirds"


def test_a_voted_voucher_admits_for_as_long_as_a_window_lasts():
    world = World(3)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16))
    with world.chain.undone():
        world.later(RULES[2] - 1)
        world.join(9, voucher=OTHER)
    world.later(RULES[2])
    assert world.ask("is_usable", OTHER_VOUCHER) == 0
    with refused("voucher is not usable"):
        world.join(9, voucher=OTHER)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16))
    world.join(9, voucher=OTHER)


def test_each_elder_of_a_moot_that_is_continued_joins_once_with_its_own_key():
    world = World(1, seats=1, elders=[account(20), account(21)])
    assert [world.ask("is_usable", account(n)) for n in (20, 21, 22)] == [1, 1, 0]
    world.join(20, voucher=key(20))
    world.join(31, voucher=key(21))
    for number, voucher in ((22, key(22)), (23, key(20)), (32, key(21))):
        with refused("voucher is not usable"):
            world.join(number, voucher=voucher)
    assert world.read("counts")[0] == 3


def test_a_member_that_was_put_out_does_not_come_back_by_the_founding_voucher():
    world = World(3, seats=9)
    world.decide(Kind.REMOVE, 2, voters=(0, 1))
    with refused("voucher is not usable"):
        world.join(8)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16), voters=(0, 1))
    world.join(8, voucher=OTHER)
    assert world.read("counts")[0] == 4


def test_a_voucher_voted_for_before_a_member_was_put_out_admits_nobody_after():
    world = World(4)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16))
    world.decide(Kind.REMOVE, 3, voters=(0, 1, 2))
    assert world.ask("is_usable", OTHER_VOUCHER) == 0
    with refused("voucher is not usable"):
        world.join(9, voucher=OTHER)
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16), voters=(0, 1, 2))
    world.join(9, voucher=OTHER)


def test_an_admission_moved_before_a_member_was_put_out_is_not_enacted_after():
    world = World(4)
    motion = world.move(Kind.ADMIT, int(OTHER_VOUCHER, 16), mover=3)
    for voter in (0, 1, 2):
        world.call("vote", voter, motion, 1)
    world.decide(Kind.REMOVE, 3, voters=(0, 1, 2))
    with refused("a member was put out since"):
        world.call("enact", 0, motion)


def test_a_member_that_was_put_out_does_not_come_back_by_an_account_it_had_delegated_to():
    world = World(3, seats=9)
    world.delegate(2, FRESH)
    world.delegate(2, FRESH + 1)
    world.decide(Kind.REMOVE, 2, voters=(0, 1))
    for number in (2, FRESH, FRESH + 1):
        with refused("voucher is not usable"):
            world.join(number)


def test_elders_that_have_yet_to_come_count_as_members_who_say_nothing():
    world = World(1, seats=1, elders=[account(20), account(21)])
    motion = world.move(Kind.BOUND, 2, 0)
    assert world.ask("awaited") == 2
    with refused("it has not passed"):
        world.chain.call(account(0), world.assembly, "enact", motion)
    world.join(20, voucher=key(20))
    assert world.ask("awaited") == 1
    with refused("it has not passed"):
        world.chain.call(account(0), world.assembly, "enact", motion)
    world.chain.call(account(20), world.assembly, "vote", motion, 1)
    world.chain.call(account(0), world.assembly, "enact", motion)


def test_names_keys_and_accounts_are_unique_and_well_formed():
    world = World(2, seats=8)
    mine = fields(5)
    for at, theirs in [(0, "name is taken"), (1, "endpoint is taken"), (2, "exchange key is taken")]:
        copied = list(mine)
        copied[at] = fields(1)[at]
        with refused(theirs):
            world.call("join", 5, *copied, world.voucher(5))
    with refused("already a member"):
        world.call("join", 1, *mine, world.voucher(1))
    with refused("member has no name"):
        world.call("join", 5, "", *mine[1:], world.voucher(5))
    with refused("binding is not 64 bytes"):
        world.call("join", 5, *mine[:3], b"\x03" * 63, "", world.voucher(5))
    with refused("key is empty"):
        world.call("join", 5, "x", b"\0" * 32, *mine[2:], world.voucher(5))
    with pytest.raises(Refused):
        world.call("join", 5, "x" * 65, *mine[1:], world.voucher(5))
    world.join(5)


def test_a_moot_holds_256_members():
    world = World(256)
    assert world.read("living") == 2**256 - 1
    world.decide(Kind.ADMIT, int(OTHER_VOUCHER, 16))
    with refused("moot is full"):
        world.join(256, voucher=OTHER)


# ---- what members say


def test_members_datasets_and_tasks_are_read_in_pages():
    world = World(34)
    for i in range(34):
        world.call("describe", 1, i.to_bytes(32, "big"), b"\5" * 32, b"\6" * 32, i)
        world.call("propose", i, b"\1" * 32, i.to_bytes(31, "big") + b"\1", TERMS)
    assert [len(world.ask("members", at)) for at in (0, 32, 34, 2**256 - 40)] == [32, 2, 0, 0]
    assert [len(world.read("datasets", at)) for at in (0, 1, 33, 35)] == [0, 32, 2, 0]
    assert [task.id for task in world.read("tasks", 33)] == [33, 34]
    last = world.read("datasets", 34)[0]
    assert tuple(last) == (1, (33).to_bytes(32, "big"), b"\5" * 32, b"\6" * 32, 33)
    with refused("records out of bounds"):
        world.call("describe", 1, bytes(32), bytes(32), bytes(32), 2**64)


def test_a_task_keeps_its_terms_and_bad_terms_are_refused():
    world = World(1)
    terms = (1_000_000, 256, 256, 604_800, 604_799, 604_798, 1)
    world.propose(terms)
    (task,) = world.read("tasks", 1)
    assert tuple(task.terms) == terms
    assert (task.proposer, task.bundle, task.genesis, task.granted) == (0, b"\xb0" * 32, b"\x90" * 32, 0)
    assert (task.standing, task.barred) == (0, 0)
    bad = {
        "rounds out of bounds": [(0, 0), (0, 1_000_001)],
        "members out of bounds": [(1, 0), (1, 257), (1, 2**255), (2, 1), (2, 257)],
        "seconds out of bounds": [(3, 0), (3, 604_801), (4, 0), (4, 604_801), (5, 0), (5, 2**256 - 1)],
        "sealed is 0 or 1": [(6, 2), (6, 2**255)],
    }
    for reason, changes in bad.items():
        for at, value in changes:
            spoilt = list(TERMS)
            spoilt[at] = value
            with refused(reason):
                world.propose(tuple(spoilt))
    with refused("hash is empty"):
        world.call("propose", 0, b"\0" * 32, b"\x90" * 32, TERMS)
