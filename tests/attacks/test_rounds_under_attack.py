"""What members can do against a masked round itself: show early, show something else, change a word on its way.

Each test says in its docstring which line it would miss; ``tests/mutations`` takes those lines out and sees it fail.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from fault_ledger import Refused
from faults import Fault, Moot, Schedule, judge_safety
from mask_table import LAYOUT, POLICY, Table
from unmask_peers import NOW, UnmaskingPeer, closed, frozen, still_open

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError, ProtocolError
from folkmoot.network.streams import BodyReader, Reply
from folkmoot.peer.evidence import Evidence, FalseReveal, encode
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.messages import Accusation, Ack, Agreed, Pull, Push, Shown, Unavailable
from folkmoot.peer.tribunal import Tribunal
from folkmoot.round import events as ev
from folkmoot.round.commitment import commit_hash, contribution_root, seat_of
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.machine import RoundMachine
from folkmoot.round.reduce import Made, mask_shards
from folkmoot.round.view import RoundView
from folkmoot.task import Policy

N = 5
LIAR, WITNESS = 1, 0


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[UnmaskingPeer]]:
    moot = LocalMoot.found(tmp_path_factory.mktemp("rounds"), [f"member {m}" for m in range(N)], name="rounds")
    made = [UnmaskingPeer(home) for home in moot.homes.values()]
    yield made
    for peer in made:
        peer.close()


rounds = itertools.count(1)


class Round:
    """A round that is new to all peers, with everyone's real contribution and its commit."""

    def __init__(self, peers: list[UnmaskingPeer]) -> None:
        self.peers = peers
        self.key = Key(1, next(rounds), 0)
        for peer in peers:
            peer.see(closed(self.key, N))
        self.pieces = {peer.index: self.contribution(peer) for peer in peers}
        self.reveals = {m: Reveal(bytes([m]) * 32, tuple(map(blob_hash, made))) for m, made in self.pieces.items()}
        self.commits = [self.commit(peer.index, self.reveals[peer.index]) for peer in peers]
        for peer in peers:
            peer.restart()

    def contribution(self, peer: UnmaskingPeer) -> list[bytes]:
        masking = peer.exchange.masking
        assert masking is not None
        made = Made(Table.words(peer.index), np.ones(LAYOUT.side, dtype=np.int64), 1.0)
        return [*mask_shards(made, LAYOUT, 1, N, masking.masks), masking.envelope()]

    def commit(self, member: int, reveal: Reveal) -> bytes:
        root = contribution_root(reveal.shards)
        return commit_hash(reveal.salt, seat_of(member), *self.key, root)

    def see(self, view: RoundView) -> UnmaskingPeer:
        """The witness, ready for contributions, when the ledger shows this."""
        witness = self.peers[WITNESS]
        witness.see(view)
        witness.exchange.open(self.key, LAYOUT)
        witness.feed(ev.Opened(self.key))
        return witness

    def push(self, member: int, reveal: Reveal, pieces: list[bytes]) -> object:
        """What the witness answers when the member shows it these pieces, under its signature."""
        task, round, attempt = self.key
        message = Push(
            task=task,
            round=round,
            attempt=attempt,
            salt=reveal.salt,
            shards=reveal.shards,
            signature=self.peers[member].context.sign_reveal(self.key, reveal),
            carried=tuple(range(len(pieces))),
        )
        body = b"".join(pieces)
        reader = BodyReader(None, len(body), body)  # type: ignore[arg-type]  # all of it has come
        return asyncio.run(self.peers[WITNESS].exchange.answer_push(member, message, reader))


@pytest.fixture
def round(peers: list[UnmaskingPeer]) -> Round:
    return Round(peers)


# ---- commit, then reveal -------------------------------------------------------------------------------------------


