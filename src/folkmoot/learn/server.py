"""Server optimisers: how the mean of the members' deltas moves the model.

FedAvg (McMahan et al. 2017, arXiv:1602.05629), FedAvgM (Hsu et al. 2019, arXiv:1909.06335), and FedAdagrad, FedYogi
and FedAdam (Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, algorithm 2). The
delta is *new minus old*, so it is added. All arithmetic is element-wise float64 with +, -, *, / and sqrt, which
IEEE 754 rounds alike on every machine; there is no sum over elements and no power.

An optimiser is two pure functions. ``init(params)`` gives the arrays it remembers, and ``apply(params, memory,
delta)`` the new parameters and memory. Memory is named ``server/<what>/<parameter>`` and lives in the public state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["FedAdagrad", "FedAdam", "FedAvg", "FedAvgM", "FedYogi", "ServerOptimizer"]

Array = NDArray[np.float64]
Named = Mapping[str, Array]


class ServerOptimizer(Protocol):
    """Two pure functions over named float64 arrays."""

    def init(self, params: Named) -> dict[str, Array]:
        """What the optimiser remembers before the first round; names begin with ``server/``."""
        ...

    def apply(self, params: Named, memory: Named, delta: Named) -> tuple[dict[str, Array], dict[str, Array]]:
        """New parameters and memory, from the mean ``delta`` of the members (shapes as ``params``)."""
        ...


@dataclass(frozen=True)
class FedAvg:
    """x <- x + lr * delta. With ``lr=1`` this is the weighted mean of the members' models."""

    lr: float = 1.0

    def init(self, params: Named) -> dict[str, Array]:
        """Nothing is remembered."""
        return {}

    def apply(self, params: Named, memory: Named, delta: Named) -> tuple[dict[str, Array], dict[str, Array]]:
        """The formula of the class, for each array."""
        return {name: x + self.lr * delta[name] for name, x in params.items()}, {}


@dataclass(frozen=True)
class FedAvgM:
    """Server momentum: v <- momentum * v + delta; x <- x + lr * v, from v = 0."""

    lr: float = 1.0
    momentum: float = 0.9

    def init(self, params: Named) -> dict[str, Array]:
        """``server/v/<parameter>``: zeros."""
        return {f"server/v/{name}": np.zeros_like(x) for name, x in params.items()}

    def apply(self, params: Named, memory: Named, delta: Named) -> tuple[dict[str, Array], dict[str, Array]]:
        """The formula of the class, for each array."""
        new, kept = {}, {}
        for name, x in params.items():
            v = self.momentum * memory[f"server/v/{name}"] + delta[name]
            new[name], kept[f"server/v/{name}"] = x + self.lr * v, v
        return new, kept


@dataclass(frozen=True)
class _Adaptive:
    """m <- beta1 * m + (1 - beta1) * delta; v <- by subclass; x <- x + lr * m / (sqrt(v) + tau)."""

    lr: float = 0.01
    beta1: float = 0.9
    tau: float = 1e-3
    """Adaptivity: the smaller, the more a step's size ignores the delta's. v starts at tau squared."""

    def init(self, params: Named) -> dict[str, Array]:
        """``server/m/<parameter>``: zeros; ``server/v/<parameter>``: tau squared."""
        first = {f"server/m/{name}": np.zeros_like(x) for name, x in params.items()}
        return first | {f"server/v/{name}": np.full_like(x, self.tau * self.tau) for name, x in params.items()}

    def apply(self, params: Named, memory: Named, delta: Named) -> tuple[dict[str, Array], dict[str, Array]]:
        """The formula of the class, for each array."""
        new, kept = {}, {}
        for name, x in params.items():
            m = self.beta1 * memory[f"server/m/{name}"] + (1.0 - self.beta1) * delta[name]
            v = self._second(memory[f"server/v/{name}"], delta[name] * delta[name])
            new[name] = x + self.lr * m / (np.sqrt(v) + self.tau)
            kept[f"server/m/{name}"], kept[f"server/v/{name}"] = m, v
        return new, kept

    def _second(self, v: Array, square: Array) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class FedAdagrad(_Adaptive):
    """m <- beta1 * m + (1 - beta1) * delta; v <- v + delta^2; x <- x + lr * m / (sqrt(v) + tau)."""

    beta1: float = 0.0

    def _second(self, v: Array, square: Array) -> Array:
        return v + square


@dataclass(frozen=True)
class FedYogi(_Adaptive):
    """As FedAdam, with v <- v - (1 - beta2) * delta^2 * sign(v - delta^2)."""

    beta2: float = 0.99

    def _second(self, v: Array, square: Array) -> Array:
        return v - (1.0 - self.beta2) * square * np.sign(v - square)


@dataclass(frozen=True)
class FedAdam(_Adaptive):
    """m <- beta1 * m + (1 - beta1) * delta; v <- beta2 * v + (1 - beta2) * delta^2;
    x <- x + lr * m / (sqrt(v) + tau). No bias correction, as in the paper."""

    beta2: float = 0.99

    def _second(self, v: Array, square: Array) -> Array:
        return self.beta2 * v + (1.0 - self.beta2) * square
