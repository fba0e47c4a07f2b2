"""The policy of a task: what must hold in each of its rounds, fixed when it is proposed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

__all__ = ["MIXES", "RULES", "Policy", "quota", "share_threshold"]

RULES: Mapping[str, Callable[[int], int]] = {
    "mean": lambda f: 1,
    "median": lambda f: 2 * f + 1,
    "trimmed-mean": lambda f: 2 * f + 1,
    "geometric-median": lambda f: 2 * f + 1,
    "centred-clipping": lambda f: 2 * f + 1,
    "krum": lambda f: 2 * f + 3,
    "multi-krum": lambda f: 2 * f + 3,
}
"""For each rule that makes the aggregate, the fewest inputs (contributions, or groups) that withstand ``f`` liars."""

MIXES: Mapping[str, Callable[[int], int]] = {
    "none": lambda f: 1,
    "nearest-neighbours": lambda f: 2 * f + 1,
    "buckets": lambda f: 4 * f + 1,
}
"""What is done with a rule's inputs first, and the fewest of them for ``f`` liars: buckets of two halve the number."""

SECRECY = ("public", "sums")
UNITS = ("member", "record")
FEWEST = 3
"""Fewest contributions behind anything that is unmasked: the sum of two tells each of them the other's."""


def share_threshold(holders: int) -> int:
    """How many of the ``holders`` of a seed's shares it takes to rebuild it: more than two thirds."""
    return 2 * holders // 3 + 1


