"""The round as the ledger shows it: bitmaps of members, phases, quorums. Plain values, made by ``ledger.moot``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

__all__ = ["Phase", "RoundView", "called", "faults", "members_of", "number_of", "quorum"]


def faults(n: int) -> int:
    """How many of ``n`` members may crash or lie: floor((n - 1) / 3)."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """Signatures that make a statement final among ``n`` members: floor((n + f) / 2) + 1."""
    return (n + faults(n)) // 2 + 1


@lru_cache(maxsize=1024)
def members_of(bitmap: int) -> tuple[int, ...]:
    """The member indices of a bitmap, ascending: bit i stands for member i."""
    return tuple(i for i in range(bitmap.bit_length()) if bitmap >> i & 1)


def number_of(member: int) -> int:
    """The number by which people know a member, from 1; its index, from 0, is its bit in every bitmap."""
    return member + 1


def called(member: int) -> str:
    """A member where its name is not at hand: ``member 3`` for the one of index 2."""
    return f"member {number_of(member)}"


class Phase(IntEnum):
    """Where a task stands on the ledger. COMMIT may be closed by time alone: ``RoundView.closed``."""

    GATHERING = 0
    """Waiting for the grants that start it."""
    COMMIT = 1
    """Members train and commit."""
    FROZEN = 2
    """The survivor set is fixed; the model hash is being signed."""
    DONE = 3
    """All rounds are final."""


@dataclass(frozen=True)
class RoundView:
    """The round being made, in one read."""

    task: int
    round: int
    """1 to rounds; 0 while gathering; rounds when done."""
    attempt: int
    """0 at first; one more each time the round is retried."""
    phase: Phase
    parent: bytes
    """32 bytes: hash of the state the round starts from; once done, the last model's."""
    beacon: bytes
    """32 bytes: the inputs record of the round before, which no single member could choose; zeros in round 1."""
    members: int
    """Bitmap: the membership snapshot of this attempt; quorums count it."""
    expected: int
    """Bitmap: members whose commits close the phase early."""
    dealt: int
    """Bitmap: whom a sealed attempt was opened to; only they may commit. 0 where it is not sealed."""
    committed: int
    commits: tuple[bytes, ...]
    """32 bytes for each bit of ``committed``, ascending."""
    survivors: int
    """Bitmap, zero until FROZEN."""
    commit_deadline: int
    """Ledger seconds."""
    closed_at: int
    """Ledger seconds when commits closed by the last expected commit; 0 if they have not."""
    final_deadline: int
    """Ledger seconds after which a frozen attempt may be retried; 0 until FROZEN."""
    min_members: int
    exchange_seconds: int
    opened: int
    """The block, as contracts see it, in which the attempt opened."""
    first_survivors: int
    """Bitmap, zero until FROZEN: the survivors that this attempt was first frozen with. A sealed attempt may go on with
    fewer of them, ``survivors``; it stays what it was for those whose seeds were told for all."""
    shut: bool
    """Whether an attempt at this round was sealed and frozen: then nobody new comes in until the round is final."""
    paused: bool = False
    """Whether the members have decided that nobody commits for now."""

    def closed(self, now: float) -> bool:
        """Whether commits are closed at ledger time ``now``: all expected came, or the deadline has passed with
        at least ``min_members`` commits."""
        if self.phase is not Phase.COMMIT:
            return True
        enough = self.committed.bit_count() >= self.min_members
        return enough and (self.closed_at > 0 or now >= self.commit_deadline)
