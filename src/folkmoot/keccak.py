"""Keccak-256 (the padding before FIPS 202), by which Ethereum names everything.

The package safe-pysha3 answers in 2 us, and has wheels for Linux only. Elsewhere pycryptodome does, which web3 brings:
in 12 us, and after 40 ms of importing.
"""

from __future__ import annotations

__all__ = ["keccak"]

try:
    from _pysha3 import keccak_256  # its other module, sha3, also meddles with hashlib
except ImportError:
    from eth_hash.auto import keccak
else:

    def keccak(data: bytes) -> bytes:  # type: ignore[misc]
        """The 32 bytes of the hash of ``data``."""
        digest: bytes = keccak_256(data).digest()
        return digest
