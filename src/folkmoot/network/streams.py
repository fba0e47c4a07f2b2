"""One exchange on one stream.

A frame is a header (u32 length of the message, u64 length of the body, little-endian), the message in MessagePack,
the body, and the end of the stream.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from iroh import IrohError, RecvStream, SendStream

from folkmoot.errors import NetworkError, ProtocolError
from folkmoot.network.limits import Allowance
from folkmoot.network.messages import MAX_MESSAGE, Message, Refused

__all__ = ["BodyReader", "Codec", "PeerRefused", "Reply", "explain", "give_up", "send_frame"]

_HEADER = struct.Struct("<IQ")
_FIRST_READ = 64 << 10
_SLICE = 1 << 20
_TOO_LONG = "TooLong"
_AT_END = "ClosedStream"
"""What iroh's errors say, which have no codes, of a stream longer than asked for, and of one read to its end."""

BROKE_PROTOCOL = 2
"""The code that a stream is reset with when its frame broke the rules."""
NOT_READ = 0
"""The code that a stream is stopped with when its body is not of interest."""
GAVE_UP = 3
"""The code that a stream is reset with when it took too long, or its answer is no longer wanted."""


class PeerRefused(NetworkError):
    """The peer got the request and would not serve it; the message carries its reason."""


Body: TypeAlias = bytes | bytearray | memoryview | None
"""What may be sent after a message; ``None`` and no bytes are the same."""


@dataclass(frozen=True)
class Reply:
    """What a handler answers: a message of the node's union, and a body if the message goes with one."""

    message: Message
    body: Body = None


class Codec:
    """Packs and checks the messages of one union."""

    def __init__(self, messages: Any):
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(messages | Refused)
        self._encoder = msgspec.msgpack.Encoder()

    def head(self, message: Message, body_size: int) -> bytes:
        """Header and message, ready to be followed by ``body_size`` bytes. Raises ``ProtocolError`` when too long."""
        packed = self._encoder.encode(message)
        if len(packed) > MAX_MESSAGE:
            raise ProtocolError(
                f"{type(message).__name__} packs to {len(packed)} bytes, the most is {MAX_MESSAGE}; send a body"
            )
        return _HEADER.pack(len(packed), body_size) + packed

    async def read(self, stream: RecvStream) -> tuple[Message, BodyReader, int]:
        """The message of a frame, its body still to be read, and how many bytes it took.

        Raises ``ProtocolError`` for a frame that breaks the rules, ``NetworkError`` when there is none, ``IrohError``
        when the stream fails.
        """
        seen = await _at_least(stream, b"", _HEADER.size)
        length, body_size = _HEADER.unpack_from(seen)
        if length > MAX_MESSAGE:
            raise ProtocolError(f"a message of {length} bytes is announced, the most is {MAX_MESSAGE}")
        end = _HEADER.size + length
        seen = await _at_least(stream, seen, end)
        try:
            message = self._decoder.decode(memoryview(seen)[_HEADER.size : end])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"a message that does not fit its schema: {error}") from error
        return message, BodyReader(stream, body_size, seen[end:]), end


async def _at_least(stream: RecvStream, seen: bytes, size: int) -> bytes:
    while len(seen) < size:
        more = await stream.read(_FIRST_READ)
        if not more and not seen:
            raise NetworkError("the stream ended before it began")
        if not more:
            raise ProtocolError(f"the stream ended after {len(seen)} bytes, in the middle of its message")
        seen += more
    return seen


