"""Metrics that are sums: each member gives int64 words of its held-out data, and the value comes from their sum.

A prediction is a probability for the classification metrics: shape (examples,) for the positive class of two, or
(examples, classes). Labels are class numbers from 0, shape (examples,); for `mean_squared_error` both are real
numbers of one shape. Reals are summed in fixed point with a step of 2**-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import TaskError

__all__ = [
    "Accuracy",
    "AreaUnderCurve",
    "LogLoss",
    "MeanSquaredError",
    "accuracy",
    "log_loss",
    "mean_squared_error",
    "multiclass_accuracy",
    "roc_auc",
]

Words = NDArray[np.int64]

_STEP = 2.0**-20
_BOUND = 2**46
_EPSILON = 2.0**-40


@dataclass(frozen=True)
class Accuracy:
    """The share of right classes: above one half for one column, the largest (first of equals) for more."""

    words: ClassVar[int] = 2

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> Words:
        """Right answers, examples."""
        scores, classes = _classified("accuracy", prediction, label)
        guess = scores.argmax(axis=1) if scores.ndim == 2 else scores > 0.5
        return _words((guess == classes).sum(), len(classes))

    def value(self, total: Words) -> float:
        """0 to 1; ``nan`` without examples."""
        return int(total[0]) / int(total[1]) if total[1] else float("nan")


@dataclass(frozen=True)
class LogLoss:
    """The mean of -log(probability of the true class), probabilities kept at least 2**-40 from 0 and 1."""

    words: ClassVar[int] = 2

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> Words:
        """Summed loss in steps of 2**-20, examples. A member may hold 2,000,000 examples out."""
        scores, classes = _classified("log_loss", prediction, label)
        if scores.ndim == 2:
            truth = scores[np.arange(len(classes)), classes]
        else:
            truth = np.where(classes == 1, scores, 1.0 - scores)
        return _fixed("log_loss", float(-np.log(np.clip(truth, _EPSILON, 1.0 - _EPSILON)).sum()), len(classes))

    def value(self, total: Words) -> float:
        """In nats; ``nan`` without examples."""
        return _mean(total)


@dataclass(frozen=True)
class AreaUnderCurve:
    """The area under the ROC curve, from a histogram of probabilities for each of two classes.

    Pairs across members count as pairs within one do: the histograms add up, so the value is that of all held-out
    examples in one place. It may be below each member's own where their scores are not comparable.

    A pair of a positive and a negative counts one if the positive is in the higher bin, and one half if both are in
    the same. So the value is exact but for pairs that share a bin, and is off by at most half the share of
    such pairs: sum over bins of p * n / (2 P N). Spread evenly, 512 bins are within 0.001.
    """

    bins: int = 512

    @property
    def words(self) -> int:
        """Negatives, then positives, by bin."""
        return 2 * self.bins

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> Words:
        """Two histograms over [0, 1]. A prediction of two columns stands for its second."""
        scores, classes = _classified("roc_auc", prediction, label)
        if scores.ndim == 2:
            if scores.shape[1] != 2:
                raise TaskError(f"roc_auc is for two classes; the predictions have {scores.shape[1]} columns.")
            scores = scores[:, 1]
        bins = np.minimum((scores * self.bins).astype(np.int64), self.bins - 1)
        return np.bincount(classes * self.bins + bins, minlength=self.words).astype(np.int64)

    def value(self, total: Words) -> float:
        """0 to 1; ``nan`` unless both classes are there."""
        negatives = [int(count) for count in total[: self.bins]]
        positives = [int(count) for count in total[self.bins :]]
        below = twice = 0
        for n, p in zip(negatives, positives, strict=True):
            twice += p * (2 * below + n)
            below += n
        pairs = sum(negatives) * sum(positives)
        return twice / (2 * pairs) if pairs else float("nan")


@dataclass(frozen=True)
class MeanSquaredError:
    """The mean of (prediction - label)^2 over all elements."""

    words: ClassVar[int] = 2

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> Words:
        """Summed squares in steps of 2**-20, elements."""
        guess, truth = np.asarray(prediction, np.float64), np.asarray(label, np.float64)
        if guess.size != truth.size:
            raise TaskError(f"mean_squared_error: predictions {guess.shape} do not fit labels {truth.shape}.")
        error = guess.reshape(-1) - truth.reshape(-1)
        return _fixed("mean_squared_error", float((error * error).sum()), truth.size)

    def value(self, total: Words) -> float:
        """In the label's unit, squared; ``nan`` without examples."""
        return _mean(total)


accuracy = Accuracy()
"""The share of right classes, of two or more."""
multiclass_accuracy = accuracy
"""The same metric, by the name one may look for."""
log_loss = LogLoss()
"""Mean negative log-likelihood, in nats."""
roc_auc = AreaUnderCurve()
"""Area under the ROC curve, 512 bins."""
mean_squared_error = MeanSquaredError()
"""Mean squared error."""


def _words(*numbers: int) -> Words:
    return np.array(numbers, dtype=np.int64)


def _fixed(name: str, total: float, count: int) -> Words:
    if not abs(total) < _BOUND * _STEP:
        raise TaskError(f"{name} sums to {total:g}, beyond 2**26; scale the labels, or hold out fewer examples.")
    return _words(round(total / _STEP), count)


def _mean(total: Words) -> float:
    return int(total[0]) * _STEP / int(total[1]) if total[1] else float("nan")


def _classified(name: str, prediction: NDArray[Any], label: NDArray[Any]) -> tuple[NDArray[np.float64], Words]:
    """Probabilities, (examples,) or (examples, classes), and class numbers, (examples,), checked."""
    scores, given = np.asarray(prediction, np.float64), np.asarray(label).reshape(-1)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim not in (1, 2) or len(scores) != len(given):
        raise TaskError(f"{name}: predictions of shape {scores.shape} do not fit {len(given)} labels.")
    if scores.size and not (scores.min() >= 0.0 and scores.max() <= 1.0):
        raise TaskError(
            f"{name} takes probabilities; predictions reach from {scores.min():g} to {scores.max():g};"
            " give the task a predict= that makes some of its output (a sigmoid, a softmax)."
        )
    count = scores.shape[1] if scores.ndim == 2 else 2
    classes = given.astype(np.int64)
    if given.size and (bool((classes != given).any()) or classes.min() < 0 or classes.max() >= count):
        first = int(np.flatnonzero((classes != given) | (classes < 0) | (classes >= count))[0])
        raise TaskError(
            f"{name} takes labels 0 to {count - 1}; they reach from {given.min()} to {given.max()}, and that of"
            f" held-out example {first} is {given[first]}. Number them alike at every member."
        )
    return scores, classes
