"""Commits of several members in one transaction, where transactions cost something.

A member signs its commit and sends it to whose turn it is to collect. That one posts all it was given once nobody is
missing, or when half of the time is over. Nobody depends on it: who does not find its commit on the ledger in time
posts it itself. A collector that keeps commits back costs their senders one transaction each, and nothing else; it
learns nothing from what it was given, for a commit is a salted hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from folkmoot.digest import Hash
from folkmoot.errors import FolkmootError, IntegrityError, LedgerRefused
from folkmoot.ledger.records import RoundView, members_of
from folkmoot.peer.context import PeerContext
from folkmoot.peer.messages import Ack, Committal
from folkmoot.round.events import Key

__all__ = ["Collecting"]

SHARE = 0.3
"""Of the time until commits close, what a collector waits for the rest."""
TRUST = 0.6
"""Of that time, what a member waits for its commit to stand before it posts it itself: the rest is for that to be in a
block in time, and believed."""
LEAST = 1.0
"""Seconds of either, at least."""


class Collecting:
    """One task's commits on a chain that takes fees. ``refresh`` has the session look at the ledger."""

    def __init__(self, peer: PeerContext, refresh: Callable[[], Awaitable[None]]) -> None:
        self._peer = peer
        self._refresh = refresh
        self._given: dict[Key, dict[int, tuple[Hash, bytes]]] = {}
        self._posting: set[Key] = set()

    async def commit(self, key: Key, hash: Hash) -> None:
        """Have this member's commit put on the ledger."""
        view = await self._view(key)
        if view is None:
            return
        signature = self._peer.sign_commit(key, hash)
        collector = turn(view)
        if collector == self._peer.index:
            await self.take(self._peer.index, key, hash, signature)
        elif not await self._hand(collector, key, hash, signature, self._left(view) * SHARE):
            self._peer.log("hands to nobody", task=key.task, round=key.round, collector=collector)
        if not await self._stands(key, (view.commit_deadline - self._peer.now()) * TRUST):
            self._peer.log("commits itself", task=key.task, round=key.round, collector=collector)
            await self._post(self._peer.moot.commit, *key, hash)
        await self._refresh()

    async def take(self, member: int, key: Key, hash: Hash, signature: bytes) -> None:
        """Take in a member's signed commit, and post what there is once all have come, or half of the time is over.

        Raises ``IntegrityError`` when the signature is not the member's, or it is no commit that the ledger takes.
        """
        self._peer.check_commit(member, key, hash, signature)
        if not any(hash):
            raise IntegrityError("an empty commit would spoil the others'")
        for old in [k for k in self._given if k < key]:
            del self._given[old]
        self._given.setdefault(key, {})[member] = (hash, signature)
        if key not in self._posting:
            self._posting.add(key)
            try:
                await self._collect(key)
            finally:
                self._posting.discard(key)

    async def _collect(self, key: Key) -> None:
        view = await self._view(key)
        if view is None:
            return
        wait = self._left(view) * SHARE
        ends = asyncio.get_running_loop().time() + wait
        while asyncio.get_running_loop().time() < ends:
            missing = view.expected & ~view.committed
            if not any(missing >> m & 1 and m not in self._given[key] for m in members_of(missing)):
                break
            await asyncio.sleep(min(0.5, wait / 5))
            view = await self._view(key)
            if view is None or key not in self._given:
                return
        for _ in range(3):  # somebody's own commit may come between looking and posting
            view = await self._view(key)
            if view is None or view.closed(self._peer.now()):
                return
            # those alone whose commit the ledger takes: one that it refuses would spoil all
            fit = view.expected & ~view.committed
            due = {m: c for m, c in self._given.get(key, {}).items() if fit >> m & 1}
            if not due or await self._post(self._peer.moot.commit_all, *key, due):
                break
        await self._refresh()

    async def _hand(self, collector: int, key: Key, hash: Hash, signature: bytes, seconds: float) -> bool:
        """Give it the signed commit: one that does not see the round on its ledger yet is asked again for a while."""
        task, round, attempt = key
        message = Committal(task=task, round=round, attempt=attempt, hash=hash, signature=signature)
        ends = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                reply, _ = await self._peer.ask(collector, message)
                if isinstance(reply, Ack):
                    return True
            except FolkmootError as error:
                self._peer.log("unreachable", task=task, member=collector, error=str(error))
            if asyncio.get_running_loop().time() >= ends:
                return False
            await asyncio.sleep(min(0.5, seconds / 4))

    async def _stands(self, key: Key, seconds: float) -> bool:
        """Whether this member's commit is on the ledger, or none can come there any more, within so many seconds."""
        ends = asyncio.get_running_loop().time() + seconds
        while True:
            view = await self._view(key)
            if view is None or view.committed >> self._peer.index & 1:
                return True
            if asyncio.get_running_loop().time() >= ends:
                return False
            await asyncio.sleep(min(1.0, seconds / 5))

    async def _view(self, key: Key) -> RoundView | None:
        """The round, while it is in that attempt."""
        view = await self._peer.ledger(self._peer.moot.round_view, key.task)
        return view if (view.round, view.attempt) == (key.round, key.attempt) else None

    def _left(self, view: RoundView) -> float:
        return max(LEAST, view.commit_deadline - self._peer.now())

    async def _post(self, call: Callable[..., object], *arguments: object) -> bool:
        try:
            await self._peer.post(call, *arguments)
        except LedgerRefused as refusal:
            self._peer.log("refused", call=call.__name__, reason=str(refusal))
            return False
        return True


def turn(view: RoundView) -> int:
    """Whose turn it is to collect the commits of an attempt: of those that are waited for another one each time."""
    candidates = members_of(view.expected) or members_of(view.members)
    return candidates[(view.round + view.attempt) % len(candidates)]
