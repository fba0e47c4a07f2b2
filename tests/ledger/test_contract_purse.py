"""Bounties on the contract itself: set aside, sealed, shown, split and claimed, and what nobody can do to them."""

from __future__ import annotations

import pytest
from contracts import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from moot_world import ORDER, World, account, other_half
from purse_world import ASSEMBLY, SECONDS, SILENT, Purse, parts

from folkmoot.ledger.motions import Kind
from folkmoot.ledger.purse import MOST_SCORES, SEASON, Settled, seal_of
from folkmoot.ledger.records import Standing

FUNDER = 7
SALT = b"\x05" * 32
TASK = 1


@pytest.fixture
def purse() -> Purse:
    """One task of four rounds, none of them final, with 1000 units of a plain token set aside."""
    made = Purse()
    made.task(TASK, 0)
    made.plain = made.token()
    made.fund(TASK, made.plain, 1000, FUNDER)
    return made


# ---- setting aside


def test_what_is_set_aside_counts_for_its_task_and_token_alone(purse):
    assert purse.event("Funded") == {"task": TASK, "token": purse.plain, "funder": account(FUNDER), "amount": 1000}
    other = purse.token()
    purse.fund(TASK, other, 5)
    purse.task(2, 0)
    purse.fund(2, purse.plain, 11)
    pots = [purse.read("pot", task, token)[0] for task in (TASK, 2) for token in (purse.plain, other)]
    assert pots == [1000, 5, 11, 0]


def test_nothing_is_set_aside_for_a_task_that_is_done_nor_nothing_nor_a_number_that_no_sum_holds(purse):
    with refused("amount out of bounds"):
        purse.call("fund", FUNDER, TASK, purse.plain, 0)
    with refused("amount out of bounds"):
        purse.fund(TASK, purse.plain, 2**160 - 1000)
    purse.task(TASK, 2, done=True)
    with refused("task is done"):
        purse.fund(TASK, purse.plain, 1)


def test_only_the_assembly_has_points_made_and_only_the_purse_makes_them(purse):
    with refused("only the assembly decides that"):
        purse.call("endow", 0, TASK, 5)
    purse.call("endow", ASSEMBLY, TASK, 5)
    assert purse.balance(purse.points, purse.address) == 5 == purse.chain.read(purse.points, "totalSupply")
    with refused("only the purse makes points"):
        purse.chain.call(account(ASSEMBLY), purse.points, "mint", 5)


def test_points_move_as_any_erc20(purse):
    purse.call("endow", ASSEMBLY, TASK, 100)
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, purse.points, 4, [1, 0, 0, 0]))
    purse.call("claim", 3, purse.points, 0)
    points, call = purse.points, purse.chain.call
    assert call(account(0), points, "transfer", account(8), 30) is True
    with refused(""):
        call(account(0), points, "transfer", account(8), 71)
    with refused("receiver is empty"):
        call(account(0), points, "transfer", "0x" + "00" * 20, 1)
    assert call(account(0), points, "approve", account(9), 20) is True
    with refused(""):
        call(account(9), points, "transferFrom", account(0), account(8), 21)
    assert call(account(9), points, "transferFrom", account(0), account(8), 15) is True
    assert [purse.balance(points, account(who)) for who in (0, 8, 9)] == [55, 45, 0]
    assert purse.chain.read(points, "allowance", account(0), account(9)) == 5


# ---- taking back


def test_what_is_set_aside_is_taken_back_only_from_a_task_that_was_stopped_before_any_round(purse):
    for final, done in ((0, False), (1, False), (1, True), (4, True)):
        purse.task(TASK, final, done=done)
        with refused("it is the members'"):
            purse.call("reclaim", FUNDER, TASK, purse.plain)
    purse.task(TASK, 0, done=True)
    with refused("nothing of yours"):
        purse.call("reclaim", 0, TASK, purse.plain)
    purse.call("reclaim", FUNDER, TASK, purse.plain)
    with refused("nothing of yours"):
        purse.call("reclaim", FUNDER, TASK, purse.plain)
    assert (purse.balance(purse.plain, account(FUNDER)), purse.read("pot", TASK, purse.plain)[0]) == (1000, 0)


def test_no_quorum_splits_what_its_funders_may_take_back(purse):
    """Paid twice, it would come out of another task's pot."""
    purse.task(2, 0)
    purse.fund(2, purse.plain, 1000, 8)
    purse.task(TASK, 0, done=True)
    with refused("not a season to settle"):
        purse.call("settle", 0, *purse.split(TASK, purse.plain, 0, [1, 1, 1, 1]))
    purse.call("reclaim", FUNDER, TASK, purse.plain)
    assert purse.balance(purse.plain, purse.address) == 1000


# ---- splitting


