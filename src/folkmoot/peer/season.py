"""What a task's bounty is paid for, and to whom: seasons, their scores as bytes, and the weights that split a pot.

A season is ``SEASON`` rounds, or what was left of them when the task was done. After it each member with held-out data
tells what it found the groups of its rounds worth; from that, and from who was there, follows one weight for each
member. All of it follows from the ledger and the task's policy, the same for all: no I/O, clock or randomness.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence

from folkmoot.errors import IntegrityError
from folkmoot.ledger.purse import MOST_SCORES, SEASON, Pot
from folkmoot.ledger.records import Final, faults, members_of
from folkmoot.reward import (
    Service,
    availability,
    decode_effects,
    encode_effects,
    member_scores,
    scored,
    scoring_groups,
    split,
)
from folkmoot.round.groups import NO_BEACON
from folkmoot.round.plan import Plan, make_plan
from folkmoot.task.policy import Policy

__all__ = [
    "SHARE",
    "beacon_of",
    "begins",
    "decode_told",
    "due",
    "encode_told",
    "groups_of",
    "plan_of",
    "scores_of",
    "thinned",
    "weights",
]

SHARE = 10**12
"""Units in which each round's share of a pot is split; a pot's own are given out by the contract, pro rata."""
MOST_GROUPS = 16
"""Groups of a public round that are scored, at most: each costs every scorer two evaluations."""
_HEAD = struct.Struct("<IH")
"""Round, and number of effects."""


# ---- seasons -------------------------------------------------------------------------------------------------------


def begins(last: int) -> int:
    """The first round of the season that ends with, or holds, round ``last``."""
    return (last - 1) // SEASON * SEASON + 1


def due(pot: Pot, rounds: int, final: int, done: bool) -> tuple[int, int] | None:
    """First and last round of what a pot is to be split for next, when ``final`` of a task's ``rounds`` are final;
    ``None`` when nothing is.

    A season for which not one unit is due is paid with the next. Of a task that was stopped after its last settlement
    there is a rest, due for no round: then the first is the one after the last.
    """
    for last in itertools.chain(range(pot.last - pot.last % SEASON + SEASON, final + 1, SEASON), [final] * done):
        whole = done and last == final
        if last and (pot.funded if whole else pot.funded * last // rounds) > pot.released:
            return pot.last + 1, last
    return None


def beacon_of(finals: Mapping[int, Final], round: int) -> bytes:
    """What dealt the groups of a round: the inputs of the one before."""
    return NO_BEACON if round == 1 else finals[round - 1].inputs


def plan_of(policy: Policy, final: Final, beacon: bytes) -> Plan:
    """The plan of the attempt that became final."""
    members, dealt = members_of(final.members), members_of(final.dealt)
    return make_plan(members, final.parent, final.attempt, policy, dealt=dealt, beacon=beacon)


def groups_of(policy: Policy, final: Final, beacon: bytes) -> tuple[tuple[int, ...], ...]:
    """The groups of members in which a round is scored; none where it tells nobody apart, or trains nothing.

    Of secret rounds these are the mask groups whose sums were opened, of public ones each contribution by itself, or,
    of more than ``MOST_GROUPS``, groups that are dealt for this alone.
    """
    survivors = members_of(final.survivors)
    if policy.measures(final.round):
        groups: tuple[tuple[int, ...], ...] = ()
    elif not policy.secret:
        groups = scoring_groups(survivors, beacon, -(-len(survivors) // MOST_GROUPS))
    elif policy.grouped and beacon != NO_BEACON:
        groups = plan_of(policy, final, beacon).rows(final.survivors, final.first_survivors)
    else:
        groups = ()
    return groups if len(groups) > 1 else ()


# ---- what a member tells -------------------------------------------------------------------------------------------


def encode_told(vectors: Mapping[int, Sequence[int]]) -> bytes:
    """A member's effects for each round it scored, ascending: round and count, then eight bytes each."""
    told = (_HEAD.pack(round, len(vectors[round])) + encode_effects(vectors[round]) for round in sorted(vectors))
    return b"".join(told)


def decode_told(data: bytes, last: int) -> dict[int, tuple[int, ...]]:
    """The inverse of ``encode_told``, for the season that ends with round ``last``.

    Raises ``IntegrityError`` on any other bytes, on rounds out of order, and on a round of another season.
    """
    found: dict[int, tuple[int, ...]] = {}
    at, before = 0, begins(last) - 1
    while at < len(data):
        if len(data) < at + _HEAD.size:
            raise IntegrityError(f"{len(data) - at} bytes are left over")
        round, count = _HEAD.unpack_from(data, at)
        at += _HEAD.size + 8 * count
        if not before < round <= last:
            raise IntegrityError(f"round {round} is not one of {before + 1} to {last}")
        found[round], before = decode_effects(data[at - 8 * count : at], count), round
    return found


def thinned(counts: Mapping[int, int], last: int, limit: int = MOST_SCORES) -> list[int]:
    """The rounds of a season that are told, of those with so many groups each: every k-th counted back from its last,
    k the least with which the effects of all of these fit into ``limit`` bytes."""
    for k in itertools.count(1):
        kept = [round for round in sorted(counts) if (last - round) % k == 0]
        if sum(_HEAD.size + 8 * counts[round] for round in kept) <= limit:
            return kept
    raise AssertionError


# ---- what follows from it ------------------------------------------------------------------------------------------


def scores_of(policy: Policy, finals: Mapping[int, Final], told: Mapping[int, bytes], last: int) -> dict[int, int]:
    """The score of each member that any round of the season was scored with.

    ``finals`` holds the season's rounds and the one before; ``told`` what each member showed in time. What is malformed
    counts as nothing. In each round its members are heard, and nobody who joined later: as many of them may lie as the
    moot withstands, f.
    """
    vectors: dict[int, dict[int, tuple[int, ...]]] = {}
    for member, data in sorted(told.items()):
        try:
            vectors[member] = decode_told(data, last)
        except IntegrityError:
            continue
    rounds = []
    for round in range(begins(last), last + 1):
        final = finals[round]
        groups = groups_of(policy, final, beacon_of(finals, round))
        heard = {m: words[round] for m, words in vectors.items() if round in words and final.members >> m & 1}
        if groups:
            rounds.append(scored(groups, heard, faults(final.members.bit_count())))
    return member_scores(rounds)


def weights(finals: Mapping[int, Final], scores: Mapping[int, int], first: int, last: int) -> tuple[int, ...]:
    """For each member by index, its part of what a pot is split for: rounds ``first`` to ``last``, each in ``SHARE``
    units among those who took part in it, by the scores of the season that ends with ``last``. A rest, for which there
    is no round, goes by the whole of that season."""
    paid = [finals[round] for round in range(first if first <= last else begins(last), last + 1)]
    total = [0] * max(final.members.bit_length() for final in paid)
    for final in paid:
        for member, part in enumerate(_parts(final, scores)):
            total[member] += part
    return tuple(total)


def _parts(final: Final, scores: Mapping[int, int]) -> tuple[int, ...]:
    seats: Iterable[int] = range(final.members.bit_length())
    service = availability([(final.survivors, final.signers, final.members)])
    worth = [scores.get(m, 0) if final.survivors >> m & 1 else None for m in seats]
    return split(SHARE, worth, [service.get(m, Service()).points for m in seats])
