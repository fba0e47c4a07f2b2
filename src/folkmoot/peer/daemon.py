"""The peer's daemon: follows the ledger, runs a session for each task, answers the other members."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import msgspec

from folkmoot.errors import ChainError, FolkmootError, LedgerRefused, LocalError, NetworkError
from folkmoot.ledger import EmbeddedProvider
from folkmoot.ledger.records import Member, TaskRecord
from folkmoot.network import BlobMessage, BodyReader, Message, Node, Reply, serve_blobs
from folkmoot.peer.backfill import backfill, collect
from folkmoot.peer.context import PeerContext
from folkmoot.peer.home import Home
from folkmoot.peer.identity import check_binding
from folkmoot.peer.messages import RoundMessage, Unavailable
from folkmoot.peer.session import TaskSession
from folkmoot.peer.status import PeerStatus, write_status

__all__ = ["Daemon", "run"]

BUSY_POLL = 0.006
"""Seconds between looks at an embedded chain while a round is under way; a look costs a few microseconds."""
IDLE_POLL = 0.05
REMOTE_POLL = 1.0
TICK = 0.1
SURVEY = 0.5
"""Seconds between full readings of members and tasks while the chain moves."""
STATUS = 0.25
RETRY_TASK = 5.0


class Daemon:
    """One running peer. ``run`` returns when ``stop`` was called."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._moot = home.moot()
        self._embedded = isinstance(self._moot.w3.provider, EmbeddedProvider)
        self._node = Node(home.identity.endpoint_secret, BlobMessage | RoundMessage)
        self._sessions: dict[int, TaskSession] = {}
        self._starting: dict[int, float] = {}
        """Tasks being started, or, after a failure, when to try again."""
        self._stop = asyncio.Event()
        self._status = PeerStatus(name=home.config.name, pid=os.getpid(), endpoint=self._node.id.hex())
        self._bindings: dict[tuple[object, ...], bool] = {}
        """Which bindings hold; a signature is checked once."""
        self._head = -1
        self._surveyed = float("-inf")
        self._surveyed_head = -1
        self._written = b""

    def stop(self) -> None:
        """Ask the daemon to leave."""
        self._stop.set()

    async def run(self) -> None:
        """Take part until stopped. Raises ``LocalError`` when this identity is no member of the moot."""
        with self.home.log_file.open("ab", buffering=0) as log_file:
            me = self._moot.me()
            if me is None:
                raise LocalError(
                    f"{self.home.config.name} is not a member of this moot yet; folkmoot join TICKET first"
                )
            self._status.member = me.index
            await self._node.start(self.home.config.bind, self.home.config.relays or None)
            peer = self._peer = PeerContext(
                self.home, self._moot, self._node, me.index, log_file, embedded=self._embedded
            )
            self._blobs = serve_blobs(peer.store)
            self._node.serve(self._answer)
            peer.log("started", pid=os.getpid(), member=me.index, addresses=self._node.addresses())
            try:
                await self._announce(me)
                self._status.state = "idle"
                await asyncio.gather(self._follow(), self._keep_time(), self._report(), self._tidy())
            finally:
                await self._leave()

    async def _leave(self) -> None:
        self._status.state = "stopping"
        await asyncio.gather(*(session.close() for session in self._sessions.values()), return_exceptions=True)
        await self._node.close()
        self._peer.log("stopped")
        self._write_status()
        self._peer.close()

    # ---- the ledger --------------------------------------------------------------------------------------------

    async def _announce(self, me: Member) -> None:
        addresses = self._node.addresses()
        if me.addresses != addresses:
            await self._peer.ledger(self._moot.announce, addresses)

    async def _follow(self) -> None:
        """Look at the chain again and again; a chain that cannot be reached is a passing condition."""
        pause = 0.0
        while not self._stop.is_set():
            try:
                await self._look()
                pause = 0.0
            except (ChainError, LedgerRefused, OSError) as error:
                self._peer.complain(f"the ledger cannot be read: {error}")
                pause = min(30.0, 2 * pause + 0.5)
            await self._sleep(pause or self._poll())

    def _poll(self) -> float:
        if not self._embedded:
            return REMOTE_POLL
        return BUSY_POLL if any(not session.done for session in self._sessions.values()) else IDLE_POLL

    async def _look(self) -> None:
        head = await self._peer.look()
        now = time.monotonic()
        moved = head != self._head
        due = head != self._surveyed_head or any(again <= now for again in self._starting.values())
        if due and now >= self._surveyed + SURVEY:
            self._surveyed, self._surveyed_head = now, head
            await self._survey()
        if moved:
            self._head = head
            for session in list(self._sessions.values()):
                await session.refresh()

    async def _survey(self) -> None:
        """Learn of members, their addresses, and tasks."""
        members = await self._peer.ledger(self._moot.members)
        trusted = [m for m in members if self._bound(m)]
        for member in members:
            if member not in trusted and member.index not in self._peer.members:
                self._peer.complain(f"member {member.name} has not bound its network key; its peer is ignored")
        self._peer.members = {m.index: m for m in members}
        self._node.allow({m.endpoint: m.addresses for m in trusted if m.index != self._peer.index})
        for record in await self._peer.ledger(self._moot.tasks):
            await self._consider(record)

    def _bound(self, member: Member) -> bool:
        key = (member.address, member.endpoint, member.exchange, member.binding)
        if key not in self._bindings:
            self._bindings[key] = check_binding(member)
        return self._bindings[key]

    async def _consider(self, record: TaskRecord) -> None:
        if record.id in self._sessions or time.monotonic() < self._starting.get(record.id, 0.0):
            return
        self._starting[record.id] = float("inf")
        session = TaskSession(record, self._peer)
        self._sessions[record.id] = session
        session.spawn(self._start(session))

    async def _start(self, session: TaskSession) -> None:
        number = session.record.id
        try:
            await session.start()
        except FolkmootError as error:
            self._peer.complain(f"task {number}: {error}", task=number)
            session.status.reason = str(error)
            del self._sessions[number]
            self._starting[number] = time.monotonic() + RETRY_TASK
            return
        self._starting.pop(number, None)
        self._peer.log("task", task=number, name=session.status.name)
        await session.refresh()

    # ---- the others --------------------------------------------------------------------------------------------

    async def _answer(self, endpoint: bytes, message: Message, body: BodyReader) -> Reply | Message:
        member = self._peer.member_with(endpoint)
        if member is None:
            raise NetworkError("not a member of this moot")
        if isinstance(message, BlobMessage):
            return await self._blobs(endpoint, message, body) or Unavailable("that is an answer, not a request")
        task = getattr(message, "task", None)
        session = self._sessions.get(task) if isinstance(task, int) else None
        if session is None:
            raise NetworkError("that task is not open here")
        try:
            return await session.answer(member, message, body)
        except FolkmootError as error:
            self._peer.log("refused a message", member=member, kind=type(message).__name__, reason=str(error))
            raise

    # ---- time and people ---------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while not self._stop.is_set():
            await self._sleep(TICK)
            for session in list(self._sessions.values()):
                session.tick()

    async def _report(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                self._write_status()
            await self._sleep(STATUS)

    def _write_status(self) -> None:
        status, sessions = self._status, self._sessions.values()
        totals = self._node.totals()
        if status.state in ("idle", "running"):
            status.state = "running" if any(not session.done for session in sessions) else "idle"
        status.tasks = [session.status for session in sessions]
        status.bytes_sent, status.bytes_received = totals.sent, totals.received
        status.errors = list(self._peer.errors)
        changed = msgspec.json.encode(status)
        if changed != self._written or time.time() > status.time + 1.0:
            status.time = time.time()
            self._written = msgspec.json.encode(status)
            write_status(self.home, status)

    async def _tidy(self) -> None:
        """Catch up on rounds that went by, and keep the store within its budget."""
        while not self._stop.is_set():
            await self._sleep(1.0)
            for session in list(self._sessions.values()):
                if session.finished_rounds <= self._peer.filled.get(session.record.id, 0):
                    continue
                try:
                    await backfill(self._peer, session.record.id)
                except FolkmootError as error:
                    self._peer.log("backfill", task=session.record.id, error=str(error))
            try:
                await collect(self._peer)
            except FolkmootError as error:
                self._peer.complain(str(error))

    async def _sleep(self, seconds: float) -> None:
        if seconds <= TICK:  # too short to be worth a timer that can be called off
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


def run(home: Home) -> None:
    """Run the peer of ``home`` until SIGTERM or Ctrl-C. Raises ``LocalError`` when one runs there already."""

    async def main() -> None:
        daemon = Daemon(home)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, daemon.stop)
        await daemon.run()

    with home.lock():
        asyncio.run(main())
