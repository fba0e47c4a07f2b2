"""The peer's daemon: follows the ledger, runs a session for each task, answers the other members."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import DiskError, FolkmootError, LedgerRefused, LocalError, NetworkError
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Member, Standing, TaskRecord
from folkmoot.network import BlobMessage, BodyReader, Message, Node, PortTaken, Reply, serve_blobs
from folkmoot.peer import governing, weighing
from folkmoot.peer.backfill import ROOMY, Backfill, collect, is_full
from folkmoot.peer.context import BUSY_WAIT, PeerContext, Told
from folkmoot.peer.home import Home
from folkmoot.peer.hostedcopy import prepare
from folkmoot.peer.hosting import Hosting
from folkmoot.peer.hostmessages import HostMessage
from folkmoot.peer.log import Log
from folkmoot.peer.mending import Mending
from folkmoot.peer.messages import RoundMessage, Unavailable
from folkmoot.peer.process import keep_buffers, settle
from folkmoot.peer.recall import Presence, recall
from folkmoot.peer.sandbox import choose, put_on_record
from folkmoot.peer.session import TaskSession
from folkmoot.peer.status import Link, PeerStatus, TaskStatus, write_status
from folkmoot.task.bundle import BUNDLE_LIMIT

__all__ = ["Daemon", "run"]

BUSY_POLL = 0.008
"""Seconds between looks at an embedded chain while a round is under way; a look costs a few microseconds."""
IDLE_POLL = 0.05
REMOTE_POLL = 1.0
TICK = 0.1
SURVEY = 0.5
"""Seconds between full readings of members and tasks while the chain moves."""
IDLE_SURVEY = 60.0
"""Seconds between them while it stands still: this peer's own addresses may have changed."""
HINTS = 512
"""Bytes of addresses, joined by commas, that the ledger takes."""
STATUS = 0.25
TIDY = 1.0
REWARD = 0.2
"""Seconds between looks at what is due of tasks' bounties; a remote ledger is asked more seldom."""
REMOTE_REWARD = 3.0
MOST_WANTED = 16
"""Blobs that are fetched for people to read at a time."""
TEXT_LIMIT = 1 << 20
"""Bytes of the reasons for a motion, or of the account of a moot that moves."""
ENACT_AGAIN = 300.0
"""Seconds until what could not be enacted is tried again."""
CARRY_AGAIN = 2.0
"""Seconds until this peer looks again at weights of votes that are to be carried over from the moot before."""
CARRIED_AGAIN = 30.0
"""The same once all are: a member may follow late."""
OTHERS_ENACT = 10.0
"""Seconds until others enact a motion that its mover has not."""
REBIND_SECONDS = 20.0
RETRY_TASK = 5.0
"""Seconds until a task that would not start is tried again; doubles with each failure."""
RETRY_MOST = 600.0
RETRY_MOST_LOOK = 30.0


@dataclass
class _Refused:
    """A task that would not start: what its status says, how often it failed, and when it is tried again."""

    status: TaskStatus
    failures: int
    again: float


