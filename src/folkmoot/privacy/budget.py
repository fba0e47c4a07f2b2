"""What a task's rounds cost, for people who choose a policy and for a peer that keeps to its own limit.

A *release* is one opened sum of the unit ``member``, or one trained contribution of the unit ``record``. Each finished
round is one. An attempt whose sum was opened, but that did not become final, is another (unless the same contributions
of the same members are summed again). Everything here follows from policy and counts: no data is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from folkmoot.privacy.accountant import calibrate_dpsgd, calibrate_gaussian, dpsgd_epsilon, gaussian_epsilon
from folkmoot.task.policy import Policy

__all__ = ["Cost", "Training", "affordable", "noise_multiplier", "planned", "spent", "trains_privately"]


@dataclass(frozen=True)
class Training:
    """What the cost of the unit ``record`` depends on besides the policy: one member's data and a task's settings.

    The number of ``records`` counts as public.
    """

    records: int
    """Training examples of the member."""
    batch_size: int | None = None
    """Expected size of a batch; ``None``: all records, every time."""
    local_epochs: int = 1
    """Passes over the data in each round."""
    local_steps: int | None = None
    """Batches in each round, in place of passes."""

    def __post_init__(self) -> None:
        """Refuse what is not positive."""
        for name in ("records", "batch_size", "local_epochs", "local_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")

    @property
    def batch(self) -> int:
        """Records that a batch is expected to hold."""
        return self.records if self.batch_size is None else min(self.batch_size, self.records)

    @property
    def sampling_rate(self) -> float:
        """The probability that a record enters a batch."""
        return self.batch / self.records

    @property
    def steps(self) -> int:
        """Batches in each round: ``local_steps``, or as many as it takes to expect every record ``local_epochs`` times,
        rounded up."""
        if self.local_steps is not None:
            return self.local_steps
        return self.local_epochs * -(-self.records // self.batch)


@dataclass(frozen=True)
class Cost:
    """What all rounds of a policy cost each unit, and the noise that holds it to that.

    Epsilon and delta compare what everyone sees with what they would see had the unit counted as zero, everything else
    alike: whatever one might do after seeing it becomes at most exp(epsilon) times as likely, plus delta.
    """

    unit: str
    """``"member"`` or ``"record"``."""
    rounds: int
    epsilon: float
    """Of all rounds together; ``inf`` where the policy adds no noise."""
    delta: float
    noise_multiplier: float
    """The noise's standard deviation in a sum (of contributions, or a batch's gradients) over the clip; 0: no noise."""
    std: float
    """The standard deviation of what one member adds: to each value of its contribution (unit ``member``), or to each
    value of a batch's summed gradient (unit ``record``)."""


def trains_privately(policy: Policy) -> bool:
    """Whether each member's own training hides its records (the unit ``record``)."""
    return policy.epsilon is not None and policy.privacy_unit == "record"


def planned(policy: Policy, training: Training | None = None) -> Cost:
    """The cost of all of the policy's rounds. The unit ``record`` needs ``training``.

    Raises ``ValueError`` if it is missing, or where no noise is enough.
    """
    multiplier = noise_multiplier(policy, training)
    if not multiplier:
        std = 0.0
    elif policy.privacy_unit == "member":
        std = multiplier * _clip(policy) / math.sqrt(policy.honest)
    else:
        std = multiplier * policy.record_clip
    epsilon = spent(policy, policy.rounds, training)
    return Cost(policy.privacy_unit, policy.rounds, epsilon, policy.delta, multiplier, std)


def spent(policy: Policy, releases: int, training: Training | None = None) -> float:
    """The epsilon of ``releases`` with the noise planned for all rounds; 0 for none, ``inf`` for some without noise."""
    if releases <= 0:
        return 0.0
    multiplier = noise_multiplier(policy, training)
    if not multiplier:
        return math.inf
    if policy.privacy_unit == "member":
        return gaussian_epsilon(multiplier, releases, policy.delta)
    known = _known(training)
    return dpsgd_epsilon(multiplier, known.sampling_rate, releases * known.steps, policy.delta)


def affordable(policy: Policy, releases: int, limit: float, training: Training | None = None) -> bool:
    """Whether one more release after ``releases`` stays within ``limit``, the epsilon that a peer allows this task.

    For the policy's own delta. A peer that gets ``False`` sits the round out, whatever the others do.
    """
    return spent(policy, releases + 1, training) <= limit


def noise_multiplier(policy: Policy, training: Training | None = None) -> float:
    """The multiplier that holds all of the policy's rounds to its epsilon; 0 for a policy without noise.

    Raises as `planned`, which takes longer: it also computes what is really spent.
    """
    if policy.epsilon is None:
        return 0.0
    if policy.privacy_unit == "member":
        return calibrate_gaussian(policy.epsilon, policy.delta, policy.rounds)
    known = _known(training)
    return calibrate_dpsgd(policy.epsilon, policy.delta, known.sampling_rate, policy.rounds * known.steps)


def _known(training: Training | None) -> Training:
    if training is None:
        raise ValueError("what a record costs depends on the member's data; say how many records it has (Training)")
    return training


def _clip(policy: Policy) -> float:
    if policy.clip is None:
        raise ValueError("policy.epsilon for members needs clip=: noise hides what has a known size")
    return policy.clip
