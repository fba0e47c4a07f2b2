"""A daemon's part in a hosted chain: it follows the host, or is it, and answers the other members about it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from folkmoot.errors import IntegrityError, NetworkError, ProtocolError
from folkmoot.ledger import statements
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import knock_digest
from folkmoot.ledger.transaction import RAW_LIMIT, decode
from folkmoot.network import BodyReader, Message, Reply
from folkmoot.peer.hostcarry import Carrier
from folkmoot.peer.hostmessages import (
    Exhibit,
    GetAppointment,
    GetBlocks,
    GetChain,
    Hosted,
    Knock,
    Overdue,
    Propose,
    Submit,
    ThisChain,
    Tidings,
)
from folkmoot.peer.hostpages import ASK_SECONDS, LaterHost, Pages
from folkmoot.peer.hostpeer import HostedPeer
from folkmoot.peer.hostvote import Vote
from folkmoot.peer.hostwatch import HOST_COMPLAINTS, Watch
from folkmoot.peer.messages import Holding, Model, Opening, Push, Seeds, SeedsWanted, Sums, Unavailable
from folkmoot.peer.outbox import Outbox

__all__ = ["Hosting"]

WAIT_SECONDS = 20.0
"""How long the host may leave a question for the next block open."""
WAKE_SECONDS = 1.5
"""For so long a host that starts listens to the others first, where it cannot hear them all."""
IDLE_SECONDS = 0.2
PAUSE, PAUSE_MOST = 0.05, 2.0
"""Before a host that does not answer is asked again; doubles each time."""
LOOK_SECONDS = 0.004
"""Between looks for what commands have left, or appended."""
BEHIND_SECONDS = 0.5
"""For so long a member may be ahead of this peer's copy of the chain."""
_SENT_ONCE = Push | Holding | Opening | Seeds | SeedsWanted | Sums | Model
"""What is sent when the ledger has come to a certain point, and not again for a while."""
_GUESTS = 1_000
"""Endpoints that are remembered as let in."""
_ENTRIES = 4
"""Transactions that a guest may submit."""


