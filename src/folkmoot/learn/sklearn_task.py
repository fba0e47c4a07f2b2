"""A scikit-learn estimator as a task: linear models and multi-layer perceptrons, their coefficients averaged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError
from folkmoot.learn.examples import array_of, not_finite
from folkmoot.learn.server import ServerOptimizer
from folkmoot.learn.supervised import Array, Data, Loader, SupervisedTask, weight_of
from folkmoot.privacy.budget import trains_privately
from folkmoot.task import Context, Contribution, Metric, Policy, State
from folkmoot.task.data_schema import Columns

try:
    from sklearn.base import clone
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
except ModuleNotFoundError as _error:
    raise TaskError("SklearnTask needs scikit-learn. Install it with: pip install 'folkmoot[sklearn]'") from _error

from folkmoot.learn.sklearn_fitted import check_estimator, learnt, put

__all__ = ["SklearnTask"]


class SklearnTask(SupervisedTask):
    """Federated training of a scikit-learn estimator that learns coefficients: a linear model, or an MLP.

    ``estimator`` is copied, never changed. One with ``partial_fit`` (SGDClassifier, SGDRegressor, Perceptron,
    MLPClassifier, MLPRegressor) makes ``local_epochs`` passes a round; one without needs ``warm_start=True``
    (LogisticRegression, ElasticNet, Lasso, HuberRegressor, PoissonRegressor) and is fitted ``local_epochs`` times; then
    each member must have every class. From round to round goes what the estimator has learnt (``coef_``,
    ``intercept_``, ``coefs_``, ``intercepts_``, Huber's ``scale_``): an MLP's Adam begins afresh, an SGD schedule goes
    on with the round. One that learns anything else (trees, counts, neighbours) is refused, and the message names it.

    ``classes`` is the number of classes (labels 0, 1, ...), ``None`` for a regressor, which predicts ``outputs``
    numbers for each example. Linear models start at zero, MLPs at Glorot's uniform numbers from ``seed``. Predictions
    are probabilities, ``(examples,)`` for two classes; an estimator without ``predict_proba`` gives 0 and 1. A
    regressor's are numbers, ``(examples,)`` or ``(examples, outputs)``.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Any,
        load: Loader,
        features: int,
        classes: int | None = 2,
        outputs: int = 1,
        metrics: Mapping[str, Metric] | None = None,
        local_epochs: int = 1,
        server: ServerOptimizer | None = None,
        policy: Policy | None = None,
        seed: int = 0,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(name=name, load=load, metrics=metrics or {}, policy=policy, server=server, columns=columns)
        kind = type(estimator).__name__
        if trains_privately(self.policy):
            raise TaskError(
                f"scikit-learn's {kind} cannot clip each record's gradient; with policy.privacy_unit='record' use"
                " LogisticTask or TorchTask, or privacy_unit='member'."
            )
        if classes is not None and classes < 2:
            raise TaskError(f"classes is {classes}; give 2 or more, or None for a regressor.")
        if outputs < 1 or (classes is not None and outputs > 1):
            raise TaskError(f"outputs is {outputs}; give 1 or more for a regressor, 1 for a classifier.")
        check_estimator(estimator, classes)
        self._estimator, self.outputs = estimator, outputs
        self.features, self.classes, self.local_epochs, self.seed = features, classes, local_epochs, seed
        self._shapes = {name: array.shape for name, array in learnt(self._blank(0)).items()}

    def init(self) -> State:
        """Zeros (a scale: 1), or Glorot's numbers for an MLP."""
        draw = np.random.Generator(np.random.PCG64(self.seed))
        params = {}
        for name, shape in self._shapes.items():
            bound = np.sqrt(6.0 / sum(shape)) if name.startswith("coefs_") else 0.0
            # Not draw.uniform, whose last bit depends on how the C compiler rounds on this machine.
            params[name] = np.asarray(bound * (2.0 * draw.random(shape) - 1.0) + (name == "scale_"))
        return State({**params, **self.server.init(params)})

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """New minus old coefficients after local training. Raises ``DataError`` on labels or shapes that do not fit."""
        features, labels = self._matrix(data[0][0]), self._labels(data[0][1])
        fitted = self._at(state, int.from_bytes(context.seed[:4], "little"))
        steps_before = state.round * self.local_epochs * len(labels)
        if hasattr(fitted, "t_"):
            fitted.t_ = 1.0 + steps_before
        # Members share machines, and a sum split over threads depends on their number.
        with _threads().limit(limits=1):
            try:
                for _ in range(self.local_epochs):
                    self._fit(fitted, features, labels)
            except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
                raise TaskError(f"{type(fitted).__name__} cannot be fitted to these examples: {error}") from None
        deltas = {name: new - state.arrays[name] for name, new in learnt(fitted).items()}
        advice = "lower the estimator's learning rate"
        return Contribution(self._trained(deltas, features, labels, advice), weight_of(data))

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

    def model(self, state: State) -> Any:
        """A fitted copy of the estimator that predicts with all that ``state`` has learnt."""
        return self._at(state, self.seed)

    def _at(self, state: State, seed: int) -> Any:
        """The estimator with the state's coefficients and no other memory."""
        fitted = self._blank(seed)
        put(fitted, state.arrays)
        vars(fitted).pop("_optimizer", None)  # An MLP's Adam moments belong to the data that made them.
        return fitted

    def _blank(self, seed: int) -> Any:
        """A copy of the estimator that has seen all classes and the number of features."""
        blank = clone(self._estimator)
        if "random_state" in blank.get_params():
            blank.set_params(random_state=seed)
        rows = self.classes or 2
        # Ones, because the labels of some regressors (GammaRegressor) are above zero.
        labels = np.arange(rows) if self.classes else np.ones((rows, self.outputs) if self.outputs > 1 else rows)
        try:
            with warnings.catch_warnings(action="ignore"):  # such a fit leads nowhere, and need not
                self._fit(blank, np.zeros((rows, self.features)), labels)
        except (AttributeError, TypeError, ValueError) as error:
            raise TaskError(f"{type(blank).__name__} cannot be trained round by round: {error}") from None
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
        x = array_of("features", features).astype(np.float64, copy=False)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise DataError(f"The features have shape {x.shape}; task {self.name!r} takes (examples, {self.features}).")
        if place := not_finite(x, self._columns):
            raise DataError(f"The features: {place}; fill missing values in `load`.")
        return x

    def _labels(self, labels: Any) -> NDArray[Any]:
        y = array_of("labels", labels)
        due = len(y) * self.outputs
        if y.size != due:
            raise DataError(
                f"The labels have shape {y.shape}; task {self.name!r} takes {self.outputs} for each example."
                + (" Give SklearnTask outputs=." if self.classes is None else "")
            )
        y = y.reshape(len(y), self.outputs) if self.outputs > 1 else y.reshape(-1)
        if self.classes is None:
            if place := not_finite(y):
                raise DataError(f"The labels: {place}; leave such examples out in `load`.")
            return y
        wrong = np.flatnonzero(~np.isin(y, np.arange(self.classes)))
        if wrong.size:
            raise DataError(
                f"The label of example {wrong[0]} is {y[wrong[0]]}; task {self.name!r} takes 0 to {self.classes - 1}."
            )
        return y.astype(np.int64)


@cache
def _threads() -> Any:
    return ThreadpoolController()  # Looks at every loaded library, so once.
