"""Where each word of a contribution lies, how many bytes it takes, and the bounds of the words that the round reads.

This is all that a peer's daemon needs to know of contributions; it is plain Python, so that only workers import NumPy.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Mapping, Sequence

import msgspec

from folkmoot.errors import IntegrityError

__all__ = [
    "MAX_MEMBERS",
    "Buffer",
    "Layout",
    "capped_exponent",
    "check_side",
    "make_layout",
    "masked_width",
    "packed_bytes",
    "sum_bytes",
    "sum_width",
]

MAX_MEMBERS = 256
WIDE_BITS = 48
WIDE_EXPONENT = -16
SIDE_BITS = 48
MASKED_SIDE_BITS = 64
SIDE_BOUND = 1 << 46
MAX_WEIGHT = 1 << 40
WIDE_VOTE = 64
SHRINK, KEEP, GROW = -1, 0, 1 << 10
"""Narrow votes. One word tells both counts apart: all members' shrinking votes together stay below one to grow."""
MAX_GROWTH = 2
_NARROW_VOTES = (SHRINK, KEEP, GROW, MAX_GROWTH * GROW)
_SIDE_WORD = struct.Struct("<Ih")
"""48 bits, two's complement, as ``fixed.pack`` packs them."""
_WITHIN_BOUND = frozenset((*range(0x40), *range(0xC0, 0x100)))


class Buffer(msgspec.Struct, frozen=True):
    """An array that is no weight of the model, such as a running mean: the cap on contributions is not for it, and no
    noise. Each of its values is a side word, of 2**46 steps at the most, either way."""

    name: str
    shape: tuple[int, ...]
    exponent: int
    """The step is ``2**exponent``."""
    new: bool
    """Whether no step is known yet."""

    @property
    def size(self) -> int:
        """Number of words."""
        return math.prod(self.shape)


