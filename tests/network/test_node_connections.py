import asyncio
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from iroh import Connection, EndpointAddr, IrohError
from loopback import MESSAGES, Ack, Push, acknowledge, frame, introduce, nodes, stranger

from folkmoot.errors import NetworkError
from folkmoot.network import Limits, Node

SERVER = """
import asyncio, sys
from loopback import MESSAGES, Ack, acknowledge
from folkmoot.network import Node

async def hang_on_seven(peer, message, body):
    if message.number == 7:
        await asyncio.Event().wait()
    return await acknowledge(peer, message, body)

async def run():
    node = Node(bytes.fromhex(sys.argv[1]), MESSAGES)
    await node.start()
    node.allow({bytes.fromhex(sys.argv[2]): []})
    node.serve(hang_on_seven)
    print(node.addresses()[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(run())
"""


def test_a_stranger_is_turned_away_and_told_so() -> None:
    async def run() -> None:
        async with nodes(1) as (server,), stranger() as unknown:
            server.serve(acknowledge)
            connection = await unknown.dial(server)
            assert "not wanted here" in await connection.closed()
            server.allow({unknown.id: []})
            assert await unknown.send(await unknown.dial(server), frame(Push(1))) == frame(Ack(0))

    asyncio.run(run())


def test_a_node_that_is_not_let_in_keeps_trying_with_pauses_until_its_time_is_over() -> None:
    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(acknowledge)
            server.allow({})
            with pytest.raises(NetworkError, match=r"cannot be reached within 0\.5 s.*not wanted here"):
                await asker.request(server.id, Push(1), timeout=0.5)
            asking = asyncio.create_task(asker.request(server.id, Push(1), timeout=20))
            await asyncio.sleep(0.2)
            server.allow({asker.id: []})
            assert (await asking)[0] == Ack(0)

    asyncio.run(run())


def test_connections_of_a_removed_peer_are_closed() -> None:
    async def run() -> None:
        async with nodes(1) as (server,), stranger() as member:
            server.serve(acknowledge)
            server.allow({member.id: []})
            connection = await member.dial(server)
            await member.send(connection, frame(Push(1)))
            server.allow({})
            await connection.closed()
            with pytest.raises(IrohError):
                await member.send(connection, frame(Push(1)))
            assert server.counters[member.id].served == 1

    asyncio.run(run())


def test_two_that_dial_each_other_at_once_end_up_with_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("folkmoot.network.peers.SIMULTANEOUS_SECONDS", 0.3)

    async def run() -> None:
        async with nodes(2) as (one, two):
            one.serve(acknowledge)
            two.serve(acknowledge)

            async def both() -> None:
                asked = (one.request(two.id, Push(1), timeout=20), two.request(one.id, Push(1), timeout=20))
                assert [answer for answer, _ in await asyncio.gather(*asked)] == [Ack(0), Ack(0)]

            for _ in range(20):
                await both()
            while len(one._peers[two.id]._links) > 1 or len(two._peers[one.id]._links) > 1:
                await asyncio.sleep(0.05)
            for _ in range(20):
                await both()
            assert len(one._peers[two.id]._links) == len(two._peers[one.id]._links) == 1

    asyncio.run(run())


