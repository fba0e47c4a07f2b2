"""Federated standardisation: the moments of every feature as sums, in one round, missing values left out.

Each member sends, per feature, the mean over its examples of 1, x and x^2 where x is there (zero where it is missing).
The weighted means of these are the moot's, so mean and scale equal those of the pooled data. A missing
value (NaN) then takes the moot's mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from folkmoot.errors import DataError
from folkmoot.learn.supervised import Array
from folkmoot.task import Arrays

__all__ = ["LARGEST_SUM", "moments", "moments_schema", "standardised", "standards"]

LARGEST_SUM = 2.0**31
"""A first contribution holds sums (mean times examples) below this; the round's fixed point ends there."""

_NAMES = ("present", "sum", "square")


def moments_schema(features: int) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of what `moments` gives."""
    return {f"standard/{name}": (features,) for name in _NAMES}


def moments(x: Array) -> Arrays:
    """The means over examples of presence, value and squared value of each feature of ``x`` (examples, features).

    Raises ``DataError``, naming the feature, if a sum would exceed `LARGEST_SUM`.
    """
    there = ~np.isnan(x)
    value = np.where(there, x, 0.0)
    sums = (there.sum(axis=0, dtype=np.float64), value.sum(axis=0), (value * value).sum(axis=0))
    large = np.flatnonzero(~(np.maximum(np.abs(sums[1]), sums[2]) < LARGEST_SUM))
    if large.size:
        raise DataError(
            f"Feature {large[0]} is too large to standardise over {len(x)} examples (its squares sum to"
            f" {sums[2][large[0]]:g}, the limit is 2**31); change its unit in `load`."
        )
    return {f"standard/{name}": total / len(x) for name, total in zip(_NAMES, sums, strict=True)}


def standards(mean: Arrays) -> dict[str, Array]:
    """``standard/mean`` and ``standard/scale`` of each feature, from the moot's mean of `moments`.

    A feature that is nowhere present has mean 0; one that does not vary has scale 1. Element-wise only.
    """
    present = mean["standard/present"]
    share = np.where(present > 0.0, present, 1.0)
    centre = mean["standard/sum"] / share
    variance = mean["standard/square"] / share - centre * centre
    varies = variance > 1e-9 * (1.0 + centre * centre)
    scale = np.sqrt(np.where(varies, variance, 1.0))
    return {"standard/mean": centre, "standard/scale": scale}


def standardised(x: Array, standards: Arrays) -> Array:
    """(x - mean) / scale, and 0 (the mean) where x is missing."""
    return np.nan_to_num((x - standards["standard/mean"]) / standards["standard/scale"], nan=0.0)
