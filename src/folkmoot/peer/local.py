"""A whole moot on one machine: every member's folder, keys and grants made at once, for demos, tests and benchmarks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from folkmoot.peer import governing
from folkmoot.peer.founding import found, join
from folkmoot.peer.home import Home
from folkmoot.peer.identity import Identity
from folkmoot.peer.offering import add_dataset, count_records, draft_here, propose

__all__ = ["ANYWHERE", "LocalMoot"]

ANYWHERE = "127.0.0.1:0"
"""A moot for the moment has no use for a port that stays the same."""


@dataclass(frozen=True)
class LocalMoot:
    """The members' folders by name, in the order of their indices; the first one founded the moot."""

    folder: Path
    homes: Mapping[str, Home]

    @classmethod
    def found(cls, folder: Path, names: Sequence[str], *, name: str, seed: int = 0) -> LocalMoot:
        """Found a moot called ``name`` on ``folder/ledger.sqlite`` and let everyone join. Keys follow from ``seed``."""
        keys = {
            member: Identity(hashlib.sha256(f"folkmoot local {seed} {member}".encode()).digest()) for member in names
        }
        first, *others = names
        home, ticket = found(
            folder / first,
            name=name,
            seats=len(names),
            member=first,
            ledger=str(folder / "ledger.sqlite"),
            listen=ANYWHERE,
            identity=keys[first],
        )
        homes = {first: home}
        for member in others:
            homes[member], _ = join(folder / member, ticket, member=member, listen=ANYWHERE, identity=keys[member])
        return cls(folder, homes)

    def offer(self, task: Path, data: Mapping[str, Path], records: int | Mapping[str, int] | None = None) -> int:
        """Describe each member's dataset, propose the task, which is one's own, and adopt it by all votes; its id. All
        that is missing then are the grants. ``records`` in each dataset are counted where they are not told."""
        for member, path in data.items():
            told = records[member] if isinstance(records, Mapping) else records
            add_dataset(self.homes[member], path, told or count_records(path), f"the data of {member}")
        first, *others = self.homes.values()
        record, _ = propose(first, draft_here(task))
        moots = (home.moot() for home in others)
        while (motion := governing.adoption_of(first.moot(), record.id)) is not None:
            governing.vote(next(moots), motion.id)
        return record.id

    def grant(self, task: int, members: Sequence[str]) -> None:
        """Record these members' consent that the dataset which each described last serves the task."""
        for member in members:
            self.homes[member].moot().grant(task, max(self.homes[member].data()))
