"""A visit to the host of a chain by a program without an event loop: with a copy of the chain as long as it lasts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from folkmoot.errors import ChainError
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import HostUrl
from folkmoot.network import Node
from folkmoot.peer.guest import Visit, Visitor
from folkmoot.peer.hostmessages import HostMessage
from folkmoot.peer.hostpeer import Keys

__all__ = ["hosting_url", "visiting"]

T = TypeVar("T")


@contextmanager
def visiting(visitor: Visitor) -> Iterator[HostedReplica]:
    """The visitor's copy of the chain, brought up to date, and able to send.

    The host is looked for at each door, and where those behind it say. Raises ``ChainError`` when it cannot be reached,
    turns the visitor away, or has another chain than the copy. Blocks that have come stay: the next visit goes on from
    there.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="visit", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, loop).result()
        except concurrent.futures.CancelledError:
            raise ChainError("the visit was cut short") from None

    visit = Visit(visitor)
    try:
        wait(visit.begin())
        copy = HostedReplica(visit.book, visitor.keys.endpoint, lambda raw: wait(visit.submit(raw)))
        visit.copy = copy
        with closing(copy):
            yield copy
    finally:
        wait(visit.end())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def hosting_url(keys: Keys, listen: str) -> tuple[str, str]:
    """The URL of a chain hosted by the peer with these keys that listens there, and the address with the port it got if
    that was left open. Raises ``NetworkError`` when it cannot listen there."""

    async def look() -> tuple[str, str]:
        node = Node(keys.endpoint_secret, HostMessage)
        where = await node.start(listen)
        try:
            return str(HostUrl(keys.endpoint, node.addresses())), str(where.settled)
        finally:
            await node.close()

    return asyncio.run(look())
