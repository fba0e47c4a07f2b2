"""Contributions as integers: fixed point with a power-of-two step, packed to few bits, summed without overflow.

A contribution becomes a vector of *value* words and a few *side* words. Value words are ``weight * array / step``
rounded to the nearest integer and saturated to the policy's width; side words carry the weight, a vote on the
next step of each array, and partial metrics. Everything a round needs is then a sum of integers: no order of addition
and no machine changes a bit.

The step of each array is public state. An array that has none yet makes the round *wide*: 48-bit values with a step of
2**-16, and votes that move the step by their mean. From then on a member whose values do not fit makes the step
grow, by at most two bits a round, and it shrinks by one when everybody has room to spare. Overflow cannot happen: 256
members times 2**47 stays below 2**63.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.round.layout import (
    GROW,
    KEEP,
    MAX_MEMBERS,
    MAX_WEIGHT,
    SHRINK,
    SIDE_BITS,
    SIDE_BOUND,
    WIDE_EXPONENT,
    Buffer,
    Layout,
    check_side,
    make_layout,
    packed_bytes,
    sum_bytes,
    sum_width,
)
from folkmoot.round.steps import next_exponents, robust_exponents, vote
from folkmoot.task.protocol import Aggregate, Arrays, Contribution

__all__ = [
    "GROW",
    "KEEP",
    "MAX_MEMBERS",
    "SHRINK",
    "WIDE_EXPONENT",
    "Layout",
    "add_shard",
    "aggregate",
    "arrays_of",
    "buffer_arrays",
    "buffer_means",
    "check_side",
    "decode_shard",
    "decode_sum",
    "encode_shards",
    "encode_sum",
    "make_layout",
    "metric_partial",
    "metric_words",
    "next_exponents",
    "pack",
    "packed_bytes",
    "quantise",
    "robust_exponents",
    "split_side",
    "sum_bytes",
    "sum_width",
    "unpack",
]

Words = NDArray[np.int64]

BUFFER_HEADROOM = 6
"""Bits between a buffer's peak and the end of its range that votes aim to leave."""


def quantise(contribution: Contribution, metrics: Mapping[str, Words], layout: Layout) -> tuple[Words, Words]:
    """Value words and side words of one contribution, both int64.

    Raises ``TaskError`` when the contribution does not fit the schema, is not finite, or has no valid weight.
    """
    weight = contribution.weight
    if isinstance(weight, bool) or not isinstance(weight, int | np.integer) or not 1 <= weight <= MAX_WEIGHT:
        raise TaskError(f"the contribution's weight is {weight!r}; it must be an integer from 1 to 2**40")
    if tuple(sorted(contribution.arrays)) != layout.contributed:
        raise TaskError(
            f"the contribution has arrays {sorted(contribution.arrays)}; the schema has {list(layout.contributed)}"
        )
    limit, factor = float((1 << (layout.bits - 1)) - 1), float(weight) if layout.weighted else 1.0
    values = np.empty(layout.values, dtype=np.int64)
    votes, at = [], 0
    for name, shape, exponent, size in zip(layout.names, layout.shapes, layout.exponents, layout.sizes, strict=True):
        peak, scaled = _in_steps(name, shape, contribution.arrays[name], factor * 2.0**-exponent, limit)
        values[at : at + size] = scaled
        if layout.voting:
            votes.append(vote(peak, layout.target_bits - 1 - layout.headroom, layout.wide))
        at += size
    buffered = [_buffer_words(buffer, contribution.arrays[buffer.name], factor) for buffer in layout.buffers]
    votes += [cast for cast, _ in buffered]
    side = [np.array([weight, *votes], dtype=np.int64), *(words for _, words in buffered)]
    partials = {name: metrics.get(name, np.zeros(words, dtype=np.int64)) for name, words in layout.metrics}
    side += [metric_partial(name, partials[name], words) for name, words in layout.metrics]
    return values, np.concatenate(side)


def metric_partial(name: str, given: object, words: int) -> Words:
    """One member's words of a metric. Raises ``TaskError`` where they are not what the metric announces."""
    try:
        partial = np.asarray(given)
    except ValueError as error:
        raise TaskError(f"metric {name!r} gave no array: {error}") from None
    if partial.shape != (words,) or partial.dtype.kind not in "iu":
        raise TaskError(f"metric {name!r} gave {partial.dtype} of shape {partial.shape}; {words} integers are due")
    if any(abs(int(word)) >= SIDE_BOUND for word in partial):
        raise TaskError(f"metric {name!r} gave a word of 2**46 or more in magnitude")
    return partial.astype(np.int64)


def _buffer_words(buffer: Buffer, array: object, factor: float) -> tuple[int, Words]:
    """A vote on the step of a buffer, and its values in steps."""
    scale, limit = factor * 2.0**-buffer.exponent, float(SIDE_BOUND - 1)
    peak, scaled = _in_steps(buffer.name, buffer.shape, array, scale, limit)
    return vote(peak, SIDE_BOUND.bit_length() - 1 - BUFFER_HEADROOM, buffer.new), scaled.astype(np.int64)


