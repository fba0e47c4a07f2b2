"""Mask seeds on their way between peers: told once the ledger has fixed who survived, asked for when missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from folkmoot.errors import FolkmootError, IntegrityError, NetworkError, ProtocolError
from folkmoot.network.messages import Message
from folkmoot.peer.context import PeerContext
from folkmoot.peer.evidence import Evidence, bad_shares, seeds_root, wrong_seeds
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.messages import Ack, Seeds, SeedsKnown, SeedsWanted, Unavailable, bitmap
from folkmoot.round import events as ev
from folkmoot.round.envelope import FalseShares
from folkmoot.round.events import Event, Key, Reveal
from folkmoot.round.machine import RoundMachine
from folkmoot.round.masking import Masking

__all__ = ["Unmasking"]

ANSWERED = 1_500
"""Seeds and shares in one answer, about: a message has room for some 3,000."""


class Unmasking:
    """What one task's session tells and learns of mask seeds. The machine hears of those that fit, through ``feed``.

    Nothing is told before the ledger shows the survivors, nor for others than it shows. Of this member's own
    contribution the journal remembers for whom it was let go, over restarts too.
    """

    def __init__(
        self,
        peer: PeerContext,
        machine: RoundMachine,
        exchange: Exchange,
        feed: Callable[[Event], None],
        accuse: Callable[[Evidence], None],
    ) -> None:
        self._accuse = accuse
        self._peer = peer
        self._machine = machine
        self._exchange = exchange
        self._feed = feed

    # ---- out ---------------------------------------------------------------------------------------------------

    async def release(self, action: ev.Release) -> None:
        """Tell everyone those of this peer's seeds that may be known."""
        masking = self._masking(action.key, action.survivors)
        if masking.secrets is None:
            return  # other keys made this member's masks; their seeds come of the others' shares
        seeds = masking.release(action.survivors)
        self._feed(ev.SeedsHeld(action.key, self._peer.index, seeds))
        task, round, attempt = action.key
        survivors = bitmap(action.survivors)
        signature = self._peer.sign_seeds(action.key, action.survivors, seeds_root(seeds))
        message = Seeds(task=task, round=round, attempt=attempt, survivors=survivors, seeds=seeds, signature=signature)
        told = await asyncio.gather(*(self._peer.tell(to, message) for to in action.to), return_exceptions=True)
        for error in told:  # who did not hear it will ask
            if isinstance(error, BaseException) and not isinstance(error, NetworkError):
                raise error

    async def ask(self, action: ev.AskSeeds) -> None:
        """Ask who may know, and put together what they know."""
        await asyncio.gather(*(self._ask_one(source, action) for source in action.sources))

    async def _ask_one(self, source: int, action: ev.AskSeeds) -> None:
        task, round, attempt = action.key
        survivors = bitmap(action.survivors)
        wanted = SeedsWanted(task=task, round=round, attempt=attempt, survivors=survivors, dealers=action.dealers)
        try:
            reply, _ = await self._peer.ask(source, wanted)
            if isinstance(reply, SeedsKnown):
                self._learn(source, action, reply)
        except FolkmootError as error:
            self._peer.log("no seeds", source=source, error=str(error))

    def _learn(self, source: int, action: ev.AskSeeds, known: SeedsKnown) -> None:
        """Take what a member told, as far as it fits what the dealers committed to."""
        for dealer in action.dealers:
            if self._machine.key != action.key:
                return
            if self._machine.seeds_of(dealer):
                continue  # another's answer was enough, and to rebuild them again is work
            try:
                seeds = self._checked(source, dealer, action, known)
            except FalseShares as lie:
                if (sealed := self._sealed(dealer)) is not None:
                    self._accuse(bad_shares(action.key, lie, *sealed))
                continue
            except IntegrityError as error:
                self._peer.log("wrong seeds", source=source, dealer=dealer, error=str(error))
                continue
            if seeds is not None:
                self._feed(ev.SeedsHeld(action.key, dealer, seeds))

    def _sealed(self, dealer: int) -> tuple[Reveal, bytes] | None:
        """What opened a member's commit, and its envelope, if they are here."""
        reveal = self._machine.reveal_of(dealer)
        if reveal is None or not self._peer.store.has(reveal.shards[-1]):
            return None
        return reveal, self._peer.store.get(reveal.shards[-1])

    def _checked(self, source: int, dealer: int, action: ev.AskSeeds, known: SeedsKnown) -> dict[int, bytes] | None:
        """The seeds of ``dealer`` that follow from a member's word and those before it, if they do."""
        masking = self._masking(action.key, action.survivors)
        if dealer in known.seeds:
            return masking.take_seeds(dealer, action.survivors, known.seeds[dealer])
        return masking.take_shares(source, dealer, action.survivors, known.shares.get(dealer, {}))

    # ---- in ----------------------------------------------------------------------------------------------------

    def take(self, member: int, message: Seeds) -> Message:
        """A survivor's word on its own seeds. Raises ``IntegrityError`` when they are not what it committed to."""
        survivors = int.from_bytes(message.survivors, "big")
        masking = self._masking(message.key, survivors)
        self._peer.check_seeds(member, message.key, survivors, seeds_root(message.seeds), message.signature)
        try:
            seeds = masking.take_seeds(member, survivors, message.seeds)
        except IntegrityError:
            if (sealed := self._sealed(member)) is not None:
                self._accuse(wrong_seeds(member, message, *sealed))
            raise
        if seeds is None:
            return Unavailable("that contribution is not here")
        self._feed(ev.SeedsHeld(message.key, member, seeds))
        return Ack()

    def answer(self, message: SeedsWanted) -> Message:
        """The seeds that are known here, and this member's shares of the others."""
        survivors = int.from_bytes(message.survivors, "big")
        masking = self._masking(message.key, survivors)
        seeds: dict[int, dict[int, bytes]] = {}
        shares: dict[int, dict[int, bytes]] = {}
        for dealer in message.dealers:
            if sum(map(len, (*seeds.values(), *shares.values()))) > ANSWERED:
                break  # what is left is asked for again
            if known := self._machine.seeds_of(dealer):
                seeds[dealer] = dict(known)
            elif held := masking.shares(dealer, survivors):
                shares[dealer] = held
        return SeedsKnown(seeds=seeds, shares=shares)

    def _masking(self, key: Key, survivors: int) -> Masking:
        """The masks of the attempt, for the survivors that this peer itself sees on the ledger.

        Raises ``NetworkError`` when they are not fixed here yet, or are others, and ``ProtocolError`` when the ledger
        itself showed others before.
        """
        masking = self._exchange.masking
        if self._machine.key != key or masking is None or not self._machine.survivors:
            raise NetworkError("the survivors of that attempt are not fixed here")
        if not self._peer.may_tell(key):
            raise NetworkError("this peer does not know what it has told of that attempt, and sits it out")
        if survivors != self._machine.survivors:
            raise NetworkError("the ledger shows other survivors of that attempt here")
        if not self._peer.journal.opens(key, survivors):
            raise ProtocolError("the ledger showed other survivors before; no mask is opened for both")
        masking.frozen_with(self._machine.first_survivors)
        return masking
