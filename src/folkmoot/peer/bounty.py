"""One task's bounty and its rounds as the ledger shows them: what is set aside, and what of it is due for what."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from folkmoot.ledger.purse import Pot, Purse
from folkmoot.ledger.records import Final, Phase, TaskRecord
from folkmoot.peer.context import PeerContext
from folkmoot.peer.season import begins, due

__all__ = ["Bounty"]


class Bounty:
    """What ``look`` read last. Only pots that a member, or the moot by its vote, has put something in are looked at:
    each costs transactions, and anybody may set aside a token that is worth nothing."""

    def __init__(self, record: TaskRecord, peer: PeerContext) -> None:
        self.pots: list[Pot] = []
        self.finals: dict[int, Final] = {}
        """The rounds of every season that is not paid out, and the one before; their signatures left out."""
        self.final = 0
        """How many rounds are final."""
        self.done = False
        self.epoch = 0
        """Another one since the chain has taken back what was read."""
        self._record = record
        self._peer = peer
        self._purse: Purse | None = None
        self._tokens: dict[str, None] = {}
        self._scanned = 0
        self._head = -1
        self._looking = asyncio.Lock()

    @property
    def purse(self) -> Purse:
        """The contract; known once ``look`` was called."""
        assert self._purse is not None
        return self._purse

    @property
    def open(self) -> bool:
        """Whether anything is left to be paid out."""
        return any(pot.funded > pot.released for pot in self.pots)

    def due(self) -> dict[tuple[int, int], list[str]]:
        """For first and last round of what is due to be paid next, the tokens of its pots."""
        found: dict[tuple[int, int], list[str]] = {}
        for pot in self.pots:
            span = due(pot, self._record.rounds, self.final, self.done)
            if span is not None:
                found.setdefault(span, []).append(pot.token)
        return found

    async def look(self) -> None:
        """Read what is news on the ledger. Raises ``ChainError`` when it cannot be read."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        read, moot, task = self._peer.ledger, self._peer.moot, self._record.id
        if self._purse is None:
            self._purse = await read(lambda: moot.purse)
            self._scanned = (await read(moot.about)).born
        head = await read(moot.head)
        if self._purse.epoch != self.epoch:
            self.epoch, self._scanned = self._purse.epoch, (await read(moot.about)).born
            self._tokens, self.finals, self._head = {}, {}, -1
        if head == self._head:
            return
        await self._find_tokens(head)
        self.pots = [await read(self.purse.pot, task, token) for token in self._tokens]
        if self.pots:
            view = await read(moot.round_view, task)
            await self._read_rounds(min(begins(max(pot.last, 1)) for pot in self.pots))
            self.final = max(self.finals, default=0)
            self.done = view.phase is Phase.DONE and view.round == self.final
        self._head = head

    async def _find_tokens(self, head: int) -> None:
        funders = await self._peer.ledger(self.purse.funders, self._record.id, self._scanned)
        ours = {account for member in self._peer.members.values() for account in (member.address, member.main)}
        ours.add((await self._peer.ledger(self._peer.moot.about)).assembly)
        for token, accounts in funders.items():
            if accounts & ours:
                self._tokens.setdefault(token)
        self._scanned = head

    async def _read_rounds(self, first: int) -> None:
        """Have the rounds from the one before ``first`` on."""
        low = max(first - 1, 1)
        start = max(self.finals) + 1 if self.finals and min(self.finals) <= low else low
        found = await self._peer.ledger(self._peer.moot.finals, self._record.id, start)
        kept = {round: final for round, final in self.finals.items() if low <= round < start}
        self.finals = kept | {final.round: replace(final, signatures=()) for final in found}
