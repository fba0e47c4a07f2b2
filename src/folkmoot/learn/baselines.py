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
from folkmoot.learn.examples import pairs_of, pool
from folkmoot.learn.supervised import SupervisedTask
from folkmoot.task import Aggregate, Context, Contribution, State, Task

__all__ = ["alone", "held_out", "mean_of", "pool", "pooled", "together"]


def together(task: Task, datasets: Sequence[Any], seed: int = 0) -> State:
    """The state after ``policy.rounds`` rounds of all ``datasets``, one a member, aggregated without rounding.

    Raises ``TaskError`` where there is none, or one that is not as the task's ``load`` gives it.
    """
    _check(task, datasets)
    state = task.init()
    for number in range(1, task.policy.rounds + 1):
        contributions = [
            task.contribute(state, data, Context(number, _seed(seed, member, number)))
            for member, data in enumerate(datasets)
        ]
        state = task.update(state, mean_of(contributions))
    return state


def alone(task: Task, data: Any, seed: int = 0) -> State:
    """The state that one member reaches by itself in the same number of rounds. Raises as `together`."""
    return together(task, [data], seed)


def pooled(task: Task, datasets: Sequence[Any], seed: int = 0) -> State:
    """The state that all data in one place reaches in the same number of rounds: the upper bound.

    How data is joined is the task's own to say: ``pool(datasets)`` gives a dataset as its ``load`` does. Every
    ready-made task has it; a hand-written one without it can pool pairs only: (train, test), each (features, labels).
    Raises ``TaskError`` on anything else.
    """
    own = getattr(task, "pool", None)
    return alone(task, own(datasets) if callable(own) else pool([_tuples(data) for data in datasets]), seed)


def _tuples(data: Any) -> Any:
    """``data`` if it is made of tuples, else nothing that can be pooled: a list of two may be a list of anything."""
    whole = isinstance(data, tuple) and all(isinstance(part, tuple) for part in data)
    return data if whole else None


def held_out(task: Task, state: State, *datasets: Any) -> dict[str, float]:
    """Each metric of ``state`` over the held-out parts of ``datasets`` together, one a member. Raises as `together`."""
    _check(task, datasets)
    partials = [task.evaluate(state, data) for data in datasets]
    return {
        name: metric.value(np.sum([partial[name] for partial in partials], axis=0, dtype=np.int64))
        for name, metric in task.metrics().items()
    }


def _check(task: Task, datasets: Sequence[Any]) -> None:
    if not len(datasets):
        raise TaskError("there is no dataset; give a list with one for each member")
    if not isinstance(task, SupervisedTask):
        return  # what its data is only the task knows
    for number, data in enumerate(datasets):
        try:
            pairs_of(data)
        except TaskError as error:
            raise TaskError(
                f"dataset {number} is not as task {task.name!r} loads it: {error}. Give one dataset for each member, as"
                " task.load(path) gives it."
            ) from None


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
