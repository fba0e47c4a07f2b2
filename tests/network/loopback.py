"""Real nodes on loopback, and a peer that speaks QUIC but not our protocol."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from iroh import (
    Connection,
    Endpoint,
    EndpointAddr,
    EndpointId,
    EndpointOptions,
    RelayMode,
    preset_minimal,
)

from folkmoot.network import BlobMessage, BodyReader, Limits, Message, Node
from folkmoot.network.node import ALPN


class Push(Message, frozen=True):
    number: int
    note: str = ""


class Ack(Message, frozen=True):
    size: int


MESSAGES = BlobMessage | Push | Ack
MOST = 8 << 20


async def acknowledge(peer: bytes, message: Message, body: BodyReader) -> Ack:
    """Answers every push with the length of its body."""
    return Ack(len(await body.read(MOST)))


@asynccontextmanager
async def nodes(count: int, *, limits: Limits | None = None) -> AsyncIterator[list[Node]]:
    """So many nodes that know and allow each other."""
    made = [Node(os.urandom(32), MESSAGES, limits=limits) for _ in range(count)]
    try:
        for node in made:
            await node.start()
        introduce(made)
        yield made
    finally:
        for node in made:
            await node.close()


def introduce(everyone: Sequence[Node]) -> None:
    """Let all speak with all."""
    known = {node.id: node.addresses() for node in everyone}
    for node in everyone:
        node.allow(known)


class Stranger:
    """A bare endpoint: what it sends is what a test gives it, and what it answers likewise."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        self.id = endpoint.id().to_bytes()
        self.address = endpoint.bound_sockets()[0]
        self._serving: list[asyncio.Task[None]] = []

    @classmethod
    async def make(cls) -> "Stranger":
        options = EndpointOptions(
            preset=preset_minimal(),
            bind_addr="127.0.0.1:0",
            secret_key=os.urandom(32),
            alpns=[ALPN],
            relay_mode=RelayMode.disabled(),
        )
        return cls(await Endpoint.bind(options))

    async def dial(self, node: Node) -> Connection:
        address = EndpointAddr(EndpointId.from_bytes(node.id), None, list(node.addresses()))
        return await self.endpoint.connect(address, ALPN)

    async def send(self, connection: Connection, data: bytes, *, end: bool = True) -> bytes:
        """Send raw bytes on a stream of their own and return the raw answer. Raises ``IrohError`` on a reset."""
        pair = await connection.open_bi()
        sending = pair.send()
        await sending.write_all(data)
        if end:
            await sending.finish()
        return await pair.recv().read_to_end(MOST)

    def answer(self, reply: Any) -> None:
        """Answer every request with the raw bytes that ``await reply(request)`` gives; never, for ``None``."""
        self._serving.append(asyncio.create_task(self._accept(reply)))

    async def _accept(self, reply: Any) -> None:
        while (incoming := await self.endpoint.accept_next()) is not None:
            connection = await (await incoming.accept()).connect()
            self._serving.append(asyncio.create_task(self._serve(connection, reply)))

    async def _serve(self, connection: Connection, reply: Any) -> None:
        while True:
            pair = await connection.accept_bi()
            self._serving.append(asyncio.create_task(self._one(pair, reply)))
            del pair

    async def _one(self, pair: Any, reply: Any) -> None:
        answer = await reply(await pair.recv().read_to_end(MOST))
        if answer is None:
            await asyncio.Event().wait()
        await pair.send().write_all(answer)
        await pair.send().finish()

    async def close(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self.endpoint.close()


@asynccontextmanager
async def stranger() -> AsyncIterator[Stranger]:
    made = await Stranger.make()
    try:
        yield made
    finally:
        await made.close()


def frame(message: Any, body: bytes = b"", *, length: int | None = None, body_size: int | None = None) -> bytes:
    """A frame as it goes over the wire; ``length`` and ``body_size`` may lie. Packed bytes go as they are."""
    packed = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    announced = struct.pack(
        "<IQ", len(packed) if length is None else length, len(body) if body_size is None else body_size
    )
    return announced + packed + body
