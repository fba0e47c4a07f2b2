"""From a task's contribution to shards, and from shards to the next state: what a worker and an auditor both run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.round import fixed
from folkmoot.round.fixed import Layout
from folkmoot.task.protocol import Context, Contribution, State, Task

__all__ = ["layout_of", "make_shards", "next_state", "sum_shards"]


def layout_of(task: Task, state: State) -> Layout:
    """The layout of the contributions that are due from ``state``."""
    metrics = {name: metric.words for name, metric in task.metrics().items()}
    return fixed.make_layout(task.schema(state), state.exponents, metrics, task.policy.bits)


def make_shards(
    task: Task, state: State, data: Any, context: Context, layout: Layout, shards: int
) -> tuple[list[bytes], float]:
    """The packed shards of the local contribution, and the L2 norm of its arrays.

    Raises ``TaskError`` when the contribution does not fit its schema or is not finite.
    """
    metrics = task.evaluate(state, data) if layout.metrics else {}
    contribution = task.contribute(state, data, context)
    if not isinstance(contribution, Contribution):
        raise TaskError(f"the task's contribute must return a Contribution, not a {type(contribution).__name__}")
    values, side = fixed.quantise(contribution, metrics, layout)
    squares = sum(float(np.square(array).sum()) for array in contribution.arrays.values())
    return fixed.encode_shards(values, side, layout, shards), float(np.sqrt(squares))


def sum_shards(blobs: Iterable[bytes], shard: int, layout: Layout, shards: int) -> NDArray[np.int64]:
    """The words of one shard summed over its ``blobs``. Raises ``IntegrityError`` on a wrong size or none at all."""
    total: NDArray[np.int64] | None = None
    for blob in blobs:
        if total is None:
            total = fixed.decode_shard(blob, shard, layout, shards)
        else:
            fixed.add_shard(total, blob, shard, layout, shards)
    if total is None:
        raise IntegrityError(f"there is nothing to sum in shard {shard}")
    return total


def next_state(
    task: Task, state: State, layout: Layout, sums: Sequence[NDArray[np.int64]], members: int
) -> tuple[State, Mapping[str, float]]:
    """The state after the round whose summed shards these are, and the moot's metrics of ``state`` itself.

    Raises ``TaskError`` when the task's update breaks the protocol.
    """
    values, side = fixed.split_side(sums, layout, len(sums))
    aggregate, words = fixed.aggregate(values, side, layout, members)
    metrics = {name: metric.value(words[name]) for name, metric in task.metrics().items()}
    new = task.update(state, aggregate)
    if not isinstance(new, State) or new.round != state.round + 1:
        raise TaskError("the task's update must return a State whose round is one more than its parent's")
    return replace(new, exponents=fixed.next_exponents(side, layout, members)), metrics