def quota(size: int) -> int:
    """Survivors that a mask group of ``size`` members needs: fewer could not rebuild what the silent leave, and a sum
    of fewer than three would be no secret."""
    return max(FEWEST, share_threshold(size - 1))


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold in each round of a task. Part of the bundle, so part of its hash.

    Raises ``ValueError`` on values that cannot work, with the arithmetic in the message.
    """

    rounds: int = 20
    """How many rounds train, 1 to 999,999. One more measures the model that they made."""
    begun: int = 0
    """Rounds that the first state has behind it already. Set where a task continues another's model; 0 otherwise."""
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
    """``"public"``: members see each other's contributions. ``"sums"``: they see sums only, of all or of groups."""
    robust: str = "mean"
    """The rule that makes the aggregate, a key of ``RULES``. The mean counts each member by its number of examples;
    every other rule counts each alike, for a number can be lied about."""
    mix: str = "none"
    """What is done with the rule's inputs first, a key of ``MIXES``."""
    faults: int = 0
    """How many lying members the rule withstands."""
    group_size: int = 4
    """Under ``sums`` with a rule other than the mean: members to a group, whose mean is what the rule sees."""
    clip: float | None = None
    """Cap on the L2 norm of a contribution; each then counts alike. Each member scales its own down to it, and everyone
    scales down what comes in above it: a contribution, or under ``sums`` a group's mean. It fixes the step of
    quantisation: nobody votes."""
    epsilon: float | None = None
    """Differential privacy: what all rounds together may cost each ``privacy_unit``. ``None``: no noise is added."""
    delta: float = 1e-5
    """The probability with which epsilon may not hold."""
    privacy_unit: str = "member"
    """``"member"``: noise on the sum hides whether a whole member took part. ``"record"``: each member's own training
    hides whether any one record was in its data."""
    record_clip: float = 1.0
    """For the unit ``record``: cap on the L2 norm of one record's gradient."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        _within("rounds", self.rounds, 1, 999_999)
        _within("begun", self.begun, 0, 1_000_000_000)
        _within("min_members", self.min_members, 1, 256)
        _within("start_members", self.start, self.min_members, 256)
        for name in ("train_seconds", "exchange_seconds", "final_seconds"):
            _within(name, getattr(self, name), 1, 7 * 86_400)
        _within("gather_up_to", self.gather_up_to, 1, 256)
        _within("replicas", self.replicas, 1, 16)
        _within("faults", self.faults, 0, 85)
        _one_of("bits", self.bits, (8, 16, 24, 32, 40, 48))
        _one_of("secrecy", self.secrecy, SECRECY)
        _one_of("robust", self.robust, tuple(RULES))
        _one_of("mix", self.mix, tuple(MIXES))
        _one_of("privacy_unit", self.privacy_unit, UNITS)
        for name in ("clip", "epsilon", "record_clip"):
            _positive(name, getattr(self, name))
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"policy.delta is {self.delta}; it is a probability above 0 and below 1")
        self._check_robustness()
        self._check_secrecy()
        self._check_noise()

    @property
    def start(self) -> int:
        """Grants needed before the first round opens."""
        return self.min_members if self.start_members is None else self.start_members

    @property
    def rounds_on_ledger(self) -> int:
        """Rounds that the ledger counts: those that train, and the measuring round after them."""
        return self.rounds + 1

    def measures(self, round: int) -> bool:
        """Whether ``round`` is the measuring round, the last on the ledger: members contribute what their held-out data
        say of the final model, under the same masks as ever, and nothing else. It trains nothing, leaves the model as
        it is, and costs no privacy that the policy bounds: where noise hides members, nothing is measured at all."""
        return round > self.rounds

    @property
    def secret(self) -> bool:
        """Whether contributions are masked."""
        return self.secrecy == "sums"

    @property
    def grouped(self) -> bool:
        """Whether masked contributions are summed in groups, for a rule to see."""
        return self.secret and self.robust != "mean"

    @property
    def noisy(self) -> bool:
        """Whether each member adds its share of noise to its contribution."""
        return self.epsilon is not None and self.privacy_unit == "member"

    @property
    def weighted(self) -> bool:
        """Whether members count by their number of examples."""
        return self.robust == "mean" and self.clip is None

    @property
    def inputs_needed(self) -> int:
        """Fewest inputs of the rule: contributions, or groups under ``sums``."""
        return self.inputs_for(self.faults)

    def inputs_for(self, faults: int) -> int:
        """Fewest inputs with which the rule withstands so many liars. Buckets of two leave half of them."""
        rule = RULES[self.robust](faults)
        return 2 * rule - 1 if self.mix == "buckets" else max(rule, MIXES[self.mix](faults))

    @property
    def honest(self) -> int:
        """Contributors behind any sum on whose noise it can rely: the fewest it may be made of, less those who lie."""
        if self.grouped:
            return max(1, quota(self.group_size) - self.faults)
        return self.min_members - (self.min_members - 1) // 3

    def _check_robustness(self) -> None:
        if self.robust == "mean":
            if self.faults or self.mix != "none":
                raise ValueError("policy.robust is 'mean', which withstands no liar; choose another rule, or faults=0")
            return
        if not self.faults:
            raise ValueError(f"policy.robust is {self.robust!r}; say with faults= how many liars it is to withstand")
        needed, members = self.inputs_needed, self.min_members
        if not self.secret and members < needed:
            raise ValueError(
                f"policy.min_members is {members}; {self._rule} withstands {self.faults} liars among {needed} or more"
            )

    def _check_secrecy(self) -> None:
        if not self.secret:
            return
        if self.min_members < FEWEST:
            raise ValueError(f"policy.min_members is {self.min_members}; a sum of fewer than {FEWEST} is no secret")
        if not self.grouped:
            return
        if self.clip is None:
            raise ValueError("policy.clip is not set; a rule over secret groups needs the cap that all can check")
        if self.group_size - 1 < FEWEST:
            raise ValueError(
                f"policy.group_size is {self.group_size}; with a liar in it fewer than {FEWEST} honest members are left"
            )
        groups, needed = self.min_members // self.group_size, self.inputs_needed
        if groups < needed:
            raise ValueError(
                f"policy.min_members is {self.min_members}, which makes {groups} groups of {self.group_size};"
                f" {self._rule} withstands {self.faults} liars among {needed} groups or more, so"
                f" {needed * self.group_size} members. With fewer, choose secrecy='public' (robust, not secret)"
                " or robust='mean' (secret, not robust)"
            )

    def _check_noise(self) -> None:
        if not self.noisy:
            return
        if not self.secret:
            raise ValueError(
                "policy.epsilon for members needs secrecy='sums': the noise is in the sum, not in its parts"
            )
        if self.clip is None:
            raise ValueError("policy.epsilon for members needs clip=: noise hides what has a known size")

    @property
    def _rule(self) -> str:
        return self.robust if self.mix == "none" else f"{self.robust} after {self.mix}"


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"policy.{name} is {value}; it must lie between {low} and {high}")


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise ValueError(f"policy.{name} is {value!r}; use {', '.join(map(repr, known[:-1]))} or {known[-1]!r}")


def _positive(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"policy.{name} is {value}; it must be a finite number above 0")
