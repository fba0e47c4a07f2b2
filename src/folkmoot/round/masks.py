"""Masked words: unsigned integers modulo a power of two, the keystreams added to them, and their packing.

A word of ``bits`` bits summed over a group of n takes ``bits + ceil(log2 n)`` bits, its *width*: masked words count
modulo 2**width, in which the sum of all contributions is exact. A mask is the AES-128-CTR keystream (NIST SP 800-38A)
of a 16-byte seed, read as little-endian words, of which the low bits count. Words can be masked from any place on, so
whoever holds one shard expands only its words. Value words are uint32 up to a width of 32 bits, uint64 above; side
words are always uint64, modulo 2**64, with a part of the keystream of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

__all__ = ["Unsigned", "add_masks", "pack_bits", "signed", "unpack_bits", "unsigned"]

Unsigned = NDArray[np.unsignedinteger[Any]]
"""An array of uint32 or uint64."""

_BLOCK = 16
_SIDE_BLOCK = 1 << 63
"""The counter of the first block for side words; value words start at 0."""
_CHUNK = 1 << 17
"""Bytes of keystream made at a time: they, and the words they are added to, stay in the processor's cache."""
_PERIODS = 1 << 10
"""Periods of words packed at a time, for the same reason."""


def unsigned(words: NDArray[np.int64], width: int) -> Unsigned:
    """int64 words as unsigned words that count modulo 2**``width``: uint32 up to 32 bits, uint64 above."""
    return words.astype(np.uint32 if width <= 32 else np.uint64)


def signed(words: Unsigned, width: int) -> NDArray[np.int64]:
    """The int64 words from -2**(width - 1) to 2**(width - 1) - 1 that ``words`` stand for modulo 2**``width``."""
    spare = np.int64(64 - width)
    return words.astype(np.uint64).view(np.int64) << spare >> spare


def add_masks(words: Unsigned, seeds: Iterable[tuple[int, bytes]], *, start: int, side: bool = False) -> None:
    """Add to ``words``, in place, the masks of ``seeds``: pairs of sign (1 or -1) and 16 bytes.

    ``start`` is the place of ``words[0]`` among all value words, or side words with ``side``. Raises ``ValueError`` on
    words that are neither uint32 nor uint64, on side words that are not uint64, and on a seed of another length.
    """
    if words.dtype not in (np.dtype("<u4"), np.dtype("<u8")) or (side and words.itemsize != 8):
        raise ValueError(f"masks are added to uint32 or uint64 words, to side words of uint64; these are {words.dtype}")
    streams = [
        (np.add if sign > 0 else np.subtract, _stream(seed, words.itemsize * start, side)) for sign, seed in seeds
    ]
    step = _CHUNK // words.itemsize
    # the cipher may ask for room of one block less a byte behind its output
    buffer = bytearray(_CHUNK + _BLOCK - 1)
    zeros = bytes(_CHUNK)
    for at in range(0, len(words), step):
        piece = words[at : at + step]
        mask = np.frombuffer(buffer, dtype=words.dtype, count=len(piece))
        for add, stream in streams:
            stream.update_into(memoryview(zeros)[: piece.nbytes], buffer)
            add(piece, mask, out=piece)


