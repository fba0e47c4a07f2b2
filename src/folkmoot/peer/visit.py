"""A visit to the host of a chain by a command, while no peer of this home runs: to join, or to fetch the chain anew.

The command goes on the network with the member's own endpoint, as a guest: it knocks with the ticket's voucher, or
with nothing where its endpoint is a member's already. It takes over the chain, block by block as the host signed and
this machine replayed them, and may submit its entry.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

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
from folkmoot.network import Message, Node
from folkmoot.peer.home import EVERYWHERE, Home
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
from folkmoot.peer.hostvote import accounts_at
from folkmoot.peer.identity import Identity

__all__ = ["hosting_url", "prepare", "visiting"]

SECONDS = 15.0
"""For each answer; the first one includes reaching the host."""
T = TypeVar("T")


@contextmanager
def visiting(
    folder: Path, keys: Identity, url: str, contract: str, voucher: bytes | None = None
) -> Iterator[HostedReplica]:
    """The copy in ``folder`` of the chain hosted at ``url``, made if need be, brought up to date, and able to send.

    ``voucher`` is the private key of a ticket, for who is no member. Raises ``ChainError`` when the host cannot be
    reached, turns the visitor away, or has another chain than the copy.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="visit", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        except concurrent.futures.CancelledError:
            raise ChainError("the visit was cut short") from None

    visit = _Visit(folder, keys, HostUrl.parse(url), contract)
    try:
        wait(visit.begin(voucher))
        copy = HostedReplica(visit.book, keys.endpoint, lambda raw: wait(visit.submit(raw)))
        visit.copy = copy
        with closing(copy):
            yield copy
    finally:
        wait(visit.end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def hosting_url(keys: Identity, bind: str) -> tuple[str, str]:
    """The URL of a chain hosted by the peer with these keys that listens on ``bind``, and ``bind`` with the port it
    got if it left that open. Raises ``NetworkError`` when it cannot listen there."""

    async def look() -> tuple[str, ...]:
        node = Node(keys.endpoint_secret, HostMessage)
        await node.start(bind)
        try:
            return node.addresses()
        finally:
            await node.close()

    addresses = asyncio.run(look())
    host, _, port = bind.rpartition(":")
    port = addresses[0].rpartition(":")[2] if port == "0" else port
    return str(HostUrl(keys.endpoint, addresses)), f"{host}:{port}"


def prepare(home: Home) -> None:
    """Fetch the chain anew where a hosted moot's member has lost its copy."""
    if not home.hosted:
        return
    book = Hostbook(home.path, HostUrl.parse(home.config.ledger).endpoint)
    if not book.ledger.exists():
        if book.host == home.identity.endpoint:
            raise ChainError(
                f"{book.ledger} is gone, and this peer hosts the chain: let the other members vote for another host"
                " (folkmoot host move), and join again with a ticket of theirs"
            )
        with visiting(home.path, home.identity, home.config.ledger, home.config.contract):
            pass


class _Visit:
    def __init__(self, folder: Path, keys: Identity, host: HostUrl, contract: str) -> None:
        self.book = Hostbook(folder, host.endpoint)
        self.copy: HostedReplica | None = None
        self._folder = folder
        self._keys = keys
        self._host = host
        self._contract = contract
        self._node: Node | None = None
        self._term = 0

    async def begin(self, voucher: bytes | None) -> None:
        """Knock, and take over the chain."""
        try:
            await self._begin(voucher)
        except (NetworkError, IntegrityError) as error:
            raise ChainError(f"the host of the chain at {', '.join(self._host.addresses)}: {error}") from None

    async def _begin(self, voucher: bytes | None) -> None:
        self._node = Node(self._keys.endpoint_secret, HostMessage, guest=True)
        relays = [address for address in self._host.addresses if "://" in address]
        await self._node.start(EVERYWHERE, relays or None)
        self._node.allow({self._host.endpoint: self._host.addresses})
        digest = knock_digest(bytes.fromhex(self._contract[2:]), self._host.endpoint, self._keys.endpoint)
        chain = await self._ask(Knock(b"" if voucher is None else sign(voucher, digest)), ThisChain)
        hosted = await self._ask(GetAppointment(), Hosted)
        appointment = hosted.appointment
        if appointment is not None and appointment.endpoint != self._host.endpoint:
            raise IntegrityError("it says that another member hosts the chain; ask for a new ticket")
        self._term = 0 if appointment is None else appointment.term
        meta = Meta(chain.id, chain.time)
        if not self.book.ledger.exists():
            create_chain(self.book.ledger, chain_id=meta.chain_id, genesis_time=meta.genesis_time)
        with closing(Replica(self.book.ledger)) as copy:
            if copy.meta != meta:
                raise IntegrityError("it hosts another chain than the one in this folder")
            while await self._page(copy):
                pass
            if appointment is not None and self.book.state.appointment is None:
                self._check(copy, appointment)
                self.book.appoint(appointment, LEDGER)

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
            copy.take(block)
            heads.append(head)
        self.book.keep(heads)
        return bool(heads)

    def _check(self, copy: Replica, appointment: Appointment) -> None:
        """Raise ``IntegrityError`` unless the members of that block made this endpoint the host."""
        domain = Domain(copy.meta.chain_id, self._contract)
        fixed = copy.block(appointment.height)
        if fixed is None or fixed.hash != appointment.block:
            raise IntegrityError("its chain is not the one that the members made it host of")
        with TemporaryDirectory(prefix="folkmoot-") as folder:
            cut(copy, appointment.height, Path(folder) / LEDGER)
            with closing(Replica(Path(folder) / LEDGER)) as then:
                accounts = accounts_at(then, self._contract)
        if not appointment.is_carried_by(domain, accounts):
            raise IntegrityError("not more than half of the members have made it the host")

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
        if self._node is not None:
            await self._node.close()
        self.book.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _ask(self, question: Message, answer: type[T]) -> T:
        reply, _ = await self._request(question)
        if not isinstance(reply, answer):
            raise IntegrityError(f"it answered with {type(reply).__name__}")
        return reply

    async def _request(self, question: Message, body: bytes = b"") -> tuple[Message, bytes]:
        assert self._node is not None
        return await self._node.request(
            self._host.endpoint, question, body=body, timeout=SECONDS, most=PAGE_BYTES + RAW_LIMIT
        )
