"""Watching the host: peers tell each other what they have from it, and what it is caught at everyone sees.

A host that signs two blocks of one number, or one that does not hold, has signed the proof; whoever has it shows it
to all, and nobody takes anything from that host any more. What a host keeps back, a block or a transaction, leaves no
proof. It is made good where that is possible, and said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from folkmoot.errors import ChainBusy, ChainError, DiskError, FolkmootError, IntegrityError, NetworkError, ProtocolError
from folkmoot.ledger.hostbook import Trouble
from folkmoot.ledger.hosting import Head
from folkmoot.ledger.replica import AHEAD_SECONDS
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network import BodyReader, Message
from folkmoot.peer.hostmessages import Blocks, Exhibit, GetAppointment, Hosted, Row, Tidings
from folkmoot.peer.hostpages import ASK_SECONDS, Conflict, FalseBlock, LaterHost, Pages, Unlinked
from folkmoot.peer.hostpeer import HostedPeer
from folkmoot.peer.messages import Ack, Unavailable

__all__ = ["Watch"]

TELL_SECONDS = 1.0
"""Between two words to each other member; in large moots it is longer."""
FRESH_SECONDS = 15.0
"""For so long a member's word counts as what it has and wants."""
LATE_SECONDS = 3.0
"""For so long the host may take to give a block that another member has."""
INSTEAD_SECONDS = 60.0
"""For so long another member is asked for blocks."""
SILENT_SECONDS = 5.0
_ASK_SECONDS = 3.0
_MANY = 32
"""Members; beyond so many there is a longer pause between two words to each."""
HOST_COMPLAINTS = "host silent", "host clock", "host pages", "host refuses", "host keeps", "host caught"
"""What this peer may have to say about the host."""
OWN_DISK = "own copy of the chain"
"""What is complained about where this machine's disk does not take the chain."""
SETTLING_SECONDS = 10.0
"""For so long after it began, or was suspended, a peer looks for the fault in itself."""
VOTE = "to have another host: folkmoot host move MEMBER"


