"""Another host by vote: there is no ledger to vote on when the host is dead or lies, so members sign for each other.

Each says whom it wants. Once more than half want the same one, they take no more blocks from the present host and
give each other those they have; the member they want proposes to go on after the newest block they all have, and
collects their signatures. Where the host signed two chains, that is the last block before these part, and the
proposal shows both blocks after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from folkmoot.errors import FolkmootError, IntegrityError, NetworkError
from folkmoot.ledger import Chain, Moot, statements
from folkmoot.ledger.chainfile import Block
from folkmoot.ledger.hosted import cut
from folkmoot.ledger.hosting import Appointment, Head
from folkmoot.ledger.records import called
from folkmoot.ledger.replica import Replica
from folkmoot.network import Message
from folkmoot.peer.hostmessages import Blocks, GetBlocks, Hosted, Propose, Tidings, Voted, blocks_of
from folkmoot.peer.hostpages import ASK_SECONDS, Conflict, Pages
from folkmoot.peer.hostpeer import HostedPeer
from folkmoot.peer.hostwatch import Watch
from folkmoot.peer.messages import Unavailable

__all__ = ["Vote", "accounts_at"]

STEP_SECONDS = 0.25
PATIENCE_SECONDS = 5.0
"""For so long a member that is wanted waits for blocks that others say they have."""
_TERMS = 1_000
"""So far may a term be from the present one: nobody can use them up."""


def accounts_at(chain: Replica, contract: str) -> list[str]:
    """The accounts of the members there are at the newest block of ``chain``."""
    return [member.address for member in Moot(Chain(chain), contract).members() if member.living]


class Vote:
    """This member's part in choosing the host. ``changed`` is called with whether blocks of this copy were given up."""

    def __init__(self, peer: HostedPeer, pages: Pages, changed: Callable[[bool], None]) -> None:
        self._peer = peer
        self._pages = pages
        self._copy = pages.copy
        self._book = pages.book
        self._changed = changed
        self._adopting = asyncio.Lock()
        self._said = (b"", False)
        """The wish that the others were told of, and whether the chain stands still here."""
        self._held_since = 0.0
        self.watch: Watch

    # ---- wanting -----------------------------------------------------------------------------------------------

    async def step(self) -> float:
        """See what members want, and do this member's part."""
        state, said = self._book.state, self.watch.fresh()
        wishes = {member: word.wish for member, word in said.items() if word.wish}
        if wishes != state.wishes:
            self._book.change(wishes=wishes)
        backers = [m for m, wish in wishes.items() if wish == state.wish and m in self._peer.living]
        held = bool(state.wish) and self._is_most(1 + len(backers))
        if held != state.held:
            self._book.change(held=held)
            self._held_since = time.monotonic()
            self._peer.log("moving" if held else "not moving", wish=self.watch.name_of(state.wish))
            self._pages.wake()
        if (state.wish, held) != self._said:
            self._said = (state.wish, held)
            await self.watch.tell()  # at once: others wait for it
        if held and state.wish == self._copy.me:
            await self._stand({m: said[m] for m in backers})
        return STEP_SECONDS

    def _is_most(self, count: int) -> bool:
        return 2 * count > len(self._peer.living)

    # ---- being wanted ------------------------------------------------------------------------------------------

    async def _stand(self, backers: dict[int, Tidings]) -> None:
        """Propose, once those who want this member as host have the same blocks as it."""
        ready = {m: said for m, said in backers.items() if self._is_ready(said)}
        if not self._is_most(1 + len(ready)):
            return
        head = self._copy.head()
        fork: tuple[Head, ...] = ()
        for member, said in list(ready.items()):
            known = self._copy.block(said.number)
            if known is not None and known.hash == said.block:
                continue  # what it has is here, and what it lacks it fetches
            try:
                there = await self._first_other(member, min(said.number, head))
            except FolkmootError as error:
                self._peer.log("left out", member=member, error=str(error))
                del ready[member]
                continue
            if there is not None:
                here = self._pages.head(there.number)
                head, fork = there.number - 1, (there,) if here is None else (here, there)
            elif not fork and time.monotonic() < self._held_since + PATIENCE_SECONDS:
                return  # what it has more is on its way here; or it keeps that to itself, and nobody waits for ever
        able = [m for m, said in ready.items() if said.number >= head]
        if self._is_most(1 + len(able)):
            term = 1 + max(self._book.term, self._book.state.voted[0], *(said.voted for said in ready.values()))
            block = self._copy.block(head)
            assert block is not None
            await self._propose(Appointment(term, head, block.hash, self._copy.me), fork, able)

    def _is_ready(self, said: Tidings) -> bool:
        """Whether a member takes no more blocks, and has shown that the newest it has is the host's."""
        book = self._book
        shown = bool(said.signature) or said.number <= book.floor
        return said.held and said.term == book.term and said.voted < book.term + _TERMS and shown

    async def _first_other(self, member: int, last: int) -> Head | None:
        """The first block, up to ``last``, that the host signed another one of for this member than for us."""
        low, high, found = self._book.floor, last + 1, None
        while high - low > 1:
            middle = (low + high) // 2
            endpoint = self._peer.members[member].endpoint
            page, body = await self._pages.put(endpoint, GetBlocks(self._book.term, middle, 1), ASK_SECONDS)
            blocks, known = blocks_of(page, body), self._copy.block(middle)
            if not blocks or known is None:
                return None
            if blocks[0].hash == known.hash:
                low = middle
                continue
            high, found = middle, Head(page.term, middle, blocks[0].hash, page.rows[0].signature)
            found.check(self._pages.chain, self._book.host)
        return found

    async def _propose(self, appointment: Appointment, fork: tuple[Head, ...], voters: list[int]) -> None:
        """Ask for signatures, and take over with those of more than half of the members."""
        own = self._sign(appointment)
        self._peer.log("proposes", term=appointment.term, height=appointment.height, voters=voters)
        given = await asyncio.gather(*(self._ask(member, Propose(appointment, fork)) for member in voters))
        signatures = (own, *(signature for signature in given if signature))
        if self._is_most(len(signatures)):
            await self.adopt(msgspec.structs.replace(appointment, signatures=signatures), None)

    def _sign(self, appointment: Appointment) -> bytes:
        """Sign it, at most one of a term, so that no two of a term can each have more than half of the signatures of
        members who keep to this."""
        digest = appointment.digest(self._peer.moot.domain)
        self._book.change(voted=(appointment.term, digest))
        return statements.sign(bytes(self._peer.identity.account.key), digest)

    async def _ask(self, member: int, proposal: Propose) -> bytes:
        known = self._peer.members[member]
        try:
            reply, _ = await self._peer.node.request(known.endpoint, proposal, timeout=ASK_SECONDS)
            if isinstance(reply, Voted):
                digest = proposal.appointment.digest(self._peer.moot.domain)
                if statements.recover(digest, reply.signature) == known.address:
                    return reply.signature
            self._peer.log("no vote", member=member, reason=getattr(reply, "reason", ""))
        except FolkmootError as error:
            self._peer.log("no vote", member=member, reason=str(error))
        return b""

    # ---- voting ------------------------------------------------------------------------------------------------

    async def answer(self, member: int, proposal: Propose) -> Message:
        """Sign what another member proposes, if it is what this one wants and gives up nothing that could stay."""
        wanted, book = proposal.appointment, self._book
        self._copy.head()  # and what a command has written since
        if self._peer.members[member].endpoint != wanted.endpoint:
            raise IntegrityError("only who is to be host proposes itself")
        reason = await self._objection(member, wanted, proposal.fork)
        if reason:
            return Unavailable(reason)
        if book.state.voted[0] != wanted.term or not book.state.held:
            book.change(held=True)
        signature = self._sign(wanted)
        self._peer.log("votes", host=self._peer.members[member].name, term=wanted.term, height=wanted.height)
        return Voted(signature)

    async def _objection(self, member: int, wanted: Appointment, fork: tuple[Head, ...]) -> str:
        book, (term, digest) = self._book, self._book.state.voted
        if book.state.wish != wanted.endpoint:
            return "this member wants another host"
        if not book.term < wanted.term <= book.term + _TERMS or wanted.term < term:
            return f"this member has signed term {max(term, book.term)}"
        if wanted.term == term and digest != wanted.digest(self._peer.moot.domain):
            return f"this member has signed another statement of term {term}"
        if wanted.height < book.floor:
            return "the members have fixed later blocks"
        while self._copy.head() < wanted.height and await self.watch.fetch(member):
            pass
        here, after = self._copy.block(wanted.height), self._copy.block(wanted.height + 1)
        if here is None or here.hash != wanted.block:
            return f"block {wanted.height} is another one here, or not here"
        if after is None or any(self._departs(head, after) for head in fork):
            return ""
        return f"there are later blocks here, up to {self._copy.number}"

    def _departs(self, head: Head, after: Block) -> bool:
        """Whether the present host signed another block than ``after`` in its place."""
        if head.number != after.number or head.block == after.hash:
            return False
        try:
            self._pages.check(head)
        except Conflict:
            return True
        return False

    # ---- going over --------------------------------------------------------------------------------------------

    async def learn(self, hosted: Hosted, source: int | None) -> None:
        """Take over what a member says of the host, if it is news and holds."""
        appointment = hosted.appointment
        if appointment is not None:
            await self.adopt(appointment, source)

    async def adopt(self, appointment: Appointment, source: int | None) -> None:
        """Let another host hold, and give up what the last one put after its first block.

        ``source`` is a member that has the blocks up to there. Raises ``IntegrityError`` where too few have signed.
        """
        async with self._adopting:
            known = self._book.state.appointment
            if known is not None and appointment.rank <= known.rank:
                return
            contract, domain = self._peer.moot.address, self._peer.moot.domain
            # a majority of those this peer knows: a chain made up elsewhere, with other members, does not count here
            if not appointment.is_carried_by(domain, accounts_at(self._copy, contract)):
                raise IntegrityError("not more than half of the members have signed this appointment")
            before, ledger = self._copy.head(), await self._prepare(appointment, source)
            another = ledger != self._copy.path
            if another:
                accounts = await asyncio.to_thread(_accounts_in, ledger, contract)
                if not appointment.is_carried_by(domain, accounts):
                    raise IntegrityError("not more than half of the members of that block have signed this appointment")
            self._copy.install(appointment, ledger)
            self._peer.log(
                "new host",
                host=self.watch.host_name(),
                term=appointment.term,
                height=appointment.height,
                given_up=before - appointment.height if another else 0,
            )
            self._changed(another)

    async def _prepare(self, appointment: Appointment, source: int | None) -> Path:
        """A file with exactly the blocks up to the appointment's: this copy's own if it is that already."""
        height = appointment.height
        own = self._copy.block(height)
        kept = own is not None and own.hash == appointment.block
        if kept and self._copy.head() == height:
            return self._copy.path
        target = self._book.home / f"ledger-{appointment.term}-{appointment.block.hex()[:8]}.sqlite"
        if kept:
            await asyncio.to_thread(cut, self._copy, height, target)
            return target
        if source is None:
            raise NetworkError("the blocks that the new host goes on from are not here, and nobody told who has them")
        await asyncio.to_thread(cut, self._copy, await self._common(source, appointment), target)
        with closing(await asyncio.to_thread(Replica, target)) as draft:
            while draft.number < height:
                page, body = await self._ask_page(source, GetBlocks(appointment.term, draft.number + 1))
                blocks = [block for block in blocks_of(page, body) if block.number <= height]
                if not blocks:
                    raise NetworkError(f"{called(source)} has not the blocks that the new host goes on from")
                await asyncio.to_thread(_take_all, draft, blocks)
            if draft.newest.hash != appointment.block:
                raise IntegrityError(f"block {height} of {called(source)} is not the one that the members signed")
        return target

    async def _common(self, source: int, appointment: Appointment) -> int:
        """The newest block that this copy and a member's have in common."""
        low, high = 0, min(self._copy.head(), appointment.height) + 1
        while high - low > 1:
            middle = (low + high) // 2
            page, body = await self._ask_page(source, GetBlocks(appointment.term, middle, 1))
            blocks, known = blocks_of(page, body), self._copy.block(middle)
            if blocks and known is not None and blocks[0].hash == known.hash:
                low = middle
            else:
                high = middle
        return low

    async def _ask_page(self, source: int, question: GetBlocks) -> tuple[Blocks, bytes]:
        return await self._pages.put(self._peer.members[source].endpoint, question, ASK_SECONDS)


def _take_all(draft: Replica, blocks: Sequence[Block]) -> None:
    for block in blocks:
        draft.take(block)


def _accounts_in(ledger: Path, contract: str) -> list[str]:
    with closing(Replica(ledger)) as chain:
        return accounts_at(chain, contract)
