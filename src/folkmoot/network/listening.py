"""Where a node listens for UDP: which addresses of this machine, on which port, and what is wrong where it cannot."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from iroh import Endpoint, EndpointBuilder, IrohError, RelayMode

from folkmoot.errors import NetworkError
from folkmoot.network.streams import explain

__all__ = ["Listening", "PortTaken", "bind_endpoint"]

TRIED = 256
"""Ports that are tried, from the given one on, where the next free one will do."""
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_WILDCARDS: tuple[Address, Address] = (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0))
_LOOPBACKS: tuple[Address, Address] = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
_log = logging.getLogger(__name__)


class PortTaken(NetworkError):
    """Another program has the port."""


@dataclass(frozen=True)
class Listening:
    """An address of this machine and a UDP port, written ``IP:PORT``, or ``IP:PORT+``.

    ``0.0.0.0`` and ``[::]`` both stand for all addresses, of both families; anything else for that one address. Port 0
    lets the system choose; with ``+`` the next free port will do where the given one is taken.
    """

    host: Address
    port: int
    or_next: bool = False

    @classmethod
    def parse(cls, text: str) -> Listening:
        """The address that ``text`` names. Raises ``NetworkError`` for anything else."""
        host, _, port = text.removesuffix("+").rpartition(":")
        try:
            if not port.isdecimal() or int(port) > 0xFFFF or (host.startswith("[") != ("." not in host)):
                raise ValueError
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise NetworkError(
                f"{text!r} is no address to listen on: write IP:PORT, like 0.0.0.0:4100 for all addresses of this"
                " machine; an IPv6 address in brackets; a + at the end lets the next free port do"
            ) from None
        return cls(address, int(port), text.endswith("+"))

    def __str__(self) -> str:
        return _pair(self.host, self.port) + "+" * self.or_next

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host.is_loopback

    def tells(self, pair: str) -> bool:
        """Whether others are told of ``pair``, an ``IP:PORT`` where a node that listens here may be reached."""
        host = Listening.parse(pair).host
        return host == self.host if self.is_local else not host.is_loopback

    def at(self, port: int) -> Listening:
        """The same address with another port."""
        return replace(self, port=port)

    @property
    def settled(self) -> Listening:
        """The same, and no other port will do."""
        return replace(self, or_next=False)

    def ports(self) -> Iterator[int]:
        """The ports to try, in order."""
        return iter(range(self.port, min(self.port + TRIED, 1 << 16)) if self.or_next and self.port else (self.port,))

    def sockets(self) -> list[str]:
        """The addresses to bind, one for each family that this machine has.

        iroh opens a socket on all addresses of a family that it is given none of. So the other family gets the port of
        the same kind: all its addresses too, or its loopback, which nobody else reaches. Raises ``PortTaken``, or
        another ``NetworkError``, where one cannot be bound.
        """
        _probe(self.host, self.port)
        kind = _WILDCARDS if self.host.is_unspecified else _LOOPBACKS
        other = kind[self.host.version == 4]
        try:
            _probe(other, self.port)
        except _Absent:
            if not self.host.is_unspecified and _has_addresses(other):
                _log.warning("this machine has no %s, so iroh listens on all its IPv%d addresses", other, other.version)
            return [_pair(self.host, self.port)]
        return [_pair(self.host, self.port), _pair(other, self.port)]


async def bind_endpoint(
    where: Listening, *, secret: bytes, alpns: Sequence[bytes], relays: Sequence[str]
) -> tuple[Endpoint, Listening]:
    """An endpoint that listens there, and the address with the port that it got.

    Raises ``PortTaken``, or another ``NetworkError``, where it cannot listen there or a relay's URL is malformed.
    """
    for port in where.ports():
        try:
            endpoint = await _bind(where.at(port), secret, alpns, relays)
        except PortTaken as error:
            last = error
            continue
        bound = endpoint.bound_sockets()
        got = next(int(pair.rpartition(":")[2]) for pair in bound if pair.startswith("[") == (where.host.version == 6))
        return endpoint, where.at(got)
    if where.or_next:
        raise PortTaken(
            f"cannot listen on {where}: none of the {len(list(where.ports()))} ports from there on is free; {last}"
        )
    raise PortTaken(
        f"cannot listen on {where}: another program has UDP port {where.port}, perhaps another peer of this machine; "
        f"stop it, or choose another port: folkmoot run --listen {_pair(where.host, where.port + 1)}"
    )


async def _bind(where: Listening, secret: bytes, alpns: Sequence[bytes], relays: Sequence[str]) -> Endpoint:
    try:
        builder = EndpointBuilder()  # type: ignore[no-untyped-call]
        builder.apply_minimal()
        builder.secret_key(secret)
        builder.alpns(list(alpns))
        builder.relay_mode(RelayMode.custom_from_urls(list(relays)) if relays else RelayMode.disabled())
        for pair in where.sockets():
            builder.bind_addr(pair)
    except IrohError as error:
        raise NetworkError(f"cannot listen on {where}: {explain(error)}") from error
    try:
        return await builder.bind()
    except IrohError as error:
        # The sockets could be bound a moment ago, so another program was faster; iroh's message does not always say so.
        raise PortTaken(f"cannot listen on {where}: {explain(error)}") from error


class _Absent(NetworkError):
    """This machine does not have the address."""


def _probe(host: Address, port: int) -> None:
    """Raise a ``NetworkError`` that says in words why this cannot be bound; return if it can."""
    pair = _pair(host, port)
    try:
        with socket.socket(socket.AF_INET if host.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            if host.version == 6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((str(host), port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"cannot listen on {pair}: another program has that port") from None
        if error.errno in _ABSENT:
            hint = "name one that it has, or 0.0.0.0 for all of them"
            raise _Absent(f"cannot listen on {pair}: this machine has no address {host}; {hint}") from None
        if error.errno == errno.EACCES:
            raise NetworkError(
                f"cannot listen on {pair}: ports below 1024 are not for everyone; take one above"
            ) from None
        raise NetworkError(f"cannot listen on {pair}: {error.strerror}") from None


def _has_addresses(family: Address) -> bool:
    """Whether this machine sends from an address of the family that is not its loopback."""
    far = "192.0.2.1" if family.version == 4 else "2001:db8::1"
    try:
        with socket.socket(socket.AF_INET if family.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as trial:
            trial.connect((far, 9))  # sends nothing
    except OSError:
        return False
    return True


def _pair(host: Address, port: int) -> str:
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"