def test_a_pot_is_split_by_weights_and_paid_to_main_accounts_once(purse):
    purse.tell("seat", 1, account(21), account(11))
    purse.task(TASK, 4)
    purse.call("settle", FUNDER, *purse.split(TASK, purse.plain, 4, [3, 2, 0, 2], [0, 2, 3]))
    settled = purse.event("Settled")
    assert (settled["first"], settled["last"], settled["amount"], settled["weights"]) == (1, 4, 1000, (3, 2, 0, 2))
    assert purse.owed(purse.plain) == parts(1000, [3, 2, 0, 2]) == [428, 286, 0, 286]
    purse.call("claim", FUNDER, purse.plain, 1)
    assert (purse.balance(purse.plain, account(11)), purse.balance(purse.plain, account(21))) == (286, 0)
    with refused("nothing is owed"):
        purse.call("claim", 1, purse.plain, 1)
    with refused("nothing is owed"):
        purse.call("claim", 2, purse.plain, 2)


def test_a_removed_member_keeps_what_it_has_earned(purse):
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1, 1, 1, 1]))
    purse.tell("remove", 2)
    purse.call("claim", 0, purse.plain, 2)
    assert purse.balance(purse.plain, account(2)) == 250


def test_as_much_is_due_as_rounds_are_final_and_all_of_it_when_the_task_is_done(purse):
    def settle(last: int) -> int:
        purse.call("settle", 0, *purse.split(TASK, purse.plain, last, [1, 0, 0, 0]))
        return int(purse.event("Settled")["amount"])

    purse.task(TASK, 1, 3)
    assert settle(1) == 333
    with refused("not a season to settle"):
        settle(1)
    with refused("not a season to settle"):
        settle(2)
    purse.fund(TASK, purse.plain, 500)
    purse.task(TASK, 2, 3)
    assert settle(2) == 1000 - 333
    purse.task(TASK, 2, 3, done=True)
    assert settle(2) == 500, "it was stopped after its last settlement: the rest"
    with refused("nothing is due"):
        settle(2)
    assert purse.owed(purse.plain) == [1500, 0, 0, 0]


def test_an_earlier_season_of_a_task_that_is_done_is_paid_for_its_rounds_only(purse):
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, purse.plain, 1, [1]))
    assert purse.event("Settled")["amount"] == 250


def test_one_word_serves_every_token_that_was_paid_as_far(purse):
    other = purse.token()
    purse.fund(TASK, other, 70)
    purse.task(TASK, 4)
    task, _, *rest = purse.split(TASK, purse.plain, 4, [1, 1])
    for token in (purse.plain, other):
        purse.call("settle", 0, task, token, *rest)
    assert (purse.owed(purse.plain)[:2], purse.owed(other)[:2]) == ([500, 500], [35, 35])


@pytest.mark.parametrize("said", [{"task": 2}, {"first": 2}, {"last": 3}, {"weights": [1, 1, 1, 2]}])
def test_a_word_on_anything_else_does_not_count(purse, said):
    purse.task(TASK, 4)
    with refused("signature is not the signer's"):
        purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1, 1, 1, 1], said=said))


def test_a_split_takes_a_quorum_of_good_signatures_of_members(purse):
    purse.task(TASK, 4)
    with refused("no quorum"):
        purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1], [1, 3]))
    with refused("signer is not a member"):
        purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1], [0, 1, 4]))
    *front, signers, signatures = purse.split(TASK, purse.plain, 4, [1], [0, 1, 2])
    for reason, spoilt in (
        ("signatures do not match signers", signatures[:-1]),
        ("signatures do not match signers", signatures + b"\0"),
        ("signature is malleable", signatures[:130] + other_half(signatures[130:])),
        ("signature is malleable", signatures[:194] + b"\x1d"),
        ("signature is not the signer's", signatures[65:130] + signatures[:65] + signatures[130:]),
        ("signature is not the signer's", ORDER.to_bytes(32, "big") + signatures[32:]),
    ):
        with refused(reason):
            purse.call("settle", 0, *front, signers, spoilt)
    purse.tell("remove", 2)
    with refused("signer is not a member"):
        purse.call("settle", 0, *front, signers, signatures)


def test_a_split_pays_somebody_and_its_weights_are_bounded(purse):
    purse.task(TASK, 4)
    for weights in ([], [0, 0]):
        with refused("nobody would be paid"):
            purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, weights))
    with refused("weight out of bounds"):
        purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1, 2**64]))
    purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [2**64 - 1, 0, 0, 1]))
    assert sum(purse.owed(purse.plain)) == 1000