class BodyReader:
    """The body of a request or a reply, not read yet. ``size`` is what the sender announced."""

    def __init__(self, stream: RecvStream, size: int, start: bytes):
        self.size = size
        self._stream = stream
        self._start = start
        self._allowance: Allowance | None = None
        self._patience: float | None = None
        self.complete = size == len(start)
        """Whether all of it has been received."""
        self.taken = 0
        """Bytes of allowance taken; given back when the exchange is over."""

    def bound(self, allowance: Allowance, patience: float) -> None:
        """Let ``read`` wait for its turn in ``allowance``, and then give the sender ``patience`` seconds."""
        self._allowance = allowance
        self._patience = patience

    async def read(self, most: int) -> bytes:
        """The whole body. Raises ``ProtocolError`` if it is announced longer than ``most`` bytes, before any memory is
        spent on it, or if it is shorter or longer than announced."""
        if self.size > most:
            raise ProtocolError(f"a body of {self.size} bytes is announced, the most here is {most}")
        if self._allowance is not None and self.size:
            if self.size > self._allowance.total:
                raise ProtocolError(f"a body of {self.size} bytes exceeds what one peer may send at once")
            await self._allowance.take(self.size)
            self.taken = self.size
        try:
            async with asyncio.timeout(self._patience):
                return await self._collect()
        except TimeoutError as error:
            raise ProtocolError(f"a body of {self.size} bytes did not come within {self._patience:.0f} s") from error

    async def _collect(self) -> bytes:
        start, self._start = self._start, b""
        if len(start) == self.size:
            return start
        if len(start) > self.size:
            raise ProtocolError(f"the body goes on after the {self.size} bytes announced")
        # One call for all of it: each call into iroh costs as much as copying some hundred kilobytes.
        rest = await self._rest(self.size - len(start))
        if len(start) + len(rest) < self.size:
            raise ProtocolError(f"the body ended after {len(start) + len(rest)} of {self.size} bytes")
        self.complete = True
        return b"".join((start, rest)) if start else rest

    async def _rest(self, most: int) -> bytes:
        """What is left of the stream. Raises ``ProtocolError`` if it is more than ``most`` bytes."""
        try:
            return await self._stream.read_to_end(most)
        except IrohError as error:
            reason = explain(error)
            if _TOO_LONG in reason:
                raise ProtocolError(f"the body goes on after the {self.size} bytes announced") from error
            if _AT_END in reason:
                return b""
            raise


def size_of(body: Body) -> int:
    """How many bytes a body has."""
    return memoryview(body).nbytes if body is not None else 0


async def send_frame(stream: SendStream, head: bytes, body: Body) -> int:
    """Send a frame. Returns its length in bytes. The caller must hold no other reference to ``stream``.

    Each call into iroh costs as much as copying some hundred kilobytes, so a small body goes out with its message in
    one call, and the stream ends by being dropped, which finishes it, not by a call of its own. Cancelled half-way,
    it is reset instead, so that what was sent does not look like a frame cut short.
    """
    view = memoryview(body or b"").cast("B")
    first = view[: _SLICE - len(head)]
    try:
        await stream.write_all(b"".join((head, first)) if first else head)
        for at in range(len(first), len(view), _SLICE):
            await stream.write_all(bytes(view[at : at + _SLICE]))
    except asyncio.CancelledError:
        farewell(stream, None)
        raise
    return len(head) + len(view)


async def give_up(send: SendStream | None, receive: RecvStream | None, code: int) -> None:
    """Tell the other side that this exchange is over, whatever state it is in."""
    if receive is not None:
        with suppress(IrohError):
            await receive.stop(code)
    if send is not None:
        with suppress(IrohError):
            await send.reset(code)


_farewells: set[asyncio.Task[None]] = set()


def farewell(send: SendStream | None, receive: RecvStream | None) -> None:
    """``give_up`` for one who has been cancelled and cannot wait."""
    task = asyncio.create_task(give_up(send, receive, GAVE_UP))
    _farewells.add(task)
    task.add_done_callback(_farewells.discard)


_RUST_PLACE = re.compile(r" \(\S+\.rs:\d+:\d+\)")


def explain(error: BaseException) -> str:
    """An error's text on one line; iroh's errors keep theirs on the other side of the bindings, with the places in its
    sources, which tell a reader nothing."""
    if isinstance(error, IrohError):
        causes = _RUST_PLACE.sub("", str(error.message())).replace("Caused by:", "").splitlines()
        return ": ".join(cause.strip() for cause in causes if cause.strip())
    return str(error) or type(error).__name__


def short(peer: bytes) -> str:
    """A peer's id as it is shown to people: its first 10 hexadecimal digits."""
    return peer.hex()[:10]


def addresses_of(hints: Sequence[str]) -> tuple[list[str], str | None]:
    """Split hints into ``host:port`` pairs and the first relay's URL."""
    relays = [hint for hint in hints if hint.startswith(("https://", "http://"))]
    return [hint for hint in hints if hint not in relays], relays[0] if relays else None
