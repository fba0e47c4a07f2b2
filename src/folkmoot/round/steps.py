"""Votes on the steps of quantisation, and what follows from them.

Each member votes, with its contribution, on the next step of each array. An array that has none yet (*new*) gets the
mean of what the members ask for. From then on a step grows, by at most two bits a round, where any member's values did
not fit, and shrinks by one bit where everybody has room to spare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from folkmoot.round.layout import GROW, KEEP, MAX_GROWTH, SHRINK, WIDE_VOTE, Layout

__all__ = ["next_exponents", "robust_exponents", "vote"]

Words = NDArray[np.int64]

_LIMIT = 200


def vote(peak: float, room: int, new: bool) -> int:
    """What to do with the step of an array whose largest value, in steps, is ``peak``, and should stay below
    2**room."""
    if peak == 0.0:
        return KEEP
    wanted = int(np.frexp(peak)[1]) - room
    if new:
        return max(-WIDE_VOTE, min(WIDE_VOTE, wanted))
    if wanted > 0:
        return min(wanted, MAX_GROWTH) * GROW
    # Two bits too many, not one: a step that shrinks at the edge would grow again at once.
    return SHRINK if wanted < -1 else KEEP


def next_exponents(side: Words, layout: Layout, members: int) -> dict[str, int]:
    """The step of each array for the next round, from the summed votes of ``members`` contributions."""
    votes = side[1 : 1 + layout.votes]
    return {
        name: _moved(exponent, _change(int(total), members, new))
        for (name, exponent, new), total in zip(layout.voters, votes, strict=True)
    }


def robust_exponents(side: Words, layout: Layout, faults: int, rows: Sequence[int]) -> dict[str, int]:
    """The step of each array for the next round, from the votes of each row, (rows, side), of which ``faults`` may lie;
    ``rows`` says how many contributions are in each.

    The (faults + 1)th largest change counts, so that a step grows only where an honest row wants it to, and shrinks
    only where all but ``faults`` do; of a new array, the middle one.
    """
    moved = {}
    for place, (name, exponent, new) in enumerate(layout.voters, start=1):
        changes = sorted(_change(int(total), members, new) for total, members in zip(side[:, place], rows, strict=True))
        chosen = (len(changes) - 1) // 2 if new else max(0, len(changes) - 1 - faults)
        moved[name] = _moved(exponent, changes[chosen])
    return moved


def _moved(exponent: int, change: int) -> int:
    return max(-_LIMIT, min(_LIMIT, exponent + change))


def _change(total: int, members: int, new: bool) -> int:
    if new:
        return -(-total // members)
    growing = -(-total // GROW)
    if growing > 0:
        return min(growing, MAX_GROWTH)
    return -1 if growing * GROW - total == members else 0
