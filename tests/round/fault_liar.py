"""A member that lies. It runs the honest machine and carries its actions out crookedly, one way for each lie it tells.

Liars collude: they tell the same false sums and sign the same false models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace

from fault_ledger import Refused
from fault_peer import Peer
from fault_task import pieces, plain
from fault_words import Pull, Push, SeedsKnown, SeedsWanted, Shown, sign
from fault_world import Reply, Then

from folkmoot.digest import blob_hash
from folkmoot.ledger import statements
from folkmoot.round import events as ev
from folkmoot.round.events import Key, Reveal
from folkmoot.round.plan import Plan
from folkmoot.round.view import faults

ALL = (1 << 256) - 1
LIES = frozenset(
    {
        "garbage",
        "wrong reveal",
        "two contributions",
        "withheld",
        "claims all",
        "claims none",
        "two holdings",
        "wrong sums",
        "wrong model",
        "retry spam",
        "silence",
    }
)
MASK_LIES = frozenset({"wrong seeds", "wrong shares", "bad boxes", "late contribution", "no seeds"})
LIES = LIES | MASK_LIES
"""The last are about masks."""


class Liar(Peer):
    """Tells the ``lies`` it is given, now and then or always."""

    honest = False
    lies: frozenset[str] = frozenset()

    def start(self) -> None:
        super().start()
        if "retry spam" in self.lies:
            self.later(1.0, self._spam)
        if "garbage" in self.lies:
            self.later(1.0, self._babble)

    def _spam(self) -> None:
        with contextlib.suppress(Refused):
            self.ledger.post(self.index, "retry", *self.ledger.key())
        self.later(0.7, self._spam)

    def _babble(self) -> None:
        """Messages that fit no moment and no rule."""
        key, chance = self.ledger.key(), self.chance
        to = chance.randrange(self.ledger.members)
        junk = chance.randbytes(32)
        statement = ev.Statement(junk, junk, junk, junk, chance.getrandbits(256))
        someone = chance.randrange(self.ledger.members)
        self.tell(
            to,
            chance.choice(
                [
                    ev.HoldingReceived(key, someone, ALL, chance.randbytes(65)),
                    ev.HoldingReceived(key, self.index, -1, chance.randbytes(65)),
                    ev.HoldingReceived(key, self.index, 1 << 300, chance.randbytes(65)),
                    ev.ModelReceived(key, someone, statement, chance.randbytes(65)),
                    ev.SumsReceived(key, self.index, {chance.randrange(-3, 300): junk}),
                    ev.SumsReceived(key, someone, {0: junk}),
                    Pull(key, someone, (0, 1, 999)),
                    Pull(key, 999, (0,)),
                    Push(key, Reveal(junk, ()), {}),
                    Push(key, Reveal(junk, (junk,) * 300), {299: junk}),
                    Push(key._replace(attempt=key.attempt + 1), Reveal(junk, (junk,)), {0: junk}),
                ]
            ),
        )
        self.later(chance.uniform(0.1, 2.0), self._babble)

    # ---- exchange --------------------------------------------------------------------------------------------

    def do_push(self, action: ev.Push) -> None:
        favoured = (action.to + self.index + action.key.round) % 2 == 0
        if self.lies & {"silence", "late contribution"} or ("withheld" in self.lies and not favoured):
            return
        reveal = action.reveal
        shards = {s: self.disk.blobs[reveal.shards[s]] for s in action.shards}
        if "wrong reveal" in self.lies and not favoured:
            reveal = replace(reveal, salt=bytes(32))
        if "two contributions" in self.lies and not favoured:
            parent = self.disk.blobs[self.ledger.view().parent]
            assert self.machine is not None
            if self.machine.plan is None or self.machine.key != action.key:
                return
            made = plain(parent, self.policy, self.index, action.key.round, salt=1)
            other = pieces(parent, self.policy, made, self.machine.plan, self.masking)
            shards = {s: other[s] for s in action.shards}
            if self.chance.random() < 0.5:
                reveal = replace(reveal, shards=tuple(map(blob_hash, other)))
        if "garbage" in self.lies and self.chance.random() < 0.7:
            shards = {s: self.chance.randbytes(max(0, len(data) - s % 2)) for s, data in shards.items()}
        self.tell(action.to, Push(action.key, reveal, shards))

    def answer_pull(self, pull: Pull) -> Reply:
        if self.lies & {"withheld", "late contribution"}:
            return None
        reply = super().answer_pull(pull)
        if isinstance(reply, Shown) and self.lies & {"garbage", "wrong reveal", "two contributions"}:
            return Shown(reply.reveal, {s: self.chance.randbytes(len(data)) for s, data in reply.shards.items()})
        return reply

    def answer(self, sender: int, message: object, then: Then) -> None:
        if "silence" not in self.lies:
            super().answer(sender, message, then)

    # ---- masks -----------------------------------------------------------------------------------------------

    def contribution(self, action: ev.Train, plan: Plan) -> list[bytes]:
        made = super().contribution(action, plan)
        if "empty boxes" in self.lies and plan.secret:
            # as many as it can afford and still survive, the last ones
            near = plan.neighbours[self.index]
            few = min(faults(self.ledger.members), len(near))
            size = 16 * (len(near) + 2)
            made[-1] = made[-1][: len(made[-1]) - few * size] + bytes(few * size)
        if "bad boxes" in self.lies and plan.secret:
            envelope = bytearray(made[-1])
            for at in range(len(envelope) - 1, len(envelope) // 2, -40):
                envelope[at] ^= 1
            made[-1] = bytes(envelope)
        return made

    def seeds_to_tell(self, action: ev.Release) -> Mapping[int, bytes]:
        seeds = dict(super().seeds_to_tell(action))
        if "wrong seeds" in self.lies:
            return {target: self.chance.randbytes(16) for target in seeds}
        if "no seeds" in self.lies or "silence" in self.lies:
            return {}
        return seeds

    def known_seeds(self, wanted: SeedsWanted) -> SeedsKnown:
        known = super().known_seeds(wanted)
        if "no seeds" in self.lies:
            return SeedsKnown({}, {})
        if self.lies & {"wrong seeds", "wrong shares"}:
            junk = {
                d: {t: self.chance.randbytes(16) for t in told} for d, told in {**known.shares, **known.seeds}.items()
            }
            return SeedsKnown(junk, {}) if "wrong seeds" in self.lies else SeedsKnown({}, junk)
        return known

    def do_sum(self, action: ev.Sum) -> None:
        """Once the masks of the lost are open, send what one withheld: nobody may take it."""
        super().do_sum(action)
        if "late contribution" in self.lies:
            for to in range(self.ledger.members):
                self.show_late(to, action.key)

    def show_late(self, to: int, key: Key) -> None:
        own = self.disk.journal.get(key)
        if own is not None:
            shards = {s: self.disk.blobs[name] for s, name in enumerate(own[1].shards) if name in self.disk.blobs}
            self.tell(to, Push(key, own[1], shards))

    # ---- freeze, reduce, final -------------------------------------------------------------------------------

    def do_sendholding(self, action: ev.SendHolding) -> None:
        if "silence" in self.lies:
            return
        claims = {"claims all": ALL, "claims none": 0, "two holdings": self.chance.getrandbits(self.ledger.members)}
        lies = sorted(self.lies & claims.keys())
        if not lies:
            super().do_sendholding(action)
            return
        for to in range(self.ledger.members):
            self._say_holding(to, action.key, claims[self.chance.choice(lies)])

    def _say_holding(self, to: int, key: Key, contributors: int) -> None:
        signature = sign(self.index, statements.holding_digest(self.ledger.domain, *key, contributors))
        self.deliver(to, ev.HoldingReceived(key, self.index, contributors, signature))

    def do_announce(self, action: ev.Announce) -> None:
        if "silence" in self.lies:
            return
        sums = dict(action.sums)
        if "wrong sums" in self.lies:
            for shard, name in sums.items():
                wrong = bytearray(self.disk.blobs[name])
                if wrong:
                    wrong[0] ^= 1
                sums[shard] = self.disk.put(bytes(wrong))
        self.tell(action.to, ev.SumsReceived(action.key, self.index, sums))

    def do_sendmodel(self, action: ev.SendModel) -> None:
        if "silence" in self.lies:
            return
        if "wrong model" not in self.lies:
            super().do_sendmodel(action)
            return
        wrong = replace(action.statement, model=blob_hash(action.statement.model))
        for to in range(self.ledger.members):
            if self.chance.random() < 0.8:
                self.say_model(to, action.key, wrong)
            else:
                self.say_model(to, action.key, action.statement)
