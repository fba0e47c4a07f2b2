"""One task on one peer: the round machine, the worker, and what carries the machine's actions out.

The session is the only place where a round meets the world. It gives every event to the machine in the order things
became true on disk: a contribution is journalled before ``Trained``, a shard stored before ``ShardHeld``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from folkmoot.errors import (
    FolkmootError,
    IntegrityError,
    LedgerRefused,
    NetworkError,
    ProtocolError,
    TaskError,
)
from folkmoot.ledger.records import TaskRecord
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.peer.context import PeerContext
from folkmoot.peer.messages import Ack, Holding, Model, Pull, Push, Shown, Sums, Unavailable, bitmap
from folkmoot.peer.status import TaskPhase, TaskStatus
from folkmoot.peer.worker import Advance, Advanced, Contribute, Made, Prepare, Prepared, Summed, SumUp
from folkmoot.peer.workplace import Workplace
from folkmoot.round import events as ev
from folkmoot.round.commitment import encode_inputs
from folkmoot.round.events import Action, Event, Key, Reveal, Statement
from folkmoot.round.fixed import Layout, check_side, sum_bytes
from folkmoot.round.machine import RoundMachine
from folkmoot.round.view import Phase, RoundView
from folkmoot.task import Policy
from folkmoot.task.bundle import BUNDLE_LIMIT

__all__ = ["TaskSession"]

LOAD_SECONDS = 120.0
COMPUTE_SECONDS = 600.0
STATE_LIMIT = 1 << 34
"""Bytes of a state blob that a peer will fetch."""
_PHASES: Mapping[type[object], TaskPhase] = {
    ev.Train: "training",
    ev.PostCommit: "committing",
    ev.Push: "exchanging",
    ev.Pull: "exchanging",
    ev.SendHolding: "freezing",
    ev.Sum: "reducing",
    ev.Update: "reducing",
    ev.SendModel: "signing",
}


class TaskSession:
    """One task as this peer takes part in it. ``start`` first; then feed it what the ledger and the others say."""

    def __init__(self, record: TaskRecord, peer: PeerContext) -> None:
        self.record = record
        self.status = TaskStatus(task=record.id, rounds=record.rounds)
        self._peer = peer
        self._workplace = Workplace(peer.store.root, record.bundle, peer.home.path / "worker.log")
        self._machine: RoundMachine | None = None
        self._policy = Policy()
        self._view: RoundView | None = None
        self._willing = False
        self._layout: tuple[Key, Layout] | None = None
        self._opened = asyncio.Event()
        self._jobs: dict[asyncio.Task[None], Key | None] = {}
        self._refreshing = asyncio.Lock()

    # ---- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get the bundle, load it in the worker, and check it against the ledger.

        Raises ``TaskError`` when the bundle does not load or is not what the ledger's numbers say, and
        ``NetworkError`` when nobody has it.
        """
        await self._peer.fetch(self.record.bundle, BUNDLE_LIMIT)
        loaded = await self._workplace.load(LOAD_SECONDS)
        policy, record = loaded.policy, self.record
        terms = (policy.rounds, policy.min_members, policy.start, policy.train_seconds, policy.exchange_seconds)
        pinned = (record.rounds, record.min_members, record.start_members, record.train_seconds)
        if terms != (*pinned, record.exchange_seconds) or policy.final_seconds != record.final_seconds:
            raise TaskError(f"task {record.id} is refused: the ledger's terms differ from its bundle's policy")
        genesis = await self._workplace.ask(Prepare(None), Prepared, LOAD_SECONDS)
        if genesis.state != record.genesis:
            raise TaskError(f"task {record.id} is refused: its first state is not what its bundle makes")
        self._policy = policy
        self.status.name = loaded.name
        for round, name, value in self._peer.journal.metrics(record.id):
            self.status.metrics.setdefault(name, []).append((round, value))
        self._machine = RoundMachine(
            self._peer.index,
            self._peer.address_of,
            gather_up_to=policy.gather_up_to,
            replicas=policy.replicas,
            timing=self._peer.timing,
        )

    async def close(self) -> None:
        """Stop all that is under way, and the worker."""
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self._workplace.close()

    @property
    def finished_rounds(self) -> int:
        """How many rounds the ledger shows as final."""
        if self._view is None:
            return 0
        return self._view.round if self._view.phase is Phase.DONE else max(self._view.round - 1, 0)

    @property
    def done(self) -> bool:
        """Whether the ledger shows the task as finished."""
        return self._view is not None and self._view.phase is Phase.DONE

    async def refresh(self) -> None:
        """Read the ledger and tell the machine."""
        if self._machine is None:
            return
        async with self._refreshing:
            view = await self._peer.ledger(self._peer.moot.round_view, self.record.id)
            if self._view is None or (view.round, view.attempt, view.phase) != (
                self._view.round,
                self._view.attempt,
                self._view.phase,
            ):
                self._willing = await self._dataset() is not None
            self._view = view
        self._show(view)
        self.feed(ev.LedgerSeen(view, self._peer.now(), self._willing))

    def tick(self) -> None:
        """Tell the machine that time has passed."""
        self.feed(ev.Clock(self._peer.now()))

    def feed(self, event: Event) -> None:
        """Give the machine an event and set its actions going. Raises ``ProtocolError`` on a member's fault."""
        if self._machine is None:
            return
        before = self._machine.key
        actions = self._machine.handle(event)
        if self._machine.key != before:
            self._opened.clear()
            for job, key in self._jobs.items():
                if key is not None and key != self._machine.key:
                    job.cancel()
        for action in actions:
            self._set_going(action)

    async def _dataset(self) -> str | None:
        """The path of the dataset that is granted to exactly this task, if there is a live grant."""
        dataset = await self._peer.ledger(self._peer.moot.grant_of, self.record.id, self._peer.index)
        return None if dataset is None else self._peer.home.data().get(dataset)

    def _show(self, view: RoundView) -> None:
        status = self.status
        if view.phase is Phase.DONE:
            status.phase, status.reason = "done", ""
        elif view.phase is Phase.GATHERING:
            status.phase, status.reason = "waiting", f"waits for the grants of {self.record.start_members} members"
        elif (view.round, view.attempt) != (status.round, status.attempt):
            status.phase, status.reason = "waiting", ""
        status.round, status.attempt = view.round, view.attempt

    # ---- actions -----------------------------------------------------------------------------------------------

    def _set_going(self, action: Action) -> None:
        if isinstance(action, ev.Wait):
            self.status.reason = action.reason
            if action.reason.startswith("paused"):
                self.status.phase = "paused"
            self._peer.log("waits", task=self.record.id, round=action.key.round, reason=action.reason)
            return
        self.status.phase = _PHASES.get(type(action), self.status.phase)
        work: Callable[[Any], Coroutine[Any, Any, None]] = getattr(self, f"_do_{type(action).__name__.lower()}")
        # What runs in the worker is not cut off with its attempt: that would cost the warm process.
        bound = not isinstance(action, ev.Train | ev.Sum | ev.Update | ev.Open)
        self.spawn(work(action), action.key if bound else None)

    def spawn(self, work: Coroutine[Any, Any, None], key: Key | None = None) -> None:
        """Run ``work`` beside the rest; its errors are logged, never fatal. With ``key`` it ends with that attempt."""
        job = asyncio.get_running_loop().create_task(self._guarded(work))
        self._jobs[job] = key
        job.add_done_callback(lambda done: self._jobs.pop(done, None))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except NetworkError as error:
            self._peer.log("unreachable", task=self.record.id, error=str(error))
        except FolkmootError as error:
            self._peer.complain(str(error), task=self.record.id)

    async def _do_open(self, action: ev.Open) -> None:
        await self._peer.fetch(action.parent, STATE_LIMIT)
        prepared = await self._workplace.ask(Prepare(action.parent), Prepared, COMPUTE_SECONDS)
        if self._machine is not None and self._machine.key == action.key:
            self._layout = (action.key, prepared.layout)
            self._opened.set()
            self.feed(ev.Opened(action.key))

    async def _do_train(self, action: ev.Train) -> None:
        path = await self._dataset()
        if path is None:
            self.feed(ev.Failed(action.key, "no live grant covers this task and a dataset on this machine"))
            return
        try:
            reveal, norm = await self._contribution(action, path)
        except FolkmootError as error:
            self._peer.complain(str(error), task=self.record.id)
            self.feed(ev.Failed(action.key, str(error)))
            return
        self.status.norm = norm
        self.feed(ev.Trained(action.key, reveal))

    async def _contribution(self, action: ev.Train, path: str) -> tuple[Reveal, float]:
        """The own contribution: the journalled one, that of an earlier attempt under a new salt, or a new one."""
        journal, key = self._peer.journal, action.key
        if (own := journal.own(key)) is not None and self._on_disk(own[0]):
            return own
        if (own := journal.earlier(key, action.parent)) is not None and self._on_disk(own[0]):
            shards, norm = own[0].shards, own[1]
        else:
            assert self._machine is not None
            assert self._machine.plan is not None
            seed = self._peer.training_seed(self.record.bundle, key.round)
            ask = Contribute(action.parent, path, key.round, seed, self._machine.plan.shards)
            made = await self._workplace.ask(ask, Made, self._time_to_train(key))
            shards, norm = made.shards, made.norm
        reveal = Reveal(secrets.token_bytes(32), shards)
        journal.remember(key, action.parent, reveal, norm)
        return reveal, norm

    def _on_disk(self, reveal: Reveal) -> bool:
        expected = self._machine.plan.shards if self._machine and self._machine.plan else 0
        return len(reveal.shards) == expected and all(map(self._peer.store.has, reveal.shards))

    def _time_to_train(self, key: Key) -> float:
        """Seconds until commits close; past the deadline (the moot waits for members) a whole window anew."""
        window = float(self.record.train_seconds << min(key.attempt, 6))
        left = (self._view.commit_deadline if self._view else 0) - self._peer.now()
        return left if left > 0 else window

    async def _post(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            await self._peer.ledger(call, *arguments)
        except LedgerRefused as refusal:
            # The ledger moved between looking and posting; what it says now decides.
            self._peer.log("refused", task=self.record.id, call=call.__name__, reason=str(refusal))
        await self.refresh()

    async def _do_postcommit(self, action: ev.PostCommit) -> None:
        await self._post(self._peer.moot.commit, *action.key, action.hash)

    async def _do_attend(self, action: ev.Attend) -> None:
        await self._post(self._peer.moot.attend, action.key.task)

    async def _do_postfreeze(self, action: ev.PostFreeze) -> None:
        await self._post(self._peer.moot.freeze, *action.key, action.holdings)

    async def _do_postfinal(self, action: ev.PostFinal) -> None:
        s = action.statement
        await self._post(self._peer.moot.finalise, *action.key, s.inputs, s.aggregate, s.model, action.signatures)

    async def _do_postretry(self, action: ev.PostRetry) -> None:
        await self._post(self._peer.moot.retry, *action.key)

    async def _do_push(self, action: ev.Push) -> None:
        task, round, attempt = action.key
        body = b"".join(self._peer.store.get(action.reveal.shards[s]) for s in action.shards)
        push = Push(
            task=task,
            round=round,
            attempt=attempt,
            salt=action.reveal.salt,
            shards=action.reveal.shards,
            carried=action.shards,
        )
        await self._peer.tell(action.to, push, body)

    async def _do_pull(self, action: ev.Pull) -> None:
        task, round, attempt = action.key
        wanted = list(action.shards)
        for source in action.sources:
            pull = Pull(task=task, round=round, attempt=attempt, contributor=action.contributor, wanted=tuple(wanted))
            layout = self._layout_for(action.key)
            sizes = layout.shard_bytes(self._shards())
            try:
                reply, body = await self._peer.ask(source, pull, limit=sum(sizes[s] for s in wanted))
                if isinstance(reply, Shown):
                    self._take_shards(action.key, action.contributor, reply.reveal, reply.carried, body)
                    wanted = [s for s in wanted if s not in reply.carried]
            except (NetworkError, ProtocolError, IntegrityError) as error:
                self._peer.log("pull failed", source=source, contributor=action.contributor, error=str(error))
                continue
            if isinstance(reply, Shown) and not wanted:
                return

    async def _do_sendholding(self, action: ev.SendHolding) -> None:
        signature = self._peer.sign_holding(action.key, action.contributors)
        if action.to == self._peer.index:
            self.feed(ev.HoldingReceived(action.key, action.to, action.contributors, signature))
            return
        task, round, attempt = action.key
        held = bitmap(action.contributors)
        message = Holding(task=task, round=round, attempt=attempt, contributors=held, signature=signature)
        await self._peer.tell(action.to, message)

    async def _do_sum(self, action: ev.Sum) -> None:
        assert self._view is not None
        ask = SumUp(self._view.parent, self._shards(), dict(action.shards))
        summed = await self._workplace.ask(ask, Summed, COMPUTE_SECONDS)
        for shard, name in summed.sums.items():
            self.feed(ev.SumHeld(action.key, shard, name))

    async def _do_announce(self, action: ev.Announce) -> None:
        task, round, attempt = action.key
        await self._peer.tell(action.to, Sums(task=task, round=round, attempt=attempt, sums=dict(action.sums)))

    async def _do_pullsum(self, action: ev.PullSum) -> None:
        assert self._view is not None
        members = self._view.survivors.bit_count()
        size = sum_bytes(action.shard, self._layout_for(action.key), self._shards(), members)
        await self._peer.fetch(action.sum, size, action.sources)
        if self._peer.store.size(action.sum) != size:
            raise IntegrityError(f"the sum of shard {action.shard} has a wrong size")
        self.feed(ev.SumHeld(action.key, action.shard, action.sum))

    async def _do_update(self, action: ev.Update) -> None:
        inputs = self._peer.store.put(encode_inputs(action.inputs))
        ask = Advance(action.parent, len(action.inputs), action.sums)
        made = await self._workplace.ask(ask, Advanced, COMPUTE_SECONDS)
        self._measure(action.key.round - 1, made.metrics)
        survivors = sum(1 << m for m in action.inputs)
        statement = Statement(action.parent, inputs, made.aggregate, made.model, survivors)
        self.feed(ev.Computed(action.key, statement))

    def _measure(self, round: int, metrics: Mapping[str, float]) -> None:
        self._peer.journal.measured(self.record.id, round, dict(metrics))
        for name, value in metrics.items():
            series = self.status.metrics.setdefault(name, [])
            series[:] = [*(p for p in series if p[0] < round), (round, value)]

    async def _do_sendmodel(self, action: ev.SendModel) -> None:
        signature = self._peer.sign_model(action.key, action.statement)
        if action.to == self._peer.index:
            self.feed(ev.ModelReceived(action.key, action.to, action.statement, signature))
            return
        task, round, attempt = action.key
        s = action.statement
        message = Model(
            task=task,
            round=round,
            attempt=attempt,
            parent=s.parent,
            inputs=s.inputs,
            aggregate=s.aggregate,
            model=s.model,
            survivors=bitmap(s.survivors),
            signature=signature,
        )
        await self._peer.tell(action.to, message)

    # ---- what others send --------------------------------------------------------------------------------------

    async def answer(self, member: int, message: Message, body: BodyReader) -> Reply | Message:
        """Take in a message about this task. Raises ``ProtocolError`` or ``IntegrityError`` on the member's fault."""
        if not isinstance(message, Push | Pull | Holding | Sums | Model):
            raise ProtocolError(f"{type(message).__name__} is an answer, not a request")
        if not await self._present(message.key):
            return Unavailable("not at that attempt here")
        if isinstance(message, Push):
            return await self._answer_push(member, message, body)
        if isinstance(message, Pull):
            return self._answer_pull(message)
        if isinstance(message, Holding):
            contributors = int.from_bytes(message.contributors, "big")
            self._peer.check_holding(member, message.key, contributors, message.signature)
            self.feed(ev.HoldingReceived(message.key, member, contributors, message.signature))
        elif isinstance(message, Sums):
            self.feed(ev.SumsReceived(message.key, member, message.sums))
        else:
            self._peer.check_model(member, message.key, message.statement, message.signature)
            self.feed(ev.ModelReceived(message.key, member, message.statement, message.signature))
        return Ack()

    async def _present(self, key: Key) -> bool:
        """Whether ``key`` is the attempt under way; looks at the ledger again when it is not, for it may be news."""
        machine = self._machine
        if machine is None or key.task != self.record.id:
            return False
        if machine.key != key:
            await self.refresh()
        return machine.key == key

    async def _answer_push(self, member: int, push: Push, body: BodyReader) -> Message:
        assert self._machine is not None
        if not self._machine.may_reveal():
            await self.refresh()
            if not self._machine.may_reveal():
                return Unavailable("commits are not closed here")
        if not self._opened.is_set():
            try:
                await asyncio.wait_for(self._opened.wait(), 2.0)
            except TimeoutError:
                return Unavailable("the round is not open here yet")
        layout = self._layout_for(push.key)
        sizes = layout.shard_bytes(self._shards())
        if any(s >= len(sizes) for s in push.carried) or len(set(push.carried)) != len(push.carried):
            raise ProtocolError("a push carries shards that do not exist, or one twice")
        data = await body.read(sum(sizes[s] for s in push.carried))
        self._take_shards(push.key, member, push.reveal, push.carried, data)
        return Ack()

    def _take_shards(self, key: Key, contributor: int, reveal: Reveal, carried: tuple[int, ...], body: bytes) -> None:
        """Check a reveal against its commit, its shards against the reveal, store them, tell the machine."""
        layout, shards = self._layout_for(key), self._shards()
        self.feed(ev.RevealReceived(key, contributor, reveal))
        sizes = layout.shard_bytes(shards)
        if any(s >= shards for s in carried) or len(body) != sum(sizes[s] for s in carried):
            raise ProtocolError(f"{len(body)} bytes came for shards {list(carried)} of member {contributor}")
        at = 0
        view = memoryview(body)
        for shard in carried:
            data = view[at : at + sizes[shard]]
            at += sizes[shard]
            if shard == 0:
                check_side(data, layout, shards)
            self._peer.store.put(data, name=reveal.shards[shard])
            self.feed(ev.ShardHeld(key, contributor, shard))

    def _answer_pull(self, pull: Pull) -> Reply | Message:
        machine = self._machine
        assert machine is not None
        reveal = machine.reveal_of(pull.contributor) if machine.may_reveal() else None
        if reveal is None or any(s >= len(reveal.shards) for s in pull.wanted):
            return Unavailable("that contribution is not here")
        carried = tuple(s for s in pull.wanted if self._peer.store.has(reveal.shards[s]))
        body = b"".join(self._peer.store.get(reveal.shards[s]) for s in carried)
        return Reply(Shown(salt=reveal.salt, shards=reveal.shards, carried=carried), body)

    def _layout_for(self, key: Key) -> Layout:
        if self._layout is None or self._layout[0] != key:
            raise NetworkError("the round is not open here yet")
        return self._layout[1]

    def _shards(self) -> int:
        assert self._machine is not None
        assert self._machine.plan is not None
        return self._machine.plan.shards
