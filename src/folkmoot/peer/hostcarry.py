"""Transactions on their way to the host: this peer's own, its commands', and those of members the host ignores."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time

from folkmoot.errors import ChainError, FolkmootError, LedgerRefused, NetworkError, ProtocolError
from folkmoot.keccak import keccak
from folkmoot.ledger.evm import Reverted
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.network.limits import TokenBucket
from folkmoot.peer.hostmessages import PAGE_BLOCKS, PAGE_BYTES, Declined, Hosted, Overdue, Submit
from folkmoot.peer.hostpages import LaterHost, Pages, Refusal
from folkmoot.peer.hostpeer import HostedPeer
from folkmoot.peer.hostwatch import Watch
from folkmoot.peer.messages import Ack
from folkmoot.peer.outbox import CARRY_SECONDS, Outbox

__all__ = ["Carrier"]

TELL_SECONDS = 1.5
"""After so long without a block the other members are told of a transaction, and bring it to the host too."""
OVERDUE_SECONDS = 6.0
"""After so long each of them says so. The clocks of members may differ by less."""
SUBMIT_SECONDS = 5.0
RATE, BURST = 50.0, 400
"""Transactions of one member that the host takes in a second, in the long run, and at once."""
_PAUSE, _PAUSE_MOST = 0.1, 2.0
_LOOK = 0.01
_BESIDE = 64
"""Transactions of commands that are carried at once."""


class Carrier:
    """Brings transactions into blocks, and says so where the host does not take one that holds."""

    def __init__(self, peer: HostedPeer, pages: Pages, watch: Watch, outbox: Outbox) -> None:
        self._peer = peer
        self._pages = pages
        self._copy = pages.copy
        self._watch = watch
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[bytes, asyncio.Task[None]] = {}
        self._ignored: dict[int, asyncio.Task[None]] = {}
        """For each member, the checking on its transaction that the host is said to ignore."""
        self._buckets: dict[int, TokenBucket] = {}

    def close(self) -> None:
        """Give up all that is under way."""
        for task in (*self._under_way.values(), *self._ignored.values()):
            task.cancel()

    # ---- the host's side ---------------------------------------------------------------------------------------

    async def take(self, member: int, message: Submit, body: BodyReader) -> Reply | Message:
        """Put another's transaction into the next block. Its refusal is the contract's."""
        now = self._loop.time()
        bucket = self._buckets.setdefault(member, TokenBucket(RATE, BURST, now))
        if pause := bucket.take(now):  # gas is free here, and everyone replays everything
            await asyncio.sleep(pause)
        return self.enter(message, await body.read(RAW_LIMIT))

    def enter(self, message: Submit, raw: bytes) -> Reply | Message:
        """As ``take``, of a transaction that is here."""
        if message.term < self._pages.book.term:
            return Hosted(self._pages.book.state.appointment)
        if not self._copy.hosting:
            raise NetworkError("this peer does not host the chain")
        if self._copy.find(keccak(raw)) is None:  # an answer that was lost is given again
            try:
                self._copy.append(raw)
            except LedgerRefused as refusal:
                return Declined(self._copy.number, str(refusal)[:1000], isinstance(refusal, Reverted))
            except ChainError as error:
                raise NetworkError(str(error)) from None
        return self._pages.page(message.first)

    # ---- the other members' side -------------------------------------------------------------------------------

    def carry(self, raw: bytes) -> None:
        """``Carry`` for this process's own threads; never for the event loop's."""
        future = asyncio.run_coroutine_threadsafe(self.bring(raw), self._loop)
        try:
            future.result(2 * CARRY_SECONDS)
        except (concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
            raise ChainError("this peer is leaving; the transaction was not seen through") from None

    async def bring(self, raw: bytes) -> None:
        """Return once ``raw`` stands in this peer's copy. Raises as ``Carry``."""
        name, book = keccak(raw), self._pages.book
        deadline = time.monotonic() + CARRY_SECONDS
        term, since, told, pause = -1, 0.0, False, _PAUSE
        while self._copy.find(name) is None:
            self._watch.check_trust()
            if term != book.term:  # each host has its time
                term, since, told, pause = book.term, time.monotonic(), False, _PAUSE
            sent = time.time()
            trouble, dropped = await self._try(raw, name)
            if (number := self._copy.find(name)) is not None:
                self._peer.settle("host refuses")
                self._watch.check_time(number, sent)
                return
            if term != book.term:
                continue
            now = time.monotonic()
            if now > deadline:
                raise ChainError(f"the transaction is in no block after {CARRY_SECONDS:.0f} s: {trouble}")
            if not told and (dropped or now > since + TELL_SECONDS):
                # the others see while it holds that the host does not take it
                told = True
                self._peer.log("overdue", transaction=name.hex(), reason=trouble)
                await self._watch.tell_all(Overdue(), raw)
            if dropped or now > since + OVERDUE_SECONDS:
                self._watch.ignored(self._peer.index, name, trouble)
            await self._pages.news(pause)
            pause = min(2 * pause, _PAUSE_MOST)

    async def _try(self, raw: bytes, name: bytes) -> tuple[str, bool]:
        """Ask the host once; what went wrong, and whether the host took the transaction and left it out. Raises
        ``LedgerRefused`` where its refusal is true."""
        try:
            if await self._submit(raw, name):
                return "the host took it, and gave no block with it", True
        except LaterHost as later:
            await self._watch.learn(later.hosted, None)
        except (NetworkError, ProtocolError, _Contradicted) as error:
            return str(error), False
        return "", False

    async def _submit(self, raw: bytes, name: bytes) -> bool:
        """Ask the host once; whether it took the transaction without putting it into a block."""
        book = self._pages.book
        if self._copy.hosting:
            self._copy.append(raw)
            return False
        if book.state.held:
            raise NetworkError("the moot is moving to another host")
        question = Submit(book.term, self._copy.head() + 1)
        try:
            page, body = await self._pages.put_to_host(question, SUBMIT_SECONDS, raw)
        except Refusal as refusal:
            await self._weigh(refusal.declined, raw, name)
            return False
        await self._watch.take(page, body, book.host)
        if len(page.rows) == PAGE_BLOCKS or len(body) > PAGE_BYTES - RAW_LIMIT or self._copy.find(name) is not None:
            return False  # here it is, or there is more to come before it
        self._copy.check(raw)
        return True

    async def _weigh(self, declined: Declined, raw: bytes, name: bytes) -> None:
        """A true refusal is one here as well: the same transaction after the same blocks. Only the clocks may differ.
        Returns if the transaction stands in a block, raises ``LedgerRefused`` where the refusal is true."""
        deadline = time.monotonic() + SUBMIT_SECONDS
        while self._copy.head() < declined.head and time.monotonic() < deadline:
            await self._pages.news(_PAUSE)
        if self._copy.find(name) is not None:
            return
        self._copy.check(raw)
        raise _Contradicted(f"the host refuses it ({declined.reason})")

    # ---- commands ----------------------------------------------------------------------------------------------

    def collect(self) -> None:
        """Set what lies in the outbox on its way."""
        for raw in self._outbox.waiting()[:_BESIDE]:
            name = keccak(raw)
            if name not in self._under_way:
                self._under_way[name] = asyncio.create_task(self._deliver(raw, name))

    async def _deliver(self, raw: bytes, name: bytes) -> None:
        try:
            await self.bring(raw)
            while self._outbox.wanted(raw):  # until the command has seen its block
                await asyncio.sleep(_LOOK)
        except FolkmootError as error:
            self._outbox.refuse(raw, error)
            while self._outbox.answered(raw):  # until it has read that, and perhaps left the same again
                await asyncio.sleep(_LOOK)
        del self._under_way[name]

    # ---- members that the host ignores -------------------------------------------------------------------------

    async def hear(self, member: int, body: BodyReader) -> Message:
        """A member says that the host ignores its transaction: bring it there, and see whether that is so."""
        raw = await body.read(RAW_LIMIT)
        if member not in self._ignored:
            task = self._ignored[member] = asyncio.create_task(self._check_on(member, raw))
            task.add_done_callback(lambda _: self._ignored.pop(member, None))
        return Ack()

    async def _check_on(self, member: int, raw: bytes) -> None:
        name, book = keccak(raw), self._pages.book
        began, term, since = time.monotonic(), -1, 0.0
        try:
            await self._pages.news(_PAUSE)
            self._copy.check(raw)
            while time.monotonic() < began + CARRY_SECONDS and self._copy.find(name) is None:
                if book.state.trouble is not None:
                    return
                if term != book.term:
                    term, since = book.term, time.monotonic()
                trouble, dropped = await self._try(raw, name)
                late = dropped or time.monotonic() > since + OVERDUE_SECONDS
                if late and term == book.term and self._copy.find(name) is None:
                    self._watch.ignored(member, name, trouble)
                await self._pages.news(_PAUSE_MOST)
        except FolkmootError as error:  # it is not as the member says
            self._peer.log("not overdue", member=member, transaction=name.hex(), reason=str(error))


class _Contradicted(Exception):
    """The host refuses what holds here."""
