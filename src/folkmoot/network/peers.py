"""What a node knows of one peer: where it is, the connection to it, what it has sent and how it behaves."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from iroh import Connection, EndpointAddr, EndpointId, IrohError

from folkmoot.errors import NetworkError
from folkmoot.network.limits import Allowance, Limits, TokenBucket
from folkmoot.network.streams import addresses_of, explain, short

__all__ = ["Link", "Peer", "PeerCounters", "Standing"]

NOT_ALLOWED = 1
SUPERSEDED = 4
SILENT = 5
SET_ASIDE = 6
LEAVING = 7

SIMULTANEOUS_SECONDS = 5.0
PROBE_SECONDS = 2.0
_MOST_HINTS = 16
NOT_WANTED = "not wanted here"


@dataclass
class PeerCounters:
    """Bytes of frames sent to and received from a peer, exchanges asked and served, breaches of the protocol."""

    sent: int = 0
    received: int = 0
    asked: int = 0
    served: int = 0
    violations: int = 0


@dataclass(frozen=True)
class Standing:
    """How a node stands with a peer now."""

    connected: bool
    relayed: bool
    """Whether packets go by a relay, not directly."""
    contact: float | None
    """Unix seconds when an exchange with it last went well, asked by either side."""
    failure: str
    """Why it could last not be reached; empty if it always could."""
    failed: float | None
    """Unix seconds of that."""


class Link:
    """One live connection. ``dialed`` says that this side opened it."""

    def __init__(self, connection: Connection, *, dialed: bool):
        self.connection = connection
        self.dialed = dialed
        self.since = asyncio.get_running_loop().time()
        self.active = 0
        """Exchanges on it now."""
        self.doubt: asyncio.Task[None] | None = None
        """Finding out if the other side lives."""

    @property
    def relayed(self) -> bool:
        """Whether its packets go by a relay just now."""
        return any(path.is_selected and path.is_relay for path in self.connection.paths())

    def close(self, code: int, reason: str) -> None:
        """Close it, telling the other side why."""
        with suppress(IrohError):
            self.connection.close(code, reason.encode())

    async def alive(self) -> bool:
        """Whether the other side's QUIC stack, however busy its process is, acknowledges a packet."""
        before = self.connection.stats().udp_rx_bytes
        try:
            self.connection.send_datagram(b"?")
        except IrohError:
            return self.connection.close_reason() is None
        await asyncio.sleep(PROBE_SECONDS)
        return bool(self.connection.stats().udp_rx_bytes > before)