@settings(max_examples=60, deadline=None)
@given(
    amount=st.integers(1, 2**160 - 1),
    weights=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), min_size=1, max_size=40).filter(any),
)
def test_the_parts_add_up_to_the_whole_whatever_the_weights(amount, weights):
    purse = Purse(1)
    purse.task(TASK, 0, 1)
    token = purse.token()
    purse.fund(TASK, token, amount)
    purse.task(TASK, 1, 1)
    purse.call("settle", 0, *purse.split(TASK, token, 1, weights))
    owed = purse.owed(token, len(weights))
    assert owed == parts(amount, weights)
    assert sum(owed) == amount
    assert all(
        abs(part * sum(weights) - amount * weight) < sum(weights) for part, weight in zip(owed, weights, strict=True)
    )
    assert Settled(TASK, token, 1, 1, amount, tuple(weights), 1, 1).parts == tuple(owed), "the client says the same"


# ---- tokens of every kind


def test_a_token_that_keeps_a_part_of_what_it_moves_counts_for_what_came(purse):
    greedy = purse.token()
    purse.become(greedy, fee=10)
    purse.fund(TASK, greedy, 1000)
    assert purse.event("Funded")["amount"] == 900
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, greedy, 4, [1]))
    purse.call("claim", 0, greedy, 0)
    assert (purse.balance(greedy, account(0)), purse.balance(greedy, purse.address)) == (810, 0)


def test_a_token_that_returns_nothing_is_as_good_as_any(purse):
    silent = purse.token(SILENT)
    purse.fund(TASK, silent, 10)
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, silent, 4, [0, 1]))
    purse.call("claim", 0, silent, 1)
    assert purse.balance(silent, account(1)) == 10


def test_a_token_that_refuses_or_says_false_sets_nothing_aside_and_loses_nobody_its_claim(purse):
    stubborn = purse.token()
    purse.fund(TASK, stubborn, 10)
    for ways in ({"refuses": True}, {"lies": True}):
        purse.become(stubborn, **ways)
        with refused("this token moves for nobody" if "refuses" in ways else ""):
            purse.fund(TASK, stubborn, 1)
    purse.task(TASK, 4)
    purse.call("settle", 0, *purse.split(TASK, stubborn, 4, [1]))
    purse.call("settle", 0, *purse.split(TASK, purse.plain, 4, [1]))
    for ways in ({"refuses": True}, {"lies": True}):
        purse.become(stubborn, **ways)
        with refused("this token moves for nobody" if "refuses" in ways else ""):
            purse.call("claim", 0, stubborn, 0)
    purse.call("claim", 0, purse.plain, 0)
    purse.become(stubborn)
    purse.call("claim", 0, stubborn, 0)
    assert (purse.balance(purse.plain, account(0)), purse.balance(stubborn, account(0))) == (1000, 10)


def test_what_is_no_token_cannot_be_set_aside(purse):
    for nothing in (account(9), purse.work):
        with refused(""):
            purse.call("fund", FUNDER, TASK, nothing, 1)


def test_a_token_that_calls_back_gets_nowhere(purse):
    """While it moves it has the purse called again: to be paid, or counted, a second time."""
    sly = purse.token()
    purse.fund(TASK, sly, 100)
    purse.task(2, 0)
    purse.fund(2, sly, 100)
    purse.chain.call(account(0), sly, "give", sly, 50)
    purse.chain.call(account(0), sly, "allow", purse.address, 50)
    purse.become(sly, calls=(purse.address, purse.calldata("fund", 2, sly, 50)))
    purse.fund(TASK, sly, 10)
    assert purse.chain.read(sly, "entered") is False
    assert [purse.read("pot", task, sly)[0] for task in (TASK, 2)] == [110, 100], "what came within was counted twice"
    purse.task(TASK, 4)
    purse.task(2, 0, done=True)
    purse.call("settle", 0, *purse.split(TASK, sly, 4, [1, 1]))
    for name, arguments in (
        ("claim", (sly, 1)),
        ("claim", (sly, 0)),
        ("settle", purse.split(TASK, purse.plain, 4, [1])),
    ):
        purse.become(sly, calls=(purse.address, purse.calldata(name, *arguments)))
        for paying in (lambda: purse.call("claim", 0, sly, 0), lambda: purse.call("reclaim", FUNDER, 2, sly)):
            with purse.chain.undone():
                paying()
                assert purse.chain.read(sly, "entered") is False, name


# ---- scores


def seal(purse: Purse, member: int, scores: bytes, last: int = 4, sender: int | None = None) -> None:
    purse.call("seal", member if sender is None else sender, TASK, last, seal_of(member, SALT, scores))


