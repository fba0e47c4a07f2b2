"""A node listens where it was told and nowhere else, and says in words why where it cannot."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from loopback import MESSAGES

from folkmoot.errors import NetworkError
from folkmoot.network import Listening, Node, PortTaken, listening

HAS_IPV6 = Path("/proc/net/udp6").exists() and Path("/proc/net/if_inet6").exists() and socket.has_ipv6
UNKNOWN_VERSION = (
    bytes([0xC0]) + bytes.fromhex("1a2a3a4a") + bytes([8]) + bytes(8) + bytes([8]) + bytes(8) + bytes(1200)
)
"""A QUIC packet of a version that nobody speaks, which every QUIC endpoint answers with those that it speaks."""


def with_node(listen: str, look: Callable[[Node, Listening], None]) -> None:
    async def run() -> None:
        node = Node(os.urandom(32), MESSAGES)
        try:
            where = await node.start(listen)
            await asyncio.to_thread(look, node, where)
        finally:
            await node.close()

    asyncio.run(run())


def udp_sockets() -> set[tuple[str, int]]:
    """Address, as the kernel writes it, and port of each UDP socket of this process."""
    own = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            own.add(os.readlink(descriptor))
    found = set()
    for table in ("udp", "udp6"):
        with suppress(FileNotFoundError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if f"socket:[{words[9]}]" in own:
                    host, _, port = words[1].partition(":")
                    found.add((host, int(port, 16)))
    return found


def answers_quic(family: socket.AddressFamily, host: str, port: int) -> bool:
    """Whether something at this address answers as a QUIC endpoint."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect((host, port))
            probe.send(UNKNOWN_VERSION)
            return probe.recv(2048)[1:5] == bytes(4)
        except OSError:  # nothing there, or no such address
            return False


def own_address(family: socket.AddressFamily, far: str) -> str | None:
    """An address of this machine by which others reach it, if it has any."""
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((far, 9))
        except OSError:
            return None
        host: str = trial.getsockname()[0]
        return host


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="the sockets of a process are looked up in /proc")
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_a_node_bound_to_loopback_has_no_socket_that_another_machine_reaches(listen: str) -> None:
    if listen.startswith("[") and not HAS_IPV6:
        pytest.skip("this machine has no IPv6")
    loopbacks, earlier = {"0100007F", "0" * 24 + "01000000"}, udp_sockets()

    def look(node: Node, where: Listening) -> None:
        give_up = time.monotonic() + 30.0  # a router's port mapping is searched from another socket, for a second
        while {host for host, _ in udp_sockets() - earlier} - loopbacks and time.monotonic() < give_up:
            time.sleep(0.05)
        open_ports = udp_sockets() - earlier
        assert {host for host, _ in open_ports} <= loopbacks
        assert where.port in {port for _, port in open_ports}
        assert all(address.startswith(listen.rpartition(":")[0]) for address in node.addresses())
        inside = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
        assert answers_quic(inside[str(where.host)], str(where.host), where.port)
        for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
            outside = own_address(family, far)
            for _, port in open_ports if outside is not None else ():
                assert not answers_quic(family, outside, port), f"{outside} answers at port {port}"

    with_node(listen, look)


def test_a_node_bound_to_all_addresses_has_the_same_port_in_both_families() -> None:
    def look(node: Node, where: Listening) -> None:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family == socket.AF_INET or HAS_IPV6:
                assert answers_quic(family, host, where.port)

    with_node("0.0.0.0:4700+", look)


def test_a_taken_port_is_an_error_that_names_it_and_the_cure_and_no_source_file() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            with_node(f"127.0.0.1:{port}", lambda node, where: None)
    said = str(caught.value)
    assert f"127.0.0.1:{port}" in said
    assert "folkmoot run --listen" in said
    assert ".rs" not in said


def test_the_next_free_port_is_taken_where_that_was_asked_for() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def look(node: Node, where: Listening) -> None:
            assert where.port > port
            assert node.addresses() == (f"127.0.0.1:{where.port}",)
            assert str(where) == f"127.0.0.1:{where.port}+"

        with_node(f"127.0.0.1:{port}+", look)


def test_a_port_that_another_program_takes_between_the_look_and_the_bind_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The look finds every port free, as it does where another program is a moment faster."""
    monkeypatch.setattr(listening, "_probe", lambda host, port: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1]

        def look(node: Node, where: Listening) -> None:
            assert taken < where.port < taken + listening.TRIED

        with_node(f"127.0.0.1:{taken}+", look)
        with pytest.raises(PortTaken, match=f"another program has UDP port {taken}"):
            with_node(f"127.0.0.1:{taken}", look)


def test_many_nodes_that_start_at_once_with_one_first_port_all_get_one_of_their_own() -> None:
    async def run() -> None:
        nodes = [Node(os.urandom(32), MESSAGES) for _ in range(8)]
        try:
            got = await asyncio.gather(*(node.start("127.0.0.1:4800+") for node in nodes))
            assert len({where.port for where in got}) == len(nodes)
        finally:
            await asyncio.gather(*(node.close() for node in nodes))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("listen", "says"),
    [
        ("203.0.113.1:4100", "this machine has no address 203.0.113.1"),
        ("4100", "is no address to listen on"),
        ("localhost:4100", "is no address to listen on"),
        ("127.0.0.1:70000", "is no address to listen on"),
        ("::1:4100", "is no address to listen on"),
        ("[127.0.0.1]:4100", "is no address to listen on"),
        ("127.0.0.1:", "is no address to listen on"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_explained(listen: str, says: str) -> None:
    with pytest.raises(NetworkError, match=says.replace(".", r"\.")) as caught:
        with_node(listen, lambda node, where: None)
    assert ".rs" not in str(caught.value)
