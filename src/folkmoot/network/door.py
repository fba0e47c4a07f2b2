"""The door of a node: strangers who have something to show are heard there, one question at a time.

A node speaks with the peers it allows. Somebody who is to become a member is none of them yet; such a guest dials with
a protocol name of its own and meets a handler of its own. It is let in for a short while once that handler has
answered its first question, and shut out at the first one that the handler finds improper.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from random import Random

from iroh import Connection, IrohError

from folkmoot.network.exchange import Handler, answer
from folkmoot.network.limits import Limits
from folkmoot.network.peers import NOT_ALLOWED, NOT_WANTED, Link, Peer
from folkmoot.network.streams import Codec, short

__all__ = ["GUEST_ALPN", "Door"]

GUEST_ALPN = b"folkmoot-guest/1"
GUESTS = Limits(
    streams=1,
    bytes_in_flight=256 << 10,
    window=256 << 10,
    requests_per_second=50.0,
    burst=100,
    stall_seconds=5.0,
    violations=0,
)
MOST_GUESTS = 8
"""At once; further ones are turned away."""
KNOCK_SECONDS = 5.0
"""Until a guest must have asked something proper."""
READING_SECONDS = 60.0
"""Until it must have asked the next thing: on a busy machine it takes a while to check what it was given."""
VISIT_SECONDS = 600.0
LAST_WORD_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Door:
    """Where ``handler`` hears the guests of the node ``own`` (its 32-byte id). A ``ProtocolError`` or
    ``IntegrityError`` that it raises ends the visit."""

    def __init__(self, codec: Codec, own: bytes, handler: Handler, random: Random) -> None:
        self._codec = codec
        self._own = own
        self._handler = handler
        self._random = random
        self._guests = 0

    async def receive(self, connection: Connection) -> None:
        """Hear one guest, until it leaves, misbehaves or has had its time."""
        key = connection.remote_id().to_bytes()
        link = Link(connection, dialed=False)
        if self._guests >= MOST_GUESTS:
            link.close(NOT_ALLOWED, NOT_WANTED)
            return
        self._guests += 1
        connection.set_max_concurrent_bi_streams(GUESTS.streams)
        connection.set_max_concurrent_uni_streams(0)
        connection.set_receive_window(GUESTS.window)
        guest = Peer(key, self._own, GUESTS, self._random, _dials_nobody, _adopts_nothing)
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                await self._converse(guest, link)
        except (IrohError, TimeoutError):
            _log.debug("guest %s has left", short(key))
        finally:
            self._guests -= 1
            link.close(NOT_ALLOWED, NOT_WANTED)

    async def _converse(self, guest: Peer, link: Link) -> None:
        loop = asyncio.get_running_loop()
        patience = KNOCK_SECONDS
        while True:
            async with asyncio.timeout(patience):
                pair = await link.connection.accept_bi()
            if pause := guest.bucket.take(loop.time()):
                await asyncio.sleep(pause)
            await answer(self._codec, self._handler, guest, link, pair, GUESTS)
            # A stream ends when its last reference goes; see send_frame.
            del pair
            if guest.counters.violations:
                _log.info("turned away %s, who is no member and showed nothing that lets it in", short(guest.key))
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD_SECONDS):  # that it may read why
                        await link.connection.closed()
                return
            patience = READING_SECONDS


async def _dials_nobody(address: object) -> Connection:
    raise OSError("a guest is not dialed")


def _adopts_nothing(peer: Peer, link: Link) -> None:
    pass