def _in_steps(
    name: str, shape: tuple[int, ...], given: object, scale: float, limit: float
) -> tuple[float, NDArray[np.float64]]:
    """The largest magnitude of an array in steps, and its values, (size,), rounded and cut off at ``limit``."""
    array = _reals(name, given)
    if array.shape != shape:
        raise TaskError(f"the contribution's {name!r} has shape {array.shape}; the schema says {shape}")
    scaled = array.reshape(-1) * scale
    peak = float(np.abs(scaled).max(initial=0.0))
    if not np.isfinite(peak):
        raise TaskError(f"the contribution's {name!r} holds NaN or infinity; nothing was sent")
    return peak, np.rint(np.clip(scaled, -limit, limit, out=scaled), out=scaled)


def _reals(name: str, array: object) -> NDArray[np.float64]:
    """``array`` as float64. Raises ``TaskError`` when it holds anything but real numbers."""
    try:
        given = np.asarray(array)
    except ValueError as error:
        raise TaskError(f"the contribution's {name!r} is not an array: {error}") from None
    if given.dtype.kind not in "fiu":
        raise TaskError(f"the contribution's {name!r} holds {given.dtype}; real numbers are due")
    return given.astype(np.float64, copy=False)


def encode_shards(values: Words, side: Words, layout: Layout, shards: int) -> list[bytes]:
    """The packed shards of one contribution."""
    cuts = np.cumsum((0, *layout.shard_values(shards)))
    packed = [pack(values[a:b], layout.bits) for a, b in itertools.pairwise(cuts)]
    packed[0] += pack(side, SIDE_BITS)
    return packed


def decode_shard(data: bytes, shard: int, layout: Layout, shards: int) -> Words:
    """The words of one shard: values, then (shard 0) side words. Raises ``IntegrityError`` on a wrong size."""
    words = np.zeros(layout.values_in(shard, shards) + (0 if shard else layout.side), dtype=np.int64)
    add_shard(words, data, shard, layout, shards)
    return words


def add_shard(total: Words, data: bytes, shard: int, layout: Layout, shards: int) -> None:
    """Add the words of one shard to ``total``, in place. Raises ``IntegrityError`` on a wrong size."""
    count = layout.values_in(shard, shards)
    at = packed_bytes(count, layout.bits)
    due = at + (0 if shard else packed_bytes(layout.side, SIDE_BITS))
    if len(data) != due:
        raise IntegrityError(f"shard {shard} has {len(data)} bytes where {due} are due")
    view = memoryview(data)
    if layout.bits in (8, 16, 32):
        total[:count] += np.frombuffer(view[:at], dtype=f"<i{layout.bits // 8}")
    else:
        total[:count] += unpack(view[:at], count, layout.bits)
    if not shard:
        total[count:] += unpack(view[at:], layout.side, SIDE_BITS)


def encode_sum(total: Words, shard: int, layout: Layout, shards: int, rows: Sequence[int]) -> bytes:
    """The packed sums of one shard: ``total`` has a row for each sum, ``rows`` says over how many contributions."""
    values = layout.values_in(shard, shards)
    packed = []
    for row, members in zip(total, rows, strict=True):
        packed.append(pack(row[:values], sum_width(layout.bits, members)))
        if shard == 0:
            packed.append(pack(row[values:], 64))
    return b"".join(packed)


def decode_sum(data: bytes, shard: int, layout: Layout, shards: int, rows: Sequence[int]) -> Words:
    """The inverse of ``encode_sum``. Raises ``IntegrityError`` on a wrong size."""
    due = sum_bytes(shard, layout, shards, rows)
    if len(data) != due:
        raise IntegrityError(f"the sum of shard {shard} has {len(data)} bytes where {due} are due")
    values, side = layout.values_in(shard, shards), 0 if shard else layout.side
    total = np.empty((len(rows), values + side), dtype=np.int64)
    view = memoryview(data)
    for row, members in zip(total, rows, strict=True):
        width = sum_width(layout.bits, members)
        at = packed_bytes(values, width)
        row[:values] = unpack(view[:at], values, width)
        row[values:] = unpack(view[at : at + 8 * side], side, 64)
        view = view[at + 8 * side :]
    return total


def split_side(sums: Sequence[Words], layout: Layout, shards: int) -> tuple[Words, Words]:
    """All value words in order, (rows, values), and the side words, (rows, side), from the sums of all shards."""
    first = layout.values_in(0, shards)
    return np.concatenate([sums[0][:, :first], *sums[1:]], axis=1), sums[0][:, first:]


