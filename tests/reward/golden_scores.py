"""The arithmetic of scores on rounds that need no random numbers, for ``golden/scores.json``."""

from __future__ import annotations

from collections.abc import Sequence

from folkmoot.reward import Scored, encode_effects, member_scores, scored, scoring_groups, season, split
from folkmoot.reward.availability import availability

GROUPS = (
    ((0, 3, 6), (1, 4, 7), (2, 5)),
    ((0, 1, 2), (3, 4, 5), (6, 7)),
    ((0, 4), (1, 5, 6), (2, 3, 7)),
    ((0, 5, 7), (1, 3), (2, 4, 6)),
    ((1, 2, 6), (3, 5, 7)),
)
WORTH = (90_001, 70_003, 50_021, 30_011, 10_007, 0, -20_011, -40_031)


def rounds(many: int, liars: int = 1) -> list[Scored]:
    """Rounds of eight members of known worth, whose gains shrink, as nine scorers of different scale see them."""
    made = []
    for number in range(many):
        groups = GROUPS[number % len(GROUPS)]
        told = {scorer: told_by(scorer, number, groups) for scorer in range(9)}
        made.append(scored(groups, told, liars))
    return made


def told_by(scorer: int, number: int, groups: Sequence[Sequence[int]]) -> list[int]:
    if scorer == 8:
        return [(-1) ** at * 10**12 for at in range(len(groups))]
    noise = [(scorer * 7919 + number * 104_729 + at * 15_485_863) % 20_011 - 10_005 for at in range(len(groups))]
    return [
        (3 + scorer) * (sum(WORTH[member] for member in group) + more) // (5 + number)
        for group, more in zip(groups, noise, strict=True)
    ]


def formats() -> dict[str, object]:
    """Everything that members must compute alike."""
    made: dict[str, object] = {"effects": encode_effects([0, 1, -1, 1 << 46, -(1 << 46)]).hex()}
    for many in (1, 4, 25):
        seen = rounds(many)
        made[f"last of {many} rounds"] = [list(map(list, seen[-1].groups)), seen[-1].gain, list(seen[-1].apart)]
        made[f"scores after {many} rounds"] = list(member_scores(seen).values())
    made["split"] = list(split(1_000_003, [*member_scores(rounds(25)).values()], [2, 2, 1, 2, 0, 2, 1, 2]))
    made["season"] = list(season(1_000_003, 7))
    made["groups"] = [list(group) for group in scoring_groups(range(10), bytes(range(32)), 3)]
    made["points"] = [
        service.points for service in availability([(0b1011, 0b1110, 0b1111), (0b1, 0b11, 0b111)]).values()
    ]
    return made