def test_while_commits_are_open_nothing_is_shown_and_nothing_may_be(round: Round) -> None:
    """defence: RoundMachine.may_reveal. Who saw the others' contributions could commit to an answer to them."""
    view = still_open(round.key, N, round.commits)
    witness = round.see(view)
    actions = witness.machine.handle(ev.Trained(round.key, round.reveals[WITNESS]))
    actions += witness.machine.handle(ev.LedgerSeen(view, NOW + 50, True))
    assert not any(isinstance(action, ev.Push) for action in actions)
    assert not witness.machine.may_reveal()
    actions = witness.machine.handle(ev.LedgerSeen(closed(round.key, N, round.commits), NOW + 50, True))
    assert {action.to for action in actions if isinstance(action, ev.Push)} == set(range(N)) - {WITNESS}
    assert witness.machine.may_reveal()


def test_what_was_shown_is_not_passed_on_when_the_chain_takes_the_last_commit_back(round: Round) -> None:
    """defence: Exchange.answer_pull asks RoundMachine.may_reveal."""
    witness = round.see(closed(round.key, N, round.commits))
    assert round.push(LIAR, round.reveals[LIAR], round.pieces[LIAR]) == Ack()
    task, number, attempt = round.key
    pull = Pull(task=task, round=number, attempt=attempt, contributor=LIAR, wanted=(0,))
    shown = witness.exchange.answer_pull(pull)
    assert isinstance(shown, Reply)
    assert isinstance(shown.message, Shown)
    assert shown.body == round.pieces[LIAR][0]
    witness.see(still_open(round.key, N, round.commits))
    assert isinstance(witness.exchange.answer_pull(pull), Unavailable)


def test_the_own_contribution_is_given_to_nobody_before_it_was_let_go(round: Round) -> None:
    """defence: Exchange.answer_pull asks Journal.released. A grant may end between the machine's word and the push."""
    witness = round.see(closed(round.key, N, round.commits))
    witness.feed(ev.Trained(round.key, round.reveals[WITNESS]))
    assert witness.machine.reveal_of(WITNESS) is not None
    task, number, attempt = round.key
    pull = Pull(task=task, round=number, attempt=attempt, contributor=WITNESS, wanted=())
    assert isinstance(witness.exchange.answer_pull(pull), Unavailable)
    witness.context.journal.release(round.key, 1)
    assert isinstance(witness.exchange.answer_pull(pull), Reply)


# ---- an equivocating committer ---------------------------------------------------------------------------------------


def test_who_shows_another_contribution_than_it_committed_is_refused_and_nothing_of_it_is_kept(round: Round) -> None:
    """defence: RoundMachine._take_reveal compares with the ledger's commit."""
    witness = round.see(closed(round.key, N, round.commits))
    other = round.pieces[2]
    told = Reveal(round.reveals[LIAR].salt, tuple(map(blob_hash, other)))
    with pytest.raises(ProtocolError, match="another contribution than it committed"):
        round.push(LIAR, told, other)
    assert witness.machine.reveal_of(LIAR) is None
    assert not any(map(witness.context.store.has, told.shards))


def test_of_two_contributions_for_one_commit_only_the_committed_is_kept(round: Round) -> None:
    """defence: Exchange._take_shards stores under the revealed hash."""
    witness = round.see(closed(round.key, N, round.commits))
    shard, envelope = round.pieces[LIAR]
    other = bytes([shard[0] ^ 1]) + shard[1:]
    with pytest.raises(IntegrityError, match="bytes are blob"):
        round.push(LIAR, round.reveals[LIAR], [other, envelope])
    assert not witness.context.store.has(blob_hash(other))
    assert round.push(LIAR, round.reveals[LIAR], [shard, envelope]) == Ack()
    with pytest.raises(ProtocolError, match="another contribution than it committed"):
        round.push(LIAR, Reveal(bytes(32), round.reveals[LIAR].shards), [shard, envelope])
    assert witness.machine.reveal_of(LIAR) == round.reveals[LIAR]


