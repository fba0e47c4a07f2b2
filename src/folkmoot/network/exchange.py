"""One request and its reply, from either side, and what each outcome means for the connection and the peer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from iroh import BiStream, IrohError

from folkmoot.errors import FolkmootError, IntegrityError, NetworkError, ProtocolError
from folkmoot.network.limits import Limits
from folkmoot.network.messages import Message, Refused
from folkmoot.network.peers import NOT_WANTED, Link, Peer
from folkmoot.network.streams import (
    BROKE_PROTOCOL,
    GAVE_UP,
    NOT_READ,
    Body,
    BodyReader,
    Codec,
    Reply,
    explain,
    farewell,
    give_up,
    send_frame,
    short,
    size_of,
)

__all__ = ["Handler", "answer", "ask"]

LATE_SECONDS = 1.0
"""An answer that takes longer makes one wonder whether the other side is alive."""
Handler = Callable[[bytes, Message, BodyReader], Awaitable[Reply | Message | None]]
"""``async def handler(peer, message, body)``: answers one request of ``peer`` (its 32-byte id). A ``FolkmootError``
it raises goes back as the reason of a refusal, as does ``None``; a ``ProtocolError`` or ``IntegrityError`` also counts
against the peer."""

_log = logging.getLogger(__name__)


async def ask(codec: Codec, peer: Peer, link: Link, head: bytes, body: Body, most: int) -> tuple[Message, bytes] | None:
    """One exchange on ``link``; ``None`` if it closed before it could take the request."""
    link.active += 1
    late = asyncio.get_running_loop().call_later(LATE_SECONDS, peer.doubt, link)
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
            answer, reader, size = await codec.read(receive)
            content = await reader.read(most)
        except IrohError as error:
            _failed(peer, link, receive, error)
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
        if receive is not None:
            farewell(None, receive)
        raise
    finally:
        late.cancel()
        link.active -= 1


def _failed(peer: Peer, link: Link, receive: object, error: IrohError) -> None:
    """Return if a failed exchange may be tried on another connection: it was never seen. Else raise."""
    closed = link.connection.close_reason()
    if closed is None:
        raise NetworkError(f"peer {short(peer.key)} broke off the exchange: {explain(error)}") from error
    peer.lost(link)
    if receive is not None and NOT_WANTED not in closed and "superseded" not in closed:
        raise NetworkError(f"peer {short(peer.key)} went away during the exchange: {closed}") from error


async def answer(codec: Codec, handler: Handler, peer: Peer, link: Link, pair: BiStream, limits: Limits) -> None:
    """Read one request, have it handled, send what comes of it."""
    receive = pair.recv()
    body: BodyReader | None = None
    link.active += 1
    try:
        try:
            async with asyncio.timeout(limits.stall_seconds):
                message, body, size = await codec.read(receive)
        except (ProtocolError, TimeoutError) as error:
            _log.info("peer %s broke the protocol: %s", short(peer.key), str(error) or "its message stalled")
            peer.violated()
            await give_up(pair.send(), receive, BROKE_PROTOCOL)
            return
        body.bound(peer.allowance, limits.patience(body.size))
        head, content = await _reply(codec, handler, peer, message, body)
        peer.counters.received += size + body.taken
        if not body.complete:
            # The sender may be waiting for us to read on; it is to read our answer instead.
            await give_up(None, receive, NOT_READ)
        sending = send_frame(pair.send(), head, content)
        del pair
        async with asyncio.timeout(limits.patience(size_of(content))):
            peer.counters.sent += await sending
        peer.served()
    except (IrohError, NetworkError, TimeoutError) as error:
        _log.debug("exchange with %s failed: %s", short(peer.key), explain(error))
        await give_up(None, receive, GAVE_UP)
    finally:
        link.active -= 1
        if body is not None and body.taken:
            peer.allowance.give(body.taken)


async def _reply(codec: Codec, handler: Handler, peer: Peer, message: Message, body: BodyReader) -> tuple[bytes, Body]:
    """Head and body of the handler's answer, or of the reason why there is none."""
    try:
        answer = await handler(peer.key, message, body)
        if answer is None:
            answer = Refused(f"{type(message).__name__} is not served here")
        reply = answer if isinstance(answer, Reply) else Reply(answer)
        return codec.head(reply.message, size_of(reply.body)), reply.body
    except FolkmootError as error:
        if isinstance(error, ProtocolError | IntegrityError):
            peer.violated()
        refusal = str(error)[:1000]
    except IrohError:
        raise
    except Exception:
        _log.exception("the handler failed on a %s of %s", type(message).__name__, short(peer.key))
        refusal = "internal error; see the log of that peer"
    return codec.head(Refused(refusal), 0), None