def test_scores_are_sealed_until_the_window_ends_and_shown_from_then_on(purse):
    purse.task(TASK, 4)
    assert purse.read("sealing", TASK, 4) == 0
    seal(purse, 0, b"zero")
    until = purse.chain.time + SECONDS
    assert (purse.read("sealing", TASK, 4), purse.event("Sealed")["until"]) == (until, until)
    purse.chain.later(SECONDS - 1)
    seal(purse, 1, b"one")
    assert purse.event("Sealed")["until"] == until, "only the first opens the window"
    with refused("sealing is not over"):
        purse.call("unseal", 0, TASK, 4, SALT, b"zero")
    purse.chain.later(1)
    with refused("sealing is over"):
        seal(purse, 2, b"two")
    with refused("not what was sealed"):
        purse.call("unseal", 0, TASK, 4, SALT, b"other")
    with refused("not what was sealed"):
        purse.call("unseal", 0, TASK, 4, bytes(32), b"zero")
    purse.call("unseal", 0, TASK, 4, SALT, b"zero")
    assert purse.event("Unsealed") == {"task": TASK, "last": 4, "member": 0, "scores": b"zero"}
    with refused("not what was sealed"):
        purse.call("unseal", 0, TASK, 4, SALT, b"zero")
    with refused("sealing is over"):
        seal(purse, 0, b"again")


def test_a_copied_seal_opens_for_nobody_else(purse):
    purse.task(TASK, 4)
    seal(purse, 0, b"mine")
    seal(purse, 0, b"mine", sender=1)
    purse.chain.later(SECONDS)
    purse.call("unseal", 0, TASK, 4, SALT, b"mine")
    with refused("not what was sealed"):
        purse.call("unseal", 1, TASK, 4, SALT, b"mine")


def test_a_member_seals_once_by_either_of_its_accounts_and_a_stranger_never(purse):
    purse.task(TASK, 4)
    purse.tell("seat", 1, account(21), account(1))
    seal(purse, 1, b"x", sender=21)
    with refused("already sealed"):
        seal(purse, 1, b"y")
    with refused("not a member"):
        seal(purse, 9, b"x")
    with refused("hash is empty"):
        purse.call("seal", 2, TASK, 4, bytes(32))
    purse.tell("remove", 1)
    purse.chain.later(SECONDS)
    with refused("not a member"):
        purse.call("unseal", 21, TASK, 4, SALT, b"x")


def test_scores_are_sealed_at_the_end_of_a_season_or_of_the_task_and_at_no_other_round(purse):
    """Else one member could open the window for the round that a task will end with, and let it pass."""
    purse.task(TASK, SEASON + 3, 1000)
    for last, reason in (
        (0, "not a final round"),
        (2 * SEASON, "not a final round"),
        (SEASON + 3, "not the end of a season"),
        (SEASON - 1, "not the end of a season"),
    ):
        with refused(reason):
            seal(purse, 0, b"x", last)
    seal(purse, 0, b"x", SEASON)
    purse.task(TASK, SEASON + 3, 1000, done=True)
    with refused("not the end of a season"):
        seal(purse, 0, b"x", SEASON + 2)
    seal(purse, 0, b"x", SEASON + 3)


def test_scores_have_a_most_size_and_may_be_none(purse):
    purse.task(TASK, 4)
    for member, scores in enumerate((b"", b"\xff" * MOST_SCORES, b"\xff" * (MOST_SCORES + 1))):
        seal(purse, member, scores)
    purse.chain.later(SECONDS)
    purse.call("unseal", 0, TASK, 4, SALT, b"")
    purse.call("unseal", 1, TASK, 4, SALT, b"\xff" * MOST_SCORES)
    with refused(""):
        purse.call("unseal", 2, TASK, 4, SALT, b"\xff" * (MOST_SCORES + 1))


# ---- in a moot


def test_in_a_moot_a_vote_makes_points_and_its_quorum_pays_them():
    world = World(4)
    task = world.start()
    world.decide(Kind.ENDOW, task, 100)
    for _ in range(3):
        world.finish_round(task, (0, 1, 2))
    purse = Purse.__new__(Purse)
    purse.chain, purse.address, purse.members = world.chain, world.purse, 4
    purse.domain = type(world.domain)(world.domain.chain_id, world.purse)
    purse.call("settle", 3, *purse.split(task, world.points, 3, [2, 1, 1], [0, 1, 3]))
    purse.call("claim", 0, world.points, 0)
    assert purse.owed(world.points) == [0, 25, 25, 0]
    assert purse.balance(world.points, account(0)) == 50


def test_in_a_moot_points_of_a_task_that_is_stopped_before_any_round_are_nobodys():
    world = World(4)
    task = world.start()
    world.decide(Kind.ENDOW, task, 100)
    world.steer(task, Standing.STOPPED)
    for who in range(4):
        with refused("nothing of yours"):
            world.chain.call(account(who), world.purse, "reclaim", task, world.points)
