"""What a session says: on the ledger, and to the other members under its signature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from folkmoot.errors import LedgerRefused
from folkmoot.peer.collecting import Collecting
from folkmoot.peer.context import PeerContext
from folkmoot.peer.messages import Holding, Model, Opening, Sums, bitmap
from folkmoot.round import events as ev
from folkmoot.round.events import Event

__all__ = ["Voice"]


class Voice:
    """Carries out the machine's actions that speak. What is meant for this peer itself goes to ``feed``; after each
    word on the ledger comes ``refresh``, for it may have changed much."""

    def __init__(
        self, peer: PeerContext, feed: Callable[[Event], None], refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._peer = peer
        self._feed = feed
        self._refresh = refresh
        self.collecting = Collecting(peer, refresh)

    # ---- on the ledger ---------------------------------------------------------------------------------------

    async def commit(self, action: ev.PostCommit) -> None:
        """Bind this member to its contribution; together with others where a transaction costs something."""
        if self._peer.moot.embedded:
            await self._post(action.key.task, self._peer.moot.commit, *action.key, action.hash)
        else:
            await self.collecting.commit(action.key, action.hash)

    async def attend(self, action: ev.Attend) -> None:
        """Ask to be waited for."""
        await self._post(action.key.task, self._peer.moot.attend, action.key.task)

    async def freeze(self, action: ev.PostFreeze) -> None:
        """Fix the survivors by a quorum's word."""
        await self._post(action.key.task, self._peer.moot.freeze, *action.key, action.holdings)

    async def open_without(self, action: ev.PostOpening) -> None:
        """Go on without those whose masks a quorum cannot take off."""
        await self._post(action.key.task, self._peer.moot.freeze, *action.key, action.openings)

    async def finalise(self, action: ev.PostFinal) -> None:
        """Make the round final by a quorum's word."""
        s = action.statement
        outcome = (s.inputs, s.aggregate, s.model, action.signatures)
        await self._post(action.key.task, self._peer.moot.finalise, *action.key, *outcome)

    async def retry(self, action: ev.PostRetry) -> None:
        """Give the attempt up."""
        await self._post(action.key.task, self._peer.moot.retry, *action.key)

    async def _post(self, task: int, call: Callable[..., object], *arguments: object) -> None:
        try:
            await self._peer.post(call, *arguments)
        except LedgerRefused as refusal:
            # The ledger moved between looking and posting; what it says now decides.
            self._peer.log("refused", task=task, call=call.__name__, reason=str(refusal))
        await self._refresh()

    # ---- to members ------------------------------------------------------------------------------------------

    async def send_holding(self, action: ev.SendHolding) -> None:
        """Tell a member whose contributions are here."""
        signature = self._peer.sign_holding(action.key, action.contributors)
        if action.to == self._peer.index:
            self._feed(ev.HoldingReceived(action.key, action.to, action.contributors, signature))
            return
        task, round, attempt = action.key
        held = bitmap(action.contributors)
        message = Holding(task=task, round=round, attempt=attempt, contributors=held, signature=signature)
        await self._peer.tell(action.to, message)

    async def send_opening(self, action: ev.SendOpening) -> None:
        """Tell a member whose masks can be taken off here."""
        signature = self._peer.sign_opening(action.key, action.survivors, action.opened)
        if action.to == self._peer.index:
            told = ev.OpeningReceived(action.key, action.to, action.survivors, action.opened, signature)
            self._feed(told)
            return
        task, round, attempt = action.key
        survivors, opened = bitmap(action.survivors), bitmap(action.opened)
        message = Opening(
            task=task, round=round, attempt=attempt, survivors=survivors, opened=opened, signature=signature
        )
        await self._peer.tell(action.to, message)

    async def send_model(self, action: ev.SendModel) -> None:
        """Tell a member the outcome."""
        signature = self._peer.sign_model(action.key, action.statement)
        if action.to == self._peer.index:
            self._feed(ev.ModelReceived(action.key, action.to, action.statement, signature))
            return
        await self._peer.tell(action.to, Model.of(action.key, action.statement, signature))

    async def announce(self, action: ev.Announce) -> None:
        """Tell a member the sums of this peer's shards."""
        task, round, attempt = action.key
        await self._peer.tell(action.to, Sums(task=task, round=round, attempt=attempt, sums=dict(action.sums)))
