"""One task on one peer: the round machine, the worker, and what carries the machine's actions out.

The session is the only place where a round meets the world. It gives every event to the machine in the order things
became true on disk: a contribution is journalled before ``Trained``, a shard stored before ``ShardHeld``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from folkmoot.digest import Hash
from folkmoot.errors import DataError, LocalError, NetworkError, ProtocolError, TaskError
from folkmoot.ledger.records import TaskRecord
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.peer.cards import Changed
from folkmoot.peer.compute import Compute, Overtaken
from folkmoot.peer.context import PeerContext
from folkmoot.peer.custody import Kept, Unread
from folkmoot.peer.evidence import EVIDENCE_LIMIT, Evidence, two_outcomes
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.messages import (
    Accusation,
    Ack,
    Committal,
    Holding,
    Model,
    Opening,
    Pull,
    Push,
    Seeds,
    SeedsWanted,
    Split,
    Sums,
    Unavailable,
)
from folkmoot.peer.progress import POINTS, Progress
from folkmoot.peer.recall import is_foreign, sitting_out
from folkmoot.peer.rewarding import Rewarding
from folkmoot.peer.room import check_budget, room_for
from folkmoot.peer.spending import Spending
from folkmoot.peer.status import Step, TaskPhase
from folkmoot.peer.tribunal import Tribunal
from folkmoot.peer.unlearn import check_start
from folkmoot.peer.unmasking import Unmasking
from folkmoot.peer.voice import Voice
from folkmoot.peer.workplace import Overran, Withdrawn
from folkmoot.round import events as ev
from folkmoot.round.commitment import seat_of
from folkmoot.round.events import Action, Event, Key
from folkmoot.round.layout import Layout, sum_bytes
from folkmoot.round.machine import RoundMachine
from folkmoot.round.view import Phase, RoundView, members_of
from folkmoot.task.bundle import BUNDLE_LIMIT

__all__ = ["TaskSession"]

STATE_LIMIT = 1 << 34
"""Bytes of a state blob that a peer will fetch."""
LOOK_SECONDS = 2.0
"""Between looks at the member's data while the chain stands still: it may change, or be back, without a block."""
FAILED_SECONDS = 1.0
"""Before what failed on this machine is tried again; doubles each time, up to thirty times as long."""
_PHASES: Mapping[type[object], TaskPhase] = {
    ev.Train: "training",
    ev.PostCommit: "committing",
    ev.Push: "exchanging",
    ev.Pull: "exchanging",
    ev.SendHolding: "freezing",
    ev.Release: "unmasking",
    ev.AskSeeds: "unmasking",
    ev.Sum: "reducing",
    ev.Update: "reducing",
    ev.SendModel: "signing",
}


