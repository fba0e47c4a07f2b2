"""What a session has its worker compute: contributions, sums, states. What is made is journalled or stored first."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import DataError, LocalError, TaskError
from folkmoot.ledger.records import TaskRecord
from folkmoot.peer.asks import (
    Account,
    Accounted,
    Advance,
    Advanced,
    Appraise,
    Appraised,
    Contribute,
    Made,
    Prepare,
    Prepared,
    Summed,
    SumUp,
)
from folkmoot.peer.context import PeerContext
from folkmoot.peer.custody import Kept
from folkmoot.peer.journal import Source
from folkmoot.peer.sandbox import Sandbox, choose
from folkmoot.peer.workplace import Withdrawn, Workplace
from folkmoot.round import events as ev
from folkmoot.round.commitment import encode_inputs
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.layout import Layout
from folkmoot.round.masking import Masking
from folkmoot.round.plan import Plan
from folkmoot.task.policy import Policy

__all__ = ["Compute", "Overtaken"]

COMPUTE_SECONDS = 600.0
_NAME = 100
"""Characters of the name of a task or of a metric, at most."""
_METRICS = 256
GRACE_SECONDS = 2.0
"""How much longer a training may take that no round waits for any more; ending it costs the warm worker."""


class Overtaken(TaskError):
    """A training was ended because the round went on without it: nothing is wrong with it, but that it is slow."""


class Compute:
    """One task's computations. They raise ``TaskError`` when the task's code fails, ``StoreError`` when the disk is
    full, and ``LocalError`` when there is no sandbox for them."""

    def __init__(self, record: TaskRecord, peer: PeerContext) -> None:
        self._record = record
        self._peer = peer
        home, memory = peer.home, peer.home.config.worker_memory
        sandbox = None if choose(home.config).kind == "none" else Sandbox(home.path, memory)
        self._workplace = Workplace(peer.store, record.bundle, home.path / "worker.log", memory, sandbox)
        self.policy: Policy | None = None
        """The task's, once it is loaded."""
        self.unscored: str | None = None
        """Why its contributions cannot be told apart, where they cannot."""
        self.path: str | None = None
        """Of the dataset that may be used."""
        self.first: tuple[Hash, Layout] | None = None
        """The task's first state, once it was made, and how contributions from it look."""
        self._layout: tuple[Hash, Layout] | None = None
        self._training: tuple[Key, asyncio.Task[Made]] | None = None
        self._summed: tuple[int, SumUp] | None = None
        """Which start of the worker has the sums, and what they are of."""

    async def start(self, *, begun: bool = False) -> tuple[str, Policy]:
        """Load the task and check it against the ledger; its name and policy. Raises ``TaskError``.

        ``begun``: it continues another task, and where it starts is checked already.
        """
        self.allow(await self._granted())
        await self.show()
        loaded = await self._workplace.load()
        if not _is_name(loaded.name):
            raise TaskError("it is refused: its name is not a line of text")
        policy, record = loaded.policy, self._record
        terms = (policy.rounds_on_ledger, policy.min_members, policy.start, policy.secret)
        windows = (policy.train_seconds, policy.exchange_seconds, policy.final_seconds)
        pinned = (record.rounds, record.min_members, record.start_members, record.sealed)
        if terms != pinned or windows != (record.train_seconds, record.exchange_seconds, record.final_seconds):
            raise TaskError("it is refused: the ledger's terms differ from its bundle's policy")
        if not begun:
            genesis = await self._workplace.ask(Prepare(None), Prepared, COMPUTE_SECONDS)
            if genesis.state != record.genesis:
                raise TaskError("it is refused: its first state on the ledger is not what its bundle makes")
            self.first = genesis.state, genesis.layout
        self.policy, self.unscored = policy, loaded.unscored
        return loaded.name, policy

    def allow(self, path: str | None) -> bool:
        """Let the task's code use the dataset at ``path``, which is granted, or none; whether that is news. What is at
        work on another one ends at once."""
        news, self.path = path != self.path, path
        if news:
            self._workplace.withdraw(path)
        return news

    async def show(self) -> None:
        """Let the worker see what it may use, and nothing else, before it is asked again."""
        await self._workplace.show(self.path)

    def _check(self, path: str) -> None:
        if path != self.path:
            raise Withdrawn("its dataset may not be used any more")

    async def _granted(self) -> str | None:
        """Path of the dataset that is granted already, so that the worker need not be started twice."""
        grant = await self._peer.own_grant(self._record.id)
        with contextlib.suppress(LocalError):
            return None if grant is None else (await self._peer.kept(grant.dataset)).path
        return None

    async def close(self) -> None:
        """End the worker."""
        await self._workplace.close()

    async def rest(self) -> None:
        """End the worker when it has done what it was asked."""
        await self._workplace.rest()

    async def layout(self, key: Key, parent: Hash) -> Layout:
        """How contributions from ``parent`` look."""
        if self._layout is None or self._layout[0] != parent:
            if self._training is not None and self._training[0] != key:
                await self._end_training()
            prepared = await self._workplace.ask(Prepare(parent), Prepared, COMPUTE_SECONDS)
            self._layout = (parent, prepared.layout)
        return self._layout[1]

    async def train(
        self, action: ev.Train, data: Kept, plan: Plan, masking: Masking | None, seconds: float | None
    ) -> tuple[Reveal, float]:
        """This peer's contribution and its norm: the journalled one, that of an earlier attempt under a new salt, or,
        if there are ``seconds`` left for it, a new one. What is masked is masked anew for each attempt."""
        journal, key = self._peer.journal, action.key
        source = Source(data.dataset, self._peer.line(data.dataset))
        own = journal.own(key)
        if own is not None and journal.made_from(key) != source:
            raise TaskError("the contribution to this attempt was made from other data than the grant names now")
        if own is not None and self._on_disk(own[0], plan.pieces):
            return own
        if self._training is not None and seconds is not None:
            await asyncio.wait({self._training[1]})
        earlier = None if plan.secret else journal.earlier(key, action.parent, source)
        if earlier is not None and self._on_disk(earlier[0], plan.pieces):
            parts, norm = earlier[0].shards, earlier[1]
        elif seconds is None:
            raise TaskError("commits are closed, and what was committed is not on this disk any more")
        else:
            parts, norm = await self._make(action, data, plan, masking, seconds)
        reveal = Reveal(secrets.token_bytes(32), parts)
        journal.remember(key, action.parent, reveal, norm, source)
        return reveal, norm

    async def _make(
        self, action: ev.Train, data: Kept, plan: Plan, masking: Masking | None, seconds: float
    ) -> tuple[tuple[Hash, ...], float]:
        self._check(data.path)  # it may have waited
        key, bundle = action.key, self._record.bundle
        seed = self._peer.training_seed(bundle, key.round)
        noise = self._peer.noise_seed(bundle, key, action.parent)
        ask = Contribute(action.parent, data.path, key.round, seed, plan.shards, noise, version=data.version)
        if masking is None:
            made = await self._contribute(key, ask, seconds)
            await self._still(data)
            return made.shards, made.norm
        group = len(plan.group_of(self._peer.index))
        ask = msgspec.structs.replace(ask, group=group, masks=masking.masks)
        made = await self._contribute(key, ask, seconds)
        await self._still(data)
        return (*made.shards, self._peer.store.put(masking.envelope())), made.norm

    async def _still(self, data: Kept) -> None:
        """Raise ``DataError`` where the data need not be what was trained on: it was written to meanwhile."""
        if (await self._peer.kept(data.dataset, now=True)).mark != data.mark:
            raise DataError(f"{data.path} was written to while it was trained on; what came of it is thrown away")

    def _on_disk(self, reveal: Reveal, pieces: int) -> bool:
        return len(reveal.shards) == pieces and all(map(self._peer.store.has, reveal.shards))

    async def account(self, data: Kept, releases: int, limit: float | None) -> Accounted:
        """What releases of contributions from a dataset cost, and how many stay within ``limit``."""
        ask = Account(data.path, releases, limit, data.version)
        return await self._workplace.ask(ask, Accounted, COMPUTE_SECONDS)

    async def appraise(self, ask: Appraise, seconds: float) -> tuple[int, ...]:
        """What the rows of a round are worth here; the worker is ended where that takes over ``seconds``."""
        self._check(ask.path)
        return (await self._workplace.ask(ask, Appraised, seconds)).effects

    async def _contribute(self, key: Key, ask: Contribute, seconds: float) -> Made:
        training = asyncio.ensure_future(self._workplace.ask(ask, Made, seconds))
        self._training = mine = (key, training)
        try:
            made = await training
            if len(made.shards) != ask.shards:
                raise TaskError(f"the worker made {len(made.shards)} shards where {ask.shards} are due")
            return made
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Overtaken(f"the training of round {key.round} was ended: the others went on without it") from None
        finally:
            if self._training is mine:
                self._training = None

    async def _end_training(self) -> None:
        """Have the worker free: what it trains for is past."""
        if self._training is not None:
            _, training = self._training
            await asyncio.wait({training}, timeout=GRACE_SECONDS)
            training.cancel()

    async def sums(self, parent: Hash, shards: int, action: ev.Sum) -> dict[int, Hash]:
        """The sums of each of these shards. Commits are closed by now, so a training still under way is ended."""
        await self._end_training()
        return await self._sum_up(SumUp(parent, shards, dict(action.shards), action.rows))

    async def _sum_up(self, ask: SumUp) -> dict[int, Hash]:
        sums = (await self._workplace.ask(ask, Summed, COMPUTE_SECONDS)).sums
        self._summed = self._workplace.starts, ask
        return sums

    async def update(self, action: ev.Update) -> tuple[Statement, Mapping[str, float]]:
        """The outcome of the round, with its blobs on disk, and the moot's metrics of the parent."""
        inputs = self._peer.store.put(encode_inputs(action.inputs, action.seeds or None))
        if len(action.sums) == 1 and self._summed is not None and self._summed[0] != self._workplace.starts:
            await self._sum_up(self._summed[1])  # a worker that was started since has no sums any more
        ask = Advance(action.parent, action.sums, action.rows, action.lost, action.beacon)
        made = await self._workplace.ask(ask, Advanced, COMPUTE_SECONDS)
        if len(made.metrics) > _METRICS or not all(map(_is_name, made.metrics)):
            raise TaskError(f"its metrics are more than {_METRICS}, or named by more than a line of text")
        survivors = sum(1 << m for m in action.inputs)
        return Statement(action.parent, inputs, made.aggregate, made.model, survivors), made.metrics


def _is_name(text: str) -> bool:
    """Whether what a worker calls a name is fit to be shown to people."""
    return 1 <= len(text) <= _NAME and text.isprintable()
