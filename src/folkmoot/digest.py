"""How bytes get their name.

A blob's name is a BLAKE3 hash over its length and the BLAKE3 hashes of its chunks, so a receiver who has the
chunk hashes (32 bytes each, checked against the name first) verifies every chunk as it streams in. Contexts
separate the two levels: no chunk list can pass for a chunk.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from blake3 import blake3

__all__ = ["CHUNK", "HASH_BYTES", "Hash", "blob_hash", "chunk_hashes", "manifest_hash"]

Hash = bytes
"""32 bytes."""

HASH_BYTES = 32
CHUNK = 1 << 18
"""Bytes per chunk; the last chunk of a blob may be shorter. An empty blob has no chunk."""

_CHUNK_CONTEXT = "folkmoot 2026 blob chunk v1"
_BLOB_CONTEXT = "folkmoot 2026 blob manifest v1"


def chunk_hashes(data: bytes | bytearray | memoryview) -> list[Hash]:
    """The hash of each CHUNK-sized piece of ``data``, in order."""
    view = memoryview(data).cast("B")
    return [
        blake3(view[at : at + CHUNK], derive_key_context=_CHUNK_CONTEXT).digest() for at in range(0, len(view), CHUNK)
    ]


def manifest_hash(size: int, chunks: Sequence[Hash]) -> Hash:
    """The name of the blob of ``size`` bytes whose chunks have these hashes."""
    return blake3(struct.pack("<Q", size) + b"".join(chunks), derive_key_context=_BLOB_CONTEXT).digest()


def blob_hash(data: bytes | bytearray | memoryview) -> Hash:
    """The name of ``data`` as a blob: 32 bytes."""
    return manifest_hash(memoryview(data).nbytes, chunk_hashes(data))
