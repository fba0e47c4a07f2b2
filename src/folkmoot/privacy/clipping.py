"""A contribution held to a known size: its L2 norm at most a cap, as real numbers and again as integers.

Differential privacy and robustness both rest on that size. What everyone must do alike (scaling down what comes
in above the cap) adds its squares in one fixed order, so that no machine sees another bit. What a member does to its
own contribution after quantisation is exact: integers, compared as fractions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from folkmoot.task.protocol import Arrays

__all__ = ["clipped", "clipped_words", "norm", "square_of_norm"]

Words = NDArray[np.int64]

_CHUNK = 1 << 14
_LOW_BITS = 24


def norm(arrays: Arrays) -> float:
    """The L2 norm of all arrays together: the same bits on every machine. NaN or infinite where an element is."""
    peak = max((float(np.abs(array).max(initial=0.0)) for array in arrays.values()), default=0.0)
    if peak == 0.0 or not math.isfinite(peak):
        return peak
    # Scaled by a power of two (exactly), no square overflows or vanishes.
    shift = math.frexp(peak)[1]
    total = 0.0
    for name in sorted(arrays):
        scaled = np.ldexp(np.asarray(arrays[name], dtype=np.float64).reshape(-1), -shift)
        total += _sum_in_order(scaled * scaled)
    return math.ldexp(math.sqrt(total), shift)


def clipped(arrays: Arrays, cap: float) -> Arrays:
    """``arrays`` if their norm is at most ``cap``, else copies scaled down to it: the same bits on every machine.

    A norm that is not finite stays: it is for the caller to refuse. The result may exceed the cap by a rounding of
    float64; where that matters, `clipped_words` comes after.
    """
    size = norm(arrays)
    if not size > cap or not math.isfinite(size):
        return arrays
    return {name: array * (cap / size) for name, array in arrays.items()}


def clipped_words(words: Words, exponents: Sequence[int], sizes: Sequence[int], cap: float) -> Words:
    """Value words whose real norm is at most ``cap``, exactly: ``words`` themselves if they are so, else a copy.

    ``words`` (sum(sizes),) int64, below 2**48 in magnitude, hold arrays of ``sizes[i]`` words with the step
    ``2**exponents[i]``. Rounding can make a vector that was clipped to the cap a little longer. Then the words whose
    step towards zero shortens it most take that step, as few as are needed; to truncate all of them would do too, and
    cost more of the signal. A vector far above the cap is scaled down first. No word changes its sign or grows.
    """
    limit = Fraction(cap) ** 2
    held = words
    while (excess := square_of_norm(held, exponents, sizes) - limit) > 0:
        held = _shorter(held, float(excess), exponents, sizes, cap)
    return held


def square_of_norm(words: Words, exponents: Sequence[int], sizes: Sequence[int]) -> Fraction:
    """The squared L2 norm of value words with these steps, exactly; arguments as `clipped_words`."""
    squares = (_square(part) * Fraction(4) ** step for part, step in _parts(words, exponents, sizes))
    return sum(squares, Fraction(0))


def _shorter(words: Words, excess: float, exponents: Sequence[int], sizes: Sequence[int], cap: float) -> Words:
    """A copy of ``words``, whose squared norm is ``excess`` too large, that comes nearer to the cap or meets it.

    It always comes nearer: if scaling left every word w as it was, then w (1 - ratio) < 1/2, so the excess would be
    below the sum of all w, and a step off each would have been enough.
    """
    # What one step towards zero takes off a word's square: (2 |w| - 1) step^2, nothing for a zero.
    gains = np.concatenate(
        [
            np.ldexp(np.maximum(2.0 * np.abs(part) - 1.0, 0.0), 2 * step)
            for part, step in _parts(words, exponents, sizes)
        ]
    )
    if excess > gains.sum():
        ratio = cap / math.sqrt(excess + cap * cap)
        scaled: Words = np.rint(words * ratio).astype(np.int64)
        return scaled
    order = np.argsort(-gains, kind="stable")
    enough = int(np.searchsorted(np.cumsum(gains[order]), excess)) + 1
    chosen = order[:enough]
    shorter = words.copy()
    shorter[chosen] -= np.sign(words[chosen])
    return shorter


def _parts(words: Words, exponents: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[Words, int]]:
    at = 0
    for step, size in zip(exponents, sizes, strict=True):
        yield words[at : at + size], step
        at += size


def _square(words: Words) -> int:
    """The sum of squares, exactly: of high and low halves, in chunks, which stay below 2**63."""
    total = 0
    for at in range(0, len(words), _CHUNK):
        part = words[at : at + _CHUNK]
        high, low = part >> _LOW_BITS, part & ((1 << _LOW_BITS) - 1)
        halves = int(high @ high), int(high @ low), int(low @ low)
        total += (halves[0] << 2 * _LOW_BITS) + (halves[1] << _LOW_BITS + 1) + halves[2]
    return total


def _sum_in_order(values: NDArray[np.float64]) -> float:
    """The sum by halves, first plus second, element by element: the order of ``np.sum`` depends on the machine."""
    while len(values) > 1:
        half = -(-len(values) // 2)
        folded = values[:half].copy()
        folded[: len(values) - half] += values[half:]
        values = folded
    return float(values[0]) if len(values) else 0.0
