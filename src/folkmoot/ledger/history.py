"""What running the blocks gave, kept so that it need not be computed again.

The newest blocks' records are in memory. Every ``SPAN`` blocks they are sealed: written to ``PATH.cache/`` as three
small files that hold, for those blocks, what changed in the state, the hashes by which blocks and transactions are
asked for, and the records (gas, logs). Their content follows from the chain alone, so any number of processes may
write them; each is written under another name and renamed. A reader takes a file only if its own digest, the
chain, the block numbers and the newest block's hash all fit; anything else is as if it were not there.

A cache is trusted like the memory of the user who wrote it. Who does not trust it opens with ``trust_cache=False``.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from blake3 import blake3

from folkmoot.ledger.chainfile import Block
from folkmoot.ledger.evm import Account, Log, Outcome, account

__all__ = ["SPAN", "History", "Record", "Sealed"]

SPAN = 200
"""Blocks per sealed segment. Segment k, counted from 0, holds blocks k * SPAN + 1 to (k + 1) * SPAN. Each process that
opens the chain, and so each command, runs again what came after the last one: few blocks, and yet few files."""

_MAGIC = b"folkmoot chain cache 1\n"
_DRAFT_SECONDS = 3600
_BYTES_IN_MEMORY = 1 << 20
"""Of sealed records that were asked for, as they lie on disk; in memory they take a few times as much. One segment
stays, whatever it takes."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What one block did."""

    gas: int
    created: str | None
    """Address of the contract it made."""
    logs: tuple[Log, ...]


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """Which blocks a cache file is about."""

    chain: bytes
    """Genesis hash."""
    last: int
    head: bytes
    """Hash of block ``last``."""


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a segment's blocks changed: accounts by 20-byte address, slots as 32-byte keys and values."""

    sealed: Sealed
    accounts: dict[bytes, Account]
    slots: dict[bytes, bytes]


class _Hashes(msgspec.Struct, frozen=True, array_like=True):
    sealed: Sealed
    transactions: bytes
    blocks: bytes


class _Records(msgspec.Struct, frozen=True, array_like=True):
    sealed: Sealed
    records: list[Record]


_Part = TypeVar("_Part", State, _Hashes, _Records)


