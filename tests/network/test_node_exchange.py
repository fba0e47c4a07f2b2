import asyncio
import os

import pytest
from loopback import MESSAGES, MOST, Ack, Push, acknowledge, introduce, nodes

from folkmoot.errors import DataError, IntegrityError, NetworkError, ProtocolError
from folkmoot.network import BodyReader, Limits, Message, Node, PeerRefused, Reply


@pytest.mark.parametrize("size", [0, 1, 1000, 65_524, 400_000, 1 << 20, 5_000_000])
def test_a_message_and_its_body_go_there_and_come_back(size: int) -> None:
    sent = os.urandom(size)

    async def echo(peer: bytes, message: Message, body: BodyReader) -> Reply:
        assert isinstance(message, Push)
        assert body.size == size
        return Reply(Ack(message.number), await body.read(MOST))

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(echo)
            answer, body = await asker.request(server.id, Push(7, "hello"), body=sent, timeout=20, most=MOST)
            assert answer == Ack(7)
            assert body == sent
            counted = asker.counters[server.id]
            assert counted.sent >= size
            assert counted.received >= size
            assert (counted.asked, counted.violations) == (1, 0)
            assert asker.totals() == counted

    asyncio.run(run())


def test_the_handler_learns_who_asks_and_the_secret_gives_the_id() -> None:
    seen: list[bytes] = []

    async def note(peer: bytes, message: Message, body: BodyReader) -> Ack:
        seen.append(peer)
        return Ack(0)

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(note)
            await asker.request(server.id, Push(1), timeout=20)
            assert seen == [asker.id]
            assert asker._bound().id().to_bytes() == asker.id

    asyncio.run(run())


def test_many_requests_at_once_in_both_directions_share_one_connection_each_way_at_most() -> None:
    async def run() -> None:
        async with nodes(2) as (one, two):
            one.serve(acknowledge)
            two.serve(acknowledge)
            bodies = [os.urandom(size) for size in (10, 100_000, 400_000)] * 10
            asked = [one.request(two.id, Push(1), body=body, timeout=20) for body in bodies]
            asked += [two.request(one.id, Push(1), body=body, timeout=20) for body in bodies]
            answers = await asyncio.gather(*asked)
            assert [answer for answer, _ in answers] == [Ack(len(body)) for body in bodies * 2]
            assert len(one._peers[two.id]._links) <= 2

    asyncio.run(run())


def test_a_body_beyond_what_the_handler_takes_is_refused_before_it_is_read() -> None:
    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(acknowledge)
            with pytest.raises(PeerRefused, match=rf"a body of {MOST + 1} bytes is announced, the most here is {MOST}"):
                await asker.request(server.id, Push(1), body=bytes(MOST + 1), timeout=20)
            assert (await asker.request(server.id, Push(1), timeout=20))[0] == Ack(0)

    asyncio.run(run())


def test_a_reply_beyond_what_the_asker_takes_is_a_protocol_error() -> None:
    async def generous(peer: bytes, message: Message, body: BodyReader) -> Reply:
        return Reply(Ack(0), bytes(2000))

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(generous)
            with pytest.raises(ProtocolError, match="2000 bytes is announced, the most here is 1999"):
                await asker.request(server.id, Push(1), timeout=20, most=1999)

    asyncio.run(run())


def test_a_handler_that_ignores_the_body_still_answers() -> None:
    async def ignore(peer: bytes, message: Message, body: BodyReader) -> Ack:
        return Ack(body.size)

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(ignore)
            for size in (100, 5_000_000):
                answer, _ = await asker.request(server.id, Push(1), body=bytes(size), timeout=20)
                assert answer == Ack(size)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "said", "counted"),
    [
        (DataError("no such dataset here"), "no such dataset here", 0),
        (ProtocolError("not now"), "not now", 1),
        (IntegrityError("bad signature"), "bad signature", 1),
        (ValueError("a secret of the inside"), "internal error", 0),
        (None, "Push is not served here", 0),
    ],
)
def test_a_handler_that_fails_refuses_with_its_reason_and_the_node_stays_up(
    error: Exception | None, said: str, counted: int
) -> None:
    async def fail(peer: bytes, message: Message, body: BodyReader) -> None:
        if error is not None:
            raise error

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(fail)
            with pytest.raises(PeerRefused, match=said) as caught:
                await asker.request(server.id, Push(1), timeout=20)
            assert "secret" not in str(caught.value)
            assert server.counters[asker.id].violations == counted
            server.serve(acknowledge)
            assert (await asker.request(server.id, Push(1), timeout=20))[0] == Ack(0)

    asyncio.run(run())