class Peer:
    """The state of one allowed peer.

    Two peers may dial each other at once, and a peer that was killed leaves a connection behind that looks alive. So:
    a newer connection replaces an older one of the same direction; of two that crossed, both sides use the one that
    the smaller key dialed, and the other side closes its own when nothing uses it any more.
    """

    def __init__(
        self,
        key: bytes,
        own: bytes,
        limits: Limits,
        random: Random,
        dial: Callable[[EndpointAddr], Awaitable[Connection]],
        adopt: Callable[[Peer, Link], None],
    ):
        now = asyncio.get_running_loop().time()
        self.key = key
        self.counters = PeerCounters()
        self.bucket = TokenBucket(limits.requests_per_second, limits.burst, now)
        self.allowance = Allowance(limits.bytes_in_flight)
        self._own = own
        self._limits = limits
        self._random = random
        self._dial = dial
        self._adopt = adopt
        self._hints: tuple[str, ...] = ()
        self._links: list[Link] = []
        self._current: Link | None = None
        self._arrival = asyncio.Event()
        self._nudge = asyncio.Event()
        self._dialer: asyncio.Task[None] | None = None
        self._late: set[asyncio.Future[Connection]] = set()
        """Dials that nobody waits for, and that may end in a connection yet."""
        self._wanted = 0
        self._failures = 0
        self._last_failure = "never tried"
        self._failed: float | None = None
        self._contact: float | None = None
        self._breaches = TokenBucket(1 / limits.set_aside_seconds, limits.violations, now)
        self._set_aside_until = 0.0

    # Connections

    def locate(self, hints: Sequence[str]) -> None:
        """Take new address hints; a changed one ends the pause before the next attempt."""
        fresh = tuple(hints)[:_MOST_HINTS]
        if fresh != self._hints:
            self._hints = fresh
            self._failures = 0
            self._nudge.set()

    async def link(self) -> Link:
        """The connection to use, dialing until there is one. The caller sets the time limit."""
        if self._current is not None:
            return self._current
        self._wanted += 1
        try:
            while self._current is None:
                self.check_standing()
                if self._dialer is None or self._dialer.done():
                    self._dialer = asyncio.create_task(self._keep_dialing())
                self._arrival.clear()
                await self._arrival.wait()
            return self._current
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._nudge.set()

    def why_not(self) -> str:
        """Why there is no connection, for an error's text."""
        if not self._hints:
            return "no address of it is known and it has not called"
        return f"tried {', '.join(self._hints)}: {self._last_failure}"

    def add(self, link: Link) -> None:
        """Take a new connection and decide which one is used from now on."""
        for other in list(self._links):
            if other.dialed == link.dialed:
                self.drop(other)
                other.close(SUPERSEDED, "superseded")
        rival = self._links[0] if self._links else None
        self._links.append(link)
        self._current = link
        if rival is not None:
            dialed_by_smaller = (self._own < self.key) == rival.dialed
            if dialed_by_smaller and link.since - rival.since < SIMULTANEOUS_SECONDS:
                self._current = rival
            spare = rival if self._current is link else link
            if spare.dialed:
                asyncio.get_running_loop().call_later(SIMULTANEOUS_SECONDS, self._retire, spare)
        self._arrival.set()

    def drop(self, link: Link) -> None:
        """Forget a connection that is closed or about to be."""
        if link in self._links:
            self._links.remove(link)
        if self._current is link:
            self._current = self._links[-1] if self._links else None

    def close(self, code: int, reason: str) -> None:
        """Close all connections and stop dialing."""
        for dialing in (self._dialer, *self._late):
            if dialing is not None:
                dialing.cancel()
        for link in list(self._links):
            self.drop(link)
            link.close(code, reason)

    def lost(self, link: Link) -> None:
        """``link`` has ended. If the peer does not want us, try again later rather than at once."""
        if link in self._links:
            self.drop(link)
            reason = link.connection.close_reason() or ""
            if link.dialed and NOT_WANTED in reason:
                self._fail(reason)
            elif reason:
                self._last_failure, self._failed = reason, time.time()

    def doubt(self, link: Link) -> None:
        """An answer on ``link`` is late: if the other side is dead, end the connection and all that waits on it."""
        if link.doubt is None:
            link.doubt = asyncio.create_task(self._probe(link))

    async def _probe(self, link: Link) -> None:
        if not await link.alive():
            self.lost(link)
            link.close(SILENT, "silent")
        link.doubt = None

    def answered(self) -> None:
        """An exchange went well: the next failure to connect is a first one again."""
        self._failures = 0
        self._contact = time.time()

    def served(self) -> None:
        """The peer asked for something and got its answer."""
        self.counters.served += 1
        self._contact = time.time()

    @property
    def standing(self) -> Standing:
        """How this node stands with the peer."""
        link, failed = self._current, self._failed
        relayed = link is not None and link.relayed
        return Standing(link is not None, relayed, self._contact, "" if failed is None else self._last_failure, failed)

    def _fail(self, why: str) -> None:
        """It could not be reached, or did not want to be: it is left alone for longer before the next attempt."""
        self._failures += 1
        self._last_failure, self._failed = why, time.time()

    def _retire(self, link: Link) -> None:
        if link not in self._links or self._current is link:
            return
        loop = asyncio.get_running_loop()
        if link.active:
            loop.call_later(SIMULTANEOUS_SECONDS, self._retire, link)
            return
        self.drop(link)
        link.close(SUPERSEDED, "superseded")

    async def _keep_dialing(self) -> None:
        while self._wanted and self._current is None:
            if self._failures or not self._hints:
                self._nudge.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._nudge.wait(), self._pause())
                if not self._wanted or self._current is not None:
                    return
            if not self._hints:
                continue
            self._nudge.clear()
            try:
                connection = await self._attempt()
            except (IrohError, OSError, TimeoutError) as error:
                self._fail("no answer" if isinstance(error, TimeoutError) else explain(error))
            else:
                if connection is not None:
                    self._adopt(self, Link(connection, dialed=True))

    async def _attempt(self) -> Connection | None:
        """Dial once; ``None`` if the hints changed meanwhile, or nobody waits for the connection any more.

        A dial is never broken off: the other side may have the connection already, and be sending on it, when this side
        does not have it yet. One that nobody waits for is taken when it comes, like any other.
        """
        address = await _resolve(self.key, self._hints)
        dialing = asyncio.ensure_future(self._dial(address))
        nudged = asyncio.ensure_future(self._nudge.wait())
        try:
            await asyncio.wait(
                [dialing, nudged], timeout=self._limits.dial_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if dialing.done():
                return dialing.result()
            if nudged.done():
                return None
            raise TimeoutError
        finally:
            nudged.cancel()
            if not dialing.done():
                self._late.add(dialing)
                dialing.add_done_callback(self._came_late)

    def _came_late(self, dialing: asyncio.Future[Connection]) -> None:
        self._late.discard(dialing)
        if not dialing.cancelled() and dialing.exception() is None:
            self._adopt(self, Link(dialing.result(), dialed=True))

    def _pause(self) -> float | None:
        if not self._hints:
            return None
        pause = self._limits.backoff_seconds * 2.0 ** min(max(self._failures - 1, 0), 20)
        return min(pause, self._limits.backoff_most) * self._random.uniform(0.5, 1.0)

    # Behaviour

    def violated(self) -> None:
        """Count a breach of the protocol; too many, and the peer is set aside for a while."""
        now = asyncio.get_running_loop().time()
        self.counters.violations += 1
        if self._breaches.take(now) > 0:
            self._set_aside_until = now + self._limits.set_aside_seconds
            self.close(SET_ASIDE, "too many breaches of the protocol")

    def set_aside(self) -> float:
        """Seconds for which the peer is still set aside; 0 if it is not."""
        return max(0.0, self._set_aside_until - asyncio.get_running_loop().time())

    def check_standing(self) -> None:
        """Raise ``NetworkError`` while the peer is set aside."""
        if left := self.set_aside():
            raise NetworkError(
                f"peer {short(self.key)} broke the protocol too often; it is set aside for {left:.0f} s more"
            )


async def _resolve(key: bytes, hints: Sequence[str]) -> EndpointAddr:
    """An iroh address from hints: ``host:port`` with an IP address or a name, or a relay's URL."""
    pairs, relay = addresses_of(hints)
    sockets: list[str] = []
    for pair in pairs:
        host, _, port = pair.rpartition(":")
        try:
            ipaddress.ip_address(host.strip("[]"))
            sockets.append(pair)
        except ValueError:
            with suppress(OSError, UnicodeError):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                sockets += [f"{entry[4][0]}:{entry[4][1]}" for entry in found if entry[0] == socket.AF_INET]
    if not sockets and relay is None:
        raise OSError("none of its addresses can be used")
    try:
        return EndpointAddr(EndpointId.from_bytes(key), relay, sockets)
    except Exception as error:  # The bindings raise their InternalError on an address they cannot parse.
        raise OSError(f"its addresses cannot be used: {explain(error)}") from error