class Layout(msgspec.Struct, frozen=True):
    """Where each word of a contribution lies; follows from the parent state and the task, so everyone has the same.

    Side words, in order: weight, one vote for each array (where members vote) and each buffer, the buffers' values, the
    metrics' words.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    exponents: tuple[int, ...]
    """The step of array i is ``2**exponents[i]``."""
    bits: int
    """Width of a value word this round."""
    target_bits: int
    """Width of a value word once every array has a step; votes aim at it."""
    metrics: tuple[tuple[str, int], ...]
    """Name and number of words of each metric, sorted by name."""
    weighted: bool = True
    """Whether value words are multiplied by the weight."""
    voting: bool = True
    """Whether members vote on the next steps. Where contributions are capped the cap fixes the steps for good."""
    buffers: tuple[Buffer, ...] = ()
    """Sorted by name. Their steps are voted on whatever the policy."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of words of each array."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def values(self) -> int:
        """Number of value words."""
        return sum(self.sizes)

    @property
    def side(self) -> int:
        """Number of side words."""
        return 1 + self.votes + self.buffered + sum(words for _, words in self.metrics)

    @property
    def votes(self) -> int:
        """Number of side words that are votes."""
        return len(self.voters)

    @property
    def voters(self) -> tuple[tuple[str, int, bool], ...]:
        """Name and exponent of each array whose step is voted on, and whether it has none yet; as the votes lie."""
        arrays = [(name, exponent, self.wide) for name, exponent in zip(self.names, self.exponents, strict=True)]
        buffers = [(buffer.name, buffer.exponent, buffer.new) for buffer in self.buffers]
        return (*(arrays if self.voting else ()), *buffers)

    @property
    def buffered(self) -> int:
        """Number of side words that are values of buffers."""
        return sum(buffer.size for buffer in self.buffers)

    @property
    def contributed(self) -> tuple[str, ...]:
        """The names of all arrays of a contribution, sorted."""
        return tuple(sorted((*self.names, *(buffer.name for buffer in self.buffers))))

    @property
    def wide(self) -> bool:
        """Whether some array has no step yet."""
        return self.bits != self.target_bits

    @property
    def headroom(self) -> int:
        """Bits between a contribution's peak and the end of the range that votes aim to leave: the next round's
        may be larger."""
        return self.target_bits // 8

    def shard_values(self, shards: int) -> tuple[int, ...]:
        """Value words in each of ``shards`` shards; shard 0 carries the side words besides."""
        values = self.values
        return tuple(values * (s + 1) // shards - values * s // shards for s in range(shards))

    def values_in(self, shard: int, shards: int) -> int:
        """Value words in one shard of ``shards``."""
        values = self.values
        return values * (shard + 1) // shards - values * shard // shards

    def shard_bytes(self, shards: int, group: int = 0) -> tuple[int, ...]:
        """The exact size of each packed shard: what a receiver accepts, no more and no less.

        ``group`` is the size of the contributor's mask group, 0 where contributions are not masked.
        """
        width, side = (masked_width(self.bits, group), MASKED_SIDE_BITS) if group else (self.bits, SIDE_BITS)
        sizes = [packed_bytes(count, width) for count in self.shard_values(shards)]
        sizes[0] += packed_bytes(self.side, side)
        return tuple(sizes)


def make_layout(
    schema: Mapping[str, tuple[int, ...]],
    exponents: Mapping[str, int],
    metrics: Mapping[str, int],
    bits: int,
    *,
    cap: float | None = None,
    weighted: bool = True,
    buffers: Collection[str] = (),
) -> Layout:
    """The layout of the contributions that ``schema`` describes, given the public steps known so far.

    With ``cap``, the largest magnitude a value has, no step is looked up and none is voted on: all follow from it, but
    for the ``buffers`` among the schema's arrays, which it does not bind.
    """
    names, known = tuple(sorted(schema.keys() - set(buffers))), exponents
    if cap is not None:
        exponents = dict.fromkeys(names, capped_exponent(cap, bits))
    wide = any(name not in exponents for name in names)
    return Layout(
        names=names,
        shapes=tuple(tuple(int(side) for side in schema[name]) for name in names),
        exponents=tuple(WIDE_EXPONENT if wide else exponents[name] for name in names),
        bits=WIDE_BITS if wide and bits < WIDE_BITS else bits,
        target_bits=bits if bits < WIDE_BITS or not wide else bits - 1,
        metrics=tuple(sorted(metrics.items())),
        weighted=weighted,
        voting=cap is None,
        buffers=tuple(
            Buffer(name, tuple(map(int, schema[name])), known.get(name, WIDE_EXPONENT), name not in known)
            for name in sorted(buffers)
        ),
    )


def capped_exponent(cap: float, bits: int) -> int:
    """The smallest e for which integers of ``bits`` bits, in steps of 2**e, hold every magnitude up to ``cap``."""
    mantissa, exponent = math.frexp(cap)
    exponent -= bits - 1
    # mantissa * 2**(bits - 1) is exact, and at most 2**(bits - 1)
    return exponent + (mantissa * 2.0 ** (bits - 1) > (1 << (bits - 1)) - 1)


def check_side(data: bytes | memoryview, layout: Layout, shards: int) -> None:
    """Check the side words of a received shard 0. Raises ``IntegrityError`` naming the word that breaks its bound."""
    if len(data) != layout.shard_bytes(shards)[0]:
        raise IntegrityError(f"shard 0 has {len(data)} bytes where {layout.shard_bytes(shards)[0]} are due")
    side = memoryview(data)[len(data) - packed_bytes(layout.side, SIDE_BITS) :]
    start = _SIDE_WORD.size * (1 + layout.votes)
    end = start + _SIDE_WORD.size * layout.buffered
    head, rest = _side_words(side[:start]), _side_words(side[end:])
    if not 1 <= head[0] <= MAX_WEIGHT:
        raise IntegrityError(f"the contribution claims a weight of {head[0]}; 1 to 2**40 is allowed")
    for vote, (_, _, new) in zip(head[1:], layout.voters, strict=True):
        if not (abs(vote) <= WIDE_VOTE if new else vote in _NARROW_VOTES):
            raise IntegrityError("the contribution casts a vote on a step that there is not")
    if max(map(abs, rest), default=0) >= SIDE_BOUND:
        raise IntegrityError("a metric word of the contribution is 2**46 or more")
    # There may be many of these, and their highest bytes tell: from -2**46 to 2**46 - 1 the two highest bits are alike.
    if not set(bytes(side[start:end])[5::6]) <= _WITHIN_BOUND:
        raise IntegrityError("a buffer's word of the contribution is 2**46 or more")


def _side_words(data: memoryview) -> list[int]:
    return [high << 32 | low for low, high in _SIDE_WORD.iter_unpack(data)]


def sum_width(bits: int, members: int) -> int:
    """Bits that hold any sum of ``members`` words of ``bits`` bits, rounded up as ``pack`` needs."""
    width = bits + max(members - 1, 0).bit_length()
    return -(-width // 4) * 4 if width <= 32 else -(-width // 8) * 8


def masked_width(bits: int, group: int) -> int:
    """Bits of a masked value word: those that hold any sum over a group of this size, and not one more."""
    return bits + (group - 1).bit_length()


def sum_bytes(shard: int, layout: Layout, shards: int, rows: Sequence[int]) -> int:
    """The exact size of ``encode_sum``'s result: a sum over so many members in each row."""
    values, side = layout.values_in(shard, shards), layout.side * 8 if shard == 0 else 0
    return sum(packed_bytes(values, sum_width(layout.bits, members)) + side for members in rows)


def packed_bytes(count: int, width: int) -> int:
    """Bytes that ``count`` words of ``width`` bits take."""
    return -(-count * width // 8)