def aggregate(values: Words, side: Words, layout: Layout, members: int) -> Aggregate:
    """The weighted mean of each array. A summed weight that so many members cannot have counts as the nearest they can:
    under masks a liar may send any, and the mean withstands no liar, but it need not stop."""
    weight = min(max(int(side[0]), members), members * MAX_WEIGHT)
    steps = np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)
    means = buffer_means(side[None], layout, [members], [weight])[0]
    arrays = arrays_of(values.astype(np.float64) * steps / float(weight), layout)
    return Aggregate({**arrays, **buffer_arrays(means, layout)}, weight, members)


def buffer_means(
    side: Words, layout: Layout, rows: Sequence[int], counts: Sequence[int] | Words
) -> NDArray[np.float64]:
    """The buffers' values in each row, (rows, buffered) float64: sums over ``rows`` contributions, divided by
    ``counts``. A sum that so many contributions cannot have counts as the nearest they can."""
    start = 1 + layout.votes
    bound = np.array(rows, dtype=np.int64)[:, None] * (SIDE_BOUND - 1)
    sums = np.clip(side[:, start : start + layout.buffered], -bound, bound)
    steps = np.repeat([2.0**buffer.exponent for buffer in layout.buffers], [buffer.size for buffer in layout.buffers])
    return np.asarray(sums.astype(np.float64) * steps / np.array(counts, dtype=np.float64)[:, None])


def arrays_of(vector: NDArray[np.float64], layout: Layout) -> Arrays:
    """The named arrays, read-only, that lie one behind the other in ``vector``, (values,)."""
    return _cut(vector, layout.names, layout.shapes)


def buffer_arrays(vector: NDArray[np.float64], layout: Layout) -> Arrays:
    """The named buffers, read-only, that lie one behind the other in ``vector``, (buffered,)."""
    return _cut(vector, [buffer.name for buffer in layout.buffers], [buffer.shape for buffer in layout.buffers])


def _cut(vector: NDArray[np.float64], names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> Arrays:
    arrays: dict[str, NDArray[np.float64]] = {}
    at = 0
    for name, shape in zip(names, shapes, strict=True):
        size = math.prod(shape)
        arrays[name] = vector[at : at + size].reshape(shape)
        at += size
    return _readonly(arrays)


def metric_words(side: Words, layout: Layout) -> dict[str, Words]:
    """The words of each metric among the side words, (side,)."""
    words: dict[str, Words] = {}
    place = 1 + layout.votes + layout.buffered
    for name, count in layout.metrics:
        words[name] = side[place : place + count]
        place += count
    return words


def pack(words: Words, width: int) -> bytes:
    """Two's complement, little-endian, ``width`` bits a word: a multiple of 4 up to 32, of 8 above; at most 64."""
    raw = np.ascontiguousarray(words, dtype="<i8")
    if width in (8, 16, 32, 64):
        return raw.astype(f"<i{width // 8}").tobytes()
    if width % 8 == 0:
        return raw.view(np.uint8).reshape(-1, 8)[:, : width // 8].tobytes()
    unsigned = raw.view("<u8") & np.uint64((1 << width) - 1)
    if len(unsigned) % 2:
        unsigned = np.append(unsigned, np.uint64(0))
    pairs = unsigned[0::2] | (unsigned[1::2] << np.uint64(width))
    packed = np.ascontiguousarray(pairs).view(np.uint8).reshape(-1, 8)[:, : width // 4].tobytes()
    return packed[: packed_bytes(len(words), width)]


def unpack(data: bytes | memoryview, count: int, width: int) -> Words:
    """The ``count`` words that ``pack`` packed. Raises ``IntegrityError`` on a wrong size."""
    if len(data) != packed_bytes(count, width):
        raise IntegrityError(f"{len(data)} bytes where {packed_bytes(count, width)} are due")
    if width in (8, 16, 32, 64):
        return np.frombuffer(data, dtype=f"<i{width // 8}").astype(np.int64)
    if width % 8 == 0:
        wide = np.zeros((count, 8), dtype=np.uint8)
        wide[:, : width // 8] = np.frombuffer(data, dtype=np.uint8).reshape(count, width // 8)
        unsigned = wide.view("<u8").reshape(-1)
    else:
        pairs = -(-count // 2)
        wide = np.zeros((pairs, 8), dtype=np.uint8)
        padded = np.zeros(pairs * width // 4, dtype=np.uint8)
        padded[: len(data)] = np.frombuffer(data, dtype=np.uint8)
        wide[:, : width // 4] = padded.reshape(pairs, width // 4)
        both = wide.view("<u8").reshape(-1)
        unsigned = np.empty(2 * pairs, dtype=np.uint64)
        unsigned[0::2] = both & np.uint64((1 << width) - 1)
        unsigned[1::2] = both >> np.uint64(width)
        unsigned = unsigned[:count]
    shift = np.int64(64 - width)
    return (unsigned.view(np.int64) << shift) >> shift


def _readonly(arrays: dict[str, NDArray[np.float64]]) -> Arrays:
    for array in arrays.values():
        array.flags.writeable = False
    return arrays
