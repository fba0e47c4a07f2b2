"""Whose masks cancel whose: mask groups, each member's neighbours in its group, and the seeds that may be released.

Secure aggregation after Bonawitz et al. (CCS 2017), https://eprint.iacr.org/2017/281: every pair of neighbours shares a
seed, one adds its mask and the other takes it off, and every member adds a mask of its own. In large groups a member
has not everybody for a neighbour but few, drawn at random (Bell et al., CCS 2020,
https://eprint.iacr.org/2020/704), so that the work grows with the logarithm of the group.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from functools import lru_cache
from math import comb

from blake3 import blake3

from folkmoot.digest import HASH_BYTES
from folkmoot.round.view import faults
from folkmoot.task.policy import share_threshold

__all__ = ["FULL_UP_TO", "NO_BEACON", "deal", "degree", "neighbours", "released", "sign"]

FULL_UP_TO = 32
"""Up to this many members of a group everyone is everyone's neighbour."""
NO_BEACON = bytes(HASH_BYTES)
"""The beacon of a round whose members drew no randomness."""
_SECURITY_BITS = 40
_GROUPS_CONTEXT = "folkmoot 2026 mask groups v1"
_CIRCLE_CONTEXT = "folkmoot 2026 mask neighbours v1"


def deal(beacon: bytes, members: Sequence[int], size: int | None) -> tuple[tuple[int, ...], ...]:
    """The mask groups of ``members`` (distinct indices): one group, or with ``size`` as many as hold that many each.

    The members are put in the order of their hash under the beacon and cut into ``len(members) // size`` groups, at
    least one, whose sizes differ by at most one. Each group is ascending. Raises ``ValueError`` on a beacon that is
    not 32 bytes.
    """
    if size is None:
        return (tuple(sorted(members)),)
    order = _shuffled(beacon, members, _GROUPS_CONTEXT)
    count = max(1, len(order) // size)
    cuts = [len(order) * g // count for g in range(count + 1)]
    return tuple(tuple(sorted(order[a:b])) for a, b in itertools.pairwise(cuts))


def neighbours(beacon: bytes, group: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """For each member of ``group`` its neighbours, ascending; the relation is symmetric.

    Above ``FULL_UP_TO`` members these are the ``degree(len(group))`` nearest on a circle in the order of the members'
    hash under the beacon. Without a beacon everyone is everyone's neighbour: a circle that is known beforehand is no
    protection from those who choose their places on it. Raises ``ValueError`` on a beacon that is not 32 bytes.
    """
    circle = _shuffled(beacon, group, _CIRCLE_CONTEXT)
    n = len(circle)
    if n <= FULL_UP_TO or beacon == NO_BEACON:
        everyone = sorted(circle)
        return {member: tuple(m for m in everyone if m != member) for member in everyone}
    half = degree(n) // 2
    steps = [step for step in range(-half, half + 1) if step]
    near = {member: tuple(sorted(circle[(at + step) % n] for step in steps)) for at, member in enumerate(circle)}
    return {member: near[member] for member in sorted(near)}


@lru_cache(maxsize=1024)
def degree(n: int) -> int:
    """How many neighbours a member has in a group of ``n`` whose circle is random.

    Above ``FULL_UP_TO`` the smallest even k with which, where f = floor((n - 1) / 3) of the members collude, the
    probability that ``share_threshold(k)`` or more neighbours of any honest member do is below 2**-40: the exact tail
    of the hypergeometric distribution, times the number of honest members.
    """
    if n <= FULL_UP_TO:
        return n - 1
    colluders = faults(n)
    for k in range(2, n, 2):
        many = range(share_threshold(k), min(k, colluders) + 1)
        bad = sum(comb(colluders, c) * comb(n - 1 - colluders, k - c) for c in many)
        if (n - colluders) * bad << _SECURITY_BITS < comb(n - 1, k):
            return k
    return n - 1


def released(dealer: int, neighbours: Sequence[int], survivors: Collection[int]) -> tuple[int, ...]:
    """The targets among the seeds of ``dealer`` that may be known once ``survivors`` is fixed; all others stay secret.

    The target ``dealer`` stands for its self-mask seed, a neighbour for the seed shared with it. A dealer that
    survived has in the sum its own mask, and the masks that its neighbours who did not survive would have
    cancelled. Of a dealer that did not survive nothing may be known: its neighbours' releases already take off its pair
    masks, so its self mask is all that hides what it sent.
    """
    if dealer not in survivors:
        return ()
    return (dealer, *(j for j in neighbours if j not in survivors))


def sign(dealer: int, target: int) -> int:
    """Whether ``dealer`` adds (1) or takes off (-1) the mask of the seed it shares with ``target``; it adds its own."""
    return 1 if dealer <= target else -1


def _shuffled(beacon: bytes, members: Sequence[int], context: str) -> list[int]:
    if len(beacon) != HASH_BYTES:
        raise ValueError(f"a beacon has {HASH_BYTES} bytes, not {len(beacon)}")

    def place(member: int) -> bytes:
        return blake3(beacon + member.to_bytes(2, "big"), derive_key_context=context).digest()

    return sorted(members, key=place)
