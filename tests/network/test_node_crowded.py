"""Strangers in numbers, packets that are none, a link that loses some: members are served meanwhile."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from iroh import IrohError
from loopback import Ack, Push, Stranger, acknowledge, nodes

from folkmoot.network import Node

LOSSY = """
ip link set lo up &&
tc qdisc add dev lo root netem delay 200ms loss 10% &&
exec "$@"
"""


def served_meanwhile(disturb: Callable[[Node], Awaitable[None]], requests: int = 100) -> None:
    """A member's requests are answered, every one, while ``disturb`` is at work."""

    async def run() -> None:
        async with nodes(2) as (asker, server):
            server.serve(acknowledge)
            disturbance = asyncio.create_task(disturb(server))
            for number in range(requests):
                assert (await asker.request(server.id, Push(number), body=b"x" * 1000, timeout=60))[0] == Ack(1000)
                await asyncio.sleep(0)
            await disturbance
            assert (await asker.request(server.id, Push(0), timeout=60))[0] == Ack(0)
            assert len(server.counters) == 1  # of nobody but the member
            assert server._handshakes == 0

    asyncio.run(run())


async def strangers(server: Node, count: int) -> None:
    """Connect, from a few endpoints of nobody's, again and again."""

    async def one(crowd: int) -> None:
        made = await Stranger.make()
        try:
            for _ in range(crowd):
                try:
                    connection = await made.dial(server)
                    await connection.closed()
                except IrohError:
                    pass  # refused before its handshake, which is as good
        finally:
            await made.close()

    await asyncio.gather(*(one(count // 4) for _ in range(4)))


def test_strangers_who_connect_again_and_again_are_turned_away_and_members_served() -> None:
    served_meanwhile(lambda server: strangers(server, 200))


@pytest.mark.long
def test_thousands_of_strangers_are_turned_away_and_members_served() -> None:
    served_meanwhile(lambda server: strangers(server, 3_000), requests=1_000)


def test_a_flood_of_packets_that_are_none_does_not_keep_members_from_being_served() -> None:
    async def flood(server: Node) -> None:
        host, _, port = server.addresses()[0].rpartition(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((host, int(port)))
            for _ in range(40):
                for size in (0, 1, 50, 1_200) * 125:
                    sender.send(os.urandom(size))
                await asyncio.sleep(0)

    served_meanwhile(flood)


def test_members_are_served_over_a_link_of_400_ms_that_loses_every_tenth_packet() -> None:
    """In a network namespace of its own, where the system has the means."""
    tools = [shutil.which(tool) for tool in ("unshare", "ip", "tc")]
    if not all(tools):
        pytest.skip("it takes unshare, ip and tc")
    inside = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", LOSSY, "sh"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this kernel lets no one make a network namespace with a lossy link (sch_netem)")
    served = "import test_node_crowded as t\nt.served_meanwhile(lambda server: t.strangers(server, 4), requests=10)"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [*inside, sys.executable, "-c", served], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
