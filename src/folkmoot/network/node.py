"""A peer on the network: one endpoint, the peers it may speak with, requests out and handlers in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from random import Random, SystemRandom
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from iroh import (
    BiStream,
    Connection,
    Endpoint,
    EndpointAddr,
    EndpointOptions,
    Incoming,
    IrohError,
    RelayMode,
    preset_minimal,
)

from folkmoot.errors import FolkmootError, IntegrityError, NetworkError, ProtocolError
from folkmoot.network._fast import quicken
from folkmoot.network.limits import Limits
from folkmoot.network.messages import Message, Refused
from folkmoot.network.peers import LEAVING, NOT_ALLOWED, NOT_WANTED, Link, Peer, PeerCounters
from folkmoot.network.streams import (
    BROKE_PROTOCOL,
    GAVE_UP,
    NOT_READ,
    Body,
    BodyReader,
    Codec,
    PeerRefused,
    Reply,
    explain,
    give_up,
    send_frame,
    short,
    size_of,
)

__all__ = ["ALPN", "Handler", "Node"]

ALPN = b"folkmoot/1"
LATE_SECONDS = 1.0
CLOSE_SECONDS = 1.0
Handler = Callable[[bytes, Message, BodyReader], Awaitable[Reply | Message | None]]
"""``async def handler(peer, message, body)``: answers one request of ``peer`` (its 32-byte id). A ``FolkmootError``
it raises goes back as the reason of a refusal, as does ``None``; a ``ProtocolError`` or ``IntegrityError`` also counts
against the peer."""

_log = logging.getLogger(__name__)
quicken()


class Node:
    """One endpoint of the moot's network.

    ``secret`` is 32 bytes, the Ed25519 seed behind the endpoint's id. ``messages`` is the union of ``Message`` types
    that requests and replies may be, for instance ``BlobMessage | Push | Ack``. Use it within one event loop.
    """

    def __init__(self, secret: bytes, messages: Any, *, limits: Limits | None = None, random: Random | None = None):
        self.id = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        self.limits = limits or Limits()
        self._secret = secret
        self._random = random or SystemRandom()
        self._codec = Codec(messages)
        self._endpoint: Endpoint | None = None
        self._handler: Handler = _nobody_home
        self._peers: dict[bytes, Peer] = {}
        self._counters: dict[bytes, PeerCounters] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes = 0

    # Life

    async def start(self, bind: str = "127.0.0.1:0", relays: Sequence[str] | None = None) -> None:
        """Bind the UDP address and begin to accept. ``relays`` are URLs of relays to be reachable through.

        Raises ``NetworkError`` if the address cannot be bound or a relay's URL is malformed.
        """
        try:
            mode = RelayMode.custom_from_urls(list(relays)) if relays else RelayMode.disabled()
            self._endpoint = await Endpoint.bind(
                EndpointOptions(
                    preset=preset_minimal(), bind_addr=bind, secret_key=self._secret, alpns=[ALPN], relay_mode=mode
                )
            )
        except IrohError as error:
            raise NetworkError(f"cannot listen on {bind}: {explain(error)}") from error
        self._spawn(self._accept(self._endpoint))

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

    def addresses(self) -> tuple[str, ...]:
        """Where others can dial this node: ``ip:port``, and the URL of its relay if it has one."""
        address = self._bound().addr()
        relay = address.relay_url()
        found = address.direct_addresses() or self._bound().bound_sockets()
        return (*sorted(found), *((relay,) if relay else ()))

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

    @property
    def counters(self) -> Mapping[bytes, PeerCounters]:
        """What has passed between this node and each peer since it was made. Live, not a copy."""
        return MappingProxyType(self._counters)

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
                    answer = await self._ask(known, link, head, body, most)
                    if answer is not None:
                        break
        except TimeoutError as error:
            if link is None or link.connection.close_reason() is not None:
                reason = f"cannot be reached within {timeout:g} s: {known.why_not()}"
            else:
                reason = f"did not answer {type(message).__name__} within {timeout:g} s"
            raise NetworkError(f"peer {short(peer)} {reason}") from error
        if isinstance(answer[0], Refused):
            raise PeerRefused(f"peer {short(peer)} refused {type(message).__name__}: {answer[0].reason}")
        return answer

    async def _ask(self, peer: Peer, link: Link, head: bytes, body: Body, most: int) -> tuple[Message, bytes] | None:
        """One exchange on ``link``; ``None`` if it closed before it could take the request."""
        link.active += 1
        late = asyncio.get_running_loop().call_later(LATE_SECONDS, self._doubt, peer, link)
        receive = None
        try:
            try:
                pair = await link.connection.open_bi()
                receive = pair.recv()
                sending = send_frame(pair.send(), head, body)
                del pair
                try:
                    peer.counters.sent += await sending
                except IrohError:
                    # A peer that has seen enough stops reading and answers: its reply says why.
                    if link.connection.close_reason() is not None:
                        raise
                answer, reader, size = await self._codec.read(receive)
                content = await reader.read(most)
            except IrohError as error:
                self._failed(peer, link, receive, error)
                return None
            peer.counters.asked += 1
            peer.counters.received += size + len(content)
            peer.answered()
            return answer, content
        except ProtocolError as error:
            peer.violated()
            await give_up(None, receive, BROKE_PROTOCOL)
            raise ProtocolError(f"peer {short(peer.key)}: {error}") from error
        except asyncio.CancelledError:
            if receive is not None and self._endpoint is not None:
                self._spawn(give_up(None, receive, GAVE_UP))
            raise
        finally:
            late.cancel()
            link.active -= 1

    def _doubt(self, peer: Peer, link: Link) -> None:
        if not link.doubted:
            self._spawn(peer.probe(link))

    def _failed(self, peer: Peer, link: Link, receive: object, error: IrohError) -> None:
        """Return if a failed exchange may be tried on another connection: it was never seen. Else raise."""
        closed = link.connection.close_reason()
        if closed is None:
            raise NetworkError(f"peer {short(peer.key)} broke off the exchange: {explain(error)}") from error
        peer.lost(link)
        if receive is not None and NOT_WANTED not in closed and "superseded" not in closed:
            raise NetworkError(f"peer {short(peer.key)} went away during the exchange: {closed}") from error

    async def _dial(self, address: EndpointAddr) -> Connection:
        return await self._bound().connect(address, ALPN)

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
        if peer is None or peer.set_aside():
            _log.info("refused %s, %s", short(key), "set aside" if peer else "who is not among this node's peers")
            link.close(NOT_ALLOWED, NOT_WANTED)
        else:
            self._adopt(peer, link)

    def _adopt(self, peer: Peer, link: Link) -> None:
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
                self._spawn(self._answer(peer, link, pair))
                # A stream ends when its last reference goes; see send_frame.
                del pair
        except IrohError as error:
            _log.debug("connection with %s ended: %s", short(peer.key), explain(error))
        finally:
            peer.lost(link)

    async def _answer(self, peer: Peer, link: Link, pair: BiStream) -> None:
        receive = pair.recv()
        body: BodyReader | None = None
        link.active += 1
        try:
            try:
                async with asyncio.timeout(self.limits.stall_seconds):
                    message, body, size = await self._codec.read(receive)
            except (ProtocolError, TimeoutError) as error:
                _log.info("peer %s broke the protocol: %s", short(peer.key), str(error) or "its message stalled")
                peer.violated()
                await give_up(pair.send(), receive, BROKE_PROTOCOL)
                return
            body.bound(peer.allowance, self.limits.patience(body.size))
            head, content = await self._reply(peer, message, body)
            peer.counters.received += size + body.taken
            if not body.complete:
                # The sender may be waiting for us to read on; it is to read our answer instead.
                await give_up(None, receive, NOT_READ)
            sending = send_frame(pair.send(), head, content)
            del pair
            async with asyncio.timeout(self.limits.patience(size_of(content))):
                peer.counters.sent += await sending
            peer.counters.served += 1
        except (IrohError, NetworkError, TimeoutError) as error:
            _log.debug("exchange with %s failed: %s", short(peer.key), explain(error))
            await give_up(None, receive, GAVE_UP)
        finally:
            link.active -= 1
            if body is not None and body.taken:
                peer.allowance.give(body.taken)

    async def _reply(self, peer: Peer, message: Message, body: BodyReader) -> tuple[bytes, Body]:
        """Head and body of the handler's answer, or of the reason why there is none."""
        try:
            answer = await self._handler(peer.key, message, body)
            if answer is None:
                answer = Refused(f"{type(message).__name__} is not served here")
            reply = answer if isinstance(answer, Reply) else Reply(answer)
            return self._codec.head(reply.message, size_of(reply.body)), reply.body
        except FolkmootError as error:
            if isinstance(error, ProtocolError | IntegrityError):
                peer.violated()
            refusal = str(error)[:1000]
        except IrohError:
            raise
        except Exception:
            _log.exception("the handler failed on a %s of %s", type(message).__name__, short(peer.key))
            refusal = "internal error; see the log of that peer"
        return self._codec.head(Refused(refusal), 0), None

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