def test_a_message_too_long_to_send_is_refused_on_this_side() -> None:
    async def run() -> None:
        async with nodes(2) as (asker, server):
            with pytest.raises(ProtocolError, match="the most is 65536; send a body"):
                await asker.request(server.id, Push(1, "x" * 70_000), timeout=20)

    asyncio.run(run())


def test_a_peer_that_does_not_answer_in_time_is_a_network_error_and_the_stream_is_given_up() -> None:
    async def run() -> None:
        never = asyncio.Event()

        async def hang(peer: bytes, message: Message, body: BodyReader) -> Ack:
            await never.wait()
            return Ack(0)

        async with nodes(2) as (asker, server):
            server.serve(hang)
            with pytest.raises(NetworkError, match=r"did not answer Push within 0\.2 s"):
                await asker.request(server.id, Push(1), timeout=0.2)
            never.set()
            server.serve(acknowledge)
            assert (await asker.request(server.id, Push(1), timeout=20))[0] == Ack(0)
            assert server.counters[asker.id].violations == 0

    asyncio.run(run())


def test_a_request_given_up_while_its_body_goes_out_is_no_breach() -> None:
    async def run() -> None:
        started = asyncio.Event()

        async def slow(peer: bytes, message: Message, body: BodyReader) -> Ack:
            started.set()
            await asyncio.sleep(0.3)
            return Ack(len(await body.read(64 << 20)))

        async with nodes(2) as (asker, server):
            server.serve(slow)
            asking = asyncio.create_task(asker.request(server.id, Push(1), body=bytes(30 << 20), timeout=20))
            await started.wait()
            asking.cancel()
            await asyncio.wait([asking])
            server.serve(acknowledge)
            assert (await asker.request(server.id, Push(1), timeout=20))[0] == Ack(0)
            while server._peers[asker.id]._links[0].active:
                await asyncio.sleep(0.01)
            assert server.counters[asker.id].violations == 0

    asyncio.run(run())


def test_bodies_in_flight_beyond_a_peers_allowance_wait_and_all_arrive() -> None:
    async def run() -> None:
        async with nodes(2, limits=Limits(bytes_in_flight=500_000, streams=4)) as (asker, server):
            server.serve(acknowledge)
            asked = [asker.request(server.id, Push(1), body=bytes(300_000), timeout=20) for _ in range(12)]
            assert [answer for answer, _ in await asyncio.gather(*asked)] == [Ack(300_000)] * 12
            with pytest.raises(PeerRefused, match="exceeds what one peer may send at once"):
                await asker.request(server.id, Push(1), body=bytes(500_001), timeout=20)

    asyncio.run(run())


def test_requests_beyond_the_rate_wait_and_are_answered() -> None:
    async def run() -> None:
        async with nodes(2, limits=Limits(requests_per_second=200, burst=5)) as (asker, server):
            server.serve(acknowledge)
            asked = [asker.request(server.id, Push(1), timeout=20) for _ in range(25)]
            assert [answer for answer, _ in await asyncio.gather(*asked)] == [Ack(0)] * 25

    asyncio.run(run())


def test_a_node_that_is_not_started_or_closed_says_so() -> None:
    async def run() -> None:
        async with nodes(1) as (server,):
            idle = Node(os.urandom(32), MESSAGES)
            with pytest.raises(NetworkError, match="not started"):
                idle.addresses()
            await idle.close()
            with pytest.raises(NetworkError, match="cannot listen on"):
                await idle.start("203.0.113.1:1")
            introduce([server])
            with pytest.raises(NetworkError, match="not among those"):
                await server.request(os.urandom(32), Push(1), timeout=1)

    asyncio.run(run())
