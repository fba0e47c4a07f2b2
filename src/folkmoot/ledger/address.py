"""Addresses as text: ``0x``, 40 hex digits, and in the case of the letters a checksum (EIP-55)."""

from __future__ import annotations

import re
from functools import lru_cache

from folkmoot.keccak import keccak

__all__ = ["checksum_address"]

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


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")) if _TEXT.fullmatch(address) else b""
