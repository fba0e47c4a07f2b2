"""Hosts that lie, each in one way: given to ``rig.start(before=...)``, which runs them in the host's own process.

They begin to lie when the file ``lie`` appears in their home, and know the members by their indices.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from folkmoot.ledger import Chain, Moot
from folkmoot.ledger.chainfile import make_block
from folkmoot.ledger.hosted import cut
from folkmoot.ledger.hosting import sign_head
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.transaction import decode, sign_legacy
from folkmoot.network import Message, Reply
from folkmoot.peer.hostcarry import Carrier
from folkmoot.peer.hosting import Hosting
from folkmoot.peer.hostmessages import Blocks, GetBlocks, Row, Submit
from folkmoot.peer.hostpages import Pages
from folkmoot.peer.hostwatch import Watch
from folkmoot.peer.messages import Ack


def lying(hosting: Any) -> bool:
    return (hosting._peer.home.path / "lie").exists()


def signed(pages: Pages, first: int, blocks: list[Any]) -> Reply:
    """A page of these blocks, each with the host's true signature."""
    key = Ed25519PrivateKey.from_private_bytes(pages._peer.identity.endpoint_secret)
    rows = []
    for block in blocks:
        head = sign_head(key, pages.chain, pages.book.term, block.number, block.hash)
        rows.append(Row(block.timestamp, block.hash, len(block.raw), head.signature))
    return Reply(Blocks(pages.book.term, first, tuple(rows)), b"".join(block.raw for block in blocks))


def shows_another_chain_to(victim: int) -> None:
    """To one member it shows a chain of its own making: the true one so far, and then a transaction of the host's."""
    honest, hear = Hosting.answer, Watch.hear
    other: list[Replica] = []

    async def answer(self: Hosting, member: int, message: Message, body: Any) -> Any:
        if member != victim or not isinstance(message, GetBlocks | Submit) or not lying(self):
            return await honest(self, member, message, body)
        if not other:
            path = self._peer.home.path / "other.sqlite"
            cut(self._copy, self._copy.head(), path)
            other.append(Replica(path))
            moot = Moot(Chain(other[0]), self._peer.moot.address, self._peer.identity.account)
            moot.announce(["127.0.0.1:1"])
        last = other[0].head()
        blocks = [other[0].block(n) for n in range(message.first, last + 1)]
        return signed(self._pages, message.first, blocks)

    async def is_deaf(self: Watch, member: int, said: Any) -> None:
        if not lying(self):  # the rest of this peer is honest, and would be shocked
            await hear(self, member, said)

    Hosting.answer, Watch.hear = answer, is_deaf  # type: ignore[method-assign]


def leaves_out_transactions_of(victim: int) -> None:
    """Whatever this member sends, and whoever brings it, it takes with thanks and drops."""
    honest = Carrier.enter

    def enter(self: Carrier, message: Submit, raw: bytes) -> Any:
        sender = decode(raw, self._copy.meta.chain_id).sender
        if lying(self) and sender.lower() == self._peer.members[victim].address.lower():
            return self._pages.page(message.first)
        return honest(self, message, raw)

    async def hear(self: Carrier, member: int, body: Any) -> Ack:
        return Ack()

    Carrier.enter, Carrier.hear = enter, hear  # type: ignore[method-assign]


def forges_a_transaction(_: int) -> None:
    """It gives everyone a block with a transaction that its sender cannot have sent now."""
    honest = Hosting.answer

    async def answer(self: Hosting, member: int, message: Message, body: Any) -> Any:
        if not isinstance(message, GetBlocks) or not lying(self):
            return await honest(self, member, message, body)
        newest, chain = self._copy.newest, self._copy.meta.chain_id
        raw = sign_legacy(b"\x01" * 32, chain, 7, self._peer.moot.address, b"", gas=90_000, gas_price=0)
        forged = make_block(newest.hash, newest.number + 1, newest.timestamp, raw)
        return signed(self._pages, forged.number, [forged])

    Hosting.answer = answer  # type: ignore[method-assign]


def keeps_back_blocks_from(victim: int) -> None:
    """To one member it says that there is nothing new."""
    honest = Hosting.answer

    async def answer(self: Hosting, member: int, message: Message, body: Any) -> Any:
        if member != victim or not isinstance(message, GetBlocks) or not lying(self):
            return await honest(self, member, message, body)
        await self._pages.news(1.0)
        return Reply(Blocks(self._pages.book.term, message.first, ()))

    Hosting.answer = answer  # type: ignore[method-assign]


def begin_to_lie(home: Path) -> None:
    (home / "lie").touch()


def lie_no_more(home: Path) -> None:
    (home / "lie").unlink()