class Hosting:
    """The hosted chain's side of one running peer. ``again`` is called when all that was read from it is out of date:
    blocks were given up."""

    def __init__(self, peer: HostedPeer, copy: HostedReplica, again: Callable[[], None]) -> None:
        self._peer = peer
        self._copy = copy
        self._again = again
        self._outbox = Outbox(peer.home.chain_folder)
        self._pages = Pages(peer, copy)
        self._vote = Vote(peer, self._pages, self._changed)
        self._watch = self._vote.watch = Watch(peer, self._pages, self._vote.learn)
        self._carrier = Carrier(peer, self._pages, self._watch, self._outbox)
        self._pause = PAUSE
        self._told = copy.number
        self._guests: dict[bytes, int] = {}
        """Who was let in at the door, and how much each has submitted."""
        copy.carry = self._carrier.carry
        peer.node.serve_guests(self._hear)
        self._attended = self._outbox.attended()
        self._attended.__enter__()
        self._changed(False)

    async def wake(self) -> None:
        """Be up to date before anything is said or written. A host whose disk is older than what it has signed gets its
        own blocks from the others: it must not sign other ones in their place."""
        if self._copy.hosting:
            others = (m for m in self._peer.members.values() if m.living and check_binding(m))
            self._peer.node.allow({member.endpoint: member.addresses for member in others})
            await self._watch.ask_around(WAKE_SECONDS)

    @property
    def steps(self) -> tuple[Callable[[], Awaitable[float]], ...]:
        """What is to be done again and again, each time after as many seconds as the last time said."""
        return self._follow, self._look, self._watch.tell, self._vote.step

    def close(self) -> None:
        """Give up what is under way, and tell commands that the peer is leaving."""
        self._carrier.close()
        self._watch.close()
        self._attended.__exit__(None, None, None)

    def _changed(self, given_up: bool) -> None:
        """Another host holds."""
        self._pages.wake()
        self._peer.settle(*HOST_COMPLAINTS)  # it was another
        self._watch.answered()  # it has its time to begin
        if self._copy.hosting:  # a host is looked for where it was last: it comes back there after a restart
            self._peer.home.settle(self._peer.node.listening, fixed=True)
        if given_up:
            self._again()

    # ---- following ---------------------------------------------------------------------------------------------

    async def _follow(self) -> float:
        """Ask the host for the next block, and wait for it."""
        state = self._copy.book.state
        if self._copy.hosting or state.trouble is not None or state.held:
            await self._pages.news(IDLE_SECONDS)
            return 0.0
        host, source = self._copy.book.host, self._watch.source()
        try:
            if source == host:
                question, patience = self._pages.next_page(WAIT_SECONDS), ASK_SECONDS + WAIT_SECONDS
                page, body = await self._pages.put_to_host(question, patience)
            else:
                page, body = await self._pages.put(source, self._pages.next_page(1.0), ASK_SECONDS)
            await self._watch.take(page, body, source)
        except LaterHost as later:
            await self._vote.learn(later.hosted, self._peer.member_with(source))
        except (NetworkError, ProtocolError, IntegrityError):
            self._pause = min(2 * self._pause, PAUSE_MOST)
            return self._pause
        if source == host:
            self._watch.answered()
        self._pause = PAUSE
        return 0.0

    async def _look(self) -> float:
        """See what commands have appended, or left to be brought to the host."""
        if self._copy.head() != self._told:
            self._told = self._copy.number
            self._pages.wake()
        self._carrier.collect()
        return LOOK_SECONDS

    async def quiet(self, seconds: float) -> float:
        """Wait so long, or until the next block is here; no seconds more."""
        await self._pages.news(seconds)
        return 0.0

    # ---- members -----------------------------------------------------------------------------------------------

    async def answer(self, member: int, message: Message, body: BodyReader) -> Reply | Message | None:
        """Answer a member about the chain; ``None`` if the message is about something else."""
        if isinstance(message, GetBlocks):
            return await self._pages.answer(message)
        if isinstance(message, Submit):
            return await self._carrier.take(member, message, body)
        if isinstance(message, Tidings):
            answer = self._watch.tidings()
            await self._watch.hear(member, message)
            return answer
        if isinstance(message, GetAppointment):
            return Hosted(self._copy.book.state.appointment)
        if isinstance(message, Propose):
            return await self._vote.answer(member, message)
        if isinstance(message, Exhibit):
            return await self._watch.judge(message, body, self._peer.members[member].endpoint)
        if isinstance(message, Overdue):
            return await self._carrier.hear(member, body)
        if isinstance(message, GetChain):
            return self._this_chain()
        return None

    async def patiently(
        self, message: Message, body: BodyReader, answer: Callable[[], Awaitable[Reply | Message]]
    ) -> Reply | Message:
        """What ``answer`` says to a member; where it cannot take what the member sent, again with each block that
        comes in the next moment. The sender saw it already, for a block is not everywhere at once."""
        told, deadline = await answer(), time.monotonic() + BEHIND_SECONDS
        while isinstance(told, Unavailable) and isinstance(message, _SENT_ONCE) and not body.taken:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await self._pages.news(left)
            told = await answer()
        return told

    def _this_chain(self) -> ThisChain:
        return ThisChain(self._copy.meta.chain_id, self._copy.meta.genesis_time)

    # ---- guests ------------------------------------------------------------------------------------------------

    async def _hear(self, guest: bytes, message: Message, body: BodyReader) -> Reply | Message:
        """Answer who is no peer yet: with a usable voucher's word for its endpoint it gets the chain, and may submit
        its entry. Anyone else gets nothing."""
        if isinstance(message, Knock):
            self._check_knock(guest, message.signature)
            if len(self._guests) >= _GUESTS:
                self._guests.clear()
            self._guests.setdefault(guest, 0)
            self._peer.log("guest", endpoint=guest.hex())
            return self._this_chain()
        if guest not in self._guests:
            raise ProtocolError("a guest knocks first")
        if isinstance(message, GetAppointment):
            return Hosted(self._copy.book.state.appointment, self._host_addresses())
        if not self._copy.hosting:
            raise NetworkError("this peer does not host the chain any more; knock again, and ask who does")
        if isinstance(message, GetBlocks):
            return self._pages.page(message.first, message.most)
        if isinstance(message, Submit):
            member = next((m for m in self._peer.moot.members() if m.endpoint == guest and m.living), None)
            if member is not None:  # its command, while its peer does not run
                return await self._carrier.take(member.index, message, body)
            return await self._enter(guest, message, body)
        raise ProtocolError(f"{type(message).__name__} is not for guests")

    def _check_knock(self, guest: bytes, signature: bytes) -> None:
        if any(member.endpoint == guest for member in self._peer.moot.members()):
            return  # it has lost its folder, and not its keys
        contract = bytes.fromhex(self._peer.moot.address[2:])
        voucher = statements.recover(knock_digest(contract, self._copy.me, guest), signature)
        if not admits(self._peer, voucher):
            raise IntegrityError("this voucher admits nobody, or nobody any more")

    async def _enter(self, guest: bytes, message: Submit, body: BodyReader) -> Reply | Message:
        raw = await body.read(RAW_LIMIT)
        self._guests[guest] += 1
        if self._guests[guest] > _ENTRIES or guest not in decode(raw, self._copy.meta.chain_id).data:
            raise ProtocolError("a guest submits its own entry and nothing else")
        return self._carrier.enter(message, raw)

    def _host_addresses(self) -> tuple[str, ...]:
        """Where the host is, as far as the ledger says."""
        if self._copy.hosting:
            return self._peer.node.addresses()
        member = self._peer.member_with(self._copy.book.host)
        return () if member is None else self._peer.members[member].addresses


def admits(peer: HostedPeer, voucher: str) -> bool:
    """Whether the key behind the address ``voucher`` admits a member now."""
    about, members = peer.moot.about(), peer.moot.members()
    return (about.voucher == voucher and len(members) < about.seats) or peer.moot.assembly.is_usable(voucher)
