"""Exact discrete Gaussian noise, from a keyed stream of bits.

The discrete Gaussian of scale sigma (Canonne, Kamath, Steinke 2020, arXiv:2004.00010) gives the integer n with a
probability proportional to exp(-n^2 / (2 sigma^2)). Samplers of continuous noise round it to floats, and which floats
can occur tells the value underneath (Mironov 2012, "On significance of the least significant bits for differential
privacy"). Here there is no float at all. Every decision compares integers drawn uniformly, so each n has exactly its
probability: all that is assumed is that the bits are random. They are BLAKE3's extendable output under the seed, taken
32 or 64 at a time and rejected where a range is no power of two.

The construction, for an integer sigma s: |n| = s k + j with k >= 0 and 0 <= j < s, where, with u = j / s,

    exp(-n^2 / (2 s^2)) = exp(-k^2 / 2) * exp(-k u) * exp(-u^2 / 2).

k comes with a probability proportional to the first factor, j uniformly, and the pair is kept with the product of the
other two (Karney 2016, arXiv:1303.6257, algorithm D, which takes u real). For k, 64 bits of a uniform real are held
against 64 bits of the distribution function; where they tie, once in 2^60, both get more bits until they do not. The
other factors are events of probability exp(-g), 0 <= g <= 1, made from events of probability g / i alone (Canonne et
al., algorithm 1). All that is compared there are numbers below s and small counters, so nothing exceeds 64 bits, for
any s up to `MAX_SIGMA`.

All samples are drawn side by side with NumPy. How long that takes depends, a little, on what is drawn: the place for it
is a process that no other member can time to the microsecond.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

__all__ = ["MAX_SIGMA", "BitStream", "discrete_gaussian", "gaussian_words", "sigma_in_steps"]

Words = NDArray[np.int64]
Flags = NDArray[np.bool_]

MAX_SIGMA = 1 << 48
"""Largest scale. A sample beyond 128 of them, which would still fit 64 bits, has a probability below exp(-8000)."""

_BLOCK = 1 << 15
_CONTEXT = "folkmoot 2026 discrete gaussian v1"


def gaussian_words(std: float, exponents: Sequence[int], sizes: Sequence[int], seed: bytes) -> Words:
    """Noise for the value words of one contribution, (sum(sizes),) int64, of at least ``std`` in each value.

    Array i has ``sizes[i]`` words of the step ``2**exponents[i]``; its noise has the scale ``std / step`` rounded up to
    an integer. The same arguments give the same noise, so a seed is for one sum: where two sums over different members
    hold the same noise of each, their difference bares who is in one alone. Raises ``ValueError`` where a scale
    exceeds `MAX_SIGMA`.
    """
    stream = BitStream(seed)
    parts = [
        stream.gaussian(sigma_in_steps(std, step), size) for step, size in zip(exponents, sizes, strict=True)
    ]  # fmt: skip
    return np.concatenate([*parts, np.empty(0, dtype=np.int64)])


def discrete_gaussian(sigma: int, count: int, seed: bytes) -> Words:
    """``count`` samples with probability proportional to exp(-n^2 / (2 sigma^2)), (count,) int64.

    ``sigma`` is an integer from 1 to `MAX_SIGMA`, ``seed`` is 32 bytes. Raises ``ValueError`` on others.
    """
    return BitStream(seed).gaussian(sigma, count)


def sigma_in_steps(std: float, exponent: int) -> int:
    """``std / 2**exponent``, rounded up to an integer from 1. Raises ``ValueError`` where it exceeds `MAX_SIGMA`."""
    if not (math.isfinite(std) and std > 0.0):
        raise ValueError(f"the noise's standard deviation is {std}; it must be a finite number above 0")
    # ldexp only moves the exponent: exact, until it overflows (which the mantissa's own exponent tells first).
    if math.frexp(std)[1] - exponent > MAX_SIGMA.bit_length():
        raise ValueError(
            f"noise of {std:g} is more than 2**48 steps of 2**{exponent}; choose fewer bits or a coarser step"
        )
    return _checked(max(1, math.ceil(math.ldexp(std, -exponent))))


def _checked(sigma: int) -> int:
    if not 1 <= sigma <= MAX_SIGMA:
        raise ValueError(f"sigma is {sigma} steps; 1 to 2**48 can be drawn exactly")
    return sigma


@cache
def whole_thresholds(bits: int) -> tuple[int, ...]:
    """floor(2**bits * P(K <= k)) for k = 0, 1, ..., up to the first that is 2**bits - 1; P(K = k) is proportional to
    exp(-k^2 / 2)."""
    with localcontext() as context:
        context.prec = bits // 3 + 40
        weights = [(-Decimal(k * k) / 2).exp() for k in range(2 * math.isqrt(bits) + 20)]
        sums = itertools.accumulate(weights)
        floors = [int(part / sum(weights) * 2**bits) for part in sums]
    return tuple(floors[: floors.index((1 << bits) - 1) + 1])


class BitStream:
    """Random integers from one seed, many side by side. What is drawn next depends on how much was drawn before."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"the seed has {len(seed)} bytes; 32 are due")
        self._output = blake3(seed, derive_key_context=_CONTEXT)
        self._at = 0

    def gaussian(self, sigma: int, count: int) -> Words:
        """As `discrete_gaussian`."""
        _checked(sigma)
        parts: list[Words] = []
        missing = count
        while missing > 0:
            # About half of all proposals are kept; a block of them stays in the processor's cache.
            part = self._proposals(sigma, min(2 * missing + missing // 8 + 16, _BLOCK))[:missing]
            parts.append(part)
            missing -= len(part)
        return np.concatenate([*parts, np.empty(0, dtype=np.int64)])

    def _proposals(self, sigma: int, count: int) -> Words:
        """At most ``count`` samples."""
        whole = self._wholes(count)
        part = self.below(sigma, count)
        kept = self._exp(count, lambda which: self._half_square(part[which], sigma))
        whole, part = whole[kept], part[kept]
        kept = self._all(whole, lambda which: self._exp(len(which), lambda i: self._less(part[which[i]], sigma)))
        size = whole[kept] * np.int64(sigma) + part[kept]
        minus = self._coins(len(size))
        single: Flags = ~(minus & (size == 0))  # zero has no sign: one of its two ways is dropped
        signed: Words = np.where(minus, -size, size)
        return signed[single]

    def _wholes(self, count: int) -> Words:
        """Integers k >= 0 with probability proportional to exp(-k^2 / 2), (count,) int64."""
        words = np.frombuffer(self._bytes(8 * count), dtype="<u8")
        table = np.array(whole_thresholds(64), dtype=np.uint64)
        # A real that begins with these bits lies beyond each smaller threshold; one that is equal decides nothing.
        whole = np.searchsorted(table, words)
        for tie in np.flatnonzero(table[whole] == words):
            whole[tie] = self._settled(int(words[tie]))
        return whole

    def _settled(self, word: int) -> int:
        """k for the real whose first 64 bits are ``word``, from as many more as it takes."""
        bits = 64
        while True:
            word, bits = word << 64 | int.from_bytes(self._bytes(8), "little"), bits + 64
            table = whole_thresholds(bits)
            whole = bisect_left(table, word)
            if table[whole] != word:
                return whole

    def _half_square(self, part: Words, sigma: int) -> Flags:
        """Events of probability u^2 / 2, where u = part / sigma."""
        happened = self._coins(len(part))
        for _ in range(2):
            still = np.flatnonzero(happened)
            happened[still] = self._less(part[still], sigma)
        return happened

    def _less(self, part: Words, sigma: int) -> Flags:
        """Events of probability part / sigma."""
        less: Flags = self.below(sigma, len(part)) < part
        return less

    def _exp(self, count: int, event: Callable[[Words], Flags]) -> Flags:
        """``count`` events of probability exp(-g), where ``event(which)`` draws one of probability g, 0 <= g <= 1,
        for each sample of these indices.

        The i-th trial succeeds with probability g / i; the event happens if the first to fail is an odd one.
        """
        happened = np.ones(count, dtype=np.bool_)
        alive, trial = np.arange(count), 1
        while len(alive):
            alive = alive[event(alive)]
            if trial > 1:
                alive = alive[self.below(trial, len(alive)) == 0]
            happened[alive] ^= True
            trial += 1
        return happened

    def _all(self, times: Words, event: Callable[[Words], Flags]) -> Flags:
        """For each sample whether the event happened ``times`` times in a row."""
        happened = np.ones(len(times), dtype=np.bool_)
        alive, done = np.flatnonzero(times > 0), 0
        while len(alive):
            lucky = event(alive)
            happened[alive[~lucky]] = False
            done += 1
            alive = alive[lucky & (times[alive] > done)]
        return happened

    def _coins(self, count: int) -> Flags:
        """Events of probability 1/2."""
        data = np.frombuffer(self._bytes(-(-count // 8)), dtype=np.uint8)
        coins: Flags = np.unpackbits(data, count=count).view(np.bool_)
        return coins

    def below(self, bound: int, count: int) -> Words:
        """Integers uniform in 0 to ``bound`` - 1, (count,) int64: as few bits as hold them, redrawn where too large."""
        if bound == 1:
            return np.zeros(count, dtype=np.int64)
        width = (bound - 1).bit_length()
        size = 4 if width <= 32 else 8
        parts: list[Words] = []
        missing = count
        while missing > 0:
            tries = (missing << width) // bound + missing // 16 + 8
            words = np.frombuffer(self._bytes(size * tries), dtype=f"<u{size}") >> (8 * size - width)
            part = words[words < bound][:missing].astype(np.int64)
            parts.append(part)
            missing -= len(part)
        return np.concatenate([*parts, np.empty(0, dtype=np.int64)])

    def _bytes(self, count: int) -> bytes:
        data = self._output.digest(length=count, seek=self._at)
        self._at += count
        return data
