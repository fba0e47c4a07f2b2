"""A task in one process, without network: each member alone, all together, and all data in one place.

What "together" loses against "pooled", and wins against "alone", is what a moot wants to know. The mean is exact
here; a real round quantises it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from folkmoot.errors import TaskError
from folkmoot.task import Aggregate, Context, Contribution, State, Task

__all__ = ["alone", "held_out", "mean_of", "pool", "pooled", "together"]


def together(task: Task, datasets: Sequence[Any], seed: int = 0) -> State:
    """The state after ``policy.rounds`` rounds of all ``datasets``, one a member, aggregated without rounding."""
    state = task.init()
    for number in range(1, task.policy.rounds + 1):
        contributions = [
            task.contribute(state, data, Context(number, _seed(seed, member, number)))
            for member, data in enumerate(datasets)
        ]
        state = task.update(state, mean_of(contributions))
    return state


def alone(task: Task, data: Any, seed: int = 0) -> State:
    """The state that one member reaches by itself in the same number of rounds."""
    return together(task, [data], seed)


def pooled(task: Task, datasets: Sequence[Any], seed: int = 0) -> State:
    """The state that all data in one place reaches in the same number of rounds: the upper bound."""
    return alone(task, pool(datasets), seed)


def pool(datasets: Sequence[Any]) -> Any:
    """The datasets, each ((features, labels), (features, labels)), joined example by example.

    Raises ``TaskError`` if they are something else.
    """
    try:
        (train, test) = (
            (np.concatenate([np.asarray(data[part][0]) for data in datasets]),
             np.concatenate([np.asarray(data[part][1]) for data in datasets]))
            for part in (0, 1)
        )  # fmt: skip
    except (TypeError, ValueError, IndexError) as error:
        raise TaskError(f"These datasets cannot be pooled, they are not (train, test) arrays alike: {error}.") from None
    return train, test


def held_out(task: Task, state: State, *datasets: Any) -> dict[str, float]:
    """Each metric of ``state`` over the held-out parts of ``datasets`` together."""
    partials = [task.evaluate(state, data) for data in datasets]
    return {
        name: metric.value(np.sum([partial[name] for partial in partials], axis=0, dtype=np.int64))
        for name, metric in task.metrics().items()
    }


def mean_of(contributions: Iterable[Contribution]) -> Aggregate:
    """sum(weight * array) / sum(weight) of each array, in float64, in the order given."""
    totals: dict[str, Any] = {}
    weight = members = 0
    for contribution in contributions:
        for name, array in contribution.arrays.items():
            totals[name] = totals.get(name, 0.0) + contribution.weight * array
        weight, members = weight + contribution.weight, members + 1
    return Aggregate({name: total / weight for name, total in totals.items()}, weight, members)


def _seed(seed: int, member: int, number: int) -> bytes:
    return blake2b(f"baseline {seed} {member} {number}".encode(), digest_size=32).digest()
