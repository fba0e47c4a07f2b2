"""A bounty in whole units: a share for every round, and of each share a part for every member, none lost.

Shares are pro rata with the largest remainder first (Hamilton's method): each gets its exact part rounded down, and the
units left over go, one each, to those whose part was cut most, the first of equals first.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["AVAILABILITY", "MILLION", "season", "split"]

MILLION = 1_000_000
AVAILABILITY = 200_000
"""Millionths of a share that are paid for being there, unless a task says otherwise."""


def season(bounty: int, rounds: int) -> tuple[int, ...]:
    """The share of each of ``rounds`` rounds: all alike, and what is left over with the last.

    Raises ``ValueError`` on a negative bounty or no round.

    >>> season(100, 3)
    (33, 33, 34)
    """
    _counts("bounty", [bounty])
    if rounds < 1:
        raise ValueError(f"a season has at least 1 round, not {rounds}")
    share = bounty // rounds
    return (*[share] * (rounds - 1), bounty - share * (rounds - 1))


def split(
    pot: int, scores: Sequence[int | None], points: Sequence[int], availability: int = AVAILABILITY
) -> tuple[int, ...]:
    """What each member gets of ``pot`` units, one entry a member, in order; always ``pot`` in all.

    ``scores`` holds the score of each who took part in the round, ``None`` for the others; ``points`` what each did for
    the moot (``Service.points``). ``availability`` millionths of the pot go by points, the rest by scores. A negative
    score is paid nothing; where none is positive, those who took part get equal parts. Where nobody took part all goes
    by points, where nobody has any all by scores, and where there is neither everyone gets the same.

    Raises ``ValueError`` where there is nobody to pay, where the two differ in length, and on a negative pot or point.

    >>> split(100, [3, 1, -5, None], [1, 1, 1, 1], 200_000)
    (65, 25, 5, 5)
    """
    _counts("pot", [pot])
    _counts("number of points", points)
    if len(scores) != len(points) or not scores:
        raise ValueError(f"there are {len(scores)} scores and {len(points)} points; each member has one of both")
    if not 0 <= availability <= MILLION:
        raise ValueError(f"availability is {availability}; it is millionths of the pot, 0 to {MILLION}")
    useful = [max(0, score or 0) for score in scores]
    if not any(useful):
        useful = [int(score is not None) for score in scores]
    if not any(useful):
        return _pro_rata(pot, points if any(points) else [1] * len(points))
    serving = pot * availability // MILLION if any(points) else 0
    for_use, for_service = _pro_rata(pot - serving, useful), _pro_rata(serving, points if any(points) else useful)
    return tuple(use + service for use, service in zip(for_use, for_service, strict=True))


def _pro_rata(pot: int, weights: Sequence[int]) -> tuple[int, ...]:
    total = sum(weights)
    parts = [pot * weight // total for weight in weights]
    most_cut = sorted(range(len(weights)), key=lambda at: (-(pot * weights[at] % total), at))
    for at in most_cut[: pot - sum(parts)]:
        parts[at] += 1
    return tuple(parts)


def _counts(what: str, values: Sequence[int]) -> None:
    for value in values:
        if value < 0:
            raise ValueError(f"a {what} is {value}; it must be 0 or more")
