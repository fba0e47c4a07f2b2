"""What a host and the members sign about a hosted chain, and the URL that names its host.

The host signs every block it gives with its endpoint's key, by which it is known to whoever has its URL. Two signed
blocks of one number are proof that it lied. The members sign, with their ledger keys, who the next host is and from
which block on; more than half of them need no ledger to say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from folkmoot.errors import ChainError, IntegrityError
from folkmoot.keccak import keccak
from folkmoot.ledger.chain import HOSTED_SCHEME, is_hosted
from folkmoot.ledger.statements import Domain, hosting_digest, recover

__all__ = ["Appointment", "Head", "HostUrl", "knock_digest", "sign_head"]

_CONTEXT = b"folkmoot hosted block v1"
_MOST_ADDRESSES = 16

Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Term = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
_MemberSignature = Annotated[bytes, msgspec.Meta(min_length=65, max_length=65)]
_HostSignature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


@dataclass(frozen=True)
class HostUrl:
    """Who hosts a chain, and where it can be reached: ``host:<endpoint>@address[,address]``."""

    endpoint: bytes
    """32 bytes: the Ed25519 key of the host's network endpoint."""
    addresses: tuple[str, ...]
    """Each ``ip:port``, or a relay's URL."""

    def __str__(self) -> str:
        return f"{HOSTED_SCHEME}{self.endpoint.hex()}@{','.join(self.addresses)}"

    @property
    def is_local(self) -> bool:
        """Whether all its addresses are of the reader's own machine."""
        return all(address.startswith(("127.", "[::1]:")) for address in self.addresses)

    @classmethod
    def parse(cls, url: str) -> HostUrl:
        """The host that ``url`` names. Raises ``ChainError`` for anything else."""
        key, _, where = url.removeprefix(HOSTED_SCHEME).partition("@")
        addresses = tuple(address for address in where.split(",") if address)
        try:
            endpoint = bytes.fromhex(key)
        except ValueError:
            endpoint = b""
        if not is_hosted(url) or len(endpoint) != 32 or not 0 < len(addresses) <= _MOST_ADDRESSES:
            raise ChainError(
                f"{url}: a hosted chain is {HOSTED_SCHEME}KEY@IP:PORT, with the 64 hex digits of the host's endpoint"
            )
        return cls(endpoint, addresses)


class Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The host's word that this is a block of its chain. Its hash covers all blocks before it."""

    term: Term
    number: Number
    block: Hash
    """Its hash."""
    signature: _HostSignature

    def check(self, chain: bytes, host: bytes) -> None:
        """Raise ``IntegrityError`` unless the endpoint ``host`` signed this for the chain of this genesis hash."""
        try:
            key = Ed25519PublicKey.from_public_bytes(host)
            key.verify(self.signature, _message(chain, self.term, self.number, self.block))
        except (InvalidSignature, ValueError):
            raise IntegrityError(f"block {self.number} is not signed by the host of term {self.term}") from None


def sign_head(key: Ed25519PrivateKey, chain: bytes, term: int, number: int, block: bytes) -> Head:
    """The word of the host whose endpoint's key this is."""
    return Head(term, number, block, key.sign(_message(chain, term, number, block)))


def _message(chain: bytes, term: int, number: int, block: bytes) -> bytes:
    return _CONTEXT + chain + term.to_bytes(8, "big") + number.to_bytes(8, "big") + block


class Appointment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What more than half of the members signed: from the block after ``height`` on, ``endpoint`` hosts the chain."""

    term: Term
    """Counts the hosts of this chain; the founder's is 0. The higher term holds."""
    height: Number
    block: Hash
    """The hash of block ``height``: what came before stays, what the last host put after it does not."""
    endpoint: Hash
    signatures: Annotated[tuple[_MemberSignature, ...], msgspec.Meta(max_length=256)] = ()

    @property
    def rank(self) -> tuple[int, int, bytes, bytes]:
        """Of two appointments the one of the higher rank holds, for everyone alike."""
        return self.term, self.height, self.block, self.endpoint

    def digest(self, domain: Domain) -> bytes:
        """32 bytes that each member signs."""
        return hosting_digest(domain, self.height, self.block, self.endpoint, self.term)

    def signers(self, domain: Domain) -> frozenset[str]:
        """The addresses that signed. Raises ``IntegrityError`` for a signature that is none."""
        digest = self.digest(domain)
        return frozenset(recover(digest, signature) for signature in self.signatures)

    def is_carried_by(self, domain: Domain, members: Iterable[str]) -> bool:
        """Whether more than half of these members' addresses signed."""
        addresses, signers = frozenset(members), self.signers(domain)
        return 2 * len(addresses & signers) > len(addresses)


def knock_digest(contract: bytes, host: bytes, guest: bytes) -> bytes:
    """32 bytes that a voucher's key signs to let the endpoint ``guest`` ask ``host`` for the moot's chain.

    No EIP-712 domain: who knocks does not know the chain's id yet. ``contract`` has 20 bytes, the endpoints 32.
    """
    return keccak(b"folkmoot knock v1" + contract + host + guest)