@pytest.fixture
def reads(round: Round, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the witness reads of the ledger, by the name of the call."""
    context, done = round.peers[WITNESS].context, list[str]()
    ledger = context.ledger

    async def counted(call: Callable[..., object], *arguments: object) -> object:
        done.append(call.__name__)
        return await ledger(call, *arguments)

    monkeypatch.setattr(context, "ledger", counted)
    return done


def tribunal(round: Round) -> Tribunal:
    witness = round.peers[WITNESS]
    return Tribunal(round.key.task, witness.context, witness.machine, witness.exchange)


def test_who_committed_nothing_and_shows_something_makes_nobody_read_the_ledger(
    round: Round, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """defence: Tribunal.commit knows the attempt under way from the round's own view. A false word costs nothing."""
    view = closed(round.key, N, round.commits)
    without = [commit for member, commit in enumerate(round.commits) if member != LIAR]
    witness = round.see(replace(view, committed=view.committed & ~(1 << LIAR), commits=tuple(without)))
    judge, shown = tribunal(round), list[Evidence]()
    monkeypatch.setattr(witness.exchange, "_accuse", shown.append)
    for _ in range(20):
        with pytest.raises(ProtocolError, match="did not commit"):
            round.push(LIAR, round.reveals[LIAR], round.pieces[LIAR])
    for evidence in shown:
        asyncio.run(judge.accuse(evidence))
    assert reads == []


def test_false_accusations_make_a_peer_read_the_ledger_once_in_an_attempt(round: Round, reads: list[str]) -> None:
    """defence: Tribunal._recall reads what was committed earlier once."""
    round.see(closed(round.key, N, round.commits))
    judge, (task, number, _) = tribunal(round), round.key
    for attempt in (0, 1, 2, 3):
        false = FalseReveal(
            member=LIAR,
            task=task,
            round=number,
            attempt=attempt,
            salt=bytes(32),
            shards=(bytes(32),),
            signature=bytes(65),
        )
        data = encode(false)
        with pytest.raises(IntegrityError):
            asyncio.run(judge.judge(2, Accusation(task=task, member=LIAR, evidence=blob_hash(data)), data))
    assert reads == ["commits_log"]


def test_members_that_a_liar_showed_different_things_each_get_a_signature_for_their_own_evidence(round: Round) -> None:
    """defence: Tribunal._judged is kept for each accuser. A quorum forms for one of them, and none signs any number."""
    round.see(closed(round.key, N, round.commits))
    judge, (task, number, attempt) = tribunal(round), round.key

    def accuse(accuser: int, shown: int) -> object:
        reveal = Reveal(bytes([shown]) * 32, round.reveals[LIAR].shards)
        signature = round.peers[LIAR].context.sign_reveal(round.key, reveal)
        evidence = FalseReveal(
            member=LIAR,
            task=task,
            round=number,
            attempt=attempt,
            salt=reveal.salt,
            shards=reveal.shards,
            signature=signature,
        )
        data = encode(evidence)
        return asyncio.run(judge.judge(accuser, Accusation(task=task, member=LIAR, evidence=blob_hash(data)), data))

    assert isinstance(accuse(2, 100), Agreed)
    assert isinstance(accuse(3, 101), Agreed)
    assert isinstance(accuse(3, 101), Agreed)
    assert isinstance(accuse(3, 102), Unavailable)


def test_a_copied_commit_cannot_be_opened_by_whoever_copied_it(round: Round) -> None:
    """defence: commit_hash's seat."""
    copied = [*round.commits]
    copied[LIAR] = round.commits[2]
    round.see(closed(round.key, N, copied))
    with pytest.raises(ProtocolError, match="another contribution than it committed"):
        round.push(LIAR, round.reveals[2], round.pieces[2])


# ---- a changed word --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [0, 1], ids=["in the words", "in the envelope"])
def test_a_contribution_with_one_bit_changed_on_its_way_is_not_held(round: Round, piece: int) -> None:
    """defence: Exchange._take_shards stores under the revealed hash. The changed box is another member's."""
    witness = round.see(closed(round.key, N, round.commits))
    pieces = [*round.pieces[LIAR]]
    pieces[piece] = pieces[piece][:-1] + bytes([pieces[piece][-1] ^ 1])
    with pytest.raises(IntegrityError):
        round.push(LIAR, round.reveals[LIAR], pieces)
    assert not witness.context.store.has(blob_hash(pieces[piece]))
    actions = witness.machine.handle(ev.Clock(NOW + 10_000))
    missing = {action.contributor for action in actions if isinstance(action, ev.Pull)}
    assert LIAR in missing, "it counts as held"


def machine(members: int) -> RoundMachine:
    """A machine that sees a frozen round of so many members."""
    made = RoundMachine(0, seat_of, POLICY)
    made.handle(ev.LedgerSeen(frozen(Key(1, 1, 0), members, (1 << members) - 1), NOW, True))
    made.handle(ev.Opened(Key(1, 1, 0)))
    return made


def test_a_sum_that_one_of_its_holders_changed_is_not_believed_but_made_anew() -> None:
    """defence: RoundMachine._gather_sums believes only what all holders of a shard say."""
    at = machine(12)
    key, plan = Key(1, 1, 0), at.plan
    assert plan is not None
    shard = next(s for s in range(plan.shards) if 0 not in plan.holders[s])
    told: list[ev.Action] = []
    for holder, digest in zip(plan.holders[shard], (b"\1" * 32, b"\1" * 32, b"\2" * 32), strict=True):
        told += at.handle(ev.SumsReceived(key, holder, {shard: digest}))
    told += at.handle(ev.Clock(NOW + 1))
    assert not any(isinstance(action, ev.PullSum) for action in told)
    assert any(shard in action.shards for action in told if isinstance(action, ev.Pull))


def test_a_model_that_liars_sign_is_not_posted_with_the_signatures_of_others() -> None:
    """defence: RoundMachine._post_final counts a quorum of the same statement."""
    at, key = machine(7), Key(1, 1, 0)
    true = Statement(bytes(range(32)), b"\1" * 32, b"\2" * 32, b"\3" * 32, 0b1111111)
    lie = replace(true, model=b"\4" * 32)
    posted: list[ev.Action] = []
    for member, statement in enumerate((lie, lie, true, true, true, true)):
        posted += at.handle(ev.ModelReceived(key, member, statement, bytes(65)))
    posted += at.handle(ev.Clock(NOW + 5))
    assert not any(isinstance(action, ev.PostFinal) for action in posted)
    at.handle(ev.ModelReceived(key, 6, true, bytes(65)))
    (final,) = (action for action in at.handle(ev.Clock(NOW + 10)) if isinstance(action, ev.PostFinal))
    assert (final.statement, set(final.signatures)) == (true, {2, 3, 4, 5, 6})


def test_whoever_posts_the_outcome_cannot_change_a_word_of_it() -> None:
    """defence: the contract checks every signature against what it is given (``_check_quorum`` in Moot.vy)."""
    policy = Policy(rounds=1, min_members=3, start_members=5, secrecy="sums")
    moot = Moot(Random(0), policy, 5)
    refused: list[str] = []

    def post_changed(action: ev.PostFinal) -> None:
        s, signers = action.statement, sorted(action.signatures)
        signatures = b"".join(action.signatures[m] for m in signers)
        for at in range(3):
            words = [s.inputs, s.aggregate, s.model]
            words[at] = words[at][:-1] + bytes([words[at][-1] ^ 1])
            try:
                moot.ledger.post(1, "finalise", *action.key, *words, sum(1 << m for m in signers), signatures)
            except Refused as refusal:
                refused.append(str(refusal))
        honest(action)

    honest = moot.peers[1].do_postfinal
    for peer in moot.peers:
        peer.do_postfinal = post_changed  # type: ignore[method-assign]
    assert moot.run(120) < 120
    judge_safety(moot)
    assert len(refused) >= 3
    assert all("sign" in reason for reason in refused[:3])


@pytest.mark.parametrize("lie", [Fault.WRONG_SUMS, Fault.WRONG_MODEL, Fault.TWO_CONTRIBUTIONS, Fault.LATE_CONTRIBUTION])
def test_liars_about_sums_and_contributions_cost_a_sharded_masked_moot_time_and_nothing_else(lie: Fault) -> None:
    """defence: _gather_sums, _post_final, _take_reveal; ``judge_safety`` replays each round and knows every sum."""
    Schedule("0", frozenset({lie}), sharded=True, masked=True).play()
