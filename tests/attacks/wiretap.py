"""What colluding peers run besides the real code: they keep all that one member sends them, and ask it for more.

``listen`` is called in a peer's own process before it starts; ``heard`` reads what it kept.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from folkmoot.errors import FolkmootError
from folkmoot.network import BlobMessage, Message, Node
from folkmoot.network.messages import Refused
from folkmoot.network.streams import BodyReader
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.messages import RoundMessage, SeedsWanted, bitmap
from folkmoot.peer.unmasking import Unmasking
from folkmoot.round import events as ev
from folkmoot.round.events import Key


class Line(msgspec.Struct, frozen=True):
    """One message of the victim's, packed, with its body."""

    message: bytes
    body: bytes


@dataclass(frozen=True)
class Heard:
    message: Message
    body: bytes


class _TappedBody:
    """A body that is noted when it is read."""

    def __init__(self, tap: _Tap, message: Message, body: BodyReader) -> None:
        self._tap, self._message, self._body = tap, message, body

    async def read(self, most: int) -> bytes:
        data = await self._body.read(most)
        self._tap.note(self._message, data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class _Tap:
    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def note(self, message: Message, body: bytes) -> None:
        line = msgspec.msgpack.encode(Line(msgspec.msgpack.encode(message), bytes(body)))
        self._file.write(len(line).to_bytes(4, "big") + line)
        self._file.flush()


def heard(path: Path) -> Iterator[Heard]:
    """All that was kept, in order."""
    data, union = path.read_bytes(), BlobMessage | RoundMessage | Refused
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        line = msgspec.msgpack.decode(data[4:end], type=Line)
        yield Heard(msgspec.msgpack.decode(line.message, type=union), line.body)
        data = data[end:]


def listen(path: str, victim: int, endpoint: bytes, dies_in_round: int = 0) -> None:
    """Keep all that the victim, a member of that endpoint, sends to this process; ask it before the freeze, for other
    survivors than there are, and for all that it may tell. Die in a round, if one is named, instead of telling seeds.
    """
    tap = _Tap(Path(path))
    request, serve, release, push = Node.request, Node.serve, Unmasking.release, Exchange.push

    async def tapped_request(self: Node, peer: bytes, message: Message, **more: Any) -> tuple[Message, bytes]:
        reply = await request(self, peer, message, **more)
        if peer == endpoint:
            tap.note(*reply)
        return reply

    def tapped_serve(self: Node, handler: Any) -> None:
        async def tapped(peer: bytes, message: Message, body: Any) -> Any:
            if peer == endpoint:
                tap.note(message, b"")
                body = _TappedBody(tap, message, body)
            return await handler(peer, message, body)

        serve(self, tapped)

    async def ask(self: Any, key: Key, survivors: int) -> None:
        task, round, attempt = key
        for dealer in range(5):
            wanted = SeedsWanted(
                task=task, round=round, attempt=attempt, survivors=bitmap(survivors), dealers=(dealer,)
            )
            try:
                await self._peer.ask(victim, wanted)
            except FolkmootError as error:
                tap.note(Refused(str(error)), b"")
                return

    async def curious_push(self: Any, action: ev.Push) -> None:
        if action.to == victim:
            await ask(self, action.key, 0b11111)
        await push(self, action)

    async def curious_release(self: Any, action: ev.Release) -> None:
        if action.key.round == dies_in_round:
            os.kill(os.getpid(), signal.SIGKILL)
        await ask(self, action.key, action.survivors & ~(1 << victim))
        await ask(self, action.key, action.survivors)
        await release(self, action)
        await ask(self, action.key, action.survivors)

    Node.request, Node.serve = tapped_request, tapped_serve  # type: ignore[method-assign, assignment]
    Exchange.push, Unmasking.release = curious_push, curious_release  # type: ignore[method-assign]


def told_by(kind: type[Any], paths: list[Path]) -> list[Any]:
    """All messages of a kind that anyone kept."""
    return [told.message for path in paths for told in heard(path) if isinstance(told.message, kind)]
