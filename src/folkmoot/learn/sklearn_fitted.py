"""What a scikit-learn estimator has learnt, as named arrays; and which estimators learn what members can average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor

from folkmoot.errors import TaskError
from folkmoot.task import Arrays

__all__ = ["check_estimator", "learnt", "put"]

Array = NDArray[np.float64]

# Means of these over members stand for something: they are points of a space in which the loss is defined.
_AVERAGED = ("coef_", "intercept_", "coefs_", "intercepts_", "scale_")
# What a fit leaves behind besides: how it went, and what the data looked like. No prediction and no next fit needs it.
_RECORDS = frozenset(
    {
        *("best_loss_", "best_validation_score_", "classes_", "dual_gap_", "eps_", "feature_names_in_", "loss_"),
        *("loss_curve_", "n_features_in_", "n_iter_", "n_layers_", "n_outputs_", "out_activation_", "outliers_", "t_"),
        "validation_scores_",
    }
)
_LINEAR = ("sklearn.linear_model", "sklearn.discriminant_analysis")


def check_estimator(estimator: Any, classes: int | None) -> None:
    """Raise ``TaskError``, saying what to use instead, unless ``estimator`` can go on from given coefficients."""
    kind = type(estimator).__name__
    if not hasattr(estimator, "get_params"):
        raise TaskError(f"SklearnTask takes a scikit-learn estimator; {kind} is none.")
    settings = estimator.get_params(deep=False)
    if settings.keys() & {"estimator", "estimators", "steps", "transformers"} and not hasattr(estimator, "partial_fit"):
        raise TaskError(
            f"{kind} is made of other estimators, each with a fit of its own, which cannot be averaged as one. Give"
            " SklearnTask the one that predicts, and do what comes before it (scaling, encoding) in `load`, with"
            " numbers fixed in the task."
        )
    if not (is_classifier(estimator) or is_regressor(estimator)):
        raise TaskError(f"{kind} is neither a classifier nor a regressor; SklearnTask takes one that predicts labels.")
    if is_regressor(estimator) and classes is not None:
        raise TaskError(f"{kind} is a regressor; give classes=None.")
    if is_classifier(estimator) and classes is None:
        raise TaskError(f"{kind} is a classifier; give the number of its classes.")
    if settings.get("average"):
        raise TaskError(
            f"{kind}(average={settings['average']!r}) keeps two sets of coefficients, of which SklearnTask can carry"
            " one; leave `average` out: each round takes the mean of the members' coefficients."
        )
    if hasattr(estimator, "partial_fit"):
        return
    if "warm_start" not in settings:
        raise TaskError(
            f"{kind} starts from nothing at each fit and cannot go on from a round's model; {_other(estimator)}."
        )
    if not settings["warm_start"] and not _grows(settings):
        raise TaskError(f"{kind} starts from nothing at each fit; give {kind}(warm_start=True).")


def learnt(fitted: Any) -> dict[str, Array]:
    """Copies of all that ``fitted`` has learnt, float64 and shaped as it is there, () for a lone number; a list's
    arrays are named ``coefs_/0``, ``coefs_/1``, ...

    Raises ``TaskError``, naming it, where something was learnt that has no mean over members.
    """
    kind = type(fitted).__name__
    found = {name: value for name, value in vars(fitted).items() if name.endswith("_") and not name.startswith("_")}
    other = sorted(name for name, value in found.items() if name not in (*_AVERAGED, *_RECORDS) and _content(value))
    if other or not found.keys() & {"coef_", "coefs_"}:
        raise TaskError(
            f"{kind} learns {', '.join(other) or 'no coefficients'}, of which there is no mean over members;"
            f" {_other(fitted)}."
        )
    arrays: dict[str, Array] = {}
    for name in _AVERAGED:
        value = found.get(name)
        parts = {f"{name}/{i}": part for i, part in enumerate(value)} if isinstance(value, list) else {name: value}
        arrays |= {key: np.array(part, np.float64, order="C") for key, part in parts.items() if part is not None}
    return arrays


def put(fitted: Any, arrays: Arrays) -> None:
    """Set what `learnt` names to ``arrays``, lone numbers as numbers."""
    for name in learnt(fitted):
        kind, _, index = name.partition("/")
        array = np.array(arrays[name], np.float64)
        if index:
            getattr(fitted, kind)[int(index)] = array
        else:
            setattr(fitted, kind, array if array.ndim else float(array))


def _content(value: object) -> bool:
    """Whether a fitted attribute holds something: a switch, a name or nothing at all do not."""
    return not isinstance(value, bool | str | None)


def _grows(settings: Mapping[str, Any]) -> bool:
    """Whether ``warm_start`` means more trees beside those that are there, not better numbers in their place."""
    return bool(settings.keys() & {"n_estimators", "max_leaf_nodes", "kernel"})


def _other(estimator: Any) -> str:
    """What to use instead, as an imperative."""
    regressor = is_regressor(estimator)
    kind = type(estimator)
    if kind.__module__.startswith(_LINEAR) or kind.__name__.startswith("Linear"):
        if regressor:
            return "use SGDRegressor, or ElasticNet(warm_start=True) with l1_ratio=0 for a ridge"
        return "use SGDClassifier (loss='hinge' for a linear SVM, 'log_loss' for probabilities) or NewtonTask"
    names = "SGDRegressor or MLPRegressor" if regressor else "SGDClassifier, MLPClassifier, LogisticTask or NewtonTask"
    return f"use a model of coefficients: {names}, or TorchTask"
