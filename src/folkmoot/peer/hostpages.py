"""Blocks of a hosted chain on their way between peers: signed by the host, checked against it, kept.

Whoever gives a block, it counts only under the host's signature, and then as if the host had given it. So any peer
can serve any other, and none can blame the host for what the host did not sign.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from folkmoot.errors import IntegrityError, NetworkError, ProtocolError
from folkmoot.ledger.chainfile import Block, genesis_hash, make_block
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import Head, sign_head
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network import Message, Reply
from folkmoot.peer.hostmessages import (
    PAGE_BLOCKS,
    PAGE_BYTES,
    Blocks,
    Declined,
    GetBlocks,
    Hosted,
    Row,
    blocks_of,
)
from folkmoot.peer.hostpeer import HostedPeer

__all__ = ["Conflict", "FalseBlock", "LaterHost", "Pages", "Refusal", "Unlinked"]

ASK_SECONDS = 10.0
_AT_ONCE = 8
"""Blocks that are replayed in one go; so many hold the event loop up for less than it takes to notice."""


class LaterHost(NetworkError):
    """Who was asked knows of another host than this peer."""

    def __init__(self, hosted: Hosted) -> None:
        super().__init__("another member hosts the chain by now")
        self.hosted = hosted


class Refusal(NetworkError):
    """The host does not take a transaction."""

    def __init__(self, declined: Declined) -> None:
        super().__init__(declined.reason)
        self.declined = declined


class Conflict(IntegrityError):
    """The host signed two blocks of one number, or another one than the members have fixed."""

    def __init__(self, words: str, heads: tuple[Head, ...]) -> None:
        super().__init__(words)
        self.heads = heads


class FalseBlock(IntegrityError):
    """The host signed a block that follows from the one before, and does not replay."""

    def __init__(self, head: Head, block: Block, reason: str) -> None:
        super().__init__(f"block {head.number}, {head.block.hex()}, which does not hold: {reason}")
        self.head = head
        self.block = block


class Unlinked(IntegrityError):
    """The host signed a block, and it is not the one of that number after the newest here, or its giver changed it."""


class Pages:
    """The blocks of this peer's ``copy``, given and taken."""

    def __init__(self, peer: HostedPeer, copy: HostedReplica) -> None:
        self.copy = copy
        self.book = copy.book
        self.chain = genesis_hash(copy.meta)
        self._peer = peer
        self._key = Ed25519PrivateKey.from_private_bytes(peer.identity.endpoint_secret)
        self._taking = asyncio.Lock()
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()
        copy.appended = lambda: _in_loop(loop, self.wake)

    # ---- giving ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Tell all who wait that something has changed: a block is here, or another host."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self, seconds: float) -> None:
        """Wait until something changes, or that long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def head(self, number: int) -> Head | None:
        """The host's word on block ``number`` of this copy, if it is known. The host gives it itself."""
        if number <= 0 or number > self.copy.number:
            return None
        known = self.book.head(number)
        if known is None and self.copy.hosting and (block := self.copy.block(number)) is not None:
            known = sign_head(self._key, self.chain, self.book.term, number, block.hash)
            self.book.keep([known])
        return known

    async def answer(self, message: GetBlocks) -> Reply | Message:
        """What is asked for, if need be once it is there."""
        if message.wait and message.term == self.book.term and message.first > self.copy.head():
            await self.news(message.wait)
        if message.term < self.book.term:
            return Hosted(self.book.state.appointment)
        return self.page(message.first, message.most)

    def page(self, first: int, most: int = PAGE_BLOCKS) -> Reply:
        """A page of blocks from ``first`` on."""
        rows: list[Row] = []
        raws: list[bytes] = []
        room = PAGE_BYTES
        last = min(self.copy.head(), first + most - 1)
        signed = self._signed(range(max(first, 1), last + 1)) if self.copy.hosting else {}
        for number in range(max(first, 1), last + 1):
            block = self.copy.block(number)
            if block is None or (rows and len(block.raw) > room):
                break
            known = signed.get(number) or self.book.head(number)
            room -= len(block.raw)
            raws.append(block.raw)
            signature = known.signature if known is not None and known.block == block.hash else b""
            rows.append(Row(block.timestamp, block.hash, len(block.raw), signature))
        return Reply(Blocks(self.book.term, max(first, 1), tuple(rows)), b"".join(raws))

    def _signed(self, numbers: range) -> dict[int, Head]:
        """The host's own words on these blocks; those that are new are kept at once."""
        signed, fresh = {}, []
        for number in numbers:
            known, block = self.book.head(number), self.copy.block(number)
            if known is None and block is not None:
                known = sign_head(self._key, self.chain, self.book.term, number, block.hash)
                fresh.append(known)
            if known is not None:
                signed[number] = known
        if fresh:
            self.book.keep(fresh)
        return signed

    # ---- taking ------------------------------------------------------------------------------------------------

    def next_page(self, wait: float = 0.0) -> GetBlocks:
        """The question for the page that comes next here."""
        return GetBlocks(self.book.term, self.copy.head() + 1, wait=wait)

    async def put(self, endpoint: bytes, question: Message, seconds: float, body: bytes = b"") -> tuple[Blocks, bytes]:
        """The page that answers ``question``. Raises ``LaterHost``, ``Refusal``, and as ``Node.request`` does."""
        reply, content = await self._peer.node.request(
            endpoint, question, body=body, timeout=seconds, most=PAGE_BYTES + RAW_LIMIT
        )
        if isinstance(reply, Hosted):
            raise LaterHost(reply)
        if isinstance(reply, Declined):
            raise Refusal(reply)
        if not isinstance(reply, Blocks):
            raise ProtocolError(f"{type(reply).__name__} is no answer to {type(question).__name__}")
        return reply, content

    async def put_to_host(self, question: Message, seconds: float, body: bytes = b"") -> tuple[Blocks, bytes]:
        """As ``put``, to the host; raises ``NetworkError`` as soon as there is a reason to ask it no more."""
        host = self.book.host
        asked = asyncio.ensure_future(self.put(host, question, seconds, body))
        try:
            while not asked.done():
                changed = asyncio.ensure_future(self.news(seconds))
                await asyncio.wait({asked, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if self.book.host != host or self.book.state.held or self.book.state.trouble is not None:
                    raise NetworkError("that host is asked no more")
            return await asked
        finally:
            asked.cancel()

    async def take(self, page: Blocks, body: bytes, giver: bytes) -> bool:
        """Check and append what is new of a page; whether anything was.

        Raises ``Conflict`` or ``FalseBlock`` where the host is at fault, ``Unlinked`` where it is if it was the
        giver, another ``IntegrityError`` or ``ProtocolError`` where the giver is, and ``ChainError`` where a block's
        time, or this machine's clock, is wrong.
        """
        blocks = blocks_of(page, body)
        if page.term != self.book.term or not blocks:
            return False
        heads = [Head(page.term, b.number, b.hash, row.signature) for b, row in zip(blocks, page.rows, strict=True)]
        async with self._taking:
            before = self.copy.head()
            for at in range(0, len(blocks), _AT_ONCE):
                some = range(at, min(at + _AT_ONCE, len(blocks)))
                given = [(heads[i], blocks[i]) for i in some]
                if len(blocks) <= _AT_ONCE:
                    self._append(given)
                else:
                    await asyncio.to_thread(self._append, given)
                self.wake()
        return self.copy.number > before

    def _append(self, given: Sequence[tuple[Head, Block]]) -> None:
        for head, _ in given:
            self.check(head)
        # what was signed is on disk before the block is: no crash makes this peer forget what it holds against whom
        self.book.keep([head for head, _ in given], anew=self.book.state.held)
        for head, block in given:
            self._append_one(head, block)

    def _append_one(self, head: Head, block: Block) -> None:
        copy = self.copy
        if copy.block(head.number) is not None:
            return  # the same one; check has seen to that
        newest = copy.newest
        if head.number != newest.number + 1:
            raise ProtocolError(f"block {head.number} is given after block {newest.number}")
        if make_block(newest.hash, block.number, block.timestamp, block.raw) != block:
            raise Unlinked(f"block {head.number} does not follow from block {newest.number}, {newest.hash.hex()}")
        copy.head()  # what is wrong with this copy itself shows here, and is not the host's fault
        try:
            copy.take(block)
        except IntegrityError as error:
            raise FalseBlock(head, block, str(error)) from error

    def check(self, head: Head) -> None:
        """Check the host's word, whoever passed it on, and hold it against all it has said and what stands here.

        Raises ``Conflict`` where it contradicts that, another ``IntegrityError`` where it is not the host's.
        """
        if head.term != self.book.term:
            raise NetworkError("that was signed by the host of another term")
        head.check(self.chain, self.book.host)
        said = self.book.head(head.number) or self.head(head.number)
        known = self.copy.block(head.number)
        # of a host that is being given up anything will do that members can have in common
        settled = known is not None or not self.book.state.held
        if said is not None and said.block != head.block and settled:
            both = f"two blocks {head.number}: {said.block.hex()} and {head.block.hex()}"
            raise Conflict(both, (said, head))
        if known is not None and known.hash != head.block:
            fixed = f"block {head.number}, {head.block.hex()}, where the members have fixed {known.hash.hex()}"
            raise Conflict(fixed, (head,))


def _in_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(call)
