"""What peers say to each other about a hosted chain."""

from __future__ import annotations

from typing import Annotated

import msgspec

from folkmoot.errors import ProtocolError
from folkmoot.ledger.chainfile import Block
from folkmoot.ledger.hosting import Appointment, Head
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.network.messages import Message
from folkmoot.peer.messages import Bytes32, Signature

__all__ = [
    "PAGE_BLOCKS",
    "PAGE_BYTES",
    "Blocks",
    "Declined",
    "Exhibit",
    "GetAppointment",
    "GetBlocks",
    "GetChain",
    "HostMessage",
    "Hosted",
    "Knock",
    "Overdue",
    "Propose",
    "Row",
    "Submit",
    "ThisChain",
    "Tidings",
    "Voted",
    "blocks_of",
]

PAGE_BLOCKS = 200
PAGE_BYTES = 1 << 20
"""Bytes of transactions in one answer, beyond the first."""

Term = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
Time = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
Length = Annotated[int, msgspec.Meta(ge=1, le=RAW_LIMIT)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]
_Address = Annotated[str, msgspec.Meta(max_length=256)]
Endpoint = Annotated[bytes, msgspec.Meta(max_length=32)]


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One block of a page; its transaction is that many bytes of the body."""

    time: Time
    block: Bytes32
    """Its hash."""
    size: Length
    signature: Annotated[bytes, msgspec.Meta(max_length=64)]
    """The host's, in the page's term; empty where the giver has none, as for what the members have fixed."""


class GetChain(Message, frozen=True):
    """Asks which chain this is. Answered by ``ThisChain``."""


class ThisChain(Message, frozen=True):
    """What a ledger file begins with."""

    id: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
    time: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class GetBlocks(Message, frozen=True):
    """Asks for the blocks from ``first`` on, a page or ``most`` of them; waits that long for one. Answered by
    ``Blocks``, or ``Hosted`` by who knows of a later host."""

    term: Term
    first: Number
    most: Annotated[int, msgspec.Meta(ge=1, le=PAGE_BLOCKS)] = PAGE_BLOCKS
    wait: Seconds = 0.0


class Blocks(Message, frozen=True):
    """Blocks from ``first`` on; the body is their transactions, one after the other. None when there are none yet."""

    term: Term
    first: Number
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=PAGE_BLOCKS)]


class Submit(Message, frozen=True):
    """The body is a raw transaction for the next block. Answered by ``Blocks`` from ``first`` up to the one that holds
    it, by ``Declined``, or by ``Hosted``."""

    term: Term
    first: Number


class Declined(Message, frozen=True):
    """The transaction would not succeed after block ``head``."""

    head: Number
    reason: Annotated[str, msgspec.Meta(max_length=1000)]
    reverted: bool
    """Whether the contract says so; else the transaction itself is at fault."""


class Tidings(Message, frozen=True):
    """The newest block that the sender has, signed by the host or fixed by the members, and what it wants. Answered by
    the other's."""

    term: Term
    number: Number
    block: Bytes32
    signature: Annotated[bytes, msgspec.Meta(max_length=64)]
    wish: Endpoint
    """The endpoint it wants as host; empty if it wants no other."""
    held: bool
    """Whether it takes no more blocks from the present host."""
    voted: Term
    """The highest term of which it has signed a statement."""


class GetAppointment(Message, frozen=True):
    """Asks who hosts. Answered by ``Hosted``."""


class Hosted(Message, frozen=True):
    """Who hosts by the word of more than half of the members; ``None``: the founder still does. A guest is told where
    that is, too."""

    appointment: Appointment | None
    addresses: Annotated[tuple[_Address, ...], msgspec.Meta(max_length=16)] = ()


class Propose(Message, frozen=True):
    """Asks for the receiver's signature under this appointment of the sender. Answered by ``Voted`` or ``Unavailable``.

    ``fork`` is shown where the next block is to be given up: two that the present host signed in that one place.
    """

    appointment: Appointment
    fork: Annotated[tuple[Head, ...], msgspec.Meta(max_length=2)] = ()


class Voted(Message, frozen=True):
    """The member's signature under the appointment."""

    signature: Signature


class Exhibit(Message, frozen=True):
    """What the host signed, that others may judge it: two blocks of one number, or one that does not hold, whose
    transaction is the body. Answered by ``Ack``, or ``Unavailable`` by who cannot judge it yet."""

    heads: Annotated[tuple[Head, ...], msgspec.Meta(min_length=1, max_length=2)]
    time: Time = 0


class Overdue(Message, frozen=True):
    """The body is a transaction of the sender's that holds and that the host does not take. Answered by ``Ack``."""


class Knock(Message, frozen=True):
    """A guest's first word: the voucher's signature over its endpoint, or nothing from who is a member. Answered by
    ``ThisChain``."""

    signature: Annotated[bytes, msgspec.Meta(max_length=65)]


HostMessage = (
    GetChain
    | ThisChain
    | GetBlocks
    | Blocks
    | Submit
    | Declined
    | Tidings
    | GetAppointment
    | Hosted
    | Propose
    | Voted
    | Exhibit
    | Overdue
    | Knock
)


def blocks_of(page: Blocks, body: bytes) -> list[Block]:
    """The blocks of a page. Raises ``ProtocolError`` when the body has not their lengths."""
    if sum(row.size for row in page.rows) != len(body):
        raise ProtocolError("a page of blocks comes with a body of another length")
    blocks, at = [], 0
    for number, row in enumerate(page.rows, page.first):
        blocks.append(Block(number, row.time, body[at : at + row.size], row.block))
        at += row.size
    return blocks
