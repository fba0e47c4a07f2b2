"""A guest's side of a visit to the host of a chain: it finds the host, knocks, and takes over the chain.

It goes on the network with the member's own endpoint, as a guest: it knocks with the ticket's voucher, or with nothing
where its endpoint is a member's already. It takes over the chain, block by block as the host signed and this machine
replayed them, and may submit its entry, or as a member anything. Whoever does not host the chain says who does, and the
visit goes on there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from folkmoot.errors import ChainError, IntegrityError, LedgerRefused, NetworkError
from folkmoot.ledger import create_chain
from folkmoot.ledger.chainfile import Meta, genesis_hash
from folkmoot.ledger.evm import Reverted
from folkmoot.ledger.hostbook import LEDGER, Hostbook
from folkmoot.ledger.hosted import HostedReplica, cut
from folkmoot.ledger.hosting import Appointment, Head, HostUrl, knock_digest
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.statements import Domain, sign
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network import Message, Node, PeerRefused
from folkmoot.peer.hostmessages import (
    PAGE_BYTES,
    Blocks,
    Declined,
    GetAppointment,
    GetBlocks,
    Hosted,
    HostMessage,
    Knock,
    Submit,
    ThisChain,
    blocks_of,
)
from folkmoot.peer.hostpeer import Keys
from folkmoot.peer.hostvote import accounts_at

__all__ = ["Progress", "Visit", "Visitor", "quietly"]

SECONDS = 15.0
"""For each answer; the first one includes reaching the host."""
TRIES = 5
"""How often a question is asked of a host that has let the visitor in and then is gone, before it is given up."""
PAUSE = 0.5
"""Seconds before it is asked again, times the number of tries."""
MOST_DOORS = 4
"""Members that are asked who the host is, at most."""
Progress = Callable[[int], None]
"""Is told, now and then, how many blocks of the chain are here."""
T = TypeVar("T")
_log = logging.getLogger(__name__)


def quietly(blocks: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who visits, and where."""

    folder: Path
    """Its home, with the copy of the chain; that is made if it is not there."""
    keys: Keys
    contract: str
    founder: HostUrl
    """Who hosted the chain first, as far as this home knows."""
    doors: Sequence[HostUrl] = ()
    """Where to ask for the host, one after the other; at the founder's if none is named."""
    voucher: bytes | None = None
    """The private key of a ticket, for a node whose owner is no member yet."""
    seconds: float | None = None
    """For each answer, ``SECONDS`` unless told."""
    progress: Progress = quietly


