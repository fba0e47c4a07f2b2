"""What a secret run opened, counted in the records that the ledger names and the peers' disks hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from folkmoot.digest import Hash
    from folkmoot.peer.local import LocalMoot
    from folkmoot.round.plan import Plan
    from folkmoot.task import Policy

__all__ = ["Opened", "opened"]


@dataclass(frozen=True)
class Opened:
    """Counts over all rounds of a task that train."""

    masked: int
    """Contributions that went in under masks."""
    sums: tuple[int, ...]
    """For each sum that was opened, how many contributions it is of."""
    own: int
    """Seeds of members' own masks that were opened, each of one whose contribution counts."""
    shared: int
    """Seeds of masks shared with a member that was lost, whose own mask therefore stays closed."""

    def lines(self) -> tuple[str, str]:
        """The same for people."""
        least, most = min(self.sums), max(self.sums)
        sizes = f"{least}" if least == most else f"{least} to {most}"
        return (
            f"secret: no member saw another's contribution: {self.masked} went in under masks,"
            f" and only {len(self.sums)} sums, of {sizes} each, were opened",
            f"opened for that: {self.own} seeds of contributors' own masks,"
            f" {self.shared or 'none'} of masks shared with a lost member; of no member both",
        )


def opened(moot: LocalMoot, task: int, policy: Policy) -> Opened:
    """What was opened in the rounds of ``task`` that train. Raises ``LocalError`` where a record is on no disk."""
    masked, own, shared = 0, 0, 0
    sums: list[int] = []
    for plan, survivors, first, seeds in _rounds(moot, task, policy):
        masked += survivors.bit_count()
        sums += [len(row) for row in plan.rows(survivors, first)]
        own += sum(member in told for member, told in seeds.items())
        shared += sum(len(told) - (member in told) for member, told in seeds.items())
    return Opened(masked, tuple(sums), own, shared)


def _rounds(moot: LocalMoot, task: int, policy: Policy) -> Iterator[tuple[Plan, int, int, dict[int, dict[int, bytes]]]]:
    """For each round that trains plan, survivors, those it was first frozen with, and for each member summed the
    seeds it opened, by target."""
    from folkmoot.ledger.records import members_of
    from folkmoot.round.commitment import decode_masked_inputs
    from folkmoot.round.groups import NO_BEACON
    from folkmoot.round.plan import make_plan

    beacon: Hash = NO_BEACON
    for final in next(iter(moot.homes.values())).moot().finals(task):
        members, dealt = members_of(final.members), members_of(final.dealt)
        plan = make_plan(members, final.parent, final.attempt, policy, dealt=dealt, beacon=beacon)
        _, seeds = decode_masked_inputs(_blob(moot, final.inputs))
        if not policy.measures(final.round) and (beacon != NO_BEACON or not policy.grouped):
            yield plan, final.survivors, final.first_survivors, seeds
        beacon = final.inputs


def _blob(moot: LocalMoot, name: Hash) -> bytes:
    from folkmoot.errors import LocalError

    for home in moot.homes.values():
        if home.store().has(name):
            return home.store().get(name)
    raise LocalError(f"blob {name.hex()} is on no peer's disk")
