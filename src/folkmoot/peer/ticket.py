"""An invitation, as one line of text: where the ledger is, which contract, and a voucher that admits one member.

``moot1`` and then base32 of a MessagePack array and four bytes of BLAKE3 over it. Reading forgives what copying
does to text (capitals, spaces, line breaks, 0 for o, 1 for l, 8 for b) and nothing else.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec
from blake3 import blake3

from folkmoot.errors import LocalError

__all__ = ["PREFIX", "Ticket", "format_ticket", "parse_ticket"]

PREFIX = "moot1"
_CHECK_BYTES = 4
_CONTEXT = "folkmoot 2026 ticket checksum v1"
_LOOKALIKES = str.maketrans("018", "olb")
_LONGEST = 4_000


class Ticket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a newcomer needs to join; whoever holds it can take the seat, so it is sent in private."""

    ledger: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    """Path of an embedded chain's file, URL of a JSON-RPC endpoint, or a peer to ask: the host of a hosted chain."""
    contract: Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
    """20 bytes: the moot's contract."""
    voucher: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    """32 bytes: the voucher's private key, good for one seat."""
    chain_id: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """The chain that the moot stands on; whatever node a newcomer asks must be of that one."""

    def __repr__(self) -> str:
        """Name ledger and contract; never the voucher."""
        return f"Ticket({self.ledger!r}, 0x{self.contract.hex()})"


def format_ticket(ticket: Ticket) -> str:
    """The ticket as text, ``moot1`` and about 100 more letters and digits."""
    body = msgspec.msgpack.encode(ticket)
    return PREFIX + base64.b32encode(body + _check(body)).decode().rstrip("=").lower()


def parse_ticket(text: str) -> Ticket:
    """The ticket behind ``text``. Raises ``LocalError`` when it is not one, is cut, or has a letter wrong."""
    compact = "".join(text.split()).lower()
    if not compact.startswith(PREFIX):
        raise LocalError(f"this is not a ticket: a ticket begins with {PREFIX}; copy the whole line")
    if len(compact) > _LONGEST:
        raise LocalError(f"this ticket has {len(compact)} characters, more than any ticket; copy one line")
    letters = compact[len(PREFIX) :].translate(_LOOKALIKES).upper()
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise _mistyped() from None
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if check != _check(body):
        raise _mistyped()
    try:
        return msgspec.msgpack.decode(body, type=Ticket)
    except msgspec.DecodeError as error:
        raise LocalError(f"this ticket was made by another version of folkmoot ({error})") from None


def _check(body: bytes) -> bytes:
    return blake3(body, derive_key_context=_CONTEXT).digest(_CHECK_BYTES)


def _mistyped() -> LocalError:
    return LocalError("the ticket is incomplete or mistyped: its checksum does not fit; copy the whole line again")