class Watch:
    """What this peer knows of the host and of the other members' copies."""

    def __init__(self, peer: HostedPeer, pages: Pages, learn: Callable[[Hosted, int | None], Awaitable[None]]) -> None:
        self.heard: dict[int, tuple[float, Tidings]] = {}
        """What each member said last, and when."""
        self._peer = peer
        self._pages = pages
        self._book = pages.book
        self._copy = pages.copy
        self.learn = learn
        self._telling: set[int] = set()
        self._jobs: set[asyncio.Task[None]] = set()
        self._shown: set[int] = set()
        """Members that have seen what the host was caught at."""
        self._host_said = time.monotonic()
        """When the host last answered."""
        self._since = self._ticked = time.monotonic()
        """Since when this peer has been at work without a break; when it last spoke to the others."""
        self._behind_since: float | None = None
        self._instead = (0.0, 0, 0)
        """Until when, in which term, which member is asked for blocks instead of the host."""
        self._lacked: dict[int, str] = {}
        """Why a member's blocks could not be taken."""

    def close(self) -> None:
        """Give up all that is under way."""
        for job in self._jobs:
            job.cancel()

    # ---- people ------------------------------------------------------------------------------------------------

    def host_name(self) -> str:
        """What the host is called."""
        return self.name_of(self._book.host)

    def name_of(self, endpoint: bytes) -> str:
        """What the member is called whose endpoint this is."""
        member = self._peer.member_with(endpoint)
        return endpoint.hex()[:10] if member is None else self._peer.members[member].name

    def ignored(self, member: int, name: bytes, trouble: str) -> None:
        """Say that the host does not take a member's transaction."""
        if self.silent or self._excuses("ignored"):
            return  # of that there is a word already
        known = self._peer.members.get(member)
        who = str(member) if known is None else known.name
        self._peer.complain(
            f"the host {self.host_name()} leaves out a transaction of {who}, {name.hex()[:12]}, that holds here:"
            f" {trouble}; {VOTE}",
            kind="host",
            about="host refuses",
        )

    def check_time(self, number: int, sent: float) -> None:
        """Say where the host's clock is behind: block ``number`` holds what was sent at ``sent``, so it is not older.
        Deadlines are ledger time, and a clock that stands lets none of them come."""
        block = self._copy.block(number)
        if block is not None and block.timestamp < sent - AHEAD_SECONDS:
            behind = f"{sent - block.timestamp:.0f} s behind this machine's"
            told = f"the clock of the host {self.host_name()} is {behind}; one of the two is to be set"
            self._peer.complain(told, kind="host", about="host clock")
        else:
            self._peer.settle("host clock")

    def answered(self) -> None:
        """Note that the host answers."""
        self._host_said = time.monotonic()
        self._peer.settle("host silent")

    @property
    def silent(self) -> bool:
        """Whether the host has not answered for a while."""
        return not self._copy.hosting and time.monotonic() > self._host_said + SILENT_SECONDS

    def _excuses(self, what: str) -> bool:
        """Whether what seems the host's fault may be this peer's own state: its disk takes nothing, or it has been at
        work without a break for too short a time to tell. That is not held against the host, but logged."""
        full = self._peer.complains_about(OWN_DISK)
        if full or time.monotonic() < self._since + SETTLING_SECONDS:
            self._peer.log("excused", host=self.host_name(), what=what, why="disk" if full else "began lately")
            return True
        return False

    def check_trust(self) -> None:
        """Raise ``ChainError`` where the host has been caught."""
        if self._book.state.trouble is not None:
            raise ChainError(self._book.state.trouble.words)

    # ---- what comes from the host, whoever brings it -----------------------------------------------------------

    async def take(self, page: Blocks, body: bytes, giver: bytes) -> bool:
        """``Pages.take``, and what follows where the host is at fault. Raises ``NetworkError`` then."""
        try:
            taken = await self._pages.take(page, body, giver)
        except (DiskError, ChainBusy) as own:  # this machine holds up this copy, and not the host
            self._peer.complain(own, about=OWN_DISK)
            raise NetworkError(str(own)) from own
        except (Conflict, FalseBlock) as fault:
            self._convict(fault)
            raise NetworkError(str(fault)) from fault
        except Unlinked as fault:
            if giver != self._book.host:
                raise
            self._suspect(str(fault))
            raise NetworkError(str(fault)) from fault
        except (IntegrityError, ProtocolError, ChainError) as fault:
            if giver == self._book.host:
                told = f"the host {self.host_name()} gives what cannot be taken: {fault}; {VOTE}"
                self._peer.complain(told, kind="host", about="host pages")
            raise NetworkError(str(fault)) from fault
        if taken:
            self._peer.settle(OWN_DISK)
            if giver == self._book.host:
                self._peer.settle("host pages", "host keeps")
        return taken

    async def fetch(self, member: int) -> bool:
        """Take the next page from a member; whether it had any."""
        endpoint = self._peer.members[member].endpoint
        page, body = await self._pages.put(endpoint, self._pages.next_page(), ASK_SECONDS)
        return await self.take(page, body, endpoint)

    def _convict(self, fault: Conflict | FalseBlock) -> None:
        if isinstance(fault, Conflict):
            self._distrust(f"signed {fault}", fault.heads)
        else:
            self._distrust(f"signed {fault}", (fault.head,), (fault.block.timestamp, fault.block.raw))

    def _suspect(self, words: str) -> None:
        """The host itself gave what does not follow: seen here, and no proof for others."""
        self._distrust(f"gave what does not follow: {words}", ())

    def _distrust(self, what: str, heads: tuple[Head, ...], block: tuple[int, bytes] | None = None) -> None:
        if self._book.state.trouble is None:
            words = f"the host {self.host_name()} {what}; nothing is taken from it any more; {VOTE}"
            trouble = Trouble(term=self._book.term, words=words, heads=heads, block=block)
            self._book.change(trouble=trouble)
            self._peer.log("distrusts the host", host=self.host_name(), what=what)
            self._shown.clear()
        self.complain()
        self._pages.wake()

    def complain(self) -> None:
        """Keep what the host was caught at before everyone's eyes."""
        if self._book.state.trouble is not None:
            self._peer.complain(self._book.state.trouble.words, kind="host", about="host caught")

    # ---- members among each other ------------------------------------------------------------------------------

    async def tell(self) -> float:
        """A word to every other member; seconds until the next."""
        self.complain()
        now = time.monotonic()
        if now > self._ticked + SILENT_SECONDS + TELL_SECONDS * max(1.0, len(self._peer.members) / _MANY):
            self._since = now  # it was suspended meanwhile, or had no time to listen
            self.answered()
        self._ticked = now
        for member in self.others():
            if member not in self._telling:
                self._spawn(self._tell(member))
        await self._catch_up()
        return TELL_SECONDS * max(1.0, len(self._peer.members) / _MANY)

    async def ask_around(self, seconds: float) -> None:
        """Hear the other members' word, as far as they give it so soon, and get what they have more."""
        asked = [asyncio.ensure_future(self._tell(member)) for member in self.others()]
        if asked:
            await asyncio.wait(asked, timeout=seconds)
            await self._catch_up(patient=False)

    def others(self) -> Iterator[int]:
        """The other members there are."""
        return (member for member in self._peer.living if member != self._peer.index)

    async def tell_all(self, message: Message, body: bytes = b"") -> None:
        """The same to every other member, without waiting for what they make of it."""
        for member in self.others():
            self._spawn(self._say(member, message, body))

    def _spawn(self, work: Awaitable[None]) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _say(self, member: int, message: Message, body: bytes) -> None:
        try:
            await self._ask(member, message, body)
        except FolkmootError as error:
            self._peer.log("unreachable", member=member, error=str(error))

    async def _ask(self, member: int, message: Message, body: bytes = b"") -> Message:
        endpoint = self._peer.members[member].endpoint
        reply, _ = await self._peer.node.request(endpoint, message, body=body, timeout=_ASK_SECONDS)
        return reply

    async def _tell(self, member: int) -> None:
        self._telling.add(member)
        try:
            reply = await self._ask(member, self.tidings())
            if isinstance(reply, Tidings):
                if self._peer.members[member].endpoint == self._book.host:
                    self.answered()
                await self.hear(member, reply)
            trouble = self._book.state.trouble
            if trouble is not None and trouble.heads and member not in self._shown:
                at, raw = trouble.block or (0, b"")
                if isinstance(await self._ask(member, Exhibit(trouble.heads, at), raw), Ack):
                    self._shown.add(member)
        except (NetworkError, ProtocolError, IntegrityError) as error:
            # who is away hears the next word
            is_host = self._peer.members[member].endpoint == self._book.host
            if self.silent and is_host and not self._excuses("silent"):
                told = f"the host {self.host_name()} does not answer: {error}; {VOTE}"
                self._peer.complain(told, kind="host", about="host silent")
        except FolkmootError as error:
            self._peer.complain(error, about=f"tidings {member}")
        finally:
            self._telling.discard(member)

    def tidings(self) -> Tidings:
        """What this peer has, and wants."""
        state, newest = self._book.state, self._copy.newest
        head = self._pages.head(newest.number)
        return Tidings(
            term=self._book.term,
            number=newest.number,
            block=newest.hash,
            signature=head.signature if head is not None and head.block == newest.hash else b"",
            wish=state.wish,
            held=state.held,
            voted=state.voted[0],
        )

    async def hear(self, member: int, said: Tidings) -> None:
        """Take in another member's word. Raises ``IntegrityError`` where it passes on what the host did not sign."""
        if said.term == self._book.term and said.signature:
            head = Head(said.term, said.number, said.block, said.signature)
            try:
                self._pages.check(head)
            except Conflict as fault:
                self._convict(fault)
            else:
                if head.number > self._copy.number:
                    self._book.keep([head])
        self.heard[member] = time.monotonic(), said
        if said.term > self._book.term:
            await self._learn_from(member)

    async def _learn_from(self, member: int) -> None:
        reply = await self._ask(member, GetAppointment())
        if isinstance(reply, Hosted):
            await self.learn(reply, member)

    def fresh(self) -> dict[int, Tidings]:
        """What the other members said lately."""
        since = time.monotonic() - FRESH_SECONDS
        return {m: said for m, (at, said) in self.heard.items() if at > since and m in self._peer.members}

    async def _catch_up(self, *, patient: bool = True) -> None:
        """Get from other members what they have and the host did not give, ``patient`` after it had its time to."""
        head, state = self._copy.head(), self._book.state
        ahead = {m: s for m, s in self.fresh().items() if s.term == self._book.term and s.signature and s.number > head}
        if not ahead or (state.trouble is not None and not state.held):
            self._behind_since = None
            return
        now = time.monotonic()
        self._behind_since = self._behind_since or now
        excused = state.held or self.silent or self._copy.hosting
        if patient and not excused and now < self._behind_since + LATE_SECONDS:
            return
        for member in sorted(ahead, key=lambda m: -ahead[m].number):
            try:
                while self._copy.number < ahead[member].number and await self.fetch(member):
                    pass
            except LaterHost as later:
                await self.learn(later.hosted, member)
            except (NetworkError, ProtocolError, IntegrityError) as error:
                if self._lacked.get(member) != str(error):
                    self._lacked[member] = str(error)
                    self._peer.log("no blocks", member=member, error=str(error))
                continue
            if not excused and self._copy.number > head and not self._excuses("keeps back"):
                who = self._peer.members[member].name
                self._peer.complain(
                    f"the host {self.host_name()} keeps back blocks from {head + 1} on, which {who} has; {VOTE}",
                    kind="host",
                    about="host keeps",
                )
                self._instead = now + INSTEAD_SECONDS, self._book.term, member
            return

    def source(self) -> bytes:
        """Whom to ask for the next block: the host, or where it kept some back lately, a member that had them."""
        until, term, member = self._instead
        if time.monotonic() < until and term == self._book.term and member in self._peer.members:
            return self._peer.members[member].endpoint
        return self._book.host

    async def judge(self, exhibit: Exhibit, body: BodyReader, giver: bytes) -> Message:
        """See for oneself what another member has against the host. Raises ``IntegrityError`` if it is nothing."""
        raw = await body.read(RAW_LIMIT)
        first = exhibit.heads[0]
        if first.term != self._book.term:
            return Unavailable("that host is not the one here")
        if self._book.state.trouble is not None:
            return Ack()
        try:
            for head in exhibit.heads:
                self._pages.check(head)
            if len(exhibit.heads) == 2:
                second = exhibit.heads[1]
                if (first.number, first.block) != (second.number, second.block) and first.number == second.number:
                    raise Conflict(
                        f"two blocks {first.number}: {first.block.hex()} and {second.block.hex()}", exhibit.heads
                    )
                raise IntegrityError("these two blocks do not contradict each other")
        except Conflict as fault:
            self._convict(fault)
            return Ack()
        if not raw or first.number > self._copy.head() + 1:
            return Unavailable("this peer has not come that far")
        row = Row(exhibit.time, first.block, len(raw), first.signature)
        try:
            await self.take(Blocks(first.term, first.number, (row,)), raw, giver)
        except NetworkError:
            pass
        except Unlinked:
            return Unavailable("that does not follow from what this peer has")
        return Ack()
