"""Who gets into a moot, and what may be said there, on the contract itself."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import pytest
from moot_world import NAME, TERMS, VOUCHER, World, account, boa_deploy, fields, key, other_half

from folkmoot.ledger import statements

OTHER = b"\x78" * 32
OTHER_VOUCHER = statements.address_of(OTHER)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with boa.env.anchor():
        yield


def test_the_founder_is_member_0_with_what_it_told_of_itself():
    world = World(1, seats=4)
    name, seats, voucher, born = world.moot.about()
    assert (name, seats, voucher) == (NAME, 4, statements.address_of(VOUCHER))
    assert born == boa.env.evm.patch.block_number
    (founder,) = world.moot.members(0)
    assert founder.account == account(0)
    assert tuple(founder)[1:] == fields(0)
    assert world.moot.counts() == (1, 0, 0)


def test_the_founding_voucher_fills_the_seats_and_no_more():
    world = World(4)
    assert [member.account for member in world.moot.members(0)] == [account(i) for i in range(4)]
    with boa.reverts("voucher is not usable"):
        world.join(4)


def test_a_voucher_signed_for_another_account_or_by_another_key_admits_no_one():
    world = World(1, seats=4)
    with boa.reverts("voucher is not usable"):
        world.call("join", 2, *fields(2), world.voucher(1))
    with boa.reverts("voucher is not usable"):
        world.join(1, voucher=OTHER)


def test_a_voucher_of_another_moot_admits_no_one_here():
    one, other = World(1, seats=4), World(1, seats=4)
    assert one.moot.address != other.moot.address
    with boa.reverts("voucher is not usable"):
        one.call("join", 1, *fields(1), other.voucher(1))


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
    with boa.reverts(reason):
        world.call("join", 1, *fields(1), spoil(world.voucher(1)))


def test_names_keys_and_accounts_are_unique_and_well_formed():
    world = World(2, seats=8)
    mine = fields(5)
    for at, theirs in [(0, "name is taken"), (1, "endpoint is taken"), (2, "exchange key is taken")]:
        copied = list(mine)
        copied[at] = fields(1)[at]
        with boa.reverts(theirs):
            world.call("join", 5, *copied, world.voucher(5))
    with boa.reverts("already a member"):
        world.call("join", 1, *mine, world.voucher(1))
    with boa.reverts("member has no name"):
        world.call("join", 5, "", *mine[1:], world.voucher(5))
    with boa.reverts("binding is not 64 bytes"):
        world.call("join", 5, *mine[:3], b"\x03" * 63, "", world.voucher(5))
    with boa.reverts("key is empty"):
        world.call("join", 5, "x", b"\0" * 32, *mine[2:], world.voucher(5))
    with pytest.raises(boa.BoaError):
        world.call("join", 5, "x" * 65, *mine[1:], world.voucher(5))
    world.join(5)


def test_more_than_half_of_the_members_invite_and_the_voucher_works_once():
    world = World(4)
    for voter in (0, 1):
        world.call("invite", voter, OTHER_VOUCHER)
        with boa.reverts("voucher is not usable"):
            world.join(9, voucher=OTHER)
    with boa.reverts("already voted"):
        world.call("invite", 1, OTHER_VOUCHER)
    world.call("invite", 2, OTHER_VOUCHER)
    with boa.reverts("already usable"):
        world.call("invite", 3, OTHER_VOUCHER)
    world.join(9, voucher=OTHER)
    assert world.moot.number_of(account(9)) == 5
    with boa.reverts("voucher is not usable"):
        world.join(10, voucher=OTHER)
    world.call("invite", 0, OTHER_VOUCHER)
    with boa.reverts("voucher is not usable"):
        world.join(10, voucher=OTHER)


def test_only_members_vote_announce_describe_propose_and_act_in_rounds():
    world = World(3)
    task = world.start()
    for call in [
        ("invite", OTHER_VOUCHER),
        ("announce", ""),
        ("describe", b"\1" * 32, 1),
        ("propose", b"\1" * 32, b"\1" * 32, TERMS),
        ("grant", task, 1, 0),
        ("revoke", task),
        ("attend", task),
        ("commit", task, 1, 0, b"\1" * 32),
        ("freeze", task, 1, 0, 0, [], b""),
        ("finalise", task, 1, 0, b"\1" * 32, b"\1" * 32, b"\1" * 32, 0, b""),
        ("retry", task, 1, 0),
    ]:
        with boa.reverts("not a member"):
            world.call(call[0], 8, *call[1:])


def test_addresses_change_when_announced():
    world = World(2)
    world.call("announce", 1, "192.0.2.7:4433,[2001:db8::1]:4433")
    assert world.moot.members(1)[0].addresses == "192.0.2.7:4433,[2001:db8::1]:4433"
    world.call("announce", 1, "")
    assert world.moot.members(1)[0].addresses == ""


def test_members_datasets_and_tasks_are_read_in_pages():
    world = World(34)
    for i in range(34):
        world.call("describe", 1, i.to_bytes(32, "big"), i)
        world.call("propose", 2, b"\1" * 32, i.to_bytes(31, "big") + b"\1", TERMS)
    assert [len(world.moot.members(at)) for at in (0, 32, 34, 2**256 - 40)] == [32, 2, 0, 0]
    assert [len(world.moot.datasets(at)) for at in (0, 1, 33, 35)] == [0, 32, 2, 0]
    assert [task.id for task in world.moot.tasks(33)] == [33, 34]
    last = world.moot.datasets(34)[0]
    assert (last.owner, last.records) == (1, 33)


def test_a_task_keeps_its_terms_and_bad_terms_are_refused():
    world = World(1)
    terms = (1_000_000, 256, 256, 604_800, 604_799, 604_798, 1)
    world.call("propose", 0, b"\xb0" * 32, b"\x90" * 32, terms)
    (task,) = world.moot.tasks(1)
    assert tuple(task.terms) == terms
    assert (task.proposer, task.bundle, task.genesis, task.granted) == (0, b"\xb0" * 32, b"\x90" * 32, 0)
    bad = {
        "rounds out of bounds": [(0, 0), (0, 1_000_001)],
        "min_members out of bounds": [(1, 0), (1, 257), (1, 2**255)],
        "start_members out of bounds": [(2, 1), (2, 257)],
        "train_seconds out of bounds": [(3, 0), (3, 604_801)],
        "exchange_seconds out of bounds": [(4, 0), (4, 604_801)],
        "sealed is 0 or 1": [(6, 2), (6, 2**255)],
        "final_seconds out of bounds": [(5, 0), (5, 2**256 - 1)],
    }
    for reason, changes in bad.items():
        for at, value in changes:
            spoilt = list(TERMS)
            spoilt[at] = value
            with boa.reverts(reason):
                world.call("propose", 0, b"\xb0" * 32, b"\x90" * 32, tuple(spoilt))
    with boa.reverts("hash is empty"):
        world.call("propose", 0, b"\0" * 32, b"\x90" * 32, TERMS)


def test_a_moot_needs_a_name_and_1_to_256_seats():
    for seats in (0, 257):
        with boa.reverts("seats out of bounds"):
            boa_deploy(seats)
    assert key(0) != VOUCHER
