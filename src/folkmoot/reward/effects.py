"""What the groups of one round are worth on a member's own held-out data.

A group's worth in a round would be its Shapley value, the mean of what it adds to every set of the other groups (Wang,
Rausch, Zhang, Jia, Song 2020, "A Principled Approach to Data Valuation for Federated Learning", arXiv:2009.06192; for
the sums of secure groups, Ma, Cao, Xiong 2021, "Transparent Contribution Evaluation for Secure Federated Learning on
Blockchain", arXiv:2101.10572). That takes a state for each of 2**m sets. The effect here takes the two ends of it, what
a group adds to nobody and what it adds to all others: 2m + 2 states, and for two groups the same number.

The states are made of the plain mean, whatever the policy's rule: a rule leaves out by design most of what sets one
input apart, and needs more inputs than a set may have. Floating point is enough. An effect is one member's word, which
nobody can recompute without its data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from folkmoot.errors import TaskError
from folkmoot.reward.wire import units
from folkmoot.round import fixed
from folkmoot.round.fixed import Layout, Words
from folkmoot.round.layout import MAX_WEIGHT
from folkmoot.round.norms import Array, tree_sum
from folkmoot.round.reduce import draws
from folkmoot.round.robust import cap
from folkmoot.task.protocol import Aggregate, Metric, State, Task

__all__ = ["effects", "loss_of", "unscored"]

LOSS = "loss"
"""The metric that effects are differences of: smaller is better."""


def loss_of(task: Task) -> Metric:
    """The task's metric named ``loss``: what its members' contributions are scored by.

    Raises ``TaskError`` where the task has none, and where its policy hides who took part: what a member says of a
    group is of its own held-out data, and no noise covers that.
    """
    if task.policy.noisy:
        raise TaskError("policy.epsilon is for members, whose words on groups would tell of their data: no bounty")
    metrics = task.metrics()
    if LOSS not in metrics:
        raise TaskError(
            f"the task has no metric named {LOSS!r} ({', '.join(sorted(metrics)) or 'none'}), by which contributions"
            ' are scored; add one, for instance metrics={"loss": fm.metrics.log_loss}'
        )
    return metrics[LOSS]


def unscored(task: Task) -> str | None:
    """Why contributions to ``task`` cannot be told apart, so that all who took part in a round are paid alike for it;
    ``None`` where they can be."""
    if task.policy.secret and not task.policy.grouped:
        return "all contributions are one secret sum, which tells nobody apart"
    try:
        loss_of(task)
    except Exception as error:  # the task's own metrics may raise anything
        return str(error)
    return None


def effects(
    task: Task, state: State, layout: Layout, sums: Sequence[Words], sizes: Sequence[int], data: Any
) -> list[int]:
    """How much each row of a round lowers the loss on the held-out part of ``data``, in steps of ``wire.STEP``.

    The effect of row g is half of (L(nobody) - L(g)) + (L(all but g) - L(all)), where L(S) is the loss of the state
    that ``task.update`` makes of ``state`` and the mean of the rows S; L(nobody) is that of ``state`` itself. Each
    difference counts for L(nobody) at the most, either way. A row of which the task can make nothing has an infinite
    loss.

    ``sums`` and ``sizes`` are as ``reduce.next_state`` takes them: (rows, words) for each shard, and how many
    contributions each row sums. Empty where nothing is held out, or where the round trained nothing. A single row has
    one effect, that of the round; it tells no member from another. Raises ``TaskError`` as ``loss_of``, and what the
    task raises at ``state`` itself.
    """
    metric = loss_of(task)
    if draws(task.policy, state):
        return []
    scene = _Scene(task, state, layout, sums, sizes)
    nobody = _loss(task, metric, scene.seen, data)
    if not math.isfinite(nobody):
        return []

    def loss(rows: Sequence[int]) -> float:
        try:
            with np.errstate(all="ignore"):
                found = _loss(task, metric, scene.state_of(rows), data) if rows else nobody
        except Exception:  # the task's own code may raise anything at numbers that no honest row holds
            return math.inf
        return math.inf if math.isnan(found) else found

    def bounded(gain: float) -> float:
        # where both losses are infinite nothing can be said of their difference
        return 0.0 if math.isnan(gain) else max(-abs(nobody), min(abs(nobody), gain))

    rows = range(len(sizes))
    everyone = loss(rows)
    found = []
    for row in rows:
        first, last = nobody - loss([row]), loss([other for other in rows if other != row]) - everyone
        found.append(units((bounded(first) + bounded(last)) / 2.0))
    return found


class _Scene:
    """The rows of one round as vectors, and the state before it as the task knows it."""

    def __init__(self, task: Task, state: State, layout: Layout, sums: Sequence[Words], sizes: Sequence[int]) -> None:
        policy = task.policy
        self.task, self.layout, self.sizes = task, layout, np.array(sizes, dtype=np.int64)
        # as in `reduce`: the task has no part in a first round that only draws the groups of the second
        self.seen = replace(state, round=state.round - 1) if policy.grouped else state
        values, side = fixed.split_side(sums, layout, len(sums))
        steps = np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)
        self.weights = np.clip(side[:, 0], self.sizes, self.sizes * MAX_WEIGHT) if policy.weighted else self.sizes
        self.means: Array = values.astype(np.float64) * steps / self.weights.astype(np.float64)[:, None]
        if policy.clip is not None:
            self.means = cap(self.means, policy.clip)
        self.buffers: Array = fixed.buffer_means(side, layout, sizes, self.weights)

    def state_of(self, rows: Sequence[int]) -> State:
        """The state after a round of these rows alone."""
        chosen = list(rows)
        weights = self.weights[chosen]
        total = int(weights.sum())

        def mean(rows: Array) -> Array:
            return tree_sum(rows[chosen] * weights.astype(np.float64)[:, None]) / float(total)

        weighed = fixed.arrays_of(mean(self.means), self.layout)
        arrays = {**weighed, **fixed.buffer_arrays(mean(self.buffers), self.layout)}
        return self.task.update(self.seen, Aggregate(arrays, total, int(self.sizes[chosen].sum())))


def _loss(task: Task, metric: Metric, state: State, data: Any) -> float:
    return float(metric.value(task.evaluate(state, data)[LOSS]))
