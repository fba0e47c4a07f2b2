"""Transactions on their way to the host: this peer's own, its commands', and those of members the host ignores."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time

from folkmoot.errors import ChainError, FolkmootError, LedgerRefused, NetworkError, ProtocolError
from folkmoot.keccak import keccak
from folkmoot.ledger.evm import Reverted
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.peer.context import PeerContext
from folkmoot.peer.hostmessages import Declined, Hosted, Overdue, Submit
from folkmoot.peer.hostpages import LaterHost, Pages, Refusal
from folkmoot.peer.hostwatch import Watch
from folkmoot.peer.messages import Ack
from folkmoot.peer.outbox import CARRY_SECONDS, Outbox

__all__ = ["Carrier"]

OVERDUE_SECONDS = 6.0
"""After so long without a block the other members are told of a transaction."""
SUBMIT_SECONDS = 5.0
_PAUSE, _PAUSE_MOST = 0.1, 2.0
_BESIDE = 64
"""Transactions of commands that are carried at once."""


class Carrier:
    """Brings transactions into blocks, and says so where the host does not take one that holds."""

    def __init__(self, peer: PeerContext, pages: Pages, watch: Watch, outbox: Outbox) -> None:
        self._peer = peer
        self._pages = pages
        self._copy = pages.copy
        self._watch = watch
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[bytes, asyncio.Task[None]] = {}
        self._ignored: dict[int, asyncio.Task[None]] = {}
        """For each member, the checking on its transaction that the host is said to ignore."""

    def close(self) -> None:
        """Give up all that is under way."""
        for task in (*self._under_way.values(), *self._ignored.values()):
            task.cancel()

    # ---- the host's side ---------------------------------------------------------------------------------------

    async def take(self, message: Submit, body: BodyReader) -> Reply | Message:
        """Put another's transaction into the next block. Its refusal is the contract's."""
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
        name = keccak(raw)
        began = time.monotonic()
        told, pause, trouble = False, _PAUSE, ""
        while self._copy.find(name) is None:
            self._watch.check_trust()
            try:
                await self._submit(raw, name)
                pause, trouble = _PAUSE, "the host took it, and gave no block with it"
            except LaterHost as later:
                await self._watch.learn(later.hosted, None)
            except (NetworkError, ProtocolError) as error:
                trouble = str(error)
            except _Contradicted as contradicted:
                trouble = str(contradicted)
            waited = time.monotonic() - began
            if self._copy.find(name) is not None:
                return
            if waited > CARRY_SECONDS:
                raise ChainError(f"the transaction is in no block after {waited:.0f} s: {trouble}")
            if waited > OVERDUE_SECONDS and not told:
                told = True
                self._peer.log("overdue", transaction=name.hex(), reason=trouble)
                await self._watch.tell_all(Overdue(), raw)
            if told:
                self._watch.ignored(self._peer.index, name, trouble)
            await self._pages.news(pause)
            pause = min(2 * pause, _PAUSE_MOST)

    async def _submit(self, raw: bytes, name: bytes) -> None:
        """Ask the host once. Returns when it took it, raises ``LedgerRefused`` when its refusal holds here too."""
        if self._copy.hosting:
            self._copy.append(raw)
            return
        if self._pages.book.state.held:
            raise NetworkError("the moot is moving to another host")
        book = self._pages.book
        question = Submit(book.term, self._copy.head() + 1)
        try:
            page, body = await self._pages.put(book.host, question, SUBMIT_SECONDS, raw)
        except Refusal as refusal:
            await self._weigh(refusal.declined, raw, name)
        else:
            await self._watch.take(page, body, book.host)

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
        except FolkmootError as error:
            self._outbox.refuse(raw, error)
        while self._outbox.wanted(raw):  # until the command has read what came of it
            await asyncio.sleep(_PAUSE)
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
        name, began, trouble = keccak(raw), time.monotonic(), ""
        while time.monotonic() < began + CARRY_SECONDS:
            with contextlib.suppress(ChainError):
                self._copy.head()
            if self._copy.find(name) is not None or self._pages.book.state.trouble is not None:
                return
            try:
                self._copy.check(raw)
                await self._submit(raw, name)
                trouble = "the host took it, and gave no block with it"
            except LedgerRefused:
                return  # it is not as the member says
            except FolkmootError as error:
                trouble = str(error)
            except _Contradicted as contradicted:
                trouble = str(contradicted)
            waited = time.monotonic() - began
            if waited > OVERDUE_SECONDS:
                self._watch.ignored(member, name, trouble)
            await self._pages.news(_PAUSE_MOST)


class _Contradicted(Exception):
    """The host refuses what holds here."""
