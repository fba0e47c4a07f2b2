"""Exact logistic regression: Newton's method on summed gradients and Hessians equals training on pooled data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from folkmoot.errors import TaskError
from folkmoot.learn.logistic import LogisticTask, binary, sigmoid
from folkmoot.learn.standardise import standardised
from folkmoot.learn.supervised import Array, Data, Loader, weight_of
from folkmoot.privacy.budget import trains_privately
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_schema import Columns

__all__ = ["NewtonTask", "solve"]

_WORSE = 1e-3
_SMALLEST_PIVOT = 1e-12


class NewtonTask(LogisticTask):
    """L2-regularised logistic regression by Newton steps: a few rounds reach the optimum of the pooled data.

    Minimises, over all members' examples, mean log loss + l2 / 2 * |weights|^2 (bias free). Features, missing values
    and ``standardise`` are as in `LogisticTask`. Each round a member sends means over its examples of the loss,
    its gradient (1 + features,) and the upper triangle of its Hessian, at the round's model. If a step made the
    loss worse, the next round goes halfway back; so it converges from any data. Use ``bits=48`` in the
    policy for an optimum to 1e-6 or better.
    """

    def __init__(
        self,
        *,
        name: str,
        load: Loader,
        features: int,
        standardise: bool = True,
        l2: float = 1e-3,
        policy: Policy | None = None,
        metrics: Mapping[str, Metric] | None = None,
        columns: Columns | None = None,
    ) -> None:
        if policy is not None and trains_privately(policy):
            raise TaskError(
                "NewtonTask sends exact gradients and Hessians, which hide no record; with policy.privacy_unit='record'"
                " use LogisticTask or TorchTask, or privacy_unit='member'."
            )
        if not l2 > 0.0:
            raise ValueError(f"l2 is {l2}; Newton's method needs it above 0, where the data may be separable")
        super().__init__(
            name=name,
            load=load,
            features=features,
            standardise=standardise,
            l2=l2,
            policy=policy,
            metrics=metrics,
            columns=columns,
        )

    def init(self) -> State:
        """A model of zeros; ``newton/model`` (bias, then weights) and ``newton/loss`` are the step before."""
        before = {"newton/model": np.zeros(1 + self.features), "newton/loss": np.full(1, 1e300)}
        return State({**super().init().arrays, **before})

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        """The features' moments in a standardising first round, afterwards loss, gradient and Hessian."""
        if self._measuring(state):
            return super().schema(state)
        size = 1 + self.features
        return {"loss": (1,), "gradient": (size,), "hessian": (size * (size + 1) // 2,)}

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """Moments, or mean loss, gradient and Hessian of the training examples, without the l2 term."""
        if self._measuring(state):
            return super().contribute(state, data, context)
        labels = binary(data[0][1])
        x = standardised(self._matrix(data[0][0]), state.arrays)
        x = np.column_stack([np.ones(len(x)), x])
        z = x @ _model(state)
        p = sigmoid(z)
        loss = np.logaddexp(0.0, z) - labels * z
        hessian = (x.T * (p * (1.0 - p))) @ x
        sums = {"loss": loss.sum(keepdims=True), "gradient": x.T @ (p - labels), "hessian": _upper(hessian)}
        return Contribution({name: total / len(labels) for name, total in sums.items()}, weight_of(data))

    def update(self, state: State, aggregate: Aggregate) -> State:
        """A Newton step, or halfway back if the last one made the loss worse."""
        if self._measuring(state):
            return super().update(state, aggregate)
        arrays, model = state.arrays, _model(state)
        penalised = np.ones(1 + self.features)
        penalised[0] = 0.0
        loss = aggregate.arrays["loss"].copy()
        for weight in model[1:]:  # One at a time: a sum's order must not depend on the machine.
            loss += 0.5 * self.l2 * weight * weight
        before, best = arrays["newton/model"], arrays["newton/loss"]
        if loss[0] > best[0] + _WORSE * abs(best[0]):
            return self._at(state, (model + before) / 2.0, before, best)
        gradient = aggregate.arrays["gradient"] + self.l2 * penalised * model
        hessian = _square(aggregate.arrays["hessian"], 1 + self.features)
        hessian[np.diag_indices_from(hessian)] += self.l2 * penalised
        return self._at(state, model - solve(hessian, gradient), model, loss)

    def _at(self, state: State, model: Array, before: Array, loss: Array) -> State:
        moved = {"bias": model[:1], "weights": model[1:], "newton/model": before, "newton/loss": loss}
        return State({**state.arrays, **moved}, state.round + 1, state.exponents)


def solve(matrix: Array, right: Array) -> Array:
    """x with ``matrix`` @ x = ``right`` for a symmetric positive definite matrix, (n, n) and (n,), in float64.

    Gaussian elimination in element-wise steps: LAPACK would round differently from machine to machine. Pivots
    below 1e-12 count as 1e-12.
    """
    a, b = matrix.copy(), right.copy()
    n = len(b)
    for k in range(n):
        a[k, k] = max(a[k, k], _SMALLEST_PIVOT)
        factors = a[k + 1 :, k] / a[k, k]
        a[k + 1 :, k:] -= factors[:, None] * a[k, k:][None, :]
        b[k + 1 :] -= factors * b[k]
    for k in range(n - 1, -1, -1):
        b[k] = b[k] / a[k, k]
        b[:k] -= a[:k, k] * b[k]
    return b


def _model(state: State) -> Array:
    return np.concatenate([state.arrays["bias"], state.arrays["weights"]])


def _upper(matrix: Array) -> Array:
    return matrix[np.triu_indices(len(matrix))]


def _square(upper: Array, size: int) -> Array:
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = upper
    return np.triu(matrix) + np.triu(matrix, 1).T
