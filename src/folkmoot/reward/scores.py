"""From what members say of groups to a score for each member: medians over scorers, a regression over rounds.

Under secret sums nobody sees a member's contribution, but the groups are dealt anew in every round, so that each member
is seen in ever other company. How far that tells members apart is the subject of Pejó, Biczók 2023, "Quality Inference
in Federated Learning with Secure Aggregation" (arXiv:2007.06236); here it is put to use.

Everyone computes the same bits: integers, and Python's own +, -, *, / on float64 in a fixed order, with ``math.fsum``
where floats are added up (the built-in ``sum`` rounds differently from one version of Python to the next).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import fsum

from folkmoot.reward.wire import is_vector
from folkmoot.round.groups import NO_BEACON, deal

__all__ = ["RIDGE", "UNIT", "Scored", "agreed", "member_scores", "scored", "scoring_groups"]

UNIT = 10**9
"""A score of so much stands for all that a round gains."""
RIDGE = 1
"""What all members being alike weighs: as much as one average round."""


@dataclass(frozen=True)
class Scored:
    """One round as its scorers agree on it, in steps of ``wire.STEP``."""

    groups: tuple[tuple[int, ...], ...]
    """Member indices, no member twice; the order of the round's rows."""
    gain: int = 0
    """The effects of all groups together."""
    apart: tuple[int, ...] = ()
    """For each group how far its effect is from what as many members have on average; empty where nobody says."""

    @property
    def members(self) -> int:
        """How many members the groups have."""
        return sum(map(len, self.groups))

    @property
    def stake(self) -> float:
        """How much there was to be told apart: the magnitudes of the groups' effects."""
        whole = zip(self.groups, self.apart, strict=True)
        return sum(abs(self.members * apart + len(group) * self.gain) for group, apart in whole) / self.members


def scoring_groups(members: Sequence[int], beacon: bytes, size: int) -> tuple[tuple[int, ...], ...]:
    """The groups that ``members`` are scored in where the policy sums them all in one row but shows contributions.

    With ``size`` 1 each member is scored by itself. Larger groups cost every scorer fewer states, and a longer
    regression. They are dealt by ``beacon`` as mask groups are; none before one was drawn, in the first round, for
    groups that are known beforehand can be chosen. Raises ``ValueError`` as ``groups.deal``.
    """
    if size == 1:
        return tuple((member,) for member in sorted(members))
    return () if beacon == NO_BEACON else deal(beacon, members, size)


def agreed(words: Sequence[int], liars: int = 0) -> int:
    """As much of the honest words' median as ``liars`` lies among ``words`` cannot have made.

    Of c words, f of them lies, h = c - f are honest, and their median lies between the words of rank ceil(h/2) from
    below and from above, whichever the lies are. The result is the number of that range that is nearest to 0. So it has
    the sign of the honest median and at most its size: up to f liars can make an effect smaller, but none larger. With
    f = 0 it is the median (of an even number the smaller of the middle two). 0 where ``liars`` are all there is.

    >>> agreed([1, 2, 4, 5, 9]), agreed([1, 2, 4, 5, 9], liars=2), agreed([-3, 1, 2], liars=1)
    (4, 2, 0)
    """
    honest = len(words) - liars
    if honest <= 0:
        return 0
    ordered, rank = sorted(words), (honest - 1) // 2
    return max(ordered[rank], min(0, ordered[-1 - rank]))


def scored(groups: Sequence[Sequence[int]], told: Mapping[int, Sequence[int]], liars: int = 0) -> Scored:
    """One round as its scorers agree on it, up to ``liars`` of whom say what they like.

    ``told`` holds each scorer's effects, one a group. A vector that is not an integer within ``wire.LIMIT`` for each
    counts as missing. A scorer's loss may be large or small as a whole, so what it says is parted in the sum of its
    effects and what sets each group apart from that; nobody is heard on what sets its own group apart. Of each
    the round takes what is ``agreed``.

    >>> scored([(0, 1), (2, 3)], {0: [90, 4], 1: [90, 6], 2: [6, -90], 3: [4, -90], 4: [2, 8]})
    Scored(groups=((0, 1), (2, 3)), gain=10, apart=(47, -42))
    """
    dealt = tuple(tuple(group) for group in groups)
    heard = {scorer: vector for scorer, vector in told.items() if is_vector(vector, len(dealt))}
    if len(heard) <= liars:
        return Scored(dealt)
    n, apart = sum(map(len, dealt)), []
    for at, group in enumerate(dealt):
        others = (vector for scorer, vector in heard.items() if scorer not in group)
        apart.append(agreed([_rounded(n * vector[at] - len(group) * sum(vector), n) for vector in others], liars))
    return Scored(dealt, agreed([sum(vector) for vector in heard.values()], liars), tuple(apart))


