"""What peers say to each other: small structs, told apart by name, refused when anything about them is unexpected."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

__all__ = [
    "MAX_MESSAGE",
    "BlobMessage",
    "Chunks",
    "GetBlob",
    "GetChunks",
    "Key",
    "Message",
    "Missing",
    "Outline",
    "Refused",
    "Whole",
]

MAX_MESSAGE = 64 << 10
"""Bytes of a packed message. Anything larger travels as a body."""

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A hash or a public key."""


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """The base of every message; its class name is its tag, so names must be unique within a union."""


class Refused(Message, frozen=True):
    """The answer of a node whose handler would not, or could not, answer. Part of every union."""

    reason: Annotated[str, Meta(max_length=1000)]


class GetBlob(Message, frozen=True):
    """Asks for a blob. Answers: ``Whole`` if it is small, else ``Outline``; or ``Missing``."""

    hash: Key


class GetChunks(Message, frozen=True):
    """Asks for ``count`` chunks from ``first`` on. Answers: ``Chunks`` or ``Missing``."""

    hash: Key
    first: Annotated[int, Meta(ge=0, le=1 << 40)]
    count: Annotated[int, Meta(ge=1, le=64)]


class Whole(Message, frozen=True):
    """The body is the blob."""


class Outline(Message, frozen=True):
    """The body is the blob's chunk hashes, 32 bytes each."""

    size: Annotated[int, Meta(ge=0, le=1 << 50)]


class Chunks(Message, frozen=True):
    """The body is the chunks asked for."""


class Missing(Message, frozen=True):
    """The blob is not here."""


BlobMessage: TypeAlias = GetBlob | GetChunks | Whole | Outline | Chunks | Missing
"""All messages of blob transfer, to build a node's union from: ``BlobMessage | Push | ...``."""
