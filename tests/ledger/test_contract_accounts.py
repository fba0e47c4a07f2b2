"""Which account of a member may do what, and when none of its accounts may do anything more."""

from __future__ import annotations

from contracts import refused
from moot_world import FRESH, TERMS, World, account, bits, commitment, fields, key, keys_of

from folkmoot.ledger import statements
from folkmoot.ledger.motions import Kind


def test_addresses_change_when_announced():
    world = World(2)
    world.call("announce", 1, "192.0.2.7:4433,[2001:db8::1]:4433")
    assert world.ask("members", 1)[0].addresses == "192.0.2.7:4433,[2001:db8::1]:4433"
    world.call("announce", 1, "")
    assert world.ask("members", 1)[0].addresses == ""


def test_a_member_delegates_its_daily_work_and_the_keys_of_before_are_worthless_at_once():
    world = World(3)
    task = world.start()
    before = world.commits(task, 1)
    world.delegate(1, FRESH)
    member = world.ask("members", 1)[0]
    assert (member.account, member.main) == (account(FRESH), account(1))
    assert (member.endpoint, member.exchange, member.binding) == keys_of(FRESH)
    assert member.since == world.event("Delegated")["since"] == world.chain.block
    with refused("signature is not the signer's"):
        world.call("commit_all", 0, *before)
    world.commit(task, 1)
    world.delegate(1, FRESH + 1)
    with refused("not a member"):
        world.call("attend", FRESH, task)
    with refused("not a member"):
        world.call("announce", FRESH, "")
    world.call("attend", FRESH + 1, task)
    assert world.read("number_of", account(FRESH)) == 0


def test_a_daily_account_neither_grants_nor_votes_nor_delegates_but_may_revoke():
    world = World(3)
    task = world.start(granting=(0, 2))
    world.delegate(1, FRESH)
    dataset = world.call("describe", FRESH, b"\1" * 32, bytes(32), bytes(32), 5)
    motion = world.move(Kind.BOUND, 3, 0)
    for call in [
        ("grant", task, dataset, 0, 0, 0),
        ("vote", motion, 1),
        ("move", int(Kind.BOUND), [2, 0, 0], bytes(32)),
        ("delegate", account(FRESH + 1), *keys_of(FRESH + 1), b""),
    ]:
        with refused("only the main account may"):
            world.call(call[0], FRESH, *call[1:])
    world.call("grant", 1, task, dataset, 0, 0, 0)
    world.call("revoke", FRESH, task)
    assert world.read("grant_of", task, 1)[0] == 0


def test_a_main_account_that_delegates_still_acts_but_its_signature_is_nobodys():
    world = World(3)
    task = world.start()
    world.delegate(1, FRESH)
    world.call("commit", 1, task, 1, 0, commitment(1))
    world.commit(task, 0, 2)
    held = world.holdings(task, dict.fromkeys(range(3), 7))
    own = statements.sign(key(1), statements.holding_digest(world.domain, task, 1, 0, 7))
    with refused("signature is not the signer's"):
        world.call("freeze", 0, *held[:-1], held[-1][:65] + own + held[-1][130:])
    world.call("freeze", 0, *held)


def test_a_delegate_is_an_account_that_nobody_has_and_keys_that_no_other_has_or_had():
    world = World(3, seats=9)
    good, other = world.daily(FRESH, account(1)), keys_of(2)
    taken = [
        ("already a member", world.daily(2, account(1), FRESH)),
        ("the account has not agreed", ("0x" + "00" * 20, *good[1:])),
        ("the account has not agreed", (*good[:4], world.daily(FRESH, account(2))[4])),
        ("signature is not 65 bytes", (*good[:4], b"")),
        ("endpoint is taken", (good[0], other[0], *good[2:])),
        ("key is empty", (*good[:2], bytes(32), *good[3:])),
        ("exchange key is taken", (*good[:2], other[1], *good[3:])),
        ("binding is not 64 bytes", (*good[:3], b"", good[4])),
    ]
    for reason, arguments in taken:
        with refused(reason):
            world.call("delegate", 1, *arguments)
    world.delegate(1, FRESH)
    with refused("already a member"):
        world.join(FRESH)
    world.call("delegate", 1, *world.daily(1, account(1)))
    assert world.read("accounts_of", 1) == (account(1), account(1)), "what was its own may be its own again"
    with refused("endpoint is taken"):
        world.call("delegate", 2, *world.daily(FRESH + 1, account(2), FRESH))
    world.chain.call(account(FRESH), world.assembly, "join", *fields(7), world.voucher(FRESH))
    assert world.read("number_of", account(FRESH)) == 4, "an account that is free again may be a member's"


def test_members_give_one_whose_main_account_is_lost_a_new_one():
    world = World(4)
    task = world.start()
    world.delegate(2, FRESH)
    old = world.commits(task, 2)
    world.decide(Kind.REKEY, 2, int(account(FRESH + 5), 16), voters=(0, 1, 3))
    assert world.read("accounts_of", 2) == (account(FRESH + 5),) * 2
    for number in (2, FRESH):
        with refused("not a member"):
            world.call("revoke", number, task)
    with refused("signature is not the signer's"):
        world.call("commit_all", 0, *old)
    world.call("delegate", FRESH + 5, *world.daily(2, account(FRESH + 5), FRESH + 1))
    world.call("commit", 2, task, 1, 0, commitment(2))


def test_a_removed_member_can_do_nothing_with_any_of_its_accounts():
    world = World(4, seats=4)
    task = world.start(granting=(0, 1, 2, 3))
    world.delegate(3, FRESH)
    motion = world.move(Kind.BOUND, 3, 0)
    signed = world.commits(task, 3)
    world.decide(Kind.REMOVE, 3, voters=(0, 1, 2))
    assert world.event("Removed") == {"member": 3}
    for number in (3, FRESH):
        for call in actions(task, motion):
            with refused("not a member"):
                world.call(call[0], number, *call[1:])
        with refused("voucher is not usable"):
            world.call("join", number, *fields(FRESH + 9), world.voucher(number))
    with refused("not a member"):
        world.call("commit_all", 0, *signed)
    assert (world.read("living"), world.read("number_of", account(3))) == (0b0111, 0)
    assert world.read("grant_of", task, 3) == (0, 0, 0, 0)
    assert world.read("tasks", task)[0].granted == bits((0, 1, 2))
    with refused("no such member"):
        world.decide(Kind.REMOVE, 3, voters=(0, 1, 2))
    with refused("no such member"):
        world.decide(Kind.REKEY, 3, int(account(FRESH), 16), voters=(0, 1, 2))


def actions(task: int, motion: int) -> list[tuple[object, ...]]:
    """A call of everything that only members may do."""
    return [
        ("announce", ""),
        ("describe", b"\1" * 32, bytes(32), bytes(32), 1),
        ("propose", b"\1" * 32, b"\1" * 32, TERMS),
        ("grant", task, 1, 0, 0, 0),
        ("revoke", task),
        ("attend", task),
        ("commit", task, 1, 0, b"\1" * 32),
        ("expel", task, 1, b"\1" * 32, 0, b""),
        ("retry", task, 1, 0),
        ("move", int(Kind.BOUND), [2, 0, 0], bytes(32)),
        ("vote", motion, 1),
        ("delegate", account(FRESH + 1), *keys_of(FRESH + 1), b""),
    ]


def test_only_members_speak_consent_decide_and_act_in_rounds():
    world = World(3)
    task = world.start()
    motion = world.move(Kind.BOUND, 3, 0)
    for call in actions(task, motion):
        with refused("not a member"):
            world.call(call[0], 8, *call[1:])