class Daemon:
    """One running peer. ``run`` returns when ``stop`` was called."""

    def __init__(self, home: Home, patience: float = 0.0, say: Callable[[str], None] | None = None) -> None:
        """``say`` prints a line for who watches this peer run."""
        self._say = say
        self.home = home
        self._patience = patience
        chain = home.chain()
        self._moot = home.moot(chain)
        self._embedded = self._moot.embedded
        self._copy = chain.replica if isinstance(chain.replica, HostedReplica) else None
        if chain.replica is not None:
            chain.replica.wait_at_most(BUSY_WAIT)
        messages = BlobMessage | RoundMessage
        self._node = Node(home.identity.endpoint_secret, messages if self._copy is None else messages | HostMessage)
        self._hosting: Hosting | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._anew = False
        self._sessions: dict[int, TaskSession] = {}
        self._refused: dict[int, _Refused] = {}
        self._stop = asyncio.Event()
        self._status = PeerStatus(name=home.config.name, pid=os.getpid(), endpoint=self._node.id.hex())
        self._status.sandbox = choose(home.config).kind
        self._bindings: dict[tuple[object, ...], bool] = {}
        """Which bindings hold; a signature is checked once."""
        self._presence = Presence()
        self._wanted: set[Hash] = set()
        """Blobs that are being fetched for people to read."""
        self._fetches: set[asyncio.Task[None]] = set()
        self._rounds_of: dict[int, int] = {}
        """How many rounds each stopped task had."""
        self._enact_again: dict[int, float] = {}
        self._carry_again = 0.0
        """When to look again at whether votes weigh here what they did in the moot before."""
        self._owed: dict[int, int] = {}
        """The weights that votes had there, by member, and that no motion here has given again."""
        self._passed: dict[int, float] = {}
        """When this peer first saw a motion as passed."""
        self._at = (-1, 0)
        """The block that the sessions last looked at, and how often the chain had taken blocks back by then."""
        self._surveyed = float("-inf")
        self._surveyed_at = (-1, 0)
        self._collect_again = float("-inf")
        self._written = b""

    def stop(self) -> None:
        """Ask the daemon to leave."""
        self._stop.set()

    def restart(self) -> None:
        """Ask the daemon to leave, and another to start: what this one has read from the chain holds no more."""
        self._anew = True
        self._stop.set()

    async def run(self) -> bool:
        """Take part until stopped; whether another daemon is to start. Raises ``LocalError`` when this identity is no
        member of the moot."""
        me = self._moot.me()
        if me is None:
            raise LocalError(f"{self.home.config.name} is not a member of this moot yet; folkmoot join TICKET first")
        keys = self.home.identity
        if (me.address, me.endpoint) != (keys.account.address, keys.endpoint):
            raise LocalError(
                f"this home holds the main key of {me.name}, and other keys are in daily use: run the peer with those,"
                " or take them back (folkmoot delegate --back)"
            )
        self._status.member = me.index
        await self._listen()
        log = Log(self.home.log_file)
        peer = self._peer = PeerContext(
            self.home,
            self._moot,
            self._node,
            me.index,
            log,
            embedded=self._embedded,
            hosted=self._copy is not None,
            say=self._say,
        )
        put_on_record(peer)
        await recall(peer)
        peer.store.reclaim()
        asyncio.get_running_loop().set_exception_handler(self._stray)
        self._backfill = Backfill(peer)
        self._mending = Mending(peer)
        self._blobs = serve_blobs(peer.store)
        self._node.serve(self._answer)
        peer.log("started", pid=os.getpid(), member=me.index, addresses=self._node.addresses())
        peer.say(f"{me.name} runs, process {os.getpid()}, and listens on {', '.join(self._node.addresses())}")
        self._status.state = "idle"
        steps: list[Callable[[], Awaitable[float]]] = [
            self._look,
            self._tick,
            self._report,
            self._catch_up,
            self._tidy,
            self._mending.step,
            self._reward,
        ]
        if self._copy is not None:
            peer.members = {m.index: m for m in self._moot.members()}
            hosting = Hosting(peer, self._copy, self.restart)
            await hosting.wake()
            self._hosting = hosting
            steps += hosting.steps
        loops = [asyncio.create_task(self._again(step)) for step in steps]
        told = Told(peer)
        logging.getLogger("folkmoot").addHandler(told)
        try:
            await self._stop.wait()
        finally:
            logging.getLogger("folkmoot").removeHandler(told)
            self._status.state = "stopping"
            if self._hosting is not None:
                self._hosting.close()
            for loop in (*loops, *filter(None, [self._speaking])):
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            with contextlib.suppress(DiskError):
                await self._report()
            await asyncio.gather(*(session.close() for session in self._sessions.values()), return_exceptions=True)
            await self._node.close()
            peer.log("stopped")
            peer.close()
            log.close()
        return self._anew

    async def _listen(self) -> None:
        """Go on the network; one that takes over from another in this process waits until that has left its port."""
        listen, relays = self.home.config.bind, self.home.config.relays or None
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            with contextlib.suppress(PortTaken):
                await self._node.start(listen.removesuffix("+"), relays)
                return
            await asyncio.sleep(STATUS)
        self.home.settle(await self._node.start(listen, relays))

    async def _again(self, step: Callable[[], Awaitable[float]]) -> None:
        """Take ``step`` for ever, each time after as many seconds as it says. What it raises is logged and shown, and
        the peer stays up."""
        failed, about = 0.0, f"step {step.__qualname__}"
        while True:
            try:
                pause, failed = await step(), 0.0
            except Exception as error:
                self._peer.fault(error, about=about)
                pause = failed = min(RETRY_MOST_LOOK, 2 * failed + 0.5)
            else:
                self._peer.settle(about)
            await asyncio.sleep(pause)

    async def _alone(self, session: TaskSession, step: Callable[[], Awaitable[None] | None]) -> None:
        """Take a step of one session; a mistake in it is not to hold up the others. What the ledger does is told."""
        about = f"task {session.record.id} {step.__name__}"
        try:
            taken = step()
            if taken is not None:
                await taken
        except FolkmootError:
            raise
        except Exception as error:
            self._peer.fault(error, about=about, task=session.record.id)
        else:
            self._peer.settle(about)

    def _stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What the event loop has no better place for: exceptions of callbacks, and of tasks nobody waited for."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._peer.mishap(error, where=str(context.get("message")))
        else:
            self._peer.log("event loop", message=str(context.get("message")), error=str(error))

    # ---- the ledger --------------------------------------------------------------------------------------------

    async def _look(self) -> float:
        """Look at the chain, and tell the sessions when it has moved."""
        place = (await self._peer.look(), self._moot.epoch)
        now = time.monotonic()
        due = place != self._surveyed_at or now >= self._surveyed + IDLE_SURVEY
        due = due or any(refused.again <= now for refused in self._refused.values())
        due = due or (bool(self._owed) and now >= self._carry_again)
        if due and now >= self._surveyed + SURVEY:
            await self._survey()
            self._surveyed, self._surveyed_at = now, place
        if place != self._at:
            for session in list(self._sessions.values()):
                await self._alone(session, session.refresh)
            self._at = place
        if not self._embedded:
            return REMOTE_POLL
        pause = BUSY_POLL if any(not session.done for session in self._sessions.values()) else IDLE_POLL
        return pause if self._hosting is None else await self._hosting.quiet(pause)

    async def _survey(self) -> None:
        """Learn of members, their addresses, and tasks; say where this peer is when the ledger does not know."""
        members = await self._peer.ledger(self._moot.members)
        trusted = [m for m in members if self._bound(m)]
        for member in members:
            if member not in trusted and member.index not in self._peer.members:
                unbound = f"member {member.name} has not bound its network key; its peer is ignored"
                self._peer.complain(unbound, kind="member")
        self._peer.members = {m.index: m for m in members}
        awaited = {m for session in self._sessions.values() for m in session.awaited}
        welcome = [m for m in trusted if m.living or m.index in awaited]
        self._node.allow({m.endpoint: m.addresses for m in welcome if m.index != self._peer.index})
        tasks = await self._peer.ledger(self._moot.tasks)
        await self._carry_weights()
        for record in tasks:
            if record.id in self._sessions or not await self._came_to_nothing(record):
                self._consider(record)
        if not members[self._peer.index].living:
            removed = "the members have removed this peer from the moot; it does nothing more there"
            self._peer.complain(removed, kind="identity")
            return
        if self._hosting is None:
            await self._speak(members[self._peer.index])
        elif self._speaking is None or self._speaking.done():
            # a host that does not answer is not to keep this peer from looking
            self._speaking = asyncio.create_task(self._guarded(self._speak(members[self._peer.index])))

    async def _speak(self, me: Member) -> None:
        addresses = _fitting(self._node.addresses())
        self._presence.says(addresses)
        twin = self._presence.is_foreign(me.addresses)
        if twin and not self._peer.twin:
            where = ", ".join(me.addresses) or "nowhere"
            self._peer.recognise_twin(f"it has announced itself at {where}, which this peer has not")
            await self._announce(addresses)  # once more: the other is to see this one
            for session in list(self._sessions.values()):
                await self._alone(session, session.refresh)
        elif me.addresses != addresses and not twin:
            await self._announce(addresses)
        await self._enact()

    async def _announce(self, addresses: tuple[str, ...]) -> None:
        await self._peer.post(self._moot.announce, addresses)
        members = await self._peer.ledger(self._moot.members)
        self._presence.is_foreign(members[self._peer.index].addresses)  # whatever comes after this word is no older one

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._peer.fault(error, about="speak")
        else:
            self._peer.settle("speak")

    async def _enact(self) -> None:
        """Have done what has passed: the mover's peer at once, the others when it has not after a while."""
        for motion in await self._peer.ledger(governing.pending, self._moot):
            self._want(motion.text, TEXT_LIMIT)
            if motion.kind is Kind.RETIRE:
                self._want(motion.words[2].to_bytes(32, "big"), TEXT_LIMIT)
            since = self._passed.setdefault(motion.id, time.monotonic()) if motion.passed else math.inf
            again = max(self._enact_again.get(motion.id, since), since)
            if time.monotonic() > again + (0 if motion.mover == self._peer.index else OTHERS_ENACT):
                await self._try_to_enact(motion.id)

    async def _carry_weights(self) -> None:
        """Move or vote that votes weigh here what they did in the moot before, as its members agreed when it moved."""
        if time.monotonic() < self._carry_again:
            return
        heritage = (await self._peer.ledger(self._moot.about)).heritage
        if not any(heritage):
            self._carry_again = math.inf
            return
        self._want(heritage, TEXT_LIMIT)
        account = weighing.account_here(self._peer.store, heritage)
        if account is not None and account.weights:
            owed, signer = self._owed, self.home.identity.account.address
            self._owed = await self._peer.post(weighing.carry, self._moot, account, signer)
            if owed and not self._owed:
                for refused in self._refused.values():
                    refused.again = min(refused.again, time.monotonic())
        known = account is not None and not self._owed
        self._carry_again = time.monotonic() + (CARRIED_AGAIN if known else CARRY_AGAIN)

    async def _try_to_enact(self, motion: int) -> None:
        """Two motions may both pass, and the second find nothing left to do: that is the ledger's to say, and ours to
        say again only seldom."""
        try:
            await self._peer.post(governing.enact, self._moot, motion)
        except LedgerRefused as refusal:
            self._enact_again[motion] = time.monotonic() + ENACT_AGAIN
            self._peer.log("refused", call="enact", motion=motion, reason=str(refusal))

    def _bound(self, member: Member) -> bool:
        key = (member.address, member.endpoint, member.exchange, member.binding)
        if key not in self._bindings:
            self._bindings[key] = check_binding(member)
        return self._bindings[key]

    def _consider(self, record: TaskRecord) -> None:
        if record.standing is Standing.PROPOSED:
            self._want(record.bundle, BUNDLE_LIMIT)
            return
        refused = self._refused.get(record.id)
        if record.id in self._sessions or (refused is not None and time.monotonic() < refused.again):
            return
        session = self._sessions[record.id] = TaskSession(record, self._peer)
        if refused is not None:
            refused.again = float("inf")
            session.status.failure = refused.status.failure
        session.spawn(self._start(session))

    async def _came_to_nothing(self, record: TaskRecord) -> bool:
        """Whether the task was taken back, or stopped before any round of it was final: nothing of it is to be kept."""
        if record.standing is not Standing.STOPPED:
            return False
        if record.id not in self._rounds_of:
            self._rounds_of[record.id] = (await self._peer.ledger(self._moot.round_view, record.id)).round
        return self._rounds_of[record.id] == 0

    def _want(self, name: Hash, limit: int) -> None:
        """Have what people are to read before they vote or grant: code, reasons. Nothing of it runs."""
        if name in self._wanted or not any(name) or self._peer.store.has(name):
            return
        if len(self._wanted) >= MOST_WANTED:
            return  # with the next survey
        self._wanted.add(name)

        async def fetch() -> None:
            try:
                await self._peer.fetch(name, limit)
            except NetworkError as error:
                self._peer.log("unreachable", blob=name.hex(), error=str(error))
            finally:
                self._wanted.discard(name)

        job = asyncio.create_task(fetch())
        self._fetches.add(job)
        job.add_done_callback(self._fetches.discard)

    async def _start(self, session: TaskSession) -> None:
        number = session.record.id
        try:
            if self._owed:
                who = ", ".join(self._peer.members[member].name for member in self._owed)
                raise LocalError(f"votes do not weigh yet what they did in the moot before: {who}; folkmoot motions")
            await session.start()
        except Exception as error:
            await self._refuse(session, error)
            return
        self._refused.pop(number, None)
        session.progress.succeed("load")
        self._peer.log("task", task=number, name=session.status.name)
        await session.refresh()

    async def _refuse(self, session: TaskSession, error: Exception) -> None:
        """Show why a task does not start; it is tried again later, ever more seldom."""
        number = session.record.id
        session.fail("load", error)
        await session.close()
        del self._sessions[number]
        failures = 1 + (self._refused[number].failures if number in self._refused else 0)
        again = time.monotonic() + min(RETRY_MOST, RETRY_TASK * 2.0 ** min(failures - 1, 20))
        self._refused[number] = _Refused(session.status, failures, again)

    # ---- the others --------------------------------------------------------------------------------------------

    async def _answer(self, endpoint: bytes, message: Message, body: BodyReader) -> Reply | Message:
        member = self._peer.member_with(endpoint)
        if member is None:
            raise NetworkError("not a member of this moot")
        if isinstance(message, BlobMessage):
            return await self._blobs(endpoint, message, body) or Unavailable("that is an answer, not a request")
        if self._hosting is not None and (told := await self._hosting.answer(member, message, body)) is not None:
            return told
        task = getattr(message, "task", None)
        session = self._sessions.get(task) if isinstance(task, int) else None
        if session is None:
            raise NetworkError("that task is not open here")
        try:
            if self._hosting is not None:
                return await self._hosting.patiently(message, body, lambda: session.answer(member, message, body))
            return await session.answer(member, message, body)
        except LocalError as error:
            # Our own trouble, told here: where it lies on this disk is nobody else's business.
            self._peer.complain(error, about=f"task {task} {type(message).__name__}", task=session.record.id)
            raise NetworkError("this peer cannot take that now") from None
        except FolkmootError as error:
            self._peer.log("refused a message", member=member, kind=type(message).__name__, reason=str(error))
            raise

    # ---- time and people ---------------------------------------------------------------------------------------

    async def _tick(self) -> float:
        for session in list(self._sessions.values()):
            await self._alone(session, session.tick)
        return TICK

    async def _report(self) -> float:
        status, sessions = self._status, self._sessions
        for session in sessions.values():
            session.progress.say_wait()
        totals = self._node.totals()
        if status.state in ("idle", "running"):
            status.state = "running" if any(not session.done for session in sessions.values()) else "idle"
        refused = {number: refused.status for number, refused in self._refused.items()}
        tasks = refused | {number: session.status for number, session in sessions.items()}
        status.tasks = [tasks[number] for number in sorted(tasks)]
        status.peers, status.addresses = self._links(), list(self._node.addresses())
        status.bytes_sent, status.bytes_received = totals.sent, totals.received
        status.errors = self._peer.complaints.shown()
        changed = msgspec.json.encode(status)
        if changed != self._written or time.time() > status.time + 1.0:
            status.time = time.time()
            self._written = msgspec.json.encode(status)
            write_status(self.home, status)
        return STATUS

    def _links(self) -> list[Link]:
        """How this peer stands with the other living members' peers."""
        standings, counters, links = self._node.standings(), self._node.counters, []
        for index in sorted(self._peer.living):
            member = self._peer.members[index]
            standing = standings.get(member.endpoint)
            if standing is None:
                continue  # this peer itself, or one whose key is not bound
            passed = counters[member.endpoint]
            links.append(
                Link(
                    member=index,
                    name=member.name,
                    connected=standing.connected,
                    how=("relayed" if standing.relayed else "direct") if standing.connected else None,
                    last_contact=standing.contact,
                    last_failure=standing.failure,
                    failed=standing.failed,
                    sent=passed.sent,
                    received=passed.received,
                )
            )
        return links

    async def _reward(self) -> float:
        """Score, seal, settle, as far as it is time to."""
        for session in list(self._sessions.values()):
            session.reward()
        return REWARD if self._embedded else REMOTE_REWARD

    async def _catch_up(self) -> float:
        """Fetch what is missing behind rounds that went by."""
        for session in list(self._sessions.values()):
            await self._backfill.catch_up(session.record.id, session.finished_rounds)
        return TIDY

    async def _tidy(self) -> float:
        """Keep the store within its budget."""
        if not self._peer.journal.secure():
            self._peer.complain(
                f"the journal {self.home.journal} was deleted while this peer runs, and is written anew; it keeps mask"
                " seeds from being told twice",
                kind="journal",
            )
        store, began = self._peer.store, time.monotonic()
        share = 0.0 if store.budget is None else store.total() / store.budget
        took = time.monotonic() - began
        if is_full(self._peer) and (store.lacking or began >= self._collect_again):
            in_use = (name for session in self._sessions.values() for name in session.in_use())
            if not await collect(self._peer, in_use):
                # there is nothing left to give up; looking through all the history again is for nothing
                self._collect_again = began + 10 * TIDY
        # A small store fills quickly, a large one takes long to look at.
        return max(TIDY / 4 if share > ROOMY / 2 else TIDY, 50 * took)


def _fitting(addresses: Sequence[str]) -> tuple[str, ...]:
    """As many of the addresses as the ledger takes."""
    taken: list[str] = []
    for address in addresses:
        if len(",".join((*taken, address)).encode()) <= HINTS:
            taken.append(address)
    return tuple(taken)


def run(home: Home, say: Callable[[str], None] | None = None) -> None:
    """Run the peer of ``home`` until SIGTERM or Ctrl-C, and ``say`` how it goes: a line for each round, each longer
    wait and each error. Raises ``LocalError`` when a peer runs there already."""

    async def main(patience: float) -> bool:
        daemon = Daemon(home, patience, say)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, daemon.stop)
        return await daemon.run()

    keep_buffers()
    settle()
    with home.lock(), home.chain_lock():
        prepare(home)
        patience = 0.0
        while asyncio.run(main(patience)):
            gc.collect()  # what the last one left holds its port
            patience = REBIND_SECONDS