def dials_slowly(node: Node, other: Node, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let the node hear of its connections with the other later than that does: once the event is set."""
    let, peer = asyncio.Event(), node._peers[other.id]
    dial = peer._dial

    async def slowly(address: EndpointAddr) -> Connection:
        connection = await dial(address)
        await let.wait()
        return connection

    monkeypatch.setattr(peer, "_dial", slowly)
    return let


def waits_no_more(dialer: Node, other: Node) -> asyncio.Task[None]:
    """What the node dials with, which ends once nobody wants the connection."""
    dialing = dialer._peers[other.id]._dialer
    assert dialing is not None
    return dialing


def test_a_connection_that_the_dialer_waits_for_no_more_serves_the_other_side_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        async with nodes(2) as (dialer, other):
            let = dials_slowly(dialer, other, monkeypatch)
            dialer.serve(acknowledge)
            dialer.allow({other.id: other.addresses()})
            other.allow({dialer.id: []})  # it can only use the connection that comes in
            asking = asyncio.create_task(dialer.request(other.id, Push(1), timeout=600))
            answered = asyncio.create_task(other.request(dialer.id, Push(2), timeout=20))
            while not (links := other._peers[dialer.id]._links) or not links[0].active:
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, waits_no_more(dialer, other), return_exceptions=True)
            let.set()
            assert (await answered)[0] == Ack(0)

    asyncio.run(run())


def test_a_dial_that_ends_after_its_peer_was_removed_leaves_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with nodes(2) as (dialer, other):
            let = dials_slowly(dialer, other, monkeypatch)
            asking = asyncio.create_task(dialer.request(other.id, Push(1), timeout=600))
            while not (links := other._peers[dialer.id]._links):
                await asyncio.sleep(0.01)
            removed, dialing = dialer._peers[other.id], waits_no_more(dialer, other)
            dialer.allow({})
            await asyncio.gather(dialing, return_exceptions=True)
            let.set()
            async with asyncio.timeout(20):
                await links[0].connection.closed()
            assert not removed._links
            asking.cancel()

    asyncio.run(run())


def test_a_peer_that_is_not_up_yet_is_reached_once_it_is() -> None:
    async def run() -> None:
        async with nodes(1) as (asker,):
            late = Node(os.urandom(32), MESSAGES)
            asker.allow({late.id: ["127.0.0.1:9"]})
            asking = asyncio.create_task(asker.request(late.id, Push(1), timeout=30))
            await late.start()
            late.serve(acknowledge)
            introduce([asker, late])
            assert (await asking)[0] == Ack(0)
            await late.close()

    asyncio.run(run())


def test_a_peer_without_a_known_address_is_reached_through_the_connection_it_opens() -> None:
    async def run() -> None:
        async with nodes(2) as (asker, caller):
            caller.serve(acknowledge)
            asker.serve(acknowledge)
            asker.allow({caller.id: []})
            with pytest.raises(NetworkError, match="no address of it is known and it has not called"):
                await asker.request(caller.id, Push(1), timeout=0.1)
            asking = asyncio.create_task(asker.request(caller.id, Push(1), timeout=20))
            await caller.request(asker.id, Push(1), timeout=20)
            assert (await asking)[0] == Ack(0)

    asyncio.run(run())


@pytest.mark.parametrize("hints", [["nonsense"], ["127.0.0.1:notaport"], ["300.1.1.1:5"], [":"], ["https://"]])
def test_hints_that_make_no_sense_are_a_network_error(hints: list[str]) -> None:
    async def run() -> None:
        async with nodes(1) as (asker,):
            other = os.urandom(31) + b"\0"
            asker.allow({other: hints})
            with pytest.raises(NetworkError, match="cannot be reached"):
                await asker.request(other, Push(1), timeout=0.2)

    asyncio.run(run())


def test_a_restarted_peer_at_another_address_is_found_again() -> None:
    async def run() -> None:
        secret = os.urandom(32)
        async with nodes(1) as (asker,):
            for _ in range(3):
                server = Node(secret, MESSAGES)
                await server.start()
                server.serve(acknowledge)
                server.allow({asker.id: []})
                asker.allow({server.id: server.addresses()})
                assert (await asker.request(server.id, Push(1), timeout=20))[0] == Ack(0)
                await server.close()

    asyncio.run(run())


def test_a_peer_killed_with_sigkill_fails_what_waits_on_it_and_is_found_again_after_its_restart() -> None:
    async def run() -> None:
        secret = os.urandom(32)
        server = Node(secret, MESSAGES).id

        async with nodes(1) as (asker,):

            def launch() -> tuple[subprocess.Popen[str], str]:
                path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
                process = subprocess.Popen(
                    [sys.executable, "-c", SERVER, secret.hex(), asker.id.hex()],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": path},
                )
                assert process.stdout is not None
                return process, process.stdout.readline().strip()

            process, address = launch()
            asker.allow({server: [address]})
            assert (await asker.request(server, Push(1), timeout=20))[0] == Ack(0)
            waiting = asyncio.create_task(asker.request(server, Push(7), timeout=600))
            await asyncio.sleep(0)
            process.kill()
            process.wait()
            with pytest.raises(NetworkError, match="went away"):
                await waiting
            process, address = launch()
            asker.allow({server: [address]})
            assert (await asker.request(server, Push(1), timeout=20))[0] == Ack(0)
            process.kill()
            process.wait()

    asyncio.run(run())


def test_pauses_between_attempts_grow_up_to_the_most_and_come_from_the_given_random() -> None:
    async def run() -> None:
        limits = Limits(backoff_seconds=0.5, backoff_most=8.0)
        node = Node(os.urandom(32), MESSAGES, limits=limits, random=Random(1))
        other = Node(os.urandom(32), MESSAGES).id
        node.allow({other: ["127.0.0.1:9"]})
        peer = node._peers[other]
        expected = Random(1)
        for failures in range(1, 40):
            peer._failures = failures
            assert peer._pause() == min(0.5 * 2.0 ** (failures - 1), 8.0) * expected.uniform(0.5, 1.0)
        node.allow({other: ["127.0.0.1:10"]})
        assert peer._failures == 0

    asyncio.run(run())