class History:
    """Records of all blocks up to ``length``, the older ones on disk.

    ``directory`` may be missing or unwritable: then all stays in memory.
    """

    def __init__(self, directory: Path, chain: bytes):
        self.directory = directory
        self.length = 0
        self._chain = chain
        self._segments = 0
        self._heads: list[bytes] = []
        self._tail: list[tuple[bytes, bytes, Record]] = []
        self._recent: dict[bytes, int] = {}
        self._loaded: dict[int, tuple[list[Record], int]] = {}
        """Sealed segments, the one asked for last at the end, each with its bytes on disk."""
        self._accounts: dict[bytes, Account] = {}
        self._slots: dict[bytes, dict[bytes, bytes]] = {}
        self._sweep()

    def adopt(self, heads: Iterable[bytes | None]) -> Iterator[State]:
        """Take over sealed segments, oldest first, giving the state each adds, as long as they fit.

        ``heads`` are the hashes the ledger file has for blocks SPAN, 2 * SPAN, ...
        """
        for segment, head in enumerate(heads):
            if head is None:
                return
            state = self._read(State, segment, head)
            if state is None or self._read(_Hashes, segment, head) is None:
                return
            self._segments += 1
            self._heads.append(head)
            self.length += SPAN
            yield state

    def add(self, block: Block, transaction_hash: bytes, outcome: Outcome) -> None:
        """Note what ``block`` did, and seal the segment if it is full."""
        record = Record(outcome.gas, outcome.created, outcome.logs)
        self._tail.append((transaction_hash, block.hash, record))
        self._recent[transaction_hash] = self._recent[block.hash] = block.number
        for address, info in outcome.accounts.items():
            self._accounts[bytes.fromhex(address[2:])] = account(info)
        for address, key, value in outcome.slots:
            slots = self._slots.setdefault(bytes.fromhex(address[2:]), {})
            slots[key.to_bytes(32, "big")] = value.to_bytes(32, "big")
        self.length += 1
        if self.length % SPAN == 0:
            self._seal(block.hash)

    def record(self, number: int) -> Record | None:
        """What block ``number`` did; None if its segment can no longer be read."""
        at = number - 1 - self._segments * SPAN
        if at >= 0:
            return self._tail[at][2]
        records = self._segment((number - 1) // SPAN)
        return records[(number - 1) % SPAN] if records else None

    def find(self, wanted: bytes) -> int | None:
        """The number of the block with this hash, or with the transaction of this hash."""
        number = self._recent.get(wanted)
        if number is not None:
            return number
        for segment in reversed(range(self._segments)):
            hashes = self._read(_Hashes, segment, self._heads[segment])
            for column in (hashes.transactions, hashes.blocks) if hashes else ():
                at = column.find(wanted)
                while at >= 0 and at % 32:
                    at = column.find(wanted, at + 1)
                if at >= 0:
                    return segment * SPAN + at // 32 + 1
        return None

    def _seal(self, head: bytes) -> None:
        """Write the full segment at the front of the tail. If the disk refuses, it stays in memory."""
        first, segment = self._segments * SPAN, self._segments
        if self.length - first != SPAN:
            return  # an earlier segment could not be written; its records, and all since, stay in memory
        sealed = Sealed(self._chain, self.length, head)
        slots = {address: b"".join(k + v for k, v in values.items()) for address, values in self._slots.items()}
        hashes, blocks, records = zip(*self._tail, strict=True)
        try:
            self.directory.mkdir(exist_ok=True)
            self._write(segment, _Records(sealed, list(records)))
            self._write(segment, _Hashes(sealed, b"".join(hashes), b"".join(blocks)))
            self._write(segment, State(sealed, self._accounts, slots))
        except OSError:
            return
        self._segments += 1
        self._heads.append(head)
        self._tail.clear()
        self._recent.clear()
        self._accounts.clear()
        self._slots.clear()

    def _segment(self, segment: int) -> list[Record] | None:
        loaded = self._loaded.pop(segment, None)
        if loaded is None:
            part = self._read(_Records, segment, self._heads[segment])
            if part is None or len(part.records) != SPAN:
                return None
            loaded = part.records, self._size(segment)
        self._loaded[segment] = loaded
        while len(self._loaded) > 1 and sum(size for _, size in self._loaded.values()) > _BYTES_IN_MEMORY:
            del self._loaded[next(iter(self._loaded))]
        return loaded[0]

    def _size(self, segment: int) -> int:
        try:
            return self._name(_Records, segment).stat().st_size
        except OSError:  # gone again, and made anew when it is needed
            return 0

    def _name(self, part: type, segment: int) -> Path:
        return self.directory / f"{segment:08d}.{part.__name__.strip('_').lower()}"

    def _write(self, segment: int, part: State | _Hashes | _Records) -> None:
        body = msgspec.msgpack.encode(part)
        path = self._name(type(part), segment)
        draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.draft")
        try:
            draft.write_bytes(_MAGIC + blake3(body).digest() + body)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _read(self, part: type[_Part], segment: int, head: bytes) -> _Part | None:
        start = len(_MAGIC) + 32
        try:
            data = self._name(part, segment).read_bytes()
            body = memoryview(data)[start:]
            if data[:start] != _MAGIC + blake3(body).digest():
                return None
            found = msgspec.msgpack.decode(body, type=part)
        except (OSError, msgspec.MsgspecError):
            return None
        return found if found.sealed == Sealed(self._chain, (segment + 1) * SPAN, head) else None

    def _sweep(self) -> None:
        """Remove what killed processes left half written."""
        with contextlib.suppress(OSError):
            for draft in self.directory.glob("*.draft"):
                if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                    draft.unlink(missing_ok=True)