class TaskSession:
    """One task as this peer takes part in it. ``start`` first; then feed it what the ledger and the others say."""

    def __init__(self, record: TaskRecord, peer: PeerContext) -> None:
        self.record = record
        self.progress = Progress(record, peer.say, peer.log, peer.name)
        self.status = self.progress.status
        self._peer = peer
        self._compute = Compute(record, peer)
        self._spending = Spending(self.status, peer, self._compute, self.spawn, self.refresh)
        self._rewarding = Rewarding(record, peer, self._compute, self._at_leisure)
        self._machine: RoundMachine | None = None
        self._exchange: Exchange | None = None
        self._works: Mapping[type[Action], Callable[[Any], Coroutine[Any, Any, None]]] = {}
        """What carries out each kind of action."""
        self._view: RoundView | None = None
        self._opening: Key | None = None
        """The attempt whose parent is being prepared, or is."""
        self._willing = False
        self._astray: str | None = None
        """What is wrong with the granted data, while something is."""
        self._dataset: int | None = None
        """The dataset that is granted, whatever is wrong with it."""
        self._looked_at_data = float("-inf")
        self._keys_read_for: tuple[int, int, int] | None = None
        """Round, attempt and opening block of the attempt for which the ledger's exchange keys were last read."""
        self._rekeyed = False
        """Whether the masks of the attempt under way are of other keys than this peer has."""
        self._without = 0
        """Bitmap of members that the task does without."""
        self._jobs: dict[asyncio.Task[None], Key | None] = {}
        self._refreshing = asyncio.Lock()
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._ends: float | None = None
        """Ledger seconds at which this peer's grant ends by itself."""

    # ---- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Get the bundle, load it in the worker, and check it against the ledger.

        Raises ``TaskError`` when the bundle does not load or is not what the ledger's numbers say, and
        ``NetworkError`` when nobody has it.
        """
        await self._peer.fetch(self.record.bundle, BUNDLE_LIMIT)
        bundle = self._peer.store.get(self.record.bundle)
        pin = await self._peer.ledger(check_start, self._peer.moot, self.record, bundle)
        self._without = 0 if pin is None else pin.excluded
        self.status.name, policy = await self._compute.start(begun=pin is not None)
        for round, name, value in self._peer.journal.metrics(self.record.id, POINTS):
            self.progress.measure(round, {name: value})
        self._policy = policy
        if self._compute.first is not None:
            self._check_room(*self._compute.first)
        await self._recount()
        self._machine = RoundMachine(self._peer.index, seat_of, policy, timing=self._peer.timing, without=self._without)
        exchange = self._exchange = Exchange(self._peer, self._machine, self.feed, self._accuse)
        unmasking = self._unmasking = Unmasking(self._peer, self._machine, exchange, self.feed, self._accuse)
        self._tribunal = Tribunal(self.record.id, self._peer, self._machine, exchange)
        voice = self._voice = Voice(self._peer, self.feed, self.refresh)
        self._works = {
            ev.Open: self._do_open,
            ev.Train: self._do_train,
            ev.PostCommit: voice.commit,
            ev.Attend: voice.attend,
            ev.Push: self._do_push,
            ev.Pull: exchange.pull,
            ev.SendHolding: voice.send_holding,
            ev.PostFreeze: voice.freeze,
            ev.Release: self._do_release,
            ev.AskSeeds: unmasking.ask,
            ev.SendOpening: voice.send_opening,
            ev.PostOpening: voice.open_without,
            ev.Sum: self._do_sum,
            ev.Announce: voice.announce,
            ev.PullSum: self._do_pullsum,
            ev.Update: self._do_update,
            ev.SendModel: voice.send_model,
            ev.PostFinal: voice.finalise,
            ev.PostRetry: voice.retry,
        }

    async def _recount(self) -> None:
        """Count as let go what the ledger shows of this member and the journal does not know: another set of its keys,
        with a journal of its own, has committed it. What is under way this peer will note itself."""
        moot, me, task = self._peer.moot, self._peer.index, self.record.id
        view = await self._peer.ledger(moot.round_view, task)
        grants = await self._peer.ledger(moot.granted_log, task, me)
        for commit in await self._peer.ledger(moot.commits_log, task):
            key = Key(task, commit.round, commit.attempt)
            under_way = view.phase is not Phase.DONE and key == Key(task, view.round, view.attempt)
            if commit.member == me and not under_way:
                dataset = max((grant for grant in grants if grant[0] <= commit.block), default=(0, 0))[1]
                self._peer.journal.release(key, dataset)

    async def close(self) -> None:
        """Stop all that is under way, and the worker."""
        jobs = [job for job in self._jobs if job is not asyncio.current_task()]
        if self._looking is not None:
            jobs.append(self._looking)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        await self._compute.close()

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

    @property
    def awaited(self) -> tuple[int, ...]:
        """The members of the attempt under way, who may have been removed since."""
        return () if self._view is None or self.done else members_of(self._view.members)

    def in_use(self) -> Iterator[Hash]:
        """The blobs that the round under way stands on."""
        if self._exchange is not None:
            yield from self._exchange.in_use

    async def refresh(self) -> None:
        """Read the ledger and tell the machine. Raises ``ChainError`` when it cannot be read."""
        if self._machine is None:
            return
        async with self._refreshing:
            self._looked = time.monotonic()
            view = await self._peer.ledger(self._peer.moot.round_view, self.record.id)
            key = Key(view.task, view.round, view.attempt)
            finished, self._view = self.done, view
            self._rekeyed = await self._has_newer_keys(view)
            if not self._peer.journal.sits_out(key) and not self._rekeyed:
                self._peer.settle(sitting_out(self.record.id))
            if not self._peer.twin and is_foreign(self._peer, view):
                self._peer.recognise_twin(
                    f"a commit to round {key.round} of task {key.task} stands on the ledger that was not made here,"
                    " unless this folder is an older copy of its own"
                )
            self._willing = await self._granted(key) is not None
        self.progress.show(view)
        first = self.progress.untold(self.finished_rounds)
        if first is not None and self._peer.watched:
            self.spawn(self._tell(first))
        self.feed(ev.LedgerSeen(view, self._peer.now(), self._willing, self._rekeyed))
        if self.done:
            self._peer.rooms.pop(self.record.id, None)
        if self.done and not finished and not self._rewarding.scoring:
            self.spawn(self._compute.rest())

    async def _has_newer_keys(self, view: RoundView) -> bool:
        """Whether this peer's keys were put in use since the attempt under way opened, so that it sits it out."""
        if not self.record.sealed or view.phase not in (Phase.COMMIT, Phase.FROZEN):
            return False
        attempt = view.round, view.attempt, view.opened
        if self._keys_read_for != attempt:
            await self._peer.ledger(self._peer.agreement.read)
            self._keys_read_for = attempt
        if not self._peer.agreement.is_newer(self._peer.index, view.opened):
            return False
        told = (
            "this peer's keys were put in use while it was under way, and its masks are of the keys from before. It"
            " takes part from the next attempt on; where the round cannot do without it, pause the task and resume it"
        )
        where = f"sits out round {view.round} of task {view.task}"
        self._peer.complain(f"{where}: {told}", kind="identity", about=sitting_out(view.task), task=view.task)
        return True

    async def _tell(self, first: int) -> None:
        self.progress.tell(await self._peer.ledger(self._peer.moot.finals, self.record.id, first))

    def tick(self) -> None:
        """Tell the machine that time has passed."""
        if self._ends is not None and self._peer.now() >= self._ends:
            self._ends = None
            self._allow(None)  # the grant has ended by itself: no block says so
            self.spawn(self.refresh())
        if self._dataset is not None and time.monotonic() >= self._looked_at_data + LOOK_SECONDS and not self.done:
            self._looked_at_data = time.monotonic()
            self.spawn(self._look_at(self._dataset))
        self.feed(ev.Clock(self._peer.now()))

    def reward(self) -> None:
        """Take the task's bounty further, beside the rounds."""
        if self._machine is not None:
            self.spawn(self._rewarding.step())

    def _at_leisure(self) -> bool:
        """Whether the round under way does not wait for this peer's training."""
        view = self._view
        return view is None or self.done or not self._willing or bool(view.committed >> self._peer.index & 1)

    def feed(self, event: Event) -> None:
        """Give the machine an event and set its actions going. Raises ``ProtocolError`` on a member's fault."""
        if self._machine is None or self._exchange is None:
            return
        before = self._machine.key
        actions = self._machine.handle(event)
        if self._machine.key != before:
            self._exchange.begin()
            for job, key in self._jobs.items():
                if key is not None and key != self._machine.key:
                    job.cancel()
        for action in actions:
            self._set_going(action)

    async def _granted(self, key: Key, *, now: bool = False) -> Kept | None:
        """The dataset that is granted to exactly this task, if there is a live grant, the data is what the grant was
        given for, there is privacy left to spend under it, and the task is neither paused nor does without this member.
        ``now``: as it is on disk at this moment."""
        if not self._peer.may_tell(key):
            self._allow(None)
            return None
        grant = await self._peer.own_grant(self.record.id)
        self._ends = None if grant is None else grant.until
        if grant is None or self._paused or self._without >> self._peer.index & 1:
            self._allow(None)
            self._astray = self._dataset = None
            self.progress.drop("train")
            return None
        self._dataset = grant.dataset
        try:
            data = await self._peer.kept(grant.dataset, now=now)
        except Unread as unread:
            self._allow(None)
            self.progress.wait("data", str(unread))
            self.spawn(self._after_reading(grant.dataset))
            return None
        except LocalError as error:
            self._allow(None)
            self._lose(grant.dataset, error)
            return None
        self._allow(data.path)
        if self._astray is not None:
            self._astray = None
            self._peer.journal.data_seen(data.dataset, self.record.id, "as it was granted")
            self.progress.succeed("train")
        return data if self._spending.allows(grant, data, key) else None

    def _lose(self, dataset: int, error: LocalError) -> None:
        """Take no part while the data is not what was consented to, and have it on record."""
        if self._astray != str(error):
            self._astray = str(error)
            found = "changed" if isinstance(error, Changed) else "missing"  # in an audit nobody is told where it lies
            self._peer.journal.data_seen(dataset, self.record.id, found)
            self._peer.log("data changed", task=self.record.id, dataset=dataset, reason=str(error))
        self.fail("train", error)

    async def _look_at(self, dataset: int) -> None:
        """See whether what is known of the data still holds."""
        well = True
        try:
            await self._peer.kept(dataset)
        except Unread:
            return
        except LocalError:
            well = False
        if well == (self._astray is not None):
            await self.refresh()

    async def _after_reading(self, dataset: int) -> None:
        await self._peer.read(dataset)
        await self.refresh()

    def _allow(self, path: str | None) -> None:
        """Let the worker use this dataset, or none, from now on."""
        self._willing = self._willing and path is not None
        if self._compute.allow(path):
            self.spawn(self._compute.show())

    @property
    def _paused(self) -> bool:
        return self._view is not None and self._view.paused

    def fail(self, step: Step, error: Exception, key: Key | None = None) -> None:
        """Show that a step of this peer's part failed, until the same step goes well. Who cannot open the attempt
        ``key`` or train for it takes no part in it, and the machine hears of that."""
        text = self.progress.fail(step, error)
        if key is not None and (step == "open" or step == "train"):
            self.feed(ev.Failed(key, text, step, lasting=not isinstance(error, Overran)))

    # ---- actions -----------------------------------------------------------------------------------------------

    def _set_going(self, action: Action) -> None:
        if isinstance(action, ev.Wait):
            if not self._paused:  # people decided that, and the status says so
                self.progress.take(action)
            return
        if self._view is None or not self.record.measures(self._view):
            self.progress.enter(_PHASES.get(type(action)))
        # What runs in the worker is not cut off with its attempt: that would cost the warm process.
        bound = not isinstance(action, ev.Train | ev.Sum | ev.Update | ev.Open)
        self.spawn(self._works[type(action)](action), action.key if bound else None)

    def spawn(self, work: Coroutine[Any, Any, None], key: Key | None = None) -> None:
        """Run ``work`` beside the rest; its errors are logged, never fatal. With ``key`` it ends with that attempt."""
        job = asyncio.get_running_loop().create_task(self._guarded(work))
        self._jobs[job] = key
        job.add_done_callback(lambda done: self._jobs.pop(done, None))
        job.add_done_callback(lambda _: work.close())  # one that is cancelled before it began would be warned of

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        about = f"task {self.record.id} {getattr(work, '__qualname__', '')}"
        try:
            await work
        except Withdrawn as withdrawn:
            self._peer.log("withdrawn", task=self.record.id, reason=str(withdrawn))
        except NetworkError as error:
            self._peer.log("unreachable", task=self.record.id, error=str(error))
        except Exception as error:
            self._peer.fault(error, about=about, task=self.record.id)
        else:
            self._peer.settle(about)

    async def _until_done(self, key: Key, step: Step, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try again what fails on this machine, while the attempt lasts: a person may mend it, or free disk space."""
        for pause in _pauses():
            if self._key != key:
                return
            try:
                await work()
            except Exception as error:
                if self._key == key and not self._paused:
                    self.fail(step, error, key)
            else:
                return self.progress.succeed(step)
            await asyncio.sleep(pause)

    @property
    def _key(self) -> Key | None:
        return None if self._machine is None else self._machine.key

    @property
    def _open(self) -> Exchange:
        if self._exchange is None:
            raise NetworkError(f"task {self.record.id} is not open here yet")
        return self._exchange

    async def _do_open(self, action: ev.Open) -> None:
        """Have the state that the round starts from, on disk and prepared; the machine may ask again meanwhile."""
        if self._opening == action.key:
            return
        self._opening = action.key

        async def open_round() -> None:
            for name, limit in ((self.record.bundle, BUNDLE_LIMIT), (action.parent, STATE_LIMIT)):
                await self._peer.fetch(name, limit)
            layout = await self._compute.layout(action.key, action.parent)
            self._check_room(action.parent, layout)
            if self._key == action.key:
                self._open.open(action.key, layout)
            self.feed(ev.Opened(action.key))

        await self._until_done(action.key, "open", open_round)

    def _check_room(self, state: Hash, layout: Layout) -> None:
        """Raise ``StoreError`` where the store's budget is below what a round from this state needs."""
        view, policy, rooms = self._view, self._policy, self._peer.rooms
        members = len(members_of(view.members)) if view is not None else 0
        room = room_for(self._peer.store.size(state), layout, policy, members or len(self._peer.living))
        self.status.store_bytes = room.bytes
        rooms.pop(self.record.id, None)
        check_budget(self._peer.home, self.record.id, room.bytes, sum(other.bytes for other in rooms.values()))
        rooms[self.record.id] = room

    async def _do_train(self, action: ev.Train) -> None:
        """Make this peer's contribution. While that fails, it is tried again as long as commits are open."""
        machine = self._machine
        assert machine is not None
        for pause in _pauses():
            while self._key == action.key and not self._willing:
                await asyncio.sleep(FAILED_SECONDS)
            if self._key != action.key:
                return
            try:
                await self._train(action)
            except Withdrawn as withdrawn:
                self._peer.log("withdrawn", task=action.key.task, round=action.key.round, reason=str(withdrawn))
            except Overtaken as overtaken:
                self._peer.log("overtaken", task=action.key.task, round=action.key.round, reason=str(overtaken))
                return self.feed(ev.Overtaken(action.key))
            except Exception as error:
                self.fail("train", error, action.key)
                await asyncio.sleep(pause)
                if machine.may_reveal():
                    return  # commits may have closed in this pause: nothing can be made for them any more
                continue
            else:
                return self.progress.succeed("train")
            await asyncio.sleep(pause)

    async def _train(self, action: ev.Train) -> None:
        granted = await self._granted(action.key, now=True)
        if granted is None:
            told = "no live grant covers this task and a dataset on this machine"
            raise TaskError(told) if self._willing else Withdrawn(told)
        exchange, seconds = self._open, self._time_to_train(action.key)
        try:
            reveal, norm = await self._compute.train(action, granted, exchange.plan(), exchange.masking, seconds)
        except DataError:
            await self._granted(action.key, now=True)  # where the data has changed meanwhile, that goes on record
            raise
        self._peer.log("trained", task=action.key.task, round=action.key.round, norm=norm)
        if self._key == action.key:
            self.status.norm = norm
            self._open.in_use.update(reveal.shards)
        self.feed(ev.Trained(action.key, reveal))

    def _time_to_train(self, key: Key) -> float | None:
        """Seconds until commits close; ``None`` when they are closed already. When the moot waits for members past the
        deadline there is a whole window anew, and the longer it waits, the longer a training may take."""
        if self._machine is None or self._machine.may_reveal():
            return None
        window = float(self.record.train_seconds << min(key.attempt, 6))
        left = (self._view.commit_deadline if self._view else 0) - self._peer.now()
        return left if left > 0 else max(window, -left)

    async def _do_push(self, action: ev.Push) -> None:
        grant = await self._peer.own_grant(self.record.id)
        made = self._peer.journal.made_from(action.key)
        if grant is None or made is None or made.dataset != grant.dataset:
            return  # withdrawn in time, or given for other data since
        # What is sent is spent, masked or not: from here on others can open it without this peer.
        self._peer.journal.release(action.key, grant.dataset)
        await self._open.push(action)

    async def _do_release(self, action: ev.Release) -> None:
        if self._peer.may_tell(action.key):
            await self._until_done(action.key, "unmask", lambda: self._unmasking.release(action))

    async def _do_sum(self, action: ev.Sum) -> None:
        view = self._view
        assert view is not None

        async def sum_up() -> None:
            shards, layout = self._open.plan().shards, self._open.layout(action.key)
            for shard, rows in action.shards.items():
                for row, blobs in zip(action.rows, rows, strict=True):
                    size = layout.shard_bytes(shards, row.group)[shard]
                    for blob in blobs:  # what went bad on disk since is fetched again
                        await self._peer.fetch(blob, size)
            sums = await self._compute.sums(view.parent, shards, action)
            self._open.in_use.update(sums.values())
            for shard, name in sums.items():
                self.feed(ev.SumHeld(action.key, shard, name))

        await self._until_done(action.key, "sum", sum_up)

    async def _do_update(self, action: ev.Update) -> None:
        async def update() -> None:
            shards = len(action.sums)
            if shards > 1:  # a lone shard's sum is in the worker
                layout = self._open.layout(action.key)
                for shard, name in enumerate(action.sums):
                    await self._peer.fetch(name, sum_bytes(shard, layout, shards, action.rows))
            statement, metrics = await self._compute.update(action)
            self._measure(action.key.round - 1, metrics)
            self.feed(ev.Computed(action.key, statement))

        await self._until_done(action.key, "update", update)

    def _measure(self, round: int, metrics: Mapping[str, float]) -> None:
        self._peer.journal.measured(self.record.id, round, dict(metrics))
        self.progress.measure(round, metrics)

    async def _do_pullsum(self, action: ev.PullSum) -> None:
        await self._open.pull_sum(action.key, action.shard, action.sum, action.sources)

    # ---- what others send --------------------------------------------------------------------------------------

    async def answer(self, member: int, message: Message, body: BodyReader) -> Reply | Message:
        """Take in a message about this task. Raises ``ProtocolError`` or ``IntegrityError`` on the member's fault."""
        if isinstance(message, Accusation):
            if self._machine is None:
                return Unavailable("that task is not open here yet")
            if not self._machine.may_reveal():
                await self._look()
            return await self._tribunal.judge(member, message, await body.read(EVIDENCE_LIMIT))
        if isinstance(message, Split):
            if self._machine is None:
                return Unavailable("that task is not open here yet")
            return await self._rewarding.answer(message)
        if not isinstance(message, Committal | Push | Pull | Holding | Seeds | SeedsWanted | Opening | Sums | Model):
            raise ProtocolError(f"{type(message).__name__} is an answer, not a request")
        if not await self._present(message.key):
            return Unavailable("not at that attempt here")
        if isinstance(message, Committal):
            self._peer.check_commit(member, message.key, message.hash, message.signature)
            self.spawn(self._voice.collecting.take(member, message.key, message.hash, message.signature))
            return Ack()
        if isinstance(message, Push):
            if not await self._may_reveal(message.key):
                return Unavailable("commits are not closed here")
            return await self._open.answer_push(member, message, body)
        if isinstance(message, Pull):
            return self._open.answer_pull(message)
        if isinstance(message, Seeds | SeedsWanted | Opening | Sums | Model) and not await self._frozen(message.key):
            return Unavailable("the survivors are not fixed here")
        if isinstance(message, Seeds):
            return self._unmasking.take(member, message)
        if isinstance(message, SeedsWanted):
            return self._unmasking.answer(message)
        if isinstance(message, Holding):
            contributors = int.from_bytes(message.contributors, "big")
            self._peer.check_holding(member, message.key, contributors, message.signature)
            self.feed(ev.HoldingReceived(message.key, member, contributors, message.signature))
        elif isinstance(message, Opening):
            survivors, opened = (int.from_bytes(b, "big") for b in (message.survivors, message.opened))
            self._peer.check_opening(member, message.key, survivors, opened, message.signature)
            self.feed(ev.OpeningReceived(message.key, member, survivors, opened, message.signature))
        elif isinstance(message, Sums):
            self.feed(ev.SumsReceived(message.key, member, message.sums))
        else:
            self._peer.check_model(member, message.key, message.statement, message.signature)
            self._compare(member, message)
            self.feed(ev.ModelReceived(message.key, member, message.statement, message.signature))
        return Ack()

    def _accuse(self, evidence: Evidence) -> None:
        """Show the others that a member broke a rule."""
        self.spawn(self._tribunal.accuse(evidence))

    def _compare(self, member: int, message: Model) -> None:
        """Accuse a member that signs a second outcome. Not where sums come from their holders: there an honest member
        may have believed false ones, and learnt better."""
        machine = self._machine
        said = None if machine is None or machine.plan is None or machine.plan.shards > 1 else machine.said_by(member)
        if said is not None:
            evidence = two_outcomes(member, message.key, said, (message.statement, message.signature))
            if evidence is not None:
                self._accuse(evidence)

    async def _look(self) -> None:
        """Read the ledger again because a member's message says that there is news. Where reading costs something it
        is done once for all that come within a moment: a member may send any number."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_soon())
        await asyncio.shield(self._looking)

    async def _look_soon(self) -> None:
        await asyncio.sleep(self._looked + self._peer.look_pause - time.monotonic())
        self._looking = None  # what is said from now on may be newer than what is read
        await self.refresh()

    async def _present(self, key: Key) -> bool:
        """Whether ``key`` is the attempt under way; looks at the ledger again when it may be the next one."""
        if self._machine is None or key.task != self.record.id or self.done:
            return False
        if self._key is None or key > self._key:
            await self._look()
        return self._key == key

    async def _frozen(self, key: Key) -> bool:
        """Whether survivors are fixed; looks at the ledger again when they do not seem so."""
        assert self._machine is not None
        if not self._machine.survivors:
            await self._look()
        return self._key == key and self._machine.survivors != 0

    async def _may_reveal(self, key: Key) -> bool:
        """Whether commits are closed; looks at the ledger again when they do not seem so."""
        assert self._machine is not None
        if not self._machine.may_reveal():
            await self._look()
        return self._key == key and self._machine.may_reveal()


def _pauses() -> Iterator[float]:
    """Seconds to wait after each failure."""
    pause = FAILED_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, 30 * FAILED_SECONDS)
