"""Contributions on their way between peers: pushed, pulled, checked against their commits, stored, and passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from folkmoot.digest import Hash
from folkmoot.errors import IntegrityError, NetworkError, ProtocolError, StoreError
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.peer.context import PeerContext
from folkmoot.peer.evidence import Evidence, FalseReveal
from folkmoot.peer.messages import Ack, Pull, Push, Shown, Unavailable
from folkmoot.round import events as ev
from folkmoot.round.events import Event, Key, Reveal
from folkmoot.round.layout import Layout, check_side, sum_bytes
from folkmoot.round.machine import RoundMachine
from folkmoot.round.masking import Masking
from folkmoot.round.plan import Plan
from folkmoot.round.view import called

__all__ = ["Exchange"]

OPEN_SECONDS = 2.0
"""How long a push that came early waits for the round to be open here."""


class Exchange:
    """What one task's session has open for its members' contributions.

    It tells the machine of what is on disk, through ``feed``, and remembers every blob that the present attempt
    stands on, so that none is collected.
    """

    def __init__(
        self,
        peer: PeerContext,
        machine: RoundMachine,
        feed: Callable[[Event], None],
        accuse: Callable[[Evidence], None],
    ) -> None:
        self._accuse = accuse
        self.in_use: set[Hash] = set()
        self._peer = peer
        self._machine = machine
        self._feed = feed
        self.masking: Masking | None = None
        """The masks of the present attempt, if it has any."""
        self._layout: tuple[Key, Layout] | None = None
        self._opened = asyncio.Event()

    def open(self, key: Key, layout: Layout) -> None:
        """The parent's layout is known: contributions to this attempt may come."""
        self._layout = (key, layout)
        self._opened.set()

    def begin(self) -> None:
        """The attempt is over, another one begins."""
        key, plan = self._machine.key, self._machine.plan
        self.masking = None
        if key is not None and plan is not None and plan.secret:
            self.masking = self._peer.masking(key, plan, self._machine.parent, self._machine.opened)
        self._layout = None
        self._opened.clear()
        self.in_use.clear()

    def layout(self, key: Key) -> Layout:
        """The layout of the attempt. Raises ``NetworkError`` when it is not open here."""
        if self._layout is None or self._layout[0] != key:
            raise NetworkError("the round is not open here")
        return self._layout[1]

    def plan(self) -> Plan:
        """The plan of the present attempt. Raises ``NetworkError`` when there is none."""
        plan = self._machine.plan
        if plan is None:
            raise NetworkError("no round is under way here")
        return plan

    def _sizes(self, key: Key, contributor: int) -> tuple[int, ...]:
        """The exact size of each piece of a contribution. Raises ``IntegrityError`` when none of that member is due."""
        plan, layout = self.plan(), self.layout(key)
        if self.masking is None:
            return layout.shard_bytes(plan.shards)
        envelope = self.masking.envelope_bytes(contributor)
        return (*layout.shard_bytes(plan.shards, len(plan.group_of(contributor))), envelope)

    # ---- out -----------------------------------------------------------------------------------------------

    async def push(self, action: ev.Push) -> None:
        """Show this peer's contribution to a member."""
        body = b"".join(self._peer.store.get(action.reveal.shards[s]) for s in action.shards)
        push = Push(
            task=action.key.task,
            round=action.key.round,
            attempt=action.key.attempt,
            salt=action.reveal.salt,
            shards=action.reveal.shards,
            signature=self._peer.sign_reveal(action.key, action.reveal),
            carried=action.shards,
        )
        await self._peer.tell(action.to, push, body)

    def answer_pull(self, pull: Pull) -> Reply | Message:
        """The reveal and shards asked for, as far as they are here."""
        machine = self._machine
        if len(set(pull.wanted)) != len(pull.wanted):
            raise ProtocolError("a pull asks for a shard twice")
        reveal = machine.reveal_of(pull.contributor) if machine.may_reveal() else None
        if pull.contributor == self._peer.index and not self._peer.journal.released(pull.key):
            reveal = None  # its grant may have ended before anything of it was let go
        if reveal is None or any(s >= len(reveal.shards) for s in pull.wanted):
            return Unavailable("that contribution is not here")
        carried, found = [], []
        for shard in pull.wanted:
            try:
                found.append(self._peer.store.get(reveal.shards[shard]))
            except (StoreError, IntegrityError):
                continue
            carried.append(shard)
        return Reply(Shown(salt=reveal.salt, shards=reveal.shards, carried=tuple(carried)), b"".join(found))

    # ---- in ------------------------------------------------------------------------------------------------

    async def answer_push(self, member: int, push: Push, body: BodyReader) -> Message:
        """Take in a member's contribution. Raises ``ProtocolError``, ``IntegrityError`` when it is not right."""
        if not self._opened.is_set():
            try:
                await asyncio.wait_for(self._opened.wait(), OPEN_SECONDS)
            except TimeoutError:
                return Unavailable("the round is not open here yet")
        sizes = self._sizes(push.key, member)
        _check_carried(push.carried, len(sizes))
        self._peer.check_reveal(member, push.key, push.reveal, push.signature)
        # Only what opens a commit is worth reading on for.
        try:
            if not self._take_reveal(push.key, member, push.reveal):
                return Unavailable("that commit is not seen here yet")
        except ProtocolError:
            self._accuse(
                FalseReveal(
                    member=member,
                    task=push.task,
                    round=push.round,
                    attempt=push.attempt,
                    salt=push.salt,
                    shards=push.shards,
                    signature=push.signature,
                )
            )
            raise
        data = await body.read(sum(sizes[s] for s in push.carried))
        self._take_shards(push.key, member, push.reveal, push.carried, data)
        return Ack()

    async def pull(self, action: ev.Pull) -> None:
        """Get a contribution from one source after another; the next is asked when the last is slow to answer."""
        queue, asking = list(action.sources), set[asyncio.Task[None]]()
        try:
            while (queue or asking) and not self._has(action):
                if queue:
                    asking.add(asyncio.ensure_future(self._pull_from(queue.pop(0), action)))
                patience = self._peer.timing.patience if queue else None
                ready, asking = await asyncio.wait(asking, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in ready:
                    task.result()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _pull_from(self, source: int, action: ev.Pull) -> None:
        key, wanted = action.key, action.shards
        pull = Pull(task=key.task, round=key.round, attempt=key.attempt, contributor=action.contributor, wanted=wanted)
        try:
            sizes = self._sizes(key, action.contributor)
            reply, body = await self._peer.ask(source, pull, limit=sum(sizes[s] for s in wanted))
            if isinstance(reply, Shown):
                _check_carried(reply.carried, len(sizes))
                if self._take_reveal(key, action.contributor, reply.reveal):
                    self._take_shards(key, action.contributor, reply.reveal, reply.carried, body)
        except (NetworkError, ProtocolError, IntegrityError) as error:
            self._peer.log("pull failed", source=source, contributor=action.contributor, error=str(error))

    def _has(self, action: ev.Pull) -> bool:
        reveal = self._machine.reveal_of(action.contributor)
        return reveal is not None and all(self._peer.store.has(reveal.shards[s]) for s in action.shards)

    async def pull_sum(self, key: Key, shard: int, sum: Hash, sources: Sequence[int]) -> None:
        """Get the sums of a shard. Raises ``NetworkError``, ``IntegrityError``."""
        plan = self.plan()
        rows = [len(row) for row in plan.rows(self._machine.survivors, self._machine.first_survivors)]
        size = sum_bytes(shard, self.layout(key), plan.shards, rows)
        self.in_use.add(sum)
        await self._peer.fetch(sum, size, sources)
        if self._peer.store.size(sum) != size:
            raise IntegrityError(f"the sum of shard {shard} has a wrong size")
        self._feed(ev.SumHeld(key, shard, sum))

    def _take_reveal(self, key: Key, contributor: int, reveal: Reveal) -> bool:
        """Whether this reveal opens its commit. Until that is seen nothing of it is taken: what came with a false
        one would be counted as held. Raises ``ProtocolError`` when it does not open it."""
        if self._machine.key != key:
            raise NetworkError("that attempt is over here")
        self._feed(ev.RevealReceived(key, contributor, reveal))
        return self._machine.key == key and self._machine.reveal_of(contributor) == reveal

    def _take_shards(self, key: Key, contributor: int, reveal: Reveal, carried: Sequence[int], body: bytes) -> None:
        """Check the pieces of a reveal that opened its commit, store them, tell the machine."""
        layout, shards, sizes = self.layout(key), self.plan().shards, self._sizes(key, contributor)
        if len(body) != sum(sizes[s] for s in carried):
            raise ProtocolError(f"{len(body)} bytes came for shards {list(carried)} of {called(contributor)}")
        at, view = 0, memoryview(body)
        for shard in carried:
            data = view[at : at + sizes[shard]]
            at += sizes[shard]
            if shard == shards and self.masking is not None:
                self.masking.take_envelope(contributor, bytes(data), whole=not self._machine.survivors)
            elif shard == 0 and self.masking is None:
                check_side(data, layout, shards)
            self._peer.store.put(data, name=reveal.shards[shard])
            self.in_use.add(reveal.shards[shard])
            self._feed(ev.ShardHeld(key, contributor, shard))


def _check_carried(carried: Sequence[int], shards: int) -> None:
    if any(s >= shards for s in carried) or len(set(carried)) != len(carried):
        raise ProtocolError("a contribution comes with shards that do not exist, or with one twice")
