"""Addresses as text: ``0x``, 40 hex digits, and in the case of the letters a checksum (EIP-55)."""

from __future__ import annotations

import re
from functools import lru_cache

from folkmoot.keccak import keccak
from folkmoot.ledger import rlp

__all__ = ["checksum_address", "created_address"]

_TEXT = re.compile("(0x)?[0-9a-fA-F]{40}")


@lru_cache(maxsize=4096)
def checksum_address(address: str | bytes) -> str:
    """The address (20 bytes, or text in any case) as EIP-55 writes it. Raises ``ValueError`` if it is none."""
    raw = address if isinstance(address, bytes) else _bytes(address)
    if len(raw) != 20:
        raise ValueError(f"{address!r} is not an address: 0x and 40 hex digits")
    digits = raw.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(d.upper() if mark > "7" else d for d, mark in zip(digits, marks, strict=False))


def created_address(sender: str, nonce: int) -> str:
    """The address of the contract that the account ``sender`` deploys by its transaction number ``nonce``."""
    return checksum_address(keccak(rlp.encode([_bytes(sender), rlp.shortest(nonce)]))[12:])


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")) if _TEXT.fullmatch(address) else b""
