"""A peer in virtual time: drives the real machine as the daemon does, with a disk that outlives it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from random import Random

from fault_ledger import Ledger, Refused
from fault_task import opened, pieces, plain, summed, updated
from fault_words import (
    Blob,
    Diary,
    Disk,
    Pull,
    Push,
    Seeds,
    SeedsKnown,
    SeedsWanted,
    Shown,
    check,
    exchange_secret,
    model_digest,
    share,
    shared,
    sign,
)
from fault_world import Clock, Network, Reply, Then

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import FolkmootError, IntegrityError, ProtocolError
from folkmoot.ledger import statements
from folkmoot.round import events as ev
from folkmoot.round import fixed
from folkmoot.round.commitment import encode_hashes, encode_inputs, seat_of
from folkmoot.round.events import Action, Event, Key, Reveal, Statement
from folkmoot.round.fixed import Layout
from folkmoot.round.machine import RoundMachine
from folkmoot.round.masking import Masking, Place
from folkmoot.round.plan import Plan
from folkmoot.round.reduce import Made
from folkmoot.round.view import Phase
from folkmoot.task import Policy

TICK = 0.3
OUR_FAULT = ("signature", "no quorum", "signer", "holdings", "hash is empty", "not in the snapshot")
"""Reasons of the contract that no honest peer may ever earn; others only say that the ledger moved meanwhile."""


class Peer:
    """An honest member's process. ``crash`` loses all but the disk; ``start`` begins anew."""

    honest = True

    def __init__(
        self, index: int, clock: Clock, network: Network, ledger: Ledger, diary: Diary, chance: Random, policy: Policy
    ) -> None:
        self.index = index
        self.clock = clock
        self.network = network
        self.ledger = ledger
        self.diary = diary
        self.chance = chance
        self.policy = policy
        self.disk = Disk()
        self.machine: RoundMachine | None = None
        self.life = 0
        self.steps = 0
        self.crash_at: set[int] = set()
        """Steps before which it crashes."""
        self.paused_until = 0.0
        self.blind_until = 0.0
        """Until when its ledger cannot be reached."""
        self.failing = False
        """Whether its training raises."""
        self.reasons: list[str] = []
        network.hosts[index] = self

    # ---- life ------------------------------------------------------------------------------------------------

    @property
    def reachable(self) -> bool:
        return self.machine is not None

    def start(self) -> None:
        if self.machine is not None:
            return
        self.life += 1
        self.layout: tuple[Key, Hash, Layout] | None = None
        self.masking: Masking | None = None
        self.head = -1
        self.held: dict[tuple[Key, int], set[int]] = {}
        self.machine = RoundMachine(self.index, seat_of, self.policy)
        self.later(self.chance.uniform(0, 0.1), self._tick)

    def crash(self) -> None:
        self.life += 1
        self.machine = None

    def later(self, delay: float, what: Callable[[], None]) -> None:
        """Do it in this life, once awake."""
        life = self.life

        def step() -> None:
            if self.life != life:
                return
            if self.clock.now < self.paused_until:
                self.clock.at(self.paused_until, step)
                return
            self.steps += 1
            if self.steps in self.crash_at:
                self.crash()
                self.clock.at(self.clock.now + self.chance.uniform(0.1, 6.0), self.start)
                return
            what()

        self.clock.at(self.clock.now + delay, step)

    def soon(self, what: Callable[[], None], most: float = 0.03) -> None:
        self.later(self.chance.uniform(0, most), what)

    # ---- the ledger ------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.ledger.head != self.head:
            self.refresh()
        self.feed(ev.Clock(self.clock.now))
        self.later(TICK, self._tick)

    def refresh(self) -> None:
        """Read the ledger and tell the machine."""
        if self.clock.now < self.blind_until:
            return
        self.head = self.ledger.head
        willing = self.ledger.granted(self.index)
        self.feed(ev.LedgerSeen(self.ledger.view(), self.clock.now, willing))

    def post(self, call: Callable[[], object]) -> None:
        def attempt() -> None:
            if self.clock.now < self.blind_until:
                return
            try:
                call()
            except Refused as refusal:
                if self.honest and str(refusal).startswith(OUR_FAULT):
                    self.diary.complaints.append(f"the contract refused member {self.index}: {refusal}")
            self.refresh()

        self.soon(attempt, 0.1)

    # ---- events and actions ----------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        assert self.machine is not None
        before = self.machine.key
        actions = self.machine.handle(event)
        if self.machine.key != before:
            self.layout = None
            self.masking = self.masking_of(self.machine.key, self.machine.plan, self.machine.parent)
        if self.masking is not None and self.machine.survivors:
            self.masking.frozen_with(self.machine.first_survivors)
        for action in actions:
            self.soon(functools.partial(self.carry_out, action))

    def masking_of(self, key: Key | None, plan: Plan | None, parent: Hash) -> Masking | None:
        if key is None or plan is None or not plan.secret:
            return None
        place = Place(self.ledger.domain.chain_id, self.ledger.domain.contract, key, parent)
        secret = blob_hash(exchange_secret(self.index))
        return Masking(self.index, place, plan, secret, functools.partial(shared, self.index))

    def carry_out(self, action: Action) -> None:
        if isinstance(action, ev.Wait):
            self.reasons.append(action.reason)
            return
        getattr(self, f"do_{type(action).__name__.lower()}")(action)

    def do_open(self, action: ev.Open) -> None:
        def have() -> None:
            assert self.machine is not None
            if action.parent not in self.disk.blobs:
                return
            if self.machine.key == action.key:
                layout = opened(self.disk.blobs[action.parent], self.policy)[1]
                self.layout = (action.key, action.parent, layout)
            self.feed(ev.Opened(action.key))

        others = [m for m in range(self.ledger.members) if m != self.index]
        self.chance.shuffle(others)
        self.fetch(action.parent, others, have)

    def fetch(self, name: Hash, sources: list[int], then: Callable[[], None]) -> None:
        """Have a blob on disk, from the first of ``sources`` that gives it."""
        if name in self.disk.blobs:
            self.soon(then)
        elif sources:

            def got(reply: Reply) -> None:
                if isinstance(reply, bytes) and blob_hash(reply) == name:
                    self.disk.put(reply)
                self.fetch(name, sources[1:], then)

            self.ask(sources[0], Blob(name), got)

    def ask(self, to: int, message: object, then: Then) -> None:
        life = self.life

        def got(reply: Reply) -> None:
            if self.life == life:
                self.later(0, lambda: then(reply))

        self.network.ask(self.index, to, message, got)

    def tell(self, to: int, message: object) -> None:
        self.network.ask(self.index, to, message, lambda reply: None)

    def do_train(self, action: ev.Train) -> None:
        assert self.machine is not None
        if self.machine.key != action.key or self.machine.plan is None:
            return
        if not self.ledger.granted(self.index):
            self.feed(ev.Failed(action.key, "no live grant"))
            return
        if self.failing:
            self.feed(ev.Failed(action.key, "the task raised ValueError"))
            return
        plan = self.machine.plan
        own = self.disk.journal.get(action.key)
        if own is not None and all(name in self.disk.blobs for name in own[1].shards):
            self.feed(ev.Trained(action.key, own[1]))
            return
        for key, (parent, earlier) in sorted(self.disk.journal.items(), reverse=True):
            if plan.secret:
                break
            if key[:2] == action.key[:2] and parent == action.parent and len(earlier.shards) == plan.pieces:
                self.soon(functools.partial(self._journal, action, earlier.shards))
                return
        made = self.contribution(action, plan)
        self.later(self.chance.uniform(0.05, 3.0), lambda: self._store(action, made))

    def contribution(self, action: ev.Train, plan: Plan) -> list[bytes]:
        parent = self.disk.blobs[action.parent]
        made = self.made(parent, action.key)
        if self.honest:
            self.diary.plain[action.key, self.index] = made
        return pieces(parent, self.policy, made, plan, self.masking)

    def made(self, parent: bytes, key: Key) -> Made:
        return plain(parent, self.policy, self.index, key.round)

    def _store(self, action: ev.Train, made: list[bytes]) -> None:
        names = tuple(self.disk.put(shard) for shard in made)
        self.soon(lambda: self._journal(action, names))

    def _journal(self, action: ev.Train, names: tuple[Hash, ...]) -> None:
        reveal = Reveal(self.chance.randbytes(32), names)
        self.disk.journal.setdefault(action.key, (action.parent, reveal))
        self.soon(lambda: self.feed(ev.Trained(action.key, self.disk.journal[action.key][1])))

    def do_postcommit(self, action: ev.PostCommit) -> None:
        self.post(lambda: self.ledger.post(self.index, "commit", *action.key, action.hash))

    def do_attend(self, action: ev.Attend) -> None:
        self.post(lambda: self.ledger.post(self.index, "attend", action.key.task))

    def do_postfreeze(self, action: ev.PostFreeze) -> None:
        def freeze() -> None:
            if self.ledger.view().phase is Phase.COMMIT:  # else another was first
                self.ledger.freeze(self.index, action.key, dict(action.holdings))

        self.post(freeze)

    def do_postfinal(self, action: ev.PostFinal) -> None:
        s, signers = action.statement, sorted(action.signatures)
        signatures = b"".join(action.signatures[m] for m in signers)
        arguments = (s.inputs, s.aggregate, s.model, sum(1 << m for m in signers), signatures)

        def finalise() -> None:
            if self.ledger.view().survivors in (0, s.survivors):  # a masked attempt may go on with fewer meanwhile
                self.ledger.post(self.index, "finalise", *action.key, *arguments)

        self.post(finalise)

    def do_postretry(self, action: ev.PostRetry) -> None:
        self.post(lambda: self.ledger.post(self.index, "retry", *action.key))

    # ---- exchange --------------------------------------------------------------------------------------------

    def shown(self, key: Key) -> None:
        """Judge that what is about to be shown may be shown."""
        if self.honest and not self.ledger.commits_closed(key):
            self.diary.complaints.append(f"member {self.index} reveals {key} before its commits are closed")

    def do_push(self, action: ev.Push) -> None:
        self.shown(action.key)
        shards = {s: self.disk.blobs[action.reveal.shards[s]] for s in action.shards}
        self.tell(action.to, Push(action.key, action.reveal, shards))

    def do_pull(self, action: ev.Pull, tried: int = 0, wanted: tuple[int, ...] | None = None) -> None:
        wanted = action.shards if wanted is None else wanted
        if tried == len(action.sources):
            return

        def got(reply: Reply) -> None:
            left = wanted
            source = action.sources[tried]
            if isinstance(reply, Shown) and self.take_shards(
                source, action.key, action.contributor, reply.reveal, reply.shards
            ):
                left = tuple(s for s in wanted if s not in reply.shards)
                if not left:
                    return
            self.do_pull(action, tried + 1, left)

        self.ask(action.sources[tried], Pull(action.key, action.contributor, wanted), got)

    def take_shards(self, sender: int, key: Key, contributor: int, reveal: Reveal, shards: Mapping[int, bytes]) -> bool:
        """Whether reveal and shards are what was committed; what is, is kept."""
        assert self.machine is not None
        if self.layout is None or self.layout[0] != key or self.machine.plan is None:
            return False
        layout, plan = self.layout[2], self.machine.plan
        try:
            self.feed(ev.RevealReceived(key, contributor, reveal))
            for shard, data in shards.items():
                self._check_piece(contributor, shard, data, layout, plan)
                if blob_hash(data) != reveal.shards[shard]:
                    raise IntegrityError("not what it committed")
                self.disk.put(data)
                self.soon(functools.partial(self._held, key, contributor, shard), 0.01)
        except FolkmootError as error:
            self.blame(sender, error, contributor)  # only its holder can see that a box is empty, not who passes it on
            return False
        return True

    def _check_piece(self, contributor: int, shard: int, data: bytes, layout: Layout, plan: Plan) -> None:
        assert self.machine is not None
        if shard >= plan.pieces:
            raise ProtocolError("there is no such piece")
        if self.masking is None:
            if shard == 0:
                fixed.check_side(data, layout, plan.shards)
            fixed.decode_shard(data, shard, layout, plan.shards)
        elif shard == plan.shards:
            self.masking.take_envelope(contributor, data, whole=not self.machine.survivors)
        elif len(data) != layout.shard_bytes(plan.shards, len(plan.group_of(contributor)))[shard]:
            raise IntegrityError("a masked shard of a wrong size")

    def _held(self, key: Key, contributor: int, shard: int) -> None:
        self.feed(ev.ShardHeld(key, contributor, shard))
        assert self.machine is not None
        held = self.held.setdefault((key, contributor), set())
        held.add(shard)
        if self.machine.key == key and self.machine.plan and held.issuperset(share(self.machine.plan, self.index)):
            self.diary.complete.setdefault((key, self.index, contributor), self.clock.now)

    def blame(self, sender: int, error: Exception, dealer: int | None = None) -> None:
        """Hold something against the sender; or, where it passes on what another dealt, against both."""
        blamed = {sender} if dealer is None else {sender, dealer}
        able = all(getattr(self.network.hosts[m], "honest", False) for m in blamed)
        if self.honest and able:
            self.diary.complaints.append(f"member {self.index} blames honest member {sender}: {error}")

    # ---- masks -----------------------------------------------------------------------------------------------

    def do_release(self, action: ev.Release) -> None:
        if self.masking is None or self.machine is None or self.machine.key != action.key:
            return
        if self.machine.survivors != action.survivors:
            return
        before = self.disk.released.get(action.key, action.survivors)
        self.disk.released[action.key] = action.survivors
        if action.survivors & ~before:
            self.diary.complaints.append(f"member {self.index} is asked to open its masks for two sets of survivors")
            return
        seeds = self.seeds_to_tell(action)
        self.feed(ev.SeedsHeld(action.key, self.index, self.masking.release(action.survivors)))
        for to in action.to:
            self.tell(to, Seeds(action.key, action.survivors, seeds))

    def seeds_to_tell(self, action: ev.Release) -> Mapping[int, bytes]:
        assert self.masking is not None
        return self.masking.release(action.survivors)

    def do_sendopening(self, action: ev.SendOpening) -> None:
        digest = statements.opening_digest(self.ledger.domain, *action.key, action.survivors, action.opened)
        signed = sign(self.index, digest)
        self.deliver(action.to, ev.OpeningReceived(action.key, self.index, action.survivors, action.opened, signed))

    def do_postopening(self, action: ev.PostOpening) -> None:
        def freeze() -> None:
            if self.ledger.view().survivors == action.survivors:  # else another was first, and this word is void
                self.ledger.freeze(self.index, action.key, dict(action.openings))

        self.post(freeze)

    def do_askseeds(self, action: ev.AskSeeds) -> None:
        for source in action.sources:
            wanted = SeedsWanted(action.key, action.survivors, action.dealers)
            self.ask(source, wanted, functools.partial(self._learn, source, action))

    def _learn(self, source: int, action: ev.AskSeeds, reply: Reply) -> None:
        if not isinstance(reply, SeedsKnown):
            return
        for dealer in action.dealers:
            if self.machine is None or self.machine.key != action.key or self.masking is None:
                return
            if self.machine.survivors != action.survivors:
                return  # an answer to what was asked before the attempt went on with fewer
            try:
                if dealer in reply.seeds:
                    seeds = self.masking.take_seeds(dealer, action.survivors, reply.seeds[dealer])
                else:
                    shares = reply.shares.get(dealer, {})
                    seeds = self.masking.take_shares(source, dealer, action.survivors, shares)
            except IntegrityError as error:
                self.blame(source, error, dealer)
                continue
            if seeds is not None:
                self.feed(ev.SeedsHeld(action.key, dealer, seeds))

    def answer_seeds(self, sender: int, message: Seeds | SeedsWanted) -> Reply:
        if self.machine is None or self.masking is None:
            return None
        if not self.machine.survivors:
            self.refresh()
        if self.machine.key != message.key or self.machine.survivors != message.survivors:
            return None
        if isinstance(message, SeedsWanted):
            return self.known_seeds(message)
        try:
            seeds = self.masking.take_seeds(sender, message.survivors, message.seeds)
        except IntegrityError as error:
            self.blame(sender, error)
            return None
        if seeds is not None:
            self.feed(ev.SeedsHeld(message.key, sender, seeds))
        return True

    def known_seeds(self, wanted: SeedsWanted) -> SeedsKnown:
        assert self.machine is not None
        assert self.masking is not None
        known = {d: self.machine.seeds_of(d) for d in wanted.dealers if self.machine.seeds_of(d)}
        shares = {d: self.masking.shares(d, wanted.survivors) for d in wanted.dealers if d not in known}
        return SeedsKnown(known, shares)

    # ---- freeze, reduce, final -------------------------------------------------------------------------------

    def do_sendholding(self, action: ev.SendHolding) -> None:
        digest = statements.holding_digest(self.ledger.domain, *action.key, action.contributors)
        signature = sign(self.index, digest)
        self.deliver(action.to, ev.HoldingReceived(action.key, self.index, action.contributors, signature))

    def deliver(self, to: int, event: Event) -> None:
        if to == self.index:
            self.feed(event)
        else:
            self.tell(to, event)

    def do_sum(self, action: ev.Sum) -> None:
        assert self.machine is not None
        if self.layout is None or self.layout[0] != action.key or self.machine.plan is None:
            return
        parent, shards = self.disk.blobs[self.layout[1]], self.machine.plan.shards
        for shard, rows in action.shards.items():
            blobs = [[self.disk.blobs[name] for name in names] for names in rows]
            data = summed(parent, self.policy, shard, shards, action.rows, blobs)
            self.soon(functools.partial(self._summed, action.key, shard, data), 0.2)

    def _summed(self, key: Key, shard: int, data: bytes) -> None:
        self.feed(ev.SumHeld(key, shard, self.disk.put(data)))

    def do_announce(self, action: ev.Announce) -> None:
        self.tell(action.to, ev.SumsReceived(action.key, self.index, action.sums))

    def do_pullsum(self, action: ev.PullSum) -> None:
        def have() -> None:
            if action.sum in self.disk.blobs:
                self.feed(ev.SumHeld(action.key, action.shard, action.sum))

        self.fetch(action.sum, [m for m in action.sources if m != self.index], have)

    def do_update(self, action: ev.Update) -> None:
        parent = self.disk.blobs[action.parent]
        try:
            sums = [self.disk.blobs[name] for name in action.sums]
            data = updated(parent, self.policy, sums, action.rows, action.beacon, action.lost)
        except FolkmootError as error:
            self.feed(ev.Failed(action.key, str(error)))
            return
        inputs = self.disk.put(encode_inputs(action.inputs, action.seeds or None))
        aggregate = self.disk.put(encode_hashes(action.sums))
        survivors = sum(1 << m for m in action.inputs)

        def computed() -> None:
            statement = Statement(action.parent, inputs, aggregate, self.disk.put(data), survivors)
            self.feed(ev.Computed(action.key, statement))

        self.soon(computed, 0.5)

    def do_sendmodel(self, action: ev.SendModel) -> None:
        if self.honest:
            self.diary.statements.setdefault(action.key, {}).setdefault(self.index, set()).add(action.statement)
        self.say_model(action.to, action.key, action.statement)

    def say_model(self, to: int, key: Key, statement: Statement) -> None:
        signature = sign(self.index, model_digest(self.ledger, key, statement))
        self.deliver(to, ev.ModelReceived(key, self.index, statement, signature))

    # ---- what others send ------------------------------------------------------------------------------------

    def answer(self, sender: int, message: object, then: Then) -> None:
        self.later(0, lambda: self._answer(sender, message, then))

    def _answer(self, sender: int, message: object, then: Then) -> None:
        assert self.machine is not None
        if isinstance(message, Blob):
            then(self.disk.blobs.get(message.name))
            return
        if self.machine.key != message.key:  # type: ignore[attr-defined]
            self.refresh()
        if self.machine.key != message.key:  # type: ignore[attr-defined]
            then(None)
        elif isinstance(message, Push):
            self._take_push(sender, message, then, patience=6)
        elif isinstance(message, Pull):
            then(self.answer_pull(message))
        elif isinstance(message, Seeds | SeedsWanted):
            then(self.answer_seeds(sender, message))
        else:
            self._take_word(sender, message)
            then(True)

    def _take_push(self, sender: int, push: Push, then: Then, patience: int) -> None:
        assert self.machine is not None
        if not self.machine.may_reveal():
            self.refresh()
        if not self.machine.may_reveal() or not patience:
            then(None)
        elif self.layout is None:
            self.later(0.3, lambda: self._take_push(sender, push, then, patience - 1))
        else:
            self.take_shards(sender, push.key, sender, push.reveal, push.shards)
            then(True)

    def answer_pull(self, pull: Pull) -> Reply:
        assert self.machine is not None
        reveal = self.machine.reveal_of(pull.contributor) if self.machine.may_reveal() else None
        if reveal is None or any(s >= len(reveal.shards) for s in pull.wanted):
            return None
        self.shown(pull.key)
        names = {s: reveal.shards[s] for s in pull.wanted}
        return Shown(reveal, {s: self.disk.blobs[n] for s, n in names.items() if n in self.disk.blobs})

    def _take_word(self, sender: int, event: object) -> None:
        """A statement: its sender and signature are checked before the machine hears of it."""
        try:
            if isinstance(event, ev.HoldingReceived):
                digest = statements.holding_digest(self.ledger.domain, *event.key, event.contributors)
                check(event.member, sender, digest, event.signature)
            elif isinstance(event, ev.OpeningReceived):
                told = (*event.key, event.survivors, event.opened)
                digest = statements.opening_digest(self.ledger.domain, *told)
                check(event.member, sender, digest, event.signature)
            elif isinstance(event, ev.ModelReceived):
                check(event.member, sender, model_digest(self.ledger, event.key, event.statement), event.signature)
            elif not isinstance(event, ev.SumsReceived) or event.member != sender:
                raise ProtocolError("that is no word of the sender's")
            self.feed(event)
        except (FolkmootError, OverflowError, ValueError) as error:
            self.blame(sender, error)
