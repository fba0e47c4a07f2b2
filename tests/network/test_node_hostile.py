"""Peers that are allowed in and then break the rules: each is told off, and the node goes on serving the others."""

import asyncio
import struct

import msgspec
import pytest
from iroh import IrohError
from loopback import Ack, Push, acknowledge, frame, nodes, stranger

from folkmoot.errors import NetworkError, ProtocolError
from folkmoot.network import Limits, Refused


def packed(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


BREACHES = {
    "oversized message": frame(packed({"type": "Push", "number": 1}), length=(64 << 10) + 1),
    "largest length there is": frame(b"", length=(1 << 32) - 1, body_size=(1 << 64) - 1),
    "truncated header": b"\x05\0\0",
    "truncated message": frame(Push(1), length=500),
    "garbage": b"GET / HTTP/1.1\r\nHost: folkmoot\r\n\r\n",
    "garbage message": frame(b"\xc1\xc1\xc1\xc1"),
    "nothing packed": frame(b""),
    "unknown field": frame(packed({"type": "Push", "number": 1, "extra": 2})),
    "unknown type": frame(packed({"type": "Pull", "number": 1})),
    "no type": frame(packed({"number": 1})),
    "wrong type of field": frame(packed({"type": "Push", "number": "1"})),
    "missing field": frame(packed({"type": "Push"})),
    "a list": frame(packed(["Push", 1])),
    "hash of the wrong length": frame(packed({"type": "GetBlob", "hash": b"short"})),
    "count out of range": frame(packed({"type": "GetChunks", "hash": bytes(32), "first": 0, "count": 65})),
    "two messages": frame(packed(Push(1)) + packed(Push(2))),
    "not UTF-8": frame(b"\x82\xa4type\xa4Push\xa6number\xa2\xff\xff"),
    "deep nesting": frame(b"\x91" * 60_000),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_frame_that_breaks_the_rules_is_reset_and_counted_and_the_node_stays_up(breach: str) -> None:
    async def run() -> None:
        async with nodes(2) as (server, friend), stranger() as liar:
            server.serve(acknowledge)
            server.allow({liar.id: [], friend.id: friend.addresses()})
            connection = await liar.dial(server)
            with pytest.raises(IrohError) as caught:
                await liar.send(connection, BREACHES[breach])
            assert "Reset(2)" in caught.value.message() + caught.value.debug_message()
            assert server.counters[liar.id].violations == 1
            assert (await friend.request(server.id, Push(1), timeout=20))[0] == Ack(0)
            answer = await liar.send(connection, frame(Push(1)))
            assert answer == frame(Ack(0))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(Push(1), bytes(500), body_size=100), "goes on after the 100 bytes"),
        (frame(Push(1), bytes(300_000), body_size=200_000), "goes on after the 200000 bytes"),
        (frame(Push(1), bytes(100), body_size=101), "ended after 100 of 101 bytes"),
        (frame(Push(1), bytes(200_000), body_size=300_000), "ended after 200000 of 300000 bytes"),
        (frame(Push(1), bytes(100), body_size=(1 << 64) - 1), "is announced, the most here is"),
    ],
)
def test_a_body_that_is_not_as_announced_is_refused_with_the_reason(data: bytes, said: str) -> None:
    async def run() -> None:
        async with nodes(1) as (server,), stranger() as liar:
            server.serve(acknowledge)
            server.allow({liar.id: []})
            answer = await liar.send(await liar.dial(server), data)
            length, body = struct.unpack_from("<IQ", answer)
            refusal = msgspec.msgpack.decode(answer[12:], type=Refused)
            assert (length, body) == (len(answer) - 12, 0)
            assert said in refusal.reason
            assert server.counters[liar.id].violations == 1

    asyncio.run(run())


def test_a_peer_that_sends_its_message_drop_by_drop_is_cut_off() -> None:
    async def run() -> None:
        limits = Limits(stall_seconds=0.2)
        async with nodes(1, limits=limits) as (server,), stranger() as slow:
            server.serve(acknowledge)
            server.allow({slow.id: []})
            connection = await slow.dial(server)
            with pytest.raises(IrohError):
                await slow.send(connection, frame(Push(1))[:5], end=False)
            assert server.counters[slow.id].violations == 1

    asyncio.run(run())


def test_a_peer_that_sends_its_body_too_slowly_is_refused() -> None:
    async def run() -> None:
        limits = Limits(stall_seconds=0.2, slowest_rate=1e6)
        async with nodes(1, limits=limits) as (server,), stranger() as slow:
            server.serve(acknowledge)
            server.allow({slow.id: []})
            half = frame(Push(1), bytes(1000), body_size=2000)
            answer = await slow.send(await slow.dial(server), half, end=False)
            assert b"did not come within" in answer

    asyncio.run(run())


def test_who_breaks_the_rules_again_and_again_is_set_aside_for_a_while_and_then_let_in_again() -> None:
    async def run() -> None:
        limits = Limits(violations=3, set_aside_seconds=0.5)
        async with nodes(1, limits=limits) as (server,), stranger() as liar:
            server.serve(acknowledge)
            server.allow({liar.id: [liar.address]})
            connection = await liar.dial(server)
            for _ in range(4):
                with pytest.raises(IrohError):
                    await liar.send(connection, b"garbage!" * 4)
            assert "breaches" in await connection.closed()
            with pytest.raises(NetworkError, match="set aside"):
                await server.request(liar.id, Push(1), timeout=5)
            again = await liar.dial(server)
            assert "not wanted here" in await again.closed()
            await asyncio.sleep(0.6)
            assert await liar.send(await liar.dial(server), frame(Push(1))) == frame(Ack(0))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"garbage that is no frame at all", "is announced"),
        (frame(packed({"type": "Ack", "size": 1, "more": 2})), "does not fit its schema"),
        (frame(Ack(1), bytes(10), body_size=20), "ended after 10 of 20"),
        (frame(Ack(1), bytes(20), body_size=10), "goes on after the 10"),
        (frame(Ack(1), body_size=1 << 40), "the most here is"),
    ],
)
def test_an_answer_that_breaks_the_rules_is_a_protocol_error_that_names_the_peer(answer: bytes, said: str) -> None:
    async def run() -> None:
        async def reply(request: bytes) -> bytes:
            return answer

        async with nodes(1) as (asker,), stranger() as liar:
            liar.answer(reply)
            asker.allow({liar.id: [liar.address]})
            with pytest.raises(ProtocolError, match=said) as caught:
                await asker.request(liar.id, Push(1), timeout=20)
            assert liar.id.hex()[:10] in str(caught.value)
            assert asker.counters[liar.id].violations == 1

    asyncio.run(run())


def test_a_stream_that_ends_before_it_began_is_no_breach() -> None:
    async def run() -> None:
        async def nothing(request: bytes) -> bytes:
            return b""

        async with nodes(1) as (asker,), stranger() as mute:
            mute.answer(nothing)
            asker.allow({mute.id: [mute.address]})
            with pytest.raises(NetworkError):
                await asker.request(mute.id, Push(1), timeout=20)
            assert asker.counters[mute.id].violations == 0

    asyncio.run(run())