class Visit:
    """One visit. Its methods are called from one event loop."""

    def __init__(self, visitor: Visitor) -> None:
        self.book = Hostbook(visitor.folder, visitor.founder.endpoint)
        self.copy: HostedReplica | None = None
        self._visitor = visitor
        self._keys = visitor.keys
        self._host = visitor.founder
        self._node = Node(visitor.keys.endpoint_secret, HostMessage, guest=True)
        self._let_in = False
        self._term = 0

    async def begin(self) -> None:
        """Find the host, and take over the chain."""
        ahead = deque(self._visitor.doors or [self._visitor.founder])
        relays = [address for door in ahead for address in door.addresses if "://" in address]
        await self._node.start("127.0.0.1:0" if all(door.is_local for door in ahead) else "0.0.0.0:0", relays or None)
        asked, troubles = set[bytes](), list[str]()
        while ahead and len(asked) < MOST_DOORS:
            host = ahead.popleft()
            if host.endpoint in asked:
                continue
            asked.add(host.endpoint)
            try:
                elsewhere = await self._enter(host)
            except (NetworkError, IntegrityError) as error:
                troubles.append(f"at {', '.join(host.addresses)}: {error}")
                continue
            if elsewhere is None:
                return
            where = ", ".join(elsewhere.addresses) or "no known address"
            troubles.append(f"at {', '.join(host.addresses)}: another member hosts it now, at {where}")
            ahead.extendleft([elsewhere] if elsewhere.addresses else [])
        raise ChainError(f"the host of the chain {'; '.join(troubles)}")

    async def _enter(self, host: HostUrl) -> HostUrl | None:
        """Take over the chain from ``host``; where another member is, if that is the host."""
        if host.endpoint == self._keys.endpoint:
            raise NetworkError("that is this member itself; ask another one for a new ticket (folkmoot invite)")
        self._host, self._let_in = host, False
        self._node.allow({host.endpoint: host.addresses})
        chain = await self._ask(self._knock(), ThisChain)
        self._let_in = True
        hosted = await self._ask(GetAppointment(), Hosted)
        appointment = hosted.appointment
        term, endpoint = 0, self._visitor.founder.endpoint
        if appointment is not None:
            term, endpoint = appointment.term, appointment.endpoint
        if term < self.book.term:
            raise NetworkError("it does not know yet who hosts the chain by now")
        if endpoint != host.endpoint:
            return HostUrl(endpoint, hosted.addresses)
        if term == self.book.term and self.book.state.trouble is not None:
            raise NetworkError(self.book.state.trouble.words)
        self._term = term
        await self._take_over(Meta(chain.id, chain.time), appointment)
        return None

    async def _take_over(self, meta: Meta, appointment: Appointment | None) -> None:
        fresh = not self.book.ledger.exists()
        if fresh:
            create_chain(self.book.ledger, chain_id=meta.chain_id, genesis_time=meta.genesis_time)
        with closing(Replica(self.book.ledger)) as copy:
            if copy.meta != meta:
                raise IntegrityError("it hosts another chain than the one in this folder")
            news = appointment if appointment is not None and appointment.term > self.book.term else None
            if news is not None and self._visitor.voucher is None and not fresh:
                self._check_by_own(copy, news)
            while await self._page(copy):
                self._visitor.progress(copy.number)
            if news is not None:
                self._check(copy, news)
                self.book.appoint(news, self.book.state.ledger)

    async def _page(self, copy: Replica) -> bool:
        """Take the next page; whether there was one."""
        return await self._take(copy, *await self._request(GetBlocks(self._term, copy.head() + 1)))

    async def _take(self, copy: Replica, page: Message, body: bytes) -> bool:
        if not isinstance(page, Blocks):
            raise IntegrityError(f"it answered with {type(page).__name__}")
        chain, heads = genesis_hash(copy.meta), []
        for block, row in zip(blocks_of(page, body), page.rows, strict=True):
            head = Head(self._term, block.number, block.hash, row.signature)
            head.check(chain, self._host.endpoint)
            said = self.book.head(block.number)
            if said is not None and said.block != block.hash:
                raise IntegrityError(f"it has signed another block {block.number} before; see folkmoot host show")
            copy.take(block)
            heads.append(head)
        self.book.keep(heads)
        return bool(heads)

    def _check_by_own(self, copy: Replica, appointment: Appointment) -> None:
        """Raise ``IntegrityError`` unless more than half of the members that this copy knows made this endpoint the
        host: a chain made up elsewhere, with other members, does not count here."""
        if copy.head() > appointment.height:
            raise IntegrityError(
                "blocks that are here were given up when it became the host; folkmoot run sets that right"
            )
        if not appointment.is_carried_by(self._domain(copy), accounts_at(copy, self._visitor.contract)):
            raise IntegrityError("not more than half of the members have made it the host")

    def _check(self, copy: Replica, appointment: Appointment) -> None:
        """Raise ``IntegrityError`` unless the members of that block made this endpoint the host."""
        fixed = copy.block(appointment.height)
        if fixed is None or fixed.hash != appointment.block:
            raise IntegrityError("its chain is not the one that the members made it host of")
        with TemporaryDirectory(prefix="folkmoot-") as folder:
            cut(copy, appointment.height, Path(folder) / LEDGER)
            with closing(Replica(Path(folder) / LEDGER)) as then:
                accounts = accounts_at(then, self._visitor.contract)
        if not appointment.is_carried_by(self._domain(copy), accounts):
            raise IntegrityError("not more than half of the members have made it the host")

    def _domain(self, copy: Replica) -> Domain:
        return Domain(copy.meta.chain_id, self._visitor.contract)

    async def submit(self, raw: bytes) -> None:
        """``Carry`` by way of this visit."""
        assert self.copy is not None
        try:
            reply, body = await self._request(Submit(self._term, self.copy.head() + 1), raw)
            if isinstance(reply, Declined):
                raise Reverted(reply.reason) if reply.reverted else LedgerRefused(reply.reason)
            await self._take(self.copy, reply, body)
        except (NetworkError, IntegrityError) as error:
            raise ChainError(f"the host of the chain: {error}") from None

    async def end(self) -> None:
        """Leave."""
        await self._node.close()
        self.book.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _knock(self) -> Knock:
        voucher, contract = self._visitor.voucher, bytes.fromhex(self._visitor.contract[2:])
        digest = knock_digest(contract, self._host.endpoint, self._keys.endpoint)
        return Knock(b"" if voucher is None else sign(voucher, digest))

    async def _ask(self, question: Message, answer: type[T]) -> T:
        reply, _ = await self._request(question)
        if not isinstance(reply, answer):
            raise IntegrityError(f"it answered with {type(reply).__name__}")
        return reply

    async def _request(self, question: Message, body: bytes = b"") -> tuple[Message, bytes]:
        """The host's answer. Each question may be asked again, so one that got none because the host was gone for a
        moment, or shut the door on a visitor that was slow, is."""
        for left in reversed(range(TRIES)):
            try:
                return await self._request_once(question, body)
            except PeerRefused:
                raise
            except NetworkError as error:
                if not self._let_in or not left:
                    raise
                _log.info("asks again: %s", error)
                await asyncio.sleep(PAUSE * (TRIES - left))
                with suppress(NetworkError):
                    await self._request_once(self._knock())
        raise AssertionError("unreachable")

    async def _request_once(self, question: Message, body: bytes = b"") -> tuple[Message, bytes]:
        return await self._node.request(
            self._host.endpoint,
            question,
            body=body,
            timeout=self._visitor.seconds or SECONDS,
            most=PAGE_BYTES + RAW_LIMIT,
        )
