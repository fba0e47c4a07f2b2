"""A scikit-learn estimator as a task: linear models and multi-layer perceptrons, their coefficients averaged."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError
from folkmoot.learn.server import ServerOptimizer
from folkmoot.learn.supervised import Array, Data, Loader, SupervisedTask, finite, weight_of
from folkmoot.privacy.budget import trains_privately
from folkmoot.task import Context, Contribution, Metric, Policy, State

try:
    from sklearn.base import clone
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
except ModuleNotFoundError as _error:
    raise TaskError("SklearnTask needs scikit-learn. Install it with: pip install 'folkmoot[sklearn]'") from _error

__all__ = ["SklearnTask"]


class SklearnTask(SupervisedTask):
    """Federated training of a scikit-learn estimator that has ``coef_`` and ``intercept_``, or an MLP's lists of them.

    ``estimator`` is copied, never changed. One with ``partial_fit`` (SGDClassifier, SGDRegressor, Perceptron,
    MLPClassifier, MLPRegressor) makes ``local_epochs`` passes a round; one without needs ``warm_start=True``
    (LogisticRegression) and is fitted ``local_epochs`` times, and then each member must have every class. Only
    coefficients go from round to round: an MLP's Adam begins afresh, an SGD schedule goes on with the round.

    ``classes`` is the number of classes (labels 0, 1, ...), ``None`` for a regressor. Linear models start at zero, MLPs
    at Glorot's uniform numbers from ``seed``. Predictions are probabilities, ``(examples,)`` for two classes; an
    estimator without ``predict_proba`` gives 0 and 1.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Any,
        load: Loader,
        features: int,
        classes: int | None = 2,
        metrics: Mapping[str, Metric] | None = None,
        local_epochs: int = 1,
        server: ServerOptimizer | None = None,
        policy: Policy | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(name=name, load=load, metrics=metrics or {}, policy=policy, server=server)
        kind = type(estimator).__name__
        if trains_privately(self.policy):
            raise TaskError(
                f"scikit-learn's {kind} cannot clip each record's gradient; with policy.privacy_unit='record' use"
                " LogisticTask or TorchTask, or privacy_unit='member'."
            )
        if not hasattr(estimator, "partial_fit") and not getattr(estimator, "warm_start", False):
            raise TaskError(f"{kind} starts from nothing at each fit; give {kind}(warm_start=True).")
        if classes is not None and classes < 2:
            raise TaskError(f"classes is {classes}; give 2 or more, or None for a regressor.")
        self._estimator = estimator
        self.features, self.classes, self.local_epochs, self.seed = features, classes, local_epochs, seed

    def init(self) -> State:
        """Zeros, or Glorot's numbers for an MLP."""
        shapes = {name: array.shape for name, array in _coefficients(self._blank(0)).items()}
        draw = np.random.Generator(np.random.PCG64(self.seed))
        params = {}
        for name, shape in shapes.items():
            bound = np.sqrt(6.0 / sum(shape)) if name.startswith("coefs_") else 0.0
            # Not draw.uniform, whose last bit depends on how the C compiler rounds on this machine.
            params[name] = bound * (2.0 * draw.random(shape) - 1.0)
        return State({**params, **self.server.init(params)})

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """New minus old coefficients after local training. Raises ``DataError`` on labels or shapes that do not fit."""
        features, labels = self._matrix(data[0][0]), self._labels(data[0][1])
        fitted = self._at(state, int.from_bytes(context.seed[:4], "little"))
        steps_before = state.round * self.local_epochs * len(labels)
        if hasattr(fitted, "t_"):
            fitted.t_ = 1.0 + steps_before
        with _threads().limit(
            limits=1
        ):  # Members share machines, and a sum split over threads depends on their number.
            for _ in range(self.local_epochs):
                self._fit(fitted, features, labels)
        deltas = {name: new - state.arrays[name] for name, new in _coefficients(fitted).items()}
        return Contribution(finite(deltas, "lower the estimator's learning rate"), weight_of(data))

    def predict(self, state: State, features: Any) -> NDArray[Any]:
        """Probabilities of classes, or a regressor's numbers."""
        fitted, x = self._at(state, self.seed), self._matrix(features)
        if self.classes is None:
            return np.asarray(fitted.predict(x))
        if hasattr(fitted, "predict_proba"):
            probability = np.asarray(fitted.predict_proba(x))
        else:
            probability = np.eye(self.classes)[np.asarray(fitted.predict(x), dtype=np.int64)]
        return probability[:, 1] if self.classes == 2 else probability

    def _at(self, state: State, seed: int) -> Any:
        """The estimator with the state's coefficients and no other memory."""
        fitted = self._blank(seed)
        for name, array in _coefficients(fitted).items():
            array[...] = state.arrays[name]
            _put(fitted, name, array)
        vars(fitted).pop("_optimizer", None)  # An MLP's Adam moments belong to the data that made them.
        return fitted

    def _blank(self, seed: int) -> Any:
        """A copy of the estimator that has seen all classes and the number of features."""
        blank = clone(self._estimator)
        if "random_state" in blank.get_params():
            blank.set_params(random_state=seed)
        labels = np.zeros(2) if self.classes is None else np.arange(self.classes)
        self._fit(blank, np.zeros((len(labels), self.features)), labels)
        return blank

    def _fit(self, estimator: Any, x: Array, y: NDArray[Any]) -> None:
        if not hasattr(estimator, "partial_fit"):
            if self.classes is not None and len(np.unique(y)) < self.classes:
                raise DataError(
                    f"The training labels hold only {np.unique(y).tolist()} of {self.classes} classes, which"
                    f" {type(estimator).__name__} cannot fit; use an estimator with partial_fit (SGDClassifier)."
                )
            estimator.fit(x, y)
        elif self.classes is None:
            estimator.partial_fit(x, y)
        else:
            estimator.partial_fit(x, y, classes=np.arange(self.classes))

    def _matrix(self, features: Any) -> Array:
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise DataError(f"The features have shape {x.shape}; task {self.name!r} takes (examples, {self.features}).")
        if not np.isfinite(x).all():
            row, column = np.argwhere(~np.isfinite(x))[0]
            raise DataError(f"Feature {column} of example {row} is {x[row, column]}; fill missing values in `load`.")
        return x

    def _labels(self, labels: Any) -> NDArray[Any]:
        y = np.asarray(labels).reshape(-1)
        wrong = np.array([]) if self.classes is None else np.flatnonzero(~np.isin(y, np.arange(self.classes)))
        if wrong.size:
            raise DataError(
                f"The label of example {wrong[0]} is {y[wrong[0]]}; task {self.name!r} takes 0 to"
                f" {(self.classes or 0) - 1}."
            )
        return y if self.classes is None else y.astype(np.int64)


@cache
def _threads() -> Any:
    return ThreadpoolController()  # Looks at every loaded library, so once.


def _coefficients(fitted: Any) -> dict[str, Array]:
    """Copies of the coefficients, float64: ``coef_``, ``intercept_``; or ``coefs_/0``, ``intercepts_/0``, ..."""
    if hasattr(fitted, "coefs_"):
        lists = {"coefs_": fitted.coefs_, "intercepts_": fitted.intercepts_}
        return {f"{kind}/{i}": np.array(a, np.float64) for kind, arrays in lists.items() for i, a in enumerate(arrays)}
    if not hasattr(fitted, "coef_"):
        raise TaskError(f"{type(fitted).__name__} has no coef_ after a fit; SklearnTask takes linear models and MLPs.")
    names = ["coef_", "intercept_"] if np.ndim(getattr(fitted, "intercept_", 0.0)) else ["coef_"]
    return {name: np.array(getattr(fitted, name), np.float64, order="C") for name in names}


def _put(fitted: Any, name: str, array: Array) -> None:
    kind, _, index = name.partition("/")
    if index:
        getattr(fitted, kind)[int(index)] = array
    else:
        setattr(fitted, kind, array)
