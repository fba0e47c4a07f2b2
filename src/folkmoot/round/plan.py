"""Who holds what, and what is summed with what, in one attempt.

A contribution is cut into shards, and every shard has its holders. Small rounds have one shard that everybody holds
(all-gather). Larger ones have as many shards as members, each held and summed by ``replicas`` of them, dealt by
rendezvous hashing (Thaler and Ravishankar, 1998) so that a member who comes or goes moves only its own shards
(reduce-scatter, then all-gather of the sums). A masked contribution has one piece more, its envelope, which all hold.

What is summed has a *row* for each thing that the policy's rule may see: one for the mean of all, one for each mask
group, or one for each contribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from blake3 import blake3

from folkmoot.digest import Hash
from folkmoot.round.groups import NO_BEACON, deal, neighbours
from folkmoot.round.view import members_of
from folkmoot.task.policy import Policy, quota

__all__ = ["Plan", "make_plan", "shard_bounds"]

_CONTEXT = "folkmoot 2026 rendezvous v1"


@dataclass(frozen=True)
class Plan:
    """The plan of one attempt; the same for everyone who sees the same ledger."""

    holders: tuple[tuple[int, ...], ...]
    """For each shard the member indices that hold and sum it, ascending."""
    members: tuple[int, ...] = ()
    """The snapshot."""
    secret: bool = False
    """Whether contributions are masked."""
    groups: tuple[tuple[int, ...], ...] = ()
    """The mask groups."""
    beacon: Hash = NO_BEACON
    """What dealt them."""
    each: bool = False
    """Whether the rule sees each contribution."""
    inputs: tuple[int, ...] = (1,)
    """Fewest rows that the rule can do with when no mask group is lost, when one is, and so on."""

    @property
    def shards(self) -> int:
        """How many shards a contribution is cut into."""
        return len(self.holders)

    @property
    def pieces(self) -> int:
        """How many blobs a contribution is: its shards, and its envelope."""
        return self.shards + self.secret

    def held_by(self, member: int) -> tuple[int, ...]:
        """The pieces that ``member`` holds, ascending."""
        shards = self.summed_by(member)
        return (*shards, self.shards) if self.secret and member in self.members else shards

    def summed_by(self, member: int) -> tuple[int, ...]:
        """The shards that ``member`` holds and sums, ascending."""
        return tuple(s for s, holders in enumerate(self.holders) if member in holders)

    def holders_of(self, piece: int) -> tuple[int, ...]:
        """Who holds a piece."""
        return self.holders[piece] if piece < self.shards else self.members

    def group_of(self, member: int) -> tuple[int, ...]:
        """The mask group that ``member`` was dealt to; empty if to none."""
        return next((group for group in self.groups if member in group), ())

    @cached_property
    def neighbours(self) -> dict[int, tuple[int, ...]]:
        """For each member that was dealt to a mask group, those it shares a seed with, ascending."""
        near: dict[int, tuple[int, ...]] = {}
        for group in self.groups:
            near |= neighbours(group)
        return near

    def needed(self, rows: int) -> int:
        """Fewest rows that would do, where so many mask groups (or contributions) could be summed.

        A group is lost only by a fault in it: two of its members gone, or one silent whose seeds others keep back. So
        of the liars that the rule has to withstand one fewer is left for each group that is lost.
        """
        return self.inputs[min(self.lost(rows), len(self.inputs) - 1)]

    def lost(self, rows: int) -> int:
        """How many mask groups could not be summed."""
        return len(self.groups) - rows if self.secret else 0

    def rows(self, survivors: int, first: int) -> tuple[tuple[int, ...], ...]:
        """The survivors (bitmap) that are summed together, ascending in each row. ``first`` are those that the attempt
        was first frozen with: the same, or some more, whom a second freeze left out.

        A mask group with fewer than its ``quota`` of survivors is left out: it is never unmasked. Of several groups one
        from which a second freeze took a member is left out, too. Its members have told the seeds of their own masks by
        then: with the pair masks opened besides, who was left out would lie open where the other groups do without it.
        """
        if not self.secret:
            alive = members_of(survivors)
            return tuple((m,) for m in alive) if self.each else (alive,)
        left = first & ~survivors if len(self.groups) > 1 else 0
        whole = (group for group in self.groups if not any(left >> m & 1 for m in group))
        summed = ((tuple(m for m in group if survivors >> m & 1), quota(len(group))) for group in whole)
        return tuple(row for row, due in summed if len(row) >= due)


def make_plan(
    members: Sequence[int],
    parent: Hash,
    attempt: int,
    policy: Policy,
    *,
    dealt: Sequence[int] = (),
    beacon: Hash = NO_BEACON,
) -> Plan:
    """The plan of one attempt. ``members`` is the snapshot, ``dealt`` whom a sealed attempt is open to; both ascending.

    A new attempt deals shards anew, with twice the holders, until everyone holds everything. So neither a bad set of
    holders stays, nor a contributor whom its holders cannot do without. Mask groups are the same in every attempt at a
    round: who could force one would else draw until it likes the deal.
    """
    everyone = tuple(members)
    each = policy.robust != "mean" and not policy.secret
    replicas = policy.replicas << min(attempt, 8)
    groups = deal(beacon, dealt, _group_size(policy, beacon)) if policy.secret and dealt else ()
    drawing = policy.grouped and beacon == NO_BEACON
    inputs = (1,) if drawing else tuple(policy.inputs_for(policy.faults - lost) for lost in range(policy.faults + 1))
    if each or len(everyone) <= max(policy.gather_up_to, replicas):
        holders: tuple[tuple[int, ...], ...] = (everyone,)
    else:
        seed = parent + attempt.to_bytes(4, "big")
        holders = tuple(_holders(seed, shard, everyone, replicas) for shard in range(len(everyone)))
    return Plan(holders, everyone, policy.secret, groups, beacon, each, inputs)


def _group_size(policy: Policy, beacon: Hash) -> int | None:
    """Before randomness was drawn there is nothing to deal groups by; the round that draws it has one."""
    return policy.group_size if policy.grouped and beacon != NO_BEACON else None


def _holders(seed: bytes, shard: int, members: Sequence[int], replicas: int) -> tuple[int, ...]:
    def score(member: int) -> bytes:
        place = shard.to_bytes(2, "big") + member.to_bytes(2, "big")
        return blake3(seed + place, derive_key_context=_CONTEXT).digest()

    return tuple(sorted(sorted(members, key=score)[:replicas]))


def shard_bounds(words: int, shards: int) -> tuple[tuple[int, int], ...]:
    """First and past-last word of each shard: ``words`` cut as evenly as whole words allow."""
    return tuple((words * s // shards, words * (s + 1) // shards) for s in range(shards))