def pack_bits(words: Unsigned, width: int) -> bytes:
    """The low ``width`` bits (1 to 64) of each word, back to back from the lowest bit of the first byte on."""
    _check_width(width)
    size = -(-len(words) * width // 8)
    if width in (8, 16, 32, 64):
        return words.astype(f"<u{width // 8}").tobytes()
    lane, merged = _merged(words.astype(np.uint64) & _low(width), width)
    columns, limbs = _period(lane)
    rows = -(-len(merged) // columns)
    source = np.zeros((rows, columns), dtype=np.uint64)
    source.reshape(-1)[: len(merged)] = merged
    packed = np.empty((rows, limbs), dtype="<u8")
    for at in range(0, rows, _PERIODS):
        piece = source[at : at + _PERIODS].T
        out = np.zeros((limbs, piece.shape[1]), dtype=np.uint64)
        for column, limb, shift in _places(lane):
            out[limb] |= piece[column] << np.uint64(shift)
            if shift + lane > 64:
                out[limb + 1] |= piece[column] >> np.uint64(64 - shift)
        packed[at : at + _PERIODS] = out.T
    return packed.tobytes()[:size]


def unpack_bits(data: bytes | memoryview, count: int, width: int) -> Unsigned:
    """The ``count`` words that ``pack_bits`` packed, as a new array: uint32 up to 32 bits, uint64 above.

    Raises ``IntegrityError`` on a wrong size.
    """
    _check_width(width)
    if len(data) != -(-count * width // 8):
        raise IntegrityError(f"{len(data)} bytes where {count} words of {width} bits are due")
    kind = np.uint32 if width <= 32 else np.uint64
    if width in (8, 16, 32, 64):
        return np.frombuffer(data, dtype=f"<u{width // 8}").astype(kind)
    lane, together = _lane(width)
    columns, limbs = _period(lane)
    rows = -(-count // (columns * together))
    packed = np.zeros((rows, limbs), dtype="<u8")
    packed.view(np.uint8).reshape(-1)[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    merged = np.empty((rows, columns), dtype=np.uint64)
    for at in range(0, rows, _PERIODS):
        piece = packed[at : at + _PERIODS].T
        out = np.empty((columns, piece.shape[1]), dtype=np.uint64)
        for column, limb, shift in _places(lane):
            out[column] = piece[limb] >> np.uint64(shift)
            if shift + lane > 64:
                out[column] |= piece[limb + 1] << np.uint64(64 - shift)
        merged[at : at + _PERIODS] = out.T
    words = np.empty((merged.size, together), dtype=kind)
    for place in range(together):
        words[:, place] = merged.reshape(-1) >> np.uint64(place * width) & _low(width)
    return words.reshape(-1)[:count]


def _check_width(width: int) -> None:
    if not 1 <= width <= 64:
        raise ValueError(f"words are packed to 1 to 64 bits, not {width}")


def _low(width: int) -> np.uint64:
    return np.uint64((1 << width) - 1)


def _lane(width: int) -> tuple[int, int]:
    """Words are first put side by side into one uint64, as many as fit: the bits they take, and how many they are."""
    together = 64 // width
    return together * width, together


def _merged(words: NDArray[np.uint64], width: int) -> tuple[int, NDArray[np.uint64]]:
    """The bits of a lane, and the words put together in lanes, the first lowest."""
    lane, together = _lane(width)
    if together == 1:
        return lane, words
    padded = np.zeros((-(-len(words) // together), together), dtype=np.uint64)
    padded.reshape(-1)[: len(words)] = words
    merged = padded[:, 0].copy()
    for place in range(1, together):
        merged |= padded[:, place] << np.uint64(place * width)
    return lane, merged


def _period(lane: int) -> tuple[int, int]:
    """After how many lanes they end where a 64-bit limb ends, and how many limbs that is."""
    common = gcd(lane, 64)
    return 64 // common, lane // common


def _places(lane: int) -> Iterator[tuple[int, int, int]]:
    """For each lane of a period: its number, the limb it begins in and the bit it begins at."""
    for column in range(_period(lane)[0]):
        limb, shift = divmod(column * lane, 64)
        yield column, limb, shift


def _stream(seed: bytes, offset: int, side: bool) -> CipherContext:
    """The keystream of ``seed`` from byte ``offset`` on."""
    # here and not above: a worker starts faster without it, and most rounds have no masks
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    if len(seed) != 16:
        raise ValueError(f"a mask's seed has 16 bytes, not {len(seed)}")
    block, skip = divmod(offset, _BLOCK)
    counter = block + (_SIDE_BLOCK if side else 0)
    stream = Cipher(algorithms.AES(seed), modes.CTR(counter.to_bytes(_BLOCK, "big"))).encryptor()
    stream.update(bytes(skip))
    return stream
