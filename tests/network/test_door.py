"""Strangers at a node's door: the handler decides whom it hears, and nobody gets in the way of the node's peers."""

import asyncio
import os

import pytest
from loopback import MESSAGES, Ack, Push, introduce

from folkmoot.errors import NetworkError, ProtocolError
from folkmoot.network import BodyReader, Message, Node, PeerRefused
from folkmoot.network import door as door_module

PATIENCE = 60.0


async def hears_the_polite(guest: bytes, message: Message, body: BodyReader) -> Ack:
    """Says how long the body is, to who says please."""
    if not isinstance(message, Push) or message.note != "please":
        raise ProtocolError("one says please here")
    return Ack(len(await body.read(1000)))


async def visitor(host: Node) -> Node:
    guest = Node(os.urandom(32), MESSAGES, guest=True)
    await guest.start()
    guest.allow({host.id: host.addresses()})
    return guest


async def asks(guest: Node, host: Node, note: str) -> Message:
    return (await guest.request(host.id, Push(1, note), body=b"12345", timeout=PATIENCE))[0]


def test_a_stranger_is_heard_at_the_door_and_nowhere_else() -> None:
    async def visit() -> None:
        host = Node(os.urandom(32), MESSAGES)
        await host.start()
        stranger = Node(os.urandom(32), MESSAGES)
        await stranger.start()
        stranger.allow({host.id: host.addresses()})
        guest = await visitor(host)
        try:
            host.serve_guests(hears_the_polite)
            assert await asks(guest, host, "please") == Ack(5)
            assert await asks(guest, host, "please") == Ack(5)
            with pytest.raises(NetworkError, match="not wanted here"):  # as a peer it is none
                await stranger.request(host.id, Push(1, "please"), timeout=2.0)
        finally:
            for node in (guest, stranger, host):
                await node.close()

    asyncio.run(visit())


def test_the_first_improper_word_ends_a_visit() -> None:
    async def visit() -> None:
        host = Node(os.urandom(32), MESSAGES)
        await host.start()
        host.serve_guests(hears_the_polite)
        guest = await visitor(host)
        try:
            with pytest.raises(PeerRefused, match="one says please here"):
                await asks(guest, host, "now")
            connection = guest._peers[host.id]._current
            assert connection is not None
            await asyncio.wait_for(connection.connection.closed(), PATIENCE)
            assert await asks(guest, host, "please") == Ack(5)  # it may knock again
        finally:
            await guest.close()
            await host.close()

    asyncio.run(visit())


def test_so_many_guests_are_heard_at_once_and_peers_are_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MOST_GUESTS", 2)

    async def visit() -> None:
        host, peer = Node(os.urandom(32), MESSAGES), Node(os.urandom(32), MESSAGES)
        for node in (host, peer):
            await node.start()
        introduce([host, peer])
        host.serve(hears_the_polite)
        host.serve_guests(hears_the_polite)
        guests = [await visitor(host) for _ in range(3)]
        try:
            for guest in guests[:2]:
                assert await asks(guest, host, "please") == Ack(5)
            with pytest.raises(NetworkError, match="not wanted here"):
                await guests[2].request(host.id, Push(1, "please"), timeout=2.0)
            assert await asks(peer, host, "please") == Ack(5)
            await guests[0].close()
            while (await asyncio.gather(asks(guests[2], host, "please"), return_exceptions=True))[0] != Ack(5):
                await asyncio.sleep(0.05)
        finally:
            for node in (*guests, peer, host):
                await node.close()

    asyncio.run(visit())


def test_a_guest_that_asks_nothing_is_shown_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "KNOCK_SECONDS", 0.2)

    async def visit() -> None:
        host = Node(os.urandom(32), MESSAGES)
        await host.start()
        host.serve_guests(hears_the_polite)
        guest = await visitor(host)
        try:
            link = await guest._peers[host.id].link()
            assert "not wanted here" in await asyncio.wait_for(link.connection.closed(), PATIENCE)
        finally:
            await guest.close()
            await host.close()

    asyncio.run(visit())
