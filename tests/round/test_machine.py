"""The round machine by itself: rules that a schedule of faults would only slow down by, not break."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import pytest

from folkmoot.errors import ProtocolError
from folkmoot.round import events as ev
from folkmoot.round.commitment import commit_hash, contribution_root, seat_of
from folkmoot.round.events import Action, Key, Reveal, Statement
from folkmoot.round.machine import RoundMachine
from folkmoot.round.view import Phase, RoundView
from folkmoot.task import Policy

PARENT = b"\x0f" * 32
KEY = Key(1, 1, 0)
NOW = 1000.0
OUTCOME = Statement(PARENT, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, 0b1111)
A = TypeVar("A")


def reveal(member: int, shards: int = 1) -> Reveal:
    return Reveal(bytes([member + 1]) * 32, tuple(bytes([member, s]) * 16 for s in range(shards)))


def view(phase: Phase = Phase.COMMIT, committed: Iterable[int] = (), members: int = 4, shards: int = 1) -> RoundView:
    who = sorted(committed)
    commits = tuple(
        commit_hash(reveal(m).salt, seat_of(m), *KEY, contribution_root(reveal(m, shards).shards)) for m in who
    )
    bits = sum(1 << m for m in who)
    return RoundView(
        task=1,
        round=1,
        attempt=0,
        phase=phase,
        parent=PARENT,
        beacon=bytes(32),
        members=(1 << members) - 1,
        expected=(1 << members) - 1,
        dealt=0,
        committed=bits,
        commits=commits,
        survivors=bits if phase is Phase.FROZEN else 0,
        commit_deadline=1060,
        closed_at=1000 if len(who) == members else 0,
        final_deadline=1100 if phase is Phase.FROZEN else 0,
        min_members=2,
        exchange_seconds=30,
        opened=1,
        first_survivors=bits if phase is Phase.FROZEN else 0,
        shut=False,
    )


def only(kind: type[A], actions: list[Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def machine(at: RoundView, *, willing: bool = True, now: float = NOW, me: int = 0) -> RoundMachine:
    """A machine that has the parent state and its own contribution."""
    made = RoundMachine(me, seat_of, Policy())
    made.handle(ev.LedgerSeen(at, now, willing))
    made.handle(ev.Opened(KEY))
    return made


def holding_all(at: RoundView) -> RoundMachine:
    made = machine(at)
    for member in range(4):
        made.handle(ev.RevealReceived(KEY, member, reveal(member)))
        made.handle(ev.ShardHeld(KEY, member, 0))
    return made


def test_a_reveal_that_does_not_open_its_commit_is_refused_and_not_kept() -> None:
    at = machine(view(committed=range(4)))
    wrong = [
        replace(reveal(1), salt=bytes(32)),
        replace(reveal(1), shards=(bytes(32),)),
        replace(reveal(1), shards=reveal(1).shards * 2),
        reveal(2),
    ]
    for each in wrong:
        with pytest.raises(ProtocolError, match="another contribution than it committed"):
            at.handle(ev.RevealReceived(KEY, 1, each))
    assert at.reveal_of(1) is None
    at.handle(ev.RevealReceived(KEY, 1, reveal(1)))
    assert at.reveal_of(1) == reveal(1)


def test_a_reveal_without_a_commit_is_refused_once_commits_are_closed() -> None:
    open_still = machine(view(committed=range(3)))
    open_still.handle(ev.RevealReceived(KEY, 3, reveal(3)))
    assert open_still.reveal_of(3) is None
    closed = machine(replace(view(committed=range(3)), closed_at=1000))
    with pytest.raises(ProtocolError, match="did not commit"):
        closed.handle(ev.RevealReceived(KEY, 3, reveal(3)))


def test_a_claim_about_a_shard_that_is_not_ones_own_is_refused_whole() -> None:
    at = machine(view(Phase.FROZEN, committed=range(12), members=12, shards=12))
    plan = at.plan
    assert plan is not None
    stranger = next(m for m in range(12) if m not in plan.holders[4])
    own = plan.held_by(stranger)[:1]
    for shard in (4, -1, 12):
        with pytest.raises(ProtocolError, match="not its own"):
            at.handle(ev.SumsReceived(KEY, stranger, {**dict.fromkeys(own, bytes(32)), shard: bytes(32)}))


@pytest.mark.parametrize("key", [Key(1, 1, 1), Key(1, 2, 0), Key(2, 1, 0)])
def test_events_of_another_attempt_change_nothing(key: Key) -> None:
    at = machine(view(Phase.FROZEN, committed=range(4)))
    for member in range(4):
        assert at.handle(ev.ModelReceived(key, member, OUTCOME, b"s")) == []
        assert at.handle(ev.RevealReceived(key, member, reveal(member))) == []
        assert at.handle(ev.HoldingReceived(key, member, 15, b"s")) == []
    assert at.handle(ev.Computed(key, OUTCOME)) == []
    assert at.handle(ev.Trained(key, reveal(0))) == []
    assert at.reveal_of(1) is None
    assert not only(ev.PostFinal, at.handle(ev.Clock(NOW + 1)))


def test_nothing_less_than_a_quorum_is_posted() -> None:
    at = machine(view(Phase.FROZEN, committed=range(4)))
    for member in (1, 2):
        assert not only(ev.PostFinal, at.handle(ev.ModelReceived(KEY, member, OUTCOME, bytes([member]))))
    other = replace(OUTCOME, model=bytes(32))
    assert not only(ev.PostFinal, at.handle(ev.ModelReceived(KEY, 3, other, b"3")))
    assert not only(ev.PostFinal, at.handle(ev.ModelReceived(KEY, 77, OUTCOME, b"not in the snapshot")))
    # The survivor whose word is another has a moment to say this one, and then it is done without.
    actions = [*at.handle(ev.ModelReceived(KEY, 0, OUTCOME, b"0")), *at.handle(ev.Clock(NOW + 1))]
    (post,) = only(ev.PostFinal, actions)
    assert post.statement == OUTCOME
    assert post.signatures == {0: b"0", 1: b"\x01", 2: b"\x02"}


def test_the_fullest_quorum_of_holdings_is_posted() -> None:
    at = holding_all(view(committed=range(4)))
    words = {1: 0b1111, 2: 0b0000, 3: 0b0111}
    for member, contributors in words.items():
        at.handle(ev.HoldingReceived(KEY, member, contributors, bytes([member])))
    (post,) = only(ev.PostFreeze, at.handle(ev.HoldingReceived(KEY, 0, 0b1111, b"0"))) or only(
        ev.PostFreeze, at.handle(ev.Clock(NOW + 5))
    )
    assert post.holdings == {0: (0b1111, b"0"), 1: (0b1111, b"\x01"), 3: (0b0111, b"\x03")}


def test_an_older_word_on_holdings_does_not_undo_a_newer() -> None:
    at = holding_all(view(committed=range(4)))
    at.handle(ev.HoldingReceived(KEY, 1, 0b1111, b"new"))
    at.handle(ev.HoldingReceived(KEY, 1, 0b0001, b"old"))
    at.handle(ev.HoldingReceived(KEY, 2, 0b1111, b"2"))
    (post,) = only(ev.PostFreeze, at.handle(ev.HoldingReceived(KEY, 0, 0b1111, b"0")))
    assert post.holdings[1] == (0b1111, b"new")


def test_with_something_missing_a_holding_is_signed_at_the_deadline_and_not_before() -> None:
    at = machine(view(committed=range(4)))
    for member in (1, 2):
        at.handle(ev.RevealReceived(KEY, member, reveal(member)))
        at.handle(ev.ShardHeld(KEY, member, 0))
    for second in range(31):
        assert not only(ev.SendHolding, at.handle(ev.Clock(NOW + second)))
    words = only(ev.SendHolding, at.handle(ev.Clock(NOW + 31)))
    assert words
    assert {word.contributors for word in words} == {0b0110}


def test_a_holding_is_signed_at_once_when_nothing_is_missing() -> None:
    at = machine(view(committed=range(4)))
    actions: list[Action] = []
    for member in range(4):
        at.handle(ev.RevealReceived(KEY, member, reveal(member)))
        assert not only(ev.SendHolding, actions)
        actions = at.handle(ev.ShardHeld(KEY, member, 0))
    assert {word.contributors for word in only(ev.SendHolding, actions)} == {0b1111}


def test_who_comes_late_has_time_to_gather_before_it_speaks() -> None:
    late = machine(view(committed=range(4)), now=NOW + 500)
    assert not only(ev.SendHolding, late.handle(ev.Clock(NOW + 503)))
    assert only(ev.SendHolding, late.handle(ev.Clock(NOW + 505)))


def test_the_clock_alone_closes_commits_a_moment_after_the_deadline() -> None:
    at = machine(view(committed=(0, 1)))
    at.handle(ev.Clock(1060.1))
    assert not at.may_reveal()
    at.handle(ev.Clock(1061.0))
    assert at.may_reveal()
    seen = machine(view(committed=(0, 1)))
    seen.handle(ev.LedgerSeen(view(committed=(0, 1)), 1060.0, True))
    assert seen.may_reveal()


def test_below_the_minimum_commits_never_close() -> None:
    at = machine(view(committed=(0,)))
    actions = at.handle(ev.Clock(1e9))
    assert not at.may_reveal()
    assert [wait.reason for wait in only(ev.Wait, actions)] == ["paused: 1 of at least 2 members have contributed"]


def test_without_a_grant_nothing_is_trained_committed_or_shown() -> None:
    at = machine(view(committed=(1, 2)), willing=False)
    actions = [*at.handle(ev.Clock(NOW + 1)), *at.handle(ev.Trained(KEY, reveal(0)))]
    assert not only(ev.Train, actions)
    assert not only(ev.PostCommit, actions)
    revoked = machine(view(committed=range(3)))
    revoked.handle(ev.Trained(KEY, reveal(0)))
    assert not only(ev.Push, revoked.handle(ev.LedgerSeen(view(committed=range(4)), NOW + 1, False)))
    assert revoked.reveal_of(0) is None
    assert len(only(ev.Push, revoked.handle(ev.LedgerSeen(view(committed=range(4)), NOW + 2, True)))) == 3


def test_a_contribution_that_does_not_open_ones_own_commit_is_not_shown() -> None:
    at = machine(view(committed=range(4)))
    actions = at.handle(ev.Trained(KEY, replace(reveal(0), salt=bytes(32))))
    assert not only(ev.Push, actions)
    assert at.reveal_of(0) is None


def test_a_restarted_member_asks_for_what_it_committed() -> None:
    for phase in (Phase.COMMIT, Phase.FROZEN):
        made = RoundMachine(0, seat_of, Policy())
        made.handle(ev.LedgerSeen(view(phase, committed=range(4)), NOW, True))
        assert len(only(ev.Train, made.handle(ev.Opened(KEY)))) == 1
        assert len(only(ev.Push, made.handle(ev.Trained(KEY, reveal(0))))) == 3


def test_who_failed_to_train_still_helps_and_does_not_ask_to_be_waited_for() -> None:
    at = machine(view(committed=(1, 2)))
    at.handle(ev.Failed(KEY, "the task raised ValueError"))
    closed = replace(view(committed=(1, 2)), closed_at=1001)
    actions = at.handle(ev.LedgerSeen(closed, NOW + 1, True))
    for member in (1, 2):
        actions += at.handle(ev.RevealReceived(KEY, member, reveal(member)))
        actions += at.handle(ev.ShardHeld(KEY, member, 0))
    assert not only(ev.Attend, actions)
    assert {word.contributors for word in only(ev.SendHolding, actions)} == {0b0110}


def test_who_was_too_slow_asks_once_to_be_waited_for() -> None:
    at = machine(view(committed=(1, 2)))
    actions = at.handle(ev.LedgerSeen(replace(view(committed=(1, 2)), closed_at=1001), NOW + 1, True))
    assert len(only(ev.Attend, actions)) == 1
    assert not only(ev.Attend, at.handle(ev.Clock(NOW + 9)))


def test_who_is_not_in_the_snapshot_commits_and_signs_nothing() -> None:
    outside = machine(view(), me=4)
    outside.handle(ev.Trained(KEY, reveal(4)))
    actions = outside.handle(ev.Clock(NOW + 10))
    assert not only(ev.PostCommit, actions)
    assert not only(ev.PostRetry, actions)
    assert outside.reason == "joins with the next round"
    assert only(ev.PostRetry, outside.handle(ev.Clock(1061.0)))


def test_holders_who_differ_make_a_member_sum_for_itself() -> None:
    at = machine(view(Phase.FROZEN, committed=range(12), members=12, shards=12))
    plan = at.plan
    assert plan is not None
    shard = next(s for s in range(12) if 0 not in plan.holders[s])
    first, second, third = plan.holders[shard]
    at.handle(ev.SumsReceived(KEY, first, {shard: b"\x01" * 32}))
    assert not only(ev.PullSum, at.handle(ev.SumsReceived(KEY, second, {shard: b"\x01" * 32})))
    agreed = machine(view(Phase.FROZEN, committed=range(12), members=12, shards=12))
    for holder in (first, second):
        agreed.handle(ev.SumsReceived(KEY, holder, {shard: b"\x01" * 32}))
    (pull,) = only(ev.PullSum, agreed.handle(ev.SumsReceived(KEY, third, {shard: b"\x01" * 32})))
    assert (pull.shard, pull.sum, set(pull.sources)) == (shard, b"\x01" * 32, {first, second, third})
    actions = at.handle(ev.SumsReceived(KEY, third, {shard: b"\x02" * 32}))
    assert not only(ev.PullSum, actions)
    pulls = only(ev.Pull, actions) + only(ev.Pull, at.handle(ev.Clock(NOW + 1)))
    assert any(shard in pull.shards for pull in pulls)


def test_a_long_sleep_sends_to_each_member_once() -> None:
    at = holding_all(view(committed=range(4)))
    actions = at.handle(ev.Clock(NOW + 86_400))
    assert len(only(ev.SendHolding, actions)) <= 4


def test_whom_a_task_does_without_is_attested_to_by_nobody_whatever_it_shows() -> None:
    at = view(committed=range(4))
    made = RoundMachine(0, seat_of, Policy(), without=0b1000)
    made.handle(ev.LedgerSeen(at, NOW, True))
    made.handle(ev.Opened(KEY))
    actions = made.handle(ev.Trained(KEY, reveal(0)))
    for member in range(4):
        actions += made.handle(ev.RevealReceived(KEY, member, reveal(member)))
        actions += made.handle(ev.ShardHeld(KEY, member, 0))
    held = only(ev.SendHolding, actions + made.handle(ev.Clock(NOW + 100)))
    assert {each.contributors for each in held} == {0b0111}
    assert not any(pull.contributor == 3 for pull in only(ev.Pull, actions))


def test_no_model_is_made_that_counts_whom_a_task_does_without() -> None:
    at = view(Phase.FROZEN, committed=range(4))
    for without, sums in ((0, 1), (0b1000, 0)):
        made = RoundMachine(0, seat_of, Policy(), without=without)
        actions = made.handle(ev.LedgerSeen(at, NOW, True)) + made.handle(ev.Opened(KEY))
        for member in range(4):
            actions += made.handle(ev.RevealReceived(KEY, member, reveal(member)))
            actions += made.handle(ev.ShardHeld(KEY, member, 0))
        assert len(only(ev.Sum, actions)) == sums
        assert only(ev.PostRetry, made.handle(ev.Clock(NOW + 200)))


def in_round(number: int, committed: Iterable[int] = (), *, closed: bool = False) -> RoundView:
    """The commit phase of a round, with commits whose content nobody looks at here."""
    who = sorted(committed)
    at = replace(view(committed=()), round=number, committed=sum(1 << m for m in who), commits=(bytes(32),) * len(who))
    return replace(at, closed_at=1001 if closed else 0, min_members=1)


def attends(at: RoundMachine, number: int) -> bool:
    """Whether the member asks, in a round that the others have closed, to be waited for in the next."""
    at.handle(ev.LedgerSeen(in_round(number), NOW + number, True))
    closed = in_round(number, (1, 2), closed=True)
    return bool(only(ev.Attend, at.handle(ev.LedgerSeen(closed, NOW + number + 0.5, True))))


def test_who_could_not_open_a_round_asks_to_be_waited_for_only_when_it_has_opened_one() -> None:
    at = RoundMachine(0, seat_of, Policy())
    assert not attends(at, 1)
    at.handle(ev.Failed(Key(1, 1, 0), "the disk is full", "open"))
    assert not attends(at, 2)
    assert not attends(at, 3)
    at.handle(ev.Opened(Key(1, 3, 0)))
    assert attends(at, 4)


def test_a_round_opened_too_late_shows_that_the_next_can_be_opened() -> None:
    at = RoundMachine(0, seat_of, Policy())
    assert not attends(at, 1)
    at.handle(ev.LedgerSeen(in_round(2), NOW + 2, True))
    at.handle(ev.Opened(Key(1, 1, 0)))
    assert only(ev.Attend, at.handle(ev.LedgerSeen(in_round(2, (1, 2), closed=True), NOW + 3, True)))


def test_who_failed_to_train_is_not_waited_for_in_any_later_round_until_it_has_trained() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.LedgerSeen(in_round(1), NOW, True))
    at.handle(ev.Opened(Key(1, 1, 0)))
    at.handle(ev.Failed(Key(1, 1, 0), "the task raised ValueError"))
    for number in (2, 3, 4):
        at.handle(ev.Opened(Key(1, number, 0)))
        assert not attends(at, number)
    at.handle(ev.Trained(Key(1, 4, 0), reveal(0)))
    assert attends(at, 5)


def test_who_was_overtaken_while_it_trained_has_not_failed() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.Opened(Key(1, 1, 0)))
    at.handle(ev.Failed(Key(1, 1, 0), "the task raised ValueError"))
    at.handle(ev.Overtaken(Key(1, 2, 0)))
    assert attends(at, 3)


def test_who_takes_longer_than_there_is_time_asks_ever_more_seldom() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.Opened(Key(1, 1, 0)))
    asked = []
    for number in range(1, 30):
        if attends(at, number):
            asked.append(number)
            at.handle(ev.Failed(Key(1, number + 1, 0), "it took over 60.0 s", lasting=False))
    assert asked == [1, 2, 4, 8, 16]


def test_one_training_that_takes_too_long_costs_one_round() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.LedgerSeen(in_round(1), NOW, True))
    at.handle(ev.Opened(Key(1, 1, 0)))
    for _ in range(3):  # tried again while commits stay open, that counts once
        at.handle(ev.Failed(Key(1, 1, 0), "it took over 60.0 s", lasting=False))
    assert attends(at, 1)


def test_rounds_taken_part_in_make_up_for_those_that_took_too_long() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.Opened(Key(1, 1, 0)))
    for number in (1, 2, 3):
        at.handle(ev.Failed(Key(1, number, 0), "it took over 60.0 s", lasting=False))
    assert not attends(at, 5)
    for number in (6, 7):
        at.handle(ev.Trained(Key(1, number, 0), reveal(0)))
    at.handle(ev.Failed(Key(1, 8, 0), "it took over 60.0 s", lasting=False))
    assert attends(at, 8)


def test_who_takes_too_long_again_and_again_is_not_pardoned_for_one_round_that_it_made() -> None:
    at = RoundMachine(0, seat_of, Policy())
    at.handle(ev.Opened(Key(1, 1, 0)))
    for number in range(1, 7):
        at.handle(ev.Failed(Key(1, number, 0), "it took over 60.0 s", lasting=False))
    at.handle(ev.Trained(Key(1, 7, 0), reveal(0)))
    at.handle(ev.Failed(Key(1, 8, 0), "it took over 60.0 s", lasting=False))
    assert [number for number in range(8, 17) if attends(at, number)] == [15, 16]


def test_who_failed_to_train_in_a_sealed_task_comes_back_for_only_who_is_waited_for_can_train_there() -> None:
    at = RoundMachine(0, seat_of, Policy(secrecy="sums", min_members=3))
    at.handle(ev.Opened(Key(1, 1, 0)))
    for number in (1, 2, 3):
        at.handle(ev.Failed(Key(1, number, 0), "the task raised ValueError"))
    seen = {number: at.handle(ev.LedgerSeen(in_round(number), NOW + number, True)) for number in range(4, 8)}
    assert [number for number, actions in seen.items() if only(ev.Attend, actions)] == [6, 7]


def test_a_wait_names_the_members_that_are_waited_for() -> None:
    at = machine(view(committed=(1,)))
    waits = only(ev.Wait, at.handle(ev.LedgerSeen(view(committed=(0, 1)), NOW + 1, True)))
    assert [(wait.kind, wait.members) for wait in waits] == [("commits", 0b1100)]
    waits = only(ev.Wait, at.handle(ev.LedgerSeen(view(committed=(0, 1, 3)), NOW + 2, True)))
    assert [(wait.kind, wait.members) for wait in waits] == [("commits", 0b0100)]
    waits = only(ev.Wait, at.handle(ev.LedgerSeen(view(committed=range(4)), NOW + 3, True)))
    assert [(wait.kind, wait.members) for wait in waits] == [("contributions", 0b1111)]
