"""A peer's part in a task's bounty: it scores rounds on its own held-out data, seals its scores when a season is over,
shows them when all are sealed, and has the pot split.

Scoring stands behind everything else. It waits until this peer's contribution to the round under way is committed,
takes a fifth of the time at most, and what it has not scored when a season ends stays unscored, which is no fault.
What it has scored, and what it is about to seal, is in the journal first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

from folkmoot.errors import FolkmootError, LedgerRefused, LocalError, TaskError
from folkmoot.ledger.purse import seal_of
from folkmoot.ledger.records import Final, TaskRecord
from folkmoot.network import Message
from folkmoot.peer.asks import Appraise
from folkmoot.peer.bounty import Bounty
from folkmoot.peer.compute import COMPUTE_SECONDS, Compute
from folkmoot.peer.context import PeerContext
from folkmoot.peer.custody import Kept
from folkmoot.peer.messages import Split
from folkmoot.peer.paying import Paying
from folkmoot.peer.season import beacon_of, begins, encode_told, groups_of, plan_of, thinned
from folkmoot.reward import decode_effects, encode_effects
from folkmoot.round.commitment import decode_hashes, decode_inputs, decode_masked_inputs
from folkmoot.round.events import Row
from folkmoot.round.groups import sign
from folkmoot.round.plan import Plan
from folkmoot.task.policy import Policy

__all__ = ["Rewarding"]

REST = 4.0
"""How much longer than a round's scoring took it is until another one's, while rounds are under way."""
AGAIN = 1.0
"""Seconds until a round is looked at again whose blobs are not all here."""


class Rewarding:
    """One task's rewards, on one peer. ``at_leisure`` says whether the round under way can do without the worker."""

    def __init__(self, record: TaskRecord, peer: PeerContext, compute: Compute, at_leisure: Callable[[], bool]) -> None:
        self._record = record
        self._peer = peer
        self._compute = compute
        self._at_leisure = at_leisure
        self._bounty = Bounty(record, peer)
        self._paying = Paying(record, peer, compute, self._bounty)
        self._stepping = False
        self._again: dict[int, float] = {}
        """For each round that could not be scored, when it may be tried again."""
        self._rested = 0.0
        self._resting = False
        """Whether the worker was let go, the task being done."""
        self._slow = False
        """Whether a scoring took so long that none may come between rounds."""
        self._seen: dict[int, float] = {}
        """When this peer saw that a season's scores are due, by its last round."""
        self._said: set[tuple[str, int, int]] = set()
        """What stands on the ledger, ``"seal"`` or ``"unseal"``, by the season's last round and the chain's epoch."""

    @property
    def scoring(self) -> bool:
        """Whether rounds are scored here, so that the worker is wanted for a while after the last one."""
        return self._bounty.open and self._compute.unscored is None and not self._resting

    async def step(self) -> None:
        """Do what is to be done now; called again and again, at any time."""
        if not self._stepping:
            self._stepping = True
            try:
                await self._take_further()
            finally:
                self._stepping = False

    async def _take_further(self) -> None:
        await self._bounty.look()
        await self._paying.compare()
        if not self._bounty.open:
            return
        due = self._bounty.due()
        if self._compute.unscored is None:
            await self._score()
            for last in sorted({last for _, last in due}):
                await self._tell(last)
        for (first, last), tokens in due.items():
            await self._paying.settle(first, last, tokens)

    async def answer(self, message: Split) -> Message:
        """Sign another member's split, if it is this peer's own."""
        return await self._paying.sign(message)

    # ---- scoring -----------------------------------------------------------------------------------------------

    async def _score(self) -> None:
        """Score rounds, the newest first, for as long as that is no hindrance and no word is due."""
        while self._may_score() and (final := next(self._unscored(), None)) is not None:
            data = await self._data()
            if data is None or data.path != self._compute.path or any(map(self._pressing, self._untold())):
                break
            await self._appraise(final, data)
            await self._bounty.look()
        if self._bounty.done and not self._resting:
            self._resting = True
            await self._compute.rest()

    def _may_score(self) -> bool:
        if self._bounty.done:
            return True
        return not self._slow and self._at_leisure() and time.monotonic() >= self._rested

    def _unscored(self) -> Iterator[Final]:
        """The rounds of the season under way, and of those whose scores are due, that are not scored and can be."""
        bounty, now = self._bounty, time.monotonic()
        for last in sorted({*self._untold(), *([] if bounty.done else [bounty.final])} - {0}, reverse=True):
            scored = self._peer.journal.scored(self._record.id, begins(last), last)
            for round in range(last, begins(last) - 1, -1):
                final = bounty.finals[round]
                known = round in scored and scored[round][0] == final.inputs
                if not known and now >= self._again.get(round, 0.0) and self._groups(final):
                    yield final

    def _untold(self) -> set[int]:
        """The last rounds of the seasons that are due and whose scores this peer has not sealed."""
        return {last for _, last in self._bounty.due() if ("seal", last, self._bounty.epoch) not in self._said}

    def _groups(self, final: Final) -> tuple[tuple[int, ...], ...]:
        return groups_of(self._policy, final, beacon_of(self._bounty.finals, final.round))

    @property
    def _policy(self) -> Policy:
        assert self._compute.policy is not None
        return self._compute.policy

    async def _data(self) -> Kept | None:
        """The dataset that a live grant lets the task use, while it is what was consented to."""
        grant = await self._peer.own_grant(self._record.id)
        try:
            return None if grant is None else await self._peer.kept(grant.dataset)
        except LocalError:
            return None

    async def _appraise(self, final: Final, data: Kept) -> None:
        question = self._question(final, data)
        if question is None:
            self._again[final.round] = time.monotonic() + AGAIN
            return
        began = time.monotonic()
        try:
            effects = await self._compute.appraise(question, self._time_to_score())
            if len(effects) != len(question.rows):
                raise TaskError("nothing is held out, or the round trained nothing")
            vector = encode_effects(effects)
        except (FolkmootError, ValueError) as error:
            withdrawn = data.path != self._compute.path  # in the midst of it: maybe for a while only
            self._again[final.round] = time.monotonic() + AGAIN if withdrawn else float("inf")
            self._peer.log("not scored", task=self._record.id, round=final.round, error=str(error))
        else:
            self._peer.journal.score(self._record.id, final.round, final.inputs, vector)
        took = time.monotonic() - began
        self._rested = began + took + REST * took
        self._slow = self._slow or took > self._record.final_seconds / 4

    def _time_to_score(self) -> float:
        """Seconds that a round's scoring may take: not so long that the scores of others are not sealed in time."""
        window = self._record.exchange_seconds
        left = ((0.5 - self._waited(last)) * window for last in self._untold())
        return max(1.0, min([COMPUTE_SECONDS if self._bounty.done else self._record.final_seconds, *left]))

    def _question(self, final: Final, data: Kept) -> Appraise | None:
        """What the worker is asked of a round; ``None`` while not all that it takes is on this disk."""
        store, groups = self._peer.store, self._groups(final)
        plan = plan_of(self._policy, final, beacon_of(self._bounty.finals, final.round))
        if not all(map(store.has, (final.parent, final.inputs, final.aggregate))):
            return None
        if plan.secret and plan.shards > 1:
            sums = decode_hashes(store.get(final.aggregate))
            question = Appraise(final.parent, data.path, tuple(map(Row, groups)), sums=sums, version=data.version)
        else:
            record = store.get(final.inputs)
            reveals, seeds = decode_masked_inputs(record) if plan.secret else (decode_inputs(record), {})
            rows = tuple(_row(plan, group, seeds) for group in groups)
            # in several shards public contributions lie on several disks: there is no one piece of each
            blobs = tuple(tuple(reveals[m].shards[0] for m in group) for group in groups if plan.shards == 1)
            question = Appraise(final.parent, data.path, rows, blobs=blobs, version=data.version)
        needed = (*question.sums, *(blob for row in question.blobs for blob in row))
        return question if needed and all(map(store.has, needed)) else None

    # ---- sealing -----------------------------------------------------------------------------------------------

    async def _tell(self, last: int) -> None:
        """Seal the scores of the season that ends with ``last``, or show what was sealed, when it is time to."""
        purse, window = self._bounty.purse, self._record.exchange_seconds
        until = await self._peer.ledger(purse.sealing, self._record.id, last)
        now = self._peer.now()
        if not until or now < until:
            await self._seal(last, begun=until > 0)
        elif now < until + window:
            await self._unseal(last)

    def _waited(self, last: int) -> float:
        """How many windows have gone by since this peer saw that a season's scores are due."""
        now = time.monotonic()
        return (now - self._seen.setdefault(last, now)) / self._record.exchange_seconds

    def _pressing(self, last: int) -> bool:
        """Whether scores must be sealed now, complete or not."""
        return 0.5 < self._waited(last) < 2.0

    async def _seal(self, last: int, *, begun: bool) -> None:
        task, journal = self._record.id, self._peer.journal
        if await self._stands(last, "seal"):
            return
        mine = journal.sealed(task, last)
        if mine is None:
            willing = await self._data() is not None
            waited = self._waited(last)
            if willing and waited < 0.5 and next(self._unscored(), None) is not None:
                return
            vectors = self._vectors(last) if willing else {}
            # who has nothing to tell begins only where nobody else does: somebody has to, for the pot to be split
            if not vectors and (begun or waited < 1.0):
                return
            mine = secrets.token_bytes(32), encode_told(vectors)
            journal.seal(task, last, *mine)
        if await self._post(self._bounty.purse.seal, task, last, seal_of(self._peer.index, *mine)):
            self._said.add(("seal", last, self._bounty.epoch))
            self._peer.log("sealed scores", task=task, last=last, bytes=len(mine[1]))

    def _vectors(self, last: int) -> dict[int, tuple[int, ...]]:
        """The effects that are told of the season, by round."""
        scored = self._peer.journal.scored(self._record.id, begins(last), last)
        counts = {}
        for round in range(begins(last), last + 1):
            if groups := self._groups(self._bounty.finals[round]):
                counts[round] = len(groups)
        told = {}
        for round in thinned(counts, last):
            inputs, vector = scored.get(round, (b"", b""))
            if inputs == self._bounty.finals[round].inputs:
                told[round] = decode_effects(vector, counts[round])
        return told

    async def _unseal(self, last: int) -> None:
        mine = self._peer.journal.sealed(self._record.id, last)
        if mine is None or await self._stands(last, "unseal") or not await self._stands(last, "seal"):
            return
        if mine[1] and await self._data() is None:
            return  # the grant has ended since: what was found on that data is not told any more
        if await self._post(self._bounty.purse.unseal, self._record.id, last, *mine):
            self._said.add(("unseal", last, self._bounty.epoch))
            self._peer.log("showed scores", task=self._record.id, last=last)

    async def _stands(self, last: int, what: str) -> bool:
        """Whether this peer's own word is on the ledger."""
        place = (what, last, self._bounty.epoch)
        if place not in self._said:
            read = self._bounty.purse.seals if what == "seal" else self._bounty.purse.unsealed
            found = await self._peer.ledger(read, self._record.id, last, self._bounty.finals[last].block)
            if self._peer.index in found:
                self._said.add(place)
        return place in self._said

    async def _post(self, call: Callable[..., None], *arguments: object) -> bool:
        try:
            await self._peer.post(call, *arguments)
        except LedgerRefused as refusal:
            # the ledger moved between looking and posting; what it says now decides
            self._peer.log("refused", task=self._record.id, call=call.__name__, reason=str(refusal))
            return False
        return True


def _row(plan: Plan, group: tuple[int, ...], seeds: dict[int, dict[int, bytes]]) -> Row:
    """What is summed together, with the masks that are left on the sum."""
    if not plan.secret:
        return Row(group)
    masks = ((sign(dealer, target), seed) for dealer in group for target, seed in sorted(seeds[dealer].items()))
    return Row(group, len(plan.group_of(group[0])), tuple(masks))