def member_scores(rounds: Sequence[Scored]) -> dict[int, int]:
    """The score of every member of any group, ascending by member, in units of 1/``UNIT`` of what a round gains.

    In a round with n members, gain T and stake s, let a be what sets group g apart. Then

        score = m + d,  m = sum over rounds of s T/n / sum over rounds of s^2,
        d minimises sum over rounds, groups of (a - s (sum over g of d_i - |g| mean of d over the round))^2
                    + RIDGE (mean over rounds of s^2) sum of d_i^2.

    The level m is what a member adds on average; d, which sums to 0, is how a member differs from those in the same
    rounds. What a round's members have in common is left out of d, so that nobody gains by missing one. A round with
    one group says nothing of d, and members that were always in one group have the same. While rounds are few d is
    drawn to 0: all are scored alike. This is ridge regression (Hoerl, Kennard 1970), or the best linear prediction of
    random effects (Robinson 1991) with known variances.

    >>> pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    >>> member_scores([Scored(groups, 1000, (400, -400)) for groups in pairs])
    {0: 650000000, 1: 116666667, 2: 116666667, 3: 116666667}
    """
    members = sorted({member for one in rounds for member in chain(*one.groups)})
    told = [one for one in rounds if one.apart and one.stake]
    if not told:
        return dict.fromkeys(members, 0)
    place = {member: at for at, member in enumerate(members)}
    matrix = [[float(RIDGE * (i == j)) for j in range(len(members))] for i in range(len(members))]
    right: list[list[float]] = [[] for _ in members]
    squares = fsum(one.stake * one.stake for one in told)
    for one in told:
        _add(one, len(told) / squares, place, matrix, right)
    level = fsum(one.stake * (one.gain / one.members) for one in told) / squares
    apart = _solved(matrix, [fsum(terms) for terms in right])
    return {member: round((level + apart[at]) * UNIT) for member, at in place.items()}


def _add(
    one: Scored, unit: float, place: Mapping[int, int], matrix: list[list[float]], right: list[list[float]]
) -> None:
    """One round's part of the normal equations of ``member_scores``, all divided by the mean of s^2: times ``unit``."""
    n, stake, pairs = one.members, one.stake, list(zip(one.groups, one.apart, strict=True))
    weight, pull = unit * stake * stake, unit * stake
    spread = sum(len(group) ** 2 for group in one.groups)
    common = sum(len(group) * apart for group, apart in pairs) / n
    size = {place[member]: len(group) for group in one.groups for member in group}
    for group, apart in pairs:
        for member in group:
            at = place[member]
            right[at].append(pull * (apart - common))
            row = matrix[at]
            for other, its in size.items():
                row[other] += weight * ((spread - n * (len(group) + its)) / (n * n))
            for mate in group:
                row[place[mate]] += weight


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x with ``matrix`` @ x = ``right``, for a symmetric positive definite matrix: Gaussian elimination, no pivots."""
    n = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k, top in enumerate(rows):
        for row in rows[k + 1 :]:
            factor = row[k] / top[k]
            row[k:] = [value - factor * above for value, above in zip(row[k:], top[k:], strict=True)]
    found = [0.0] * n
    for k in range(n - 1, -1, -1):
        known = fsum(rows[k][j] * found[j] for j in range(k + 1, n))
        found[k] = (rows[k][n] - known) / rows[k][k]
    return found


def _rounded(number: int, by: int) -> int:
    """``number / by`` to the nearest integer, halves upwards."""
    return (2 * number + by) // (2 * by)
