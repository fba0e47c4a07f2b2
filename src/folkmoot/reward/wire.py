"""Effects as integers: what a member publishes of a round, the same for all who read it."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from folkmoot.errors import IntegrityError

__all__ = ["LIMIT", "STEP", "decode_effects", "encode_effects", "is_vector", "units"]

STEP = 2.0**-24
"""An effect of 1 on the wire, in the unit of the task's loss."""
LIMIT = 1 << 46
"""The largest magnitude on the wire: losses of four million. A vector that exceeds it counts as none."""


def units(effect: float) -> int:
    """An effect in steps, rounded to the nearest and kept within the limit; 0 where it is not a number.

    >>> units(0.5), units(-1e300), units(float("nan"))
    (8388608, -70368744177664, 0)
    """
    if math.isnan(effect):
        return 0
    return round(max(-float(LIMIT), min(float(LIMIT), effect / STEP)))


def is_vector(vector: Sequence[object], groups: int) -> bool:
    """Whether ``vector`` is one integer within the limit for each of so many groups."""
    return len(vector) == groups and all(type(word) is int and abs(word) <= LIMIT for word in vector)


def encode_effects(vector: Sequence[int]) -> bytes:
    """The bytes that a member commits to: eight for each group, two's complement, little-endian.

    Raises ``ValueError`` where a word is no integer within the limit.
    """
    if not is_vector(vector, len(vector)):
        raise ValueError(f"effects are integers of at most {LIMIT} in magnitude")
    return struct.pack(f"<{len(vector)}q", *vector)


def decode_effects(data: bytes, groups: int) -> tuple[int, ...]:
    """The inverse of ``encode_effects``. Raises ``IntegrityError`` where these are not so many effects."""
    if len(data) != 8 * groups:
        raise IntegrityError(f"the effects of {groups} groups have {8 * groups} bytes, not {len(data)}")
    vector: tuple[int, ...] = struct.unpack(f"<{groups}q", data)
    if not is_vector(vector, groups):
        raise IntegrityError(f"an effect exceeds {LIMIT} in magnitude")
    return vector
