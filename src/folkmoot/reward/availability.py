"""Who was there: counted from the ledger's final records, whatever a contribution was worth.

A survivor's contribution was stored where others could have it, and a signer had added up the round itself. Who signed
late is not counted: a record holds the signatures that were there when it was posted, a quorum or more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from folkmoot.round.view import members_of

__all__ = ["Service", "availability"]


@dataclass(frozen=True)
class Service:
    """What one member did in the rounds whose snapshot it was in."""

    rounds: int = 0
    """Final rounds whose snapshot it was in."""
    survived: int = 0
    """Those of them in which its contribution counted."""
    signed: int = 0
    """Those of them whose record bears its signature."""

    @property
    def points(self) -> int:
        """What availability is paid by: one for each contribution that counted, one for each signature."""
        return self.survived + self.signed


def availability(finals: Iterable[tuple[int, int, int]]) -> dict[int, Service]:
    """The service of every member of any snapshot, ascending by member.

    Each final round is (survivors, signers, members), three bitmaps: those of ``ledger.records.Final``, and the
    snapshot. A bit outside the snapshot counts for nothing.

    >>> availability([(0b011, 0b111, 0b111), (0b001, 0b011, 0b011)])[1]
    Service(rounds=2, survived=1, signed=2)
    """
    found: dict[int, Service] = {}
    for survivors, signers, members in finals:
        for member in members_of(members):
            known = found.get(member, Service())
            found[member] = Service(
                known.rounds + 1,
                known.survived + (survivors >> member & 1),
                known.signed + (signers >> member & 1),
            )
    return dict(sorted(found.items()))
