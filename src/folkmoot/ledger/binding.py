"""The signature by which a member's endpoint key stands for its account and its exchange key."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from folkmoot.ledger.records import Member

__all__ = ["binding_message", "check_binding"]

_CONTEXT = b"folkmoot member keys v1"


def check_binding(member: Member) -> bool:
    """Whether the member's endpoint key has signed its address and exchange key."""
    try:
        key = Ed25519PublicKey.from_public_bytes(member.endpoint)
        key.verify(member.binding, binding_message(member.address, member.exchange))
    except (InvalidSignature, ValueError):
        return False
    return True


def binding_message(address: str, exchange: bytes) -> bytes:
    """What the endpoint key signs. Raises ``ValueError`` for what is no address or no key."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    if len(raw) != 20 or len(exchange) != 32:
        raise ValueError("a binding covers an address of 20 bytes and a key of 32")
    return _CONTEXT + raw + exchange
