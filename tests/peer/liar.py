"""A member that lies: it has its own keys, speaks the protocol, commits in time, and then does what a lie says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import rig

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import FolkmootError
from folkmoot.ledger import Phase, RoundView, statements
from folkmoot.network import BlobMessage, BodyReader, Message, Node, Reply
from folkmoot.peer.messages import Ack, Holding, Model, Pull, Push, RoundMessage, Shown, bitmap
from folkmoot.round.commitment import commit_hash, contribution_root, seat_of
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.layout import Layout
from folkmoot.round.reduce import layout_of, make_shards
from folkmoot.task import Context, load_task, read_state

SECONDS = 10.0


@dataclass(frozen=True)
class Made:
    """What the liar has for a round: the honest contribution, and the reveal that opens what it committed."""

    key: Key
    view: RoundView
    layout: Layout
    honest: bytes
    reveal: Reveal


class Liar:
    """Member ``name`` of the moot. ``lies`` says for each round what to do once commits are closed."""

    def __init__(self, moot: rig.Rig, name: str, task: int, lies: list[Lie]) -> None:
        self.moot = moot
        self.home = moot.homes[name]
        self.client = moot.client(name)
        me = self.client.me()
        assert me is not None
        self.me = me.index
        self.others = [member for member in self.client.members() if member.index != self.me]
        self.task = task
        self.lies = lies
        self.refusals: dict[int, list[str]] = {}
        """What the others answered in each round, where they refused."""
        self.said: Reveal | None = None
        self._store = moot.homes[moot.names[0]].store()
        self._code = load_task(self._store.get(self.client.task(task).bundle))

    async def run(self) -> None:
        """Take part until the task is done."""
        self.node = Node(self.home.identity.endpoint_secret, BlobMessage | RoundMessage)
        await self.node.start()
        self.node.serve(self._answer)
        await asyncio.to_thread(self.client.announce, self.node.addresses())
        self.node.allow({member.endpoint: member.addresses for member in self.others})
        try:
            while (view := self.client.round_view(self.task)).phase is not Phase.DONE:
                if view.phase is Phase.COMMIT and not view.committed >> self.me & 1 and view.members >> self.me & 1:
                    await self._take_part(view)
                await asyncio.sleep(0.01)
        finally:
            await self.node.close()

    async def _take_part(self, view: RoundView) -> None:
        if view.round > len(self.lies):
            return  # the round that measures, where it stays away
        key = Key(view.task, view.round, view.attempt)
        lie = self.lies[view.round - 1]
        made = self._make(key, view, lie)
        root = contribution_root(made.reveal.shards)
        self.said = None
        try:
            self.client.commit(*key, commit_hash(made.reveal.salt, seat_of(self.me), *key, root))
        except FolkmootError:
            return  # too late
        while not (now := self.client.round_view(self.task)).closed(self.client.now()):
            await asyncio.sleep(0.01)
        if (now.round, now.attempt) == (view.round, view.attempt):
            await lie.then(self, made)

    def _make(self, key: Key, view: RoundView, lie: Lie) -> Made:
        state = read_state(self._store.get(view.parent))
        layout = layout_of(self._code, state)
        data = ("", np.ones(3))
        (honest,), _ = make_shards(self._code, state, data, Context(key.round, secrets.token_bytes(32)), layout, 1)
        return Made(key, view, layout, honest, Reveal(secrets.token_bytes(32), (blob_hash(lie.commits(honest)),)))

    async def _answer(self, peer: bytes, message: Message, body: BodyReader) -> Reply | Message:
        if isinstance(message, Pull) and self.said is not None and message.contributor == self.me:
            return Reply(Shown(salt=self.said.salt, shards=self.said.shards, carried=()), b"")
        return Ack()

    # ---- what it can say -------------------------------------------------------------------------------------

    async def tell(self, to: int, message: Message, body: bytes = b"") -> None:
        """Say it, and note the refusal if there is one."""
        member = next(member for member in self.others if member.index == to)
        try:
            await self.node.request(member.endpoint, message, body=body, timeout=SECONDS, most=1 << 20)
        except FolkmootError as error:
            self.refusals.setdefault(self.client.round_view(self.task).round, []).append(str(error))

    async def all(self, message: Callable[[int], Message], body: bytes = b"") -> None:
        """Say it to all the others."""
        await asyncio.gather(*(self.tell(member.index, message(member.index), body) for member in self.others))

    def push(self, made: Made, reveal: Reveal | None = None) -> Push:
        """The message that opens the commit."""
        told = reveal or made.reveal
        key = made.key
        digest = statements.reveal_digest(self.client.domain, *key, told.salt, contribution_root(told.shards))
        return Push(
            task=key.task,
            round=key.round,
            attempt=key.attempt,
            salt=told.salt,
            shards=told.shards,
            signature=statements.sign(bytes(self.home.identity.account.key), digest),
            carried=(0,),
        )

    def holding(self, made: Made, contributors: int, key: bytes | None = None) -> Holding:
        """A signed word on what it holds; ``key`` is another than its own."""
        digest = statements.holding_digest(self.client.domain, *made.key, contributors)
        task, round, attempt = made.key
        signature = statements.sign(key or bytes(self.home.identity.account.key), digest)
        return Holding(task=task, round=round, attempt=attempt, contributors=bitmap(contributors), signature=signature)

    def model(self, made: Made, survivors: int, model: Hash, key: bytes | None = None) -> Model:
        """A signed word on the outcome."""
        s = Statement(made.view.parent, model, model, model, survivors)
        digest = statements.model_digest(
            self.client.domain, *made.key, s.parent, s.inputs, s.aggregate, s.model, s.survivors
        )
        return Model.of(made.key, s, statements.sign(key or bytes(self.home.identity.account.key), digest))


@dataclass(frozen=True)
class Lie:
    """What the liar commits to, given an honest contribution, and what it does once commits are closed."""

    commits: Callable[[bytes], bytes]
    then: Callable[[Liar, Made], Awaitable[None]]


def wait_for_freeze(liar: Liar, made: Made) -> Awaitable[None]:
    """Until the round is frozen, or over."""

    async def wait() -> None:
        while True:
            view = liar.client.round_view(liar.task)
            if view.phase is not Phase.COMMIT or (view.round, view.attempt) != made.key[1:]:
                return
            await asyncio.sleep(0.01)

    return wait()
