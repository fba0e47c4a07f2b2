"""Who holds what: a contribution is cut into shards, and every shard has its holders.

Small rounds have one shard that everybody holds (all-gather). Larger ones have as many shards as members, each held
and summed by ``replicas`` of them, dealt by rendezvous hashing (Thaler and Ravishankar, 1998) so that a
member who comes or goes moves only its own shards (reduce-scatter, then all-gather of the sums).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from folkmoot.digest import Hash

__all__ = ["Plan", "make_plan", "shard_bounds"]

_CONTEXT = "folkmoot 2026 rendezvous v1"


@dataclass(frozen=True)
class Plan:
    """``holders[s]`` are the member indices that hold and sum shard ``s``, ascending."""

    holders: tuple[tuple[int, ...], ...]

    @property
    def shards(self) -> int:
        """How many shards a contribution is cut into."""
        return len(self.holders)

    def held_by(self, member: int) -> tuple[int, ...]:
        """The shards that ``member`` holds, ascending."""
        return tuple(s for s, holders in enumerate(self.holders) if member in holders)


def make_plan(members: Sequence[int], parent: Hash, attempt: int, *, gather_up_to: int, replicas: int) -> Plan:
    """The plan of one attempt; the same for everyone who sees the same ledger.

    ``members`` is the snapshot, ascending. A new attempt deals anew, with twice the holders, until everyone holds
    everything. So neither a bad set of holders stays, nor a contributor whom its holders cannot do without.
    """
    replicas <<= min(attempt, 8)
    if len(members) <= max(gather_up_to, replicas):
        return Plan((tuple(members),))
    seed = parent + attempt.to_bytes(4, "big")
    return Plan(tuple(_holders(seed, shard, members, replicas) for shard in range(len(members))))


def _holders(seed: bytes, shard: int, members: Sequence[int], replicas: int) -> tuple[int, ...]:
    def score(member: int) -> bytes:
        place = shard.to_bytes(2, "big") + member.to_bytes(2, "big")
        return blake3(seed + place, derive_key_context=_CONTEXT).digest()

    return tuple(sorted(sorted(members, key=score)[:replicas]))


def shard_bounds(words: int, shards: int) -> tuple[tuple[int, int], ...]:
    """First and past-last word of each shard: ``words`` cut as evenly as whole words allow."""
    return tuple((words * s // shards, words * (s + 1) // shards) for s in range(shards))
