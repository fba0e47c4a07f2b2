"""A peer on the network: one endpoint, the peers it may speak with, requests out and handlers in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from iroh import (
    Connection,
    Endpoint,
    EndpointAddr,
    Incoming,
    IrohError,
)

from folkmoot.errors import NetworkError
from folkmoot.network._fast import quicken
from folkmoot.network.door import GUEST_ALPN, Door
from folkmoot.network.exchange import Handler, answer, ask
from folkmoot.network.limits import Limits
from folkmoot.network.listening import Listening, bind_endpoint
from folkmoot.network.messages import Message, Refused
from folkmoot.network.peers import LEAVING, NOT_ALLOWED, NOT_WANTED, Link, Peer, PeerCounters, Standing
from folkmoot.network.streams import (
    Body,
    BodyReader,
    Codec,
    PeerRefused,
    explain,
    short,
    size_of,
)

__all__ = ["ALPN", "Node"]

ALPN = b"folkmoot/1"
CLOSE_SECONDS = 1.0
_log = logging.getLogger(__name__)
quicken()


class Node:
    """One endpoint of the moot's network.

    ``secret`` is 32 bytes, the Ed25519 seed behind the endpoint's id. ``messages`` is the union of ``Message`` types
    that requests and replies may be, for instance ``BlobMessage | Push | Ack``. Use it within one event loop.
    ``guest`` is for who is no peer of those it asks: they hear it at their door, if they have one.
    """

    def __init__(
        self,
        secret: bytes,
        messages: Any,
        *,
        limits: Limits | None = None,
        random: Random | None = None,
        guest: bool = False,
    ):
        self.id = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        self.limits = limits or Limits()
        self._secret = secret
        self._random = random or SystemRandom()
        self._codec = Codec(messages)
        self._endpoint: Endpoint | None = None
        self._listening: Listening | None = None
        self._dials = GUEST_ALPN if guest else ALPN
        self._door: Door | None = None
        self._handler: Handler = _nobody_home
        self._peers: dict[bytes, Peer] = {}
        self._counters: dict[bytes, PeerCounters] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes = 0

    # Life

    async def start(self, listen: str = "127.0.0.1:0", relays: Sequence[str] | None = None) -> Listening:
        """Listen there, as ``Listening`` writes it, and begin to accept; the address with the port that this node got.
        ``relays`` are URLs of relays to be reachable through.

        Raises ``NetworkError`` if it cannot listen there or a relay's URL is malformed.
        """
        self._endpoint, self._listening = await bind_endpoint(
            Listening.parse(listen), secret=self._secret, alpns=[ALPN, GUEST_ALPN], relays=relays or ()
        )
        self._spawn(self._accept(self._endpoint))
        return self._listening

    async def close(self) -> None:
        """Leave: tell connected peers, drop what is under way, free the address. Safe to call twice."""
        endpoint, self._endpoint = self._endpoint, None
        for peer in self._peers.values():
            peer.close(LEAVING, "leaving")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if endpoint is not None:
            # Closing waits for the other side's last word, three seconds for one that is gone; ours is sent by then.
            with suppress(IrohError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await endpoint.close()

    @property
    def listening(self) -> Listening:
        """Where it listens. Raises ``NetworkError`` when it is not started."""
        if self._listening is None:
            raise NetworkError("this node is not started")
        return self._listening

    def addresses(self) -> tuple[str, ...]:
        """Where others can dial this node: ``ip:port``, and the URL of its relay if it has one."""
        address = self._bound().addr()
        relay = address.relay_url()
        found = address.direct_addresses() or self._bound().bound_sockets()
        dialed = sorted(pair for pair in found if self.listening.tells(pair))
        return (*dialed, *((relay,) if relay else ()))

    # Who

    def allow(self, peers: Mapping[bytes, Sequence[str]]) -> None:
        """Speak with exactly these peers from now on: id to address hints (``host:port``, relay URLs).

        Connections with anyone no longer named are closed. Changed hints are used at the next dial.
        """
        for key in self._peers.keys() - peers.keys():
            self._peers.pop(key).close(NOT_ALLOWED, NOT_WANTED)
        for key, hints in peers.items():
            if key == self.id:
                continue
            peer = self._peers.get(key)
            if peer is None:
                peer = Peer(key, self.id, self.limits, self._random, self._dial, self._adopt)
                peer.counters = self._counters.setdefault(key, peer.counters)
                self._peers[key] = peer
            peer.locate(hints)

    def serve(self, handler: Handler) -> None:
        """Answer requests with ``handler`` from now on."""
        self._handler = handler

    def serve_guests(self, handler: Handler) -> None:
        """Hear also who is none of this node's peers, at a door: ``handler`` decides whom, and what they get."""
        self._door = Door(self._codec, self.id, handler, self._random)

    @property
    def counters(self) -> Mapping[bytes, PeerCounters]:
        """What has passed between this node and each peer since it was made. Live, not a copy."""
        return MappingProxyType(self._counters)

    def standings(self) -> Mapping[bytes, Standing]:
        """How this node stands with each peer that it may speak with."""
        return {key: peer.standing for key, peer in self._peers.items()}

    def totals(self) -> PeerCounters:
        """The sum of all peers' counters."""
        total = PeerCounters()
        for each in self._counters.values():
            for name, value in vars(each).items():
                setattr(total, name, getattr(total, name) + value)
        return total

    # Asking

    async def request(
        self,
        peer: bytes,
        message: Message,
        *,
        body: Body = None,
        timeout: float,
        most: int = 1 << 20,
    ) -> tuple[Message, bytes]:
        """Send ``message`` with ``body`` and return the reply with its body, of at most ``most`` bytes.

        Connects if need be, trying again until ``timeout`` seconds are over; once the request has gone out it is not
        repeated. Raises ``PeerRefused`` if the peer would not serve it, ``ProtocolError`` if its reply breaks
        the rules, ``NetworkError`` if it cannot be reached or does not answer in time.
        """
        known = self._peers.get(peer)
        if known is None:
            raise NetworkError(f"peer {short(peer)} is not among those this node may speak with")
        known.check_standing()
        head = self._codec.head(message, size_of(body))
        link: Link | None = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await known.link()
                    reply = await ask(self._codec, known, link, head, body, most)
                    if reply is not None:
                        break
        except TimeoutError as error:
            if link is None or link.connection.close_reason() is not None:
                reason = f"cannot be reached within {timeout:g} s: {known.why_not()}"
            else:
                reason = f"did not answer {type(message).__name__} within {timeout:g} s"
            raise NetworkError(f"peer {short(peer)} {reason}") from error
        if isinstance(reply[0], Refused):
            raise PeerRefused(f"peer {short(peer)} refused {type(message).__name__}: {reply[0].reason}")
        return reply

    async def _dial(self, address: EndpointAddr) -> Connection:
        return await self._bound().connect(address, self._dials)

    # Answering

    async def _accept(self, endpoint: Endpoint) -> None:
        while (incoming := await endpoint.accept_next()) is not None:
            if self._handshakes >= self.limits.handshakes:
                with suppress(IrohError):
                    await incoming.refuse()
            else:
                self._spawn(self._shake_hands(incoming))

    async def _shake_hands(self, incoming: Incoming) -> None:
        self._handshakes += 1
        try:
            async with asyncio.timeout(self.limits.dial_seconds):
                connection = await (await incoming.accept()).connect()
        except (IrohError, TimeoutError) as error:
            _log.debug("a handshake failed: %s", explain(error))
            return
        finally:
            self._handshakes -= 1
        key = connection.remote_id().to_bytes()
        peer = self._peers.get(key)
        link = Link(connection, dialed=False)
        if connection.alpn() == GUEST_ALPN:
            if self._door is not None:
                self._spawn(self._door.receive(connection))
            else:
                link.close(NOT_ALLOWED, NOT_WANTED)
        elif peer is None or peer.set_aside():
            _log.info("refused %s, %s", short(key), "set aside" if peer else "who is not among this node's peers")
            link.close(NOT_ALLOWED, NOT_WANTED)
        else:
            self._adopt(peer, link)

    def _adopt(self, peer: Peer, link: Link) -> None:
        if self._peers.get(peer.key) is not peer or peer.set_aside():  # by the time that a dial has come to its end
            link.close(NOT_ALLOWED, NOT_WANTED)
            return
        link.connection.set_max_concurrent_bi_streams(self.limits.streams)
        link.connection.set_max_concurrent_uni_streams(0)
        link.connection.set_receive_window(self.limits.window)
        peer.add(link)
        self._spawn(self._listen(peer, link))

    async def _listen(self, peer: Peer, link: Link) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                pair = await link.connection.accept_bi()
                if pause := peer.bucket.take(loop.time()):
                    await asyncio.sleep(pause)
                self._spawn(answer(self._codec, self._handler, peer, link, pair, self.limits))
                # A stream ends when its last reference goes; see send_frame.
                del pair
        except IrohError as error:
            _log.debug("connection with %s ended: %s", short(peer.key), explain(error))
        finally:
            peer.lost(link)

    # Within

    def _bound(self) -> Endpoint:
        if self._endpoint is None:
            raise NetworkError("this node is not started")
        return self._endpoint

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _nobody_home(peer: bytes, message: Message, body: BodyReader) -> None:
    return None
