"""The last step of a bounty: every peer makes the same split of it, a quorum signs, one of them posts it.

Nobody has a say in the split: it follows from the ledger. A peer signs the one that it made itself and no other, in
whatever order members come by: one that was away makes the same from the same ledger, and signs then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from folkmoot.errors import FolkmootError, IntegrityError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger import statements
from folkmoot.ledger.interface import word
from folkmoot.ledger.records import Final, TaskRecord, called, quorum
from folkmoot.network import Message
from folkmoot.peer.bounty import Bounty
from folkmoot.peer.compute import Compute
from folkmoot.peer.context import PeerContext
from folkmoot.peer.messages import Concurrence, Split, Unavailable
from folkmoot.peer.season import scores_of, weights
from folkmoot.task.policy import Policy

__all__ = ["Paying"]

TURN = 4
"""Each member in turn has so many of the peers' ``Timing.stagger`` to gather signatures and post."""
PAUSE = 2
"""So many of them pass before it asks again."""


class Paying:
    """One task's settlements, on one peer."""

    def __init__(self, record: TaskRecord, peer: PeerContext, compute: Compute, bounty: Bounty) -> None:
        self._record = record
        self._peer = peer
        self._compute = compute
        self._bounty = bounty
        self._made: dict[tuple[int, int], tuple[object, tuple[int, ...]]] = {}
        """For first and last round what a split was made of, and the split."""
        self._heard: dict[tuple[int, int], dict[int, bytes]] = {}
        """What was shown in time, by the season's last round and the chain's epoch."""
        self._rested = 0.0

    async def settle(self, first: int, last: int, tokens: Sequence[str]) -> None:
        """Have these pots split for rounds ``first`` to ``last``, if the scores are told and it is this peer's turn."""
        split = await self._split(first, last)
        living = sorted(self._peer.living)
        turn = int(self._peer.now() / (TURN * self._peer.timing.stagger)) % max(len(living), 1)
        if self._peer.index != living[turn] or time.monotonic() < self._rested:
            return
        if split is None and await self._mark(last):
            split = await self._split(first, last)
        if split is None:
            return
        self._rested = time.monotonic() + PAUSE * self._peer.timing.stagger
        signatures = await self._gather(first, last, split, living)
        need = quorum(len(living))
        if len(signatures) < need:
            told = f"{len(signatures)} of at least {need} members sign the split of the bounty"
            self._peer.log("waits", task=self._record.id, reason=told)
            return
        signatures = dict(sorted(signatures.items())[:need])
        for token in tokens:
            try:
                await self._peer.post(self._bounty.purse.settle, self._record.id, token, last, split, signatures)
            except LedgerRefused as refusal:
                self._peer.log("refused", task=self._record.id, call="settle", reason=str(refusal))  # another was first
            else:
                self._peer.log("settled", task=self._record.id, token=token, first=first, last=last)

    async def compare(self) -> None:
        """Complain where a pot was split otherwise than this peer made it."""
        settled = {pot.last for pot in self._bounty.pots}
        for first, last in [span for span in self._made if span[1] in settled and span not in self._bounty.due()]:
            _, split = self._made.pop((first, last))
            block = self._bounty.finals[last].block
            for paid in await self._peer.ledger(self._bounty.purse.settlements, self._record.id, block):
                if (paid.first, paid.last) == (first, last) and paid.weights != split:
                    told = (
                        f"the bounty of task {paid.task}, rounds {first} to {last}, was split otherwise than it is due"
                    )
                    self._peer.complain(told, kind="member", task=paid.task)

    async def sign(self, message: Split) -> Message:
        """The signature under a split that is due and is what this peer makes of the ledger itself."""
        await self._bounty.look()
        if (message.first, message.last) not in self._bounty.due():
            return Unavailable("no such split is due here")
        split = await self._split(message.first, message.last)
        if split is None:
            return Unavailable("the scores are not all told here")
        if _name(split) != message.weights:
            return Unavailable("another split follows from the ledger here")
        return Concurrence(signature=self._sign(message.first, message.last, split))

    # ---- the split ---------------------------------------------------------------------------------------------

    async def _split(self, first: int, last: int) -> tuple[int, ...] | None:
        """One weight for each member; ``None`` while it does not follow from the ledger yet."""
        told = await self._told(last)
        if told is None:
            return None
        finals = dict(self._bounty.finals)
        stands_on = finals[last].model, told
        if self._made.get((first, last), (None, ()))[0] != stands_on:
            policy = self._compute.policy
            assert policy is not None
            scores, split = await asyncio.to_thread(_computed, policy, finals, told, first, last)
            self._made[first, last] = stands_on, split
            if self._compute.unscored is None:
                self._peer.journal.rate(self._record.id, last, scores)
        return self._made[first, last][1]

    async def _told(self, last: int) -> dict[int, bytes] | None:
        """What each member showed as its scores of the season in time: in a block before two windows had passed since
        the first seal. ``None`` until a block says that they have: the clock may be ahead of a block that still comes.
        Nothing where no scores tell anybody apart."""
        if self._compute.unscored is not None:
            return {}
        purse, read, task = self._bounty.purse, self._peer.ledger, self._record.id
        end = await self._end(last)
        if not end or await read(purse.newest_time) < end:
            return None
        place = (last, self._bounty.epoch)
        if place not in self._heard:
            self._heard[place] = await read(purse.unsealed, task, last, self._bounty.finals[last].block, end)
        return self._heard[place]

    async def _end(self, last: int) -> int:
        """Ledger seconds at which the season's scores have been shown; 0 while nobody has sealed any."""
        until = await self._peer.ledger(self._bounty.purse.sealing, self._record.id, last)
        return until + self._record.exchange_seconds if until else 0

    async def _mark(self, last: int) -> bool:
        """Make the block that ends the showing of scores, where it is over by the clock and no block says so; whether
        one was made. Elsewhere than on an embedded chain blocks come of themselves."""
        if self._compute.unscored is not None or not self._peer.moot.embedded:
            return False
        end = await self._end(last)
        if not end or self._peer.now() < end or await self._peer.ledger(self._bounty.purse.newest_time) >= end:
            return False
        self._rested = time.monotonic() + PAUSE * self._peer.timing.stagger
        await self._peer.post(self._bounty.purse.mark)
        return True

    # ---- signatures --------------------------------------------------------------------------------------------

    async def _gather(self, first: int, last: int, split: tuple[int, ...], living: Sequence[int]) -> dict[int, bytes]:
        message = Split(task=self._record.id, first=first, last=last, weights=_name(split))
        others = [member for member in living if member != self._peer.index]
        found = await asyncio.gather(*(self._ask(to, message, split) for to in others))
        mine = {self._peer.index: self._sign(first, last, split)}
        return mine | {to: signature for to, signature in zip(others, found, strict=True) if signature is not None}

    async def _ask(self, to: int, message: Split, split: Sequence[int]) -> bytes | None:
        try:
            reply, _ = await self._peer.ask(to, message)
            if isinstance(reply, Concurrence):
                digest = self._digest(message.first, message.last, split)
                if statements.recover(digest, reply.signature) != self._peer.members[to].address:
                    raise IntegrityError(f"the signature is not {called(to)}'s")
                return reply.signature
            reason = reply.reason if isinstance(reply, Unavailable) else "that is no answer"
            self._peer.log("not agreed", task=self._record.id, with_member=to, error=reason)
        except FolkmootError as error:
            self._peer.log("not agreed", task=self._record.id, with_member=to, error=str(error))
        return None

    def _sign(self, first: int, last: int, split: Sequence[int]) -> bytes:
        return statements.sign(bytes(self._peer.identity.account.key), self._digest(first, last, split))

    def _digest(self, first: int, last: int, split: Sequence[int]) -> bytes:
        return statements.split_digest(self._bounty.purse.domain, self._record.id, first, last, split)


def _computed(
    policy: Policy, finals: Mapping[int, Final], told: Mapping[int, bytes], first: int, last: int
) -> tuple[dict[int, int], tuple[int, ...]]:
    scores = scores_of(policy, finals, told, last)
    return scores, weights(finals, scores, first, last)


def _name(split: Sequence[int]) -> bytes:
    """The hash of a split's weights, as it is signed."""
    return keccak(b"".join(map(word, split)))
