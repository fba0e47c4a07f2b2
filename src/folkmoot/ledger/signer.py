"""Who signs: a private key and the address it has on the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from folkmoot.errors import LocalError
from folkmoot.ledger.statements import address_of

__all__ = ["Keyed", "Signer"]


class Keyed(Protocol):
    """What a moot's client needs of a signer; an account of eth_account has it too."""

    @property
    def address(self) -> str:
        """Checksummed, as EIP-55 writes it."""

    @property
    def key(self) -> bytes:
        """32 bytes."""


@dataclass(frozen=True)
class Signer:
    """A secp256k1 private key (32 bytes, secret). Raises ``LocalError`` for bytes that are none."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        try:
            _ = self.address
        except ValueError:
            raise LocalError("a private key has 32 bytes, and is neither 0 nor as large as the curve's order") from None

    @cached_property
    def address(self) -> str:
        """The checksummed address."""
        return address_of(self.key)
