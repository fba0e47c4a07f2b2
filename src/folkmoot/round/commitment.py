"""What a member binds itself to before anything is shown, and the record of all that went into a round.

Commits are keccak-256 so that a contract can check one as evidence. The inputs of a round are a blob: whoever has
the ledger and that blob knows every survivor's salt and shards, and can open every commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from folkmoot.digest import HASH_BYTES, Hash
from folkmoot.errors import IntegrityError
from folkmoot.keccak import keccak
from folkmoot.round.events import Reveal

__all__ = [
    "commit_hash",
    "contribution_root",
    "decode_hashes",
    "decode_inputs",
    "decode_masked_inputs",
    "encode_hashes",
    "encode_inputs",
    "reveals_in",
    "seat_of",
]

MAX_RECORD = 1 << 22
"""Bytes of an inputs record, at most: 256 members with 256 shards of 32 bytes fit."""


def contribution_root(shards: Sequence[Hash]) -> Hash:
    """The hash that names a whole contribution: keccak-256 over its shards' blob hashes in order."""
    return keccak(b"".join(shards))


def seat_of(member: int) -> bytes:
    """20 bytes that a member's commits are bound to: its index, which stays when its accounts change."""
    return member.to_bytes(20, "big")


def commit_hash(salt: bytes, seat: bytes, task: int, round: int, attempt: int, root: Hash) -> Hash:
    """The salted hash a member puts on the ledger before it reveals its contribution.

    ``salt`` is 32 random bytes, ``seat`` the 20 bytes of ``seat_of`` the member, so that a copied commit is worthless
    to anyone else. ``root`` is the ``contribution_root``. Raises ``ValueError`` on other lengths.
    """
    if len(salt) != 32 or len(seat) != 20 or len(root) != HASH_BYTES:
        raise ValueError("a commit takes 32 bytes of salt, a 20-byte seat and a 32-byte root")
    numbers = b"".join(n.to_bytes(32, "big") for n in (task, round, attempt))
    return keccak(salt + seat + numbers + root)


def encode_inputs(reveals: Mapping[int, Reveal], seeds: Mapping[int, Mapping[int, bytes]] | None = None) -> bytes:
    """The record of a round's inputs: each survivor's member index, salt and piece hashes, ascending by member.

    Where contributions are masked, ``seeds`` are those released of each survivor that was summed, by target; one that
    was not summed has none.
    """
    if seeds is None:
        return msgspec.msgpack.encode([(m, reveals[m].salt, list(reveals[m].shards)) for m in sorted(reveals)])
    told = {m: sorted(seeds.get(m, {}).items()) for m in reveals}
    return msgspec.msgpack.encode([(m, reveals[m].salt, list(reveals[m].shards), told[m]) for m in sorted(reveals)])


def decode_inputs(data: bytes) -> dict[int, Reveal]:
    """The inverse of ``encode_inputs``. Raises ``IntegrityError`` on any other bytes."""
    try:
        if len(data) > MAX_RECORD:
            raise ValueError("too long")
        rows = msgspec.msgpack.decode(data, type=list[tuple[int, bytes, list[bytes]]])
        reveals = {m: Reveal(salt, tuple(shards)) for m, salt, shards in rows}
        if encode_inputs(reveals) != data or any(len(h) != HASH_BYTES for r in reveals.values() for h in r.shards):
            raise ValueError("not in canonical form")
    except (ValueError, msgspec.MsgspecError) as error:
        raise IntegrityError(f"these {len(data)} bytes are not the record of a round's inputs: {error}") from None
    return reveals


def decode_masked_inputs(data: bytes) -> tuple[dict[int, Reveal], dict[int, dict[int, bytes]]]:
    """The inverse of ``encode_inputs`` with seeds: survivors' reveals, and the seeds of those that were summed.

    Raises ``IntegrityError`` on any other bytes.
    """
    try:
        if len(data) > MAX_RECORD:
            raise ValueError("too long")
        rows = msgspec.msgpack.decode(data, type=list[tuple[int, bytes, list[bytes], list[tuple[int, bytes]]]])
        reveals = {m: Reveal(salt, tuple(shards)) for m, salt, shards, _ in rows}
        seeds = {m: dict(told) for m, *_, told in rows}
        if encode_inputs(reveals, seeds) != data:
            raise ValueError("not in canonical form")
        if any(len(h) != HASH_BYTES for r in reveals.values() for h in r.shards):
            raise ValueError("a hash has not 32 bytes")
    except (ValueError, msgspec.MsgspecError) as error:
        raise IntegrityError(
            f"these {len(data)} bytes are not the record of a masked round's inputs: {error}"
        ) from None
    return reveals, {m: told for m, told in seeds.items() if told}


def reveals_in(data: bytes) -> dict[int, Reveal]:
    """The survivors' reveals in either kind of record. Raises ``IntegrityError`` on any other bytes."""
    try:
        return decode_inputs(data)
    except IntegrityError:
        return decode_masked_inputs(data)[0]


def encode_hashes(hashes: Sequence[Hash]) -> bytes:
    """The record of an aggregate: the blob hashes of its shards' sums, in order."""
    return b"".join(hashes)


def decode_hashes(data: bytes) -> tuple[Hash, ...]:
    """The inverse of ``encode_hashes``. Raises ``IntegrityError`` on a length that no such record has."""
    if not data or len(data) % HASH_BYTES or len(data) > 256 * HASH_BYTES:
        raise IntegrityError(f"{len(data)} bytes are not the record of an aggregate")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
