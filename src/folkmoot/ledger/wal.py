"""Finding damage in a SQLite WAL file, which SQLite itself takes for the end of the log.

The format is at https://sqlite.org/fileformat2.html#walformat. Each frame carries the checksum of all frames up to it;
SQLite reads up to the first frame that does not fit and drops the rest, silently. But after real damage the frames
behind it still fit each other, up to a commit; what a killed writer leaves behind never has a commit that fits.
"""

from __future__ import annotations

import struct

from folkmoot.errors import IntegrityError

__all__ = ["check_wal"]

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}
"""Magic to the byte order in which checksums read their words."""


def check_wal(wal: bytes) -> None:
    """Raise IntegrityError if ``wal`` holds a commit that SQLite would lose to damage before it."""
    if len(wal) < _HEADER.size:
        raise IntegrityError(f"the WAL has {len(wal)} bytes, less than its header")
    magic, version, page_size, _, *salts_and_sums = _HEADER.unpack_from(wal)
    salts, sums = tuple(salts_and_sums[:2]), tuple(salts_and_sums[2:])
    order = _MAGICS.get(magic)
    if order is None or version != 3_007_000 or _checksum(order, wal[:24], (0, 0)) != sums:
        raise IntegrityError("byte 0 to 31 of the WAL: its header does not match its checksum")
    damaged = None
    for at in range(_HEADER.size, len(wal) - _FRAME.size - page_size + 1, _FRAME.size + page_size):
        _, pages, salt1, salt2, *claimed = _FRAME.unpack_from(wal, at)
        start = at + _FRAME.size
        found = _checksum(order, wal[at : at + 8] + wal[start : start + page_size], sums)
        sums = tuple(claimed)
        if (salt1, salt2) != salts or found != sums:
            damaged = at if damaged is None else damaged
        elif pages and damaged is not None:
            raise IntegrityError(
                f"byte {damaged} of the WAL: its frame does not match its checksum, though the commit at byte {at} does"
            )


def _checksum(order: str, data: bytes, seed: tuple[int, ...]) -> tuple[int, int]:
    first, second = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
