"""The policy of a task: what must hold in each of its rounds, fixed when it is proposed."""

from __future__ import annotations

import msgspec

__all__ = ["Policy"]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold in each round of a task. Part of the bundle, so part of its hash.

    Raises ``ValueError`` on values that cannot work, with the bound in the message.
    """

    rounds: int = 20
    """How many rounds, 1 to 1,000,000."""
    min_members: int = 3
    """Fewest contributions a round may be made of; below it the task waits."""
    start_members: int | None = None
    """Grants needed before the first round opens; ``None`` means ``min_members``."""
    train_seconds: int = 60
    """Ledger time from a round's opening to the close of commits; doubles with each attempt."""
    exchange_seconds: int = 60
    """Ledger time from the close of commits to the freeze of survivors."""
    final_seconds: int = 60
    """Ledger time from the freeze to a new attempt."""
    bits: int = 16
    """Width of a quantised value: 8, 16, 24, 32, 40 or 48."""
    gather_up_to: int = 8
    """Up to this many members everyone gathers every contribution; above it shards are reduced."""
    replicas: int = 3
    """Members that hold, and sum, each shard."""
    secrecy: str = "public"
    """``"public"``: members see each other's contributions."""
    robust: str = "mean"
    """The rule that makes the aggregate: ``"mean"``, weighted by number of examples."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _within("rounds", self.rounds, 1, 1_000_000)
        _within("min_members", self.min_members, 1, 256)
        _within("start_members", self.start, self.min_members, 256)
        for name in ("train_seconds", "exchange_seconds", "final_seconds"):
            _within(name, getattr(self, name), 1, 7 * 86_400)
        _within("gather_up_to", self.gather_up_to, 1, 256)
        _within("replicas", self.replicas, 1, 16)
        if self.bits not in (8, 16, 24, 32, 40, 48):
            raise ValueError(f"policy.bits is {self.bits}; use 8, 16, 24, 32, 40 or 48")
        if self.secrecy != "public":
            raise ValueError(f"policy.secrecy is {self.secrecy!r}; this version offers 'public'")
        if self.robust != "mean":
            raise ValueError(f"policy.robust is {self.robust!r}; this version offers 'mean'")

    @property
    def start(self) -> int:
        """Grants needed before the first round opens."""
        return self.min_members if self.start_members is None else self.start_members


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"policy.{name} is {value}; it must lie between {low} and {high}")
