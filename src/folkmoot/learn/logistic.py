"""Logistic regression with NumPy alone: local gradient descent, averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError
from folkmoot.learn import metrics as ready
from folkmoot.learn.examples import array_of, not_finite
from folkmoot.learn.server import ServerOptimizer
from folkmoot.learn.standardise import moments, moments_schema, standardised, standards
from folkmoot.learn.supervised import Array, Data, Loader, SupervisedTask, generator, local_work, weight_of
from folkmoot.privacy.budget import Training, trains_privately
from folkmoot.privacy.dpsgd import PrivateSteps, clip_factors
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_schema import Columns

__all__ = ["LogisticTask", "binary", "sigmoid"]


class LogisticTask(SupervisedTask):
    """Logistic regression on two classes, labels 0 and 1, on features that may be missing (NaN).

    With ``standardise`` (the default) the first round sums the features' moments, and from then on every member
    standardises with the moot's means and scales and gives a missing value the moot's mean; that round counts
    among ``policy.rounds``. Without it a missing value counts as 0.

    In each round a member makes ``local_epochs`` passes (default 1) of gradient descent over its data, in shuffled
    batches of ``batch_size`` (``None``: all at once), or ``local_steps`` such batches whatever the size of its data,
    with ``l2`` times half the squared weights (bias free) and
    ``prox_mu`` times half the squared distance to the round's model (FedProx, Li et al. 2020,
    arXiv:1812.06127) added to the mean loss. The state holds ``weights`` (features,) and ``bias`` (1,).

    With a policy whose ``epsilon`` is for the unit ``record``, local training is DP-SGD: batches are drawn at random
    (``batch_size`` is what they are expected to hold), each example's gradient is clipped to ``record_clip``, and noise
    is added that keeps all rounds within epsilon, given this member's number of examples. ``standardise`` must be off.
    """

    def __init__(
        self,
        *,
        name: str,
        load: Loader,
        features: int,
        standardise: bool = True,
        learning_rate: float = 0.1,
        local_epochs: int | None = None,
        local_steps: int | None = None,
        batch_size: int | None = None,
        l2: float = 0.0,
        prox_mu: float = 0.0,
        server: ServerOptimizer | None = None,
        policy: Policy | None = None,
        metrics: Mapping[str, Metric] | None = None,
        columns: Columns | None = None,
    ) -> None:
        chosen: Mapping[str, Metric] = {"loss": ready.log_loss, "auc": ready.roc_auc, "accuracy": ready.accuracy}
        metrics = chosen if metrics is None else metrics
        super().__init__(name=name, load=load, metrics=metrics, policy=policy, server=server, columns=columns)
        self.features, self.standardise = features, standardise
        self.learning_rate, self.batch_size = learning_rate, batch_size
        self.local_epochs, self.local_steps = local_work(local_epochs, local_steps)
        self.l2, self.prox_mu = l2, prox_mu
        if standardise and trains_privately(self.policy):
            raise TaskError(
                "LogisticTask's first round sums the features' moments, which hide no record; with"
                " policy.privacy_unit='record' pass standardise=False and scale features in `load` by fixed numbers."
            )

    def init(self) -> State:
        """A model of zeros, whose prediction is one half."""
        model = {"bias": np.zeros(1), "weights": np.zeros(self.features)}
        plain = {"standard/mean": np.zeros(self.features), "standard/scale": np.ones(self.features)}
        return State({**model, **plain, **self.server.init(model)})

    def parameters(self, state: State) -> dict[str, Array]:
        """``bias`` and ``weights``."""
        return {name: state.arrays[name] for name in ("bias", "weights")}

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        """The features' moments in a standardising first round, afterwards deltas of bias and weights."""
        return moments_schema(self.features) if self._measuring(state) else super().schema(state)

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """Moments, or the delta of local training. Raises ``DataError`` on data of the wrong shape or labels."""
        features, labels = self._matrix(data[0][0]), binary(data[0][1])
        if self._measuring(state):
            return Contribution(moments(features), weight_of(data))
        with np.errstate(over="ignore", invalid="ignore"):  # `_trained` says it better.
            train = self._train_privately if trains_privately(self.policy) else self._train
            trained = train(self.parameters(state), standardised(features, state.arrays), labels, context)
        deltas = {name: trained[name] - old for name, old in self.parameters(state).items()}
        return Contribution(self._trained(deltas, features, labels, "lower learning_rate"), weight_of(data))

    def update(self, state: State, aggregate: Aggregate) -> State:
        """The moot's means and scales after a standardising first round, else the server optimiser's step."""
        if not self._measuring(state):
            return super().update(state, aggregate)
        return State({**state.arrays, **standards(aggregate.arrays)}, state.round + 1, state.exponents)

    def predict(self, state: State, features: Any) -> NDArray[Any]:
        """The probability of class 1 for each example, (examples,)."""
        x = standardised(self._matrix(features), state.arrays)
        return sigmoid(x @ state.arrays["weights"] + state.arrays["bias"][0])

    def _measuring(self, state: State) -> bool:
        return self.standardise and state.round == 0

    def _train(self, start: Mapping[str, Array], x: Array, y: Array, context: Context) -> dict[str, Array]:
        weights, bias = start["weights"].copy(), start["bias"].copy()
        shuffle = generator(context)
        size = len(y) if self.batch_size is None else self.batch_size
        left = self.local_epochs * -(-len(y) // size) if self.local_steps is None else self.local_steps
        while left > 0:
            order = shuffle.permutation(len(y)) if size < len(y) else np.arange(len(y))
            for at in range(0, len(y), size)[:left]:
                left -= 1
                batch = order[at : at + size]
                error = (sigmoid(x[batch] @ weights + bias[0]) - y[batch]) / len(batch)
                pull = self.prox_mu * (weights - start["weights"])
                weights -= self.learning_rate * (x[batch].T @ error + self.l2 * weights + pull)
                bias -= self.learning_rate * (error.sum() + self.prox_mu * (bias - start["bias"]))
        return {"bias": bias, "weights": weights}

    def _train_privately(self, start: Mapping[str, Array], x: Array, y: Array, context: Context) -> dict[str, Array]:
        """DP-SGD; bias first in every gradient."""
        model = np.concatenate([start["bias"], start["weights"]])
        old, decay = model.copy(), np.concatenate([[0.0], np.full(self.features, self.l2)])
        rows = np.column_stack([np.ones(len(y)), x])
        sizes = np.linalg.norm(rows, axis=1)
        training = Training(len(y), self.batch_size, self.local_epochs, self.local_steps)
        steps = PrivateSteps(self.policy, training, context.seed, (x, y, model))
        for batch in steps:
            error = sigmoid(rows[batch] @ model) - y[batch]
            error *= clip_factors(np.abs(error) * sizes[batch], steps.clip)
            pull = self.prox_mu * (model - old)
            model -= self.learning_rate * (steps.mean(rows[batch].T @ error) + decay * model + pull)
        return {"bias": model[:1], "weights": model[1:]}

    def _matrix(self, features: Any) -> Array:
        x = array_of("features", features).astype(np.float64, copy=False)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise DataError(f"The features have shape {x.shape}; task {self.name!r} takes (examples, {self.features}).")
        if np.isinf(x).any():
            place = not_finite(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf), self._columns)
            raise DataError(f"The features: {place}; write NaN for a missing value.")
        return x


def sigmoid(z: NDArray[Any]) -> Array:
    """1 / (1 + exp(-z)), without overflow."""
    small = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0, small) / (1.0 + small), dtype=np.float64)


def binary(labels: Any) -> Array:
    """``labels`` as float64 (examples,). Raises ``DataError`` naming the first that is neither 0 nor 1."""
    y = array_of("labels", labels).astype(np.float64, copy=False).reshape(-1)
    wrong = np.flatnonzero((y != 0.0) & (y != 1.0))
    if wrong.size:
        raise DataError(f"The label of example {wrong[0]} is {y[wrong[0]]:g}; logistic regression takes 0 and 1.")
    return y
