"""Whose masks cancel whose: mask groups, each member's neighbours in its group, and the seeds that may be released.

Secure aggregation after Bonawitz et al. (CCS 2017), https://eprint.iacr.org/2017/281: every pair of neighbours shares a
seed, one adds its mask and the other takes it off, and every member adds a mask of its own. In a group everyone is
everyone's neighbour, however large it is. With few neighbours, drawn at random (Bell et al., CCS 2020,
https://eprint.iacr.org/2020/704), the work would grow with the logarithm of the group only; but a third of the members
may lie, and of a few neighbours more than a third often do. They could keep back their shares of an honest member that
has fallen silent, so that the round has to be made anew; with everyone for a neighbour the honest are always enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from blake3 import blake3

from folkmoot.digest import HASH_BYTES

__all__ = ["NO_BEACON", "deal", "neighbours", "released", "sign"]

NO_BEACON = bytes(HASH_BYTES)
"""The beacon of a round whose members drew no randomness."""
_GROUPS_CONTEXT = "folkmoot 2026 mask groups v1"


def deal(beacon: bytes, members: Sequence[int], size: int | None) -> tuple[tuple[int, ...], ...]:
    """The mask groups of ``members`` (distinct indices): one group, or with ``size`` as many as hold that many each.

    The members are put in the order of their hash under the beacon and cut into ``len(members) // size`` groups, at
    least one, whose sizes differ by at most one. Each group is ascending. Raises ``ValueError`` on a beacon that is
    not 32 bytes.
    """
    if size is None:
        return (tuple(sorted(members)),)
    order = _shuffled(beacon, members)
    count = max(1, len(order) // size)
    cuts = [len(order) * g // count for g in range(count + 1)]
    return tuple(tuple(sorted(order[a:b])) for a, b in itertools.pairwise(cuts))


def neighbours(group: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """For each member of ``group`` its neighbours, all the others; both ascending."""
    everyone = sorted(group)
    return {member: tuple(m for m in everyone if m != member) for member in everyone}


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


def _shuffled(beacon: bytes, members: Sequence[int]) -> list[int]:
    if len(beacon) != HASH_BYTES:
        raise ValueError(f"a beacon has {HASH_BYTES} bytes, not {len(beacon)}")

    def place(member: int) -> bytes:
        return blake3(beacon + member.to_bytes(2, "big"), derive_key_context=_GROUPS_CONTEXT).digest()

    return sorted(members, key=place)
