"""The smallest task that can be attacked: members estimate the mean of their points, a step of the way each round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State


class Count:
    """How many labels there are."""

    words = 1

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> NDArray[np.int64]:
        return np.array([len(label)])

    def value(self, total: NDArray[np.int64]) -> float:
        return float(total[0])


class MeanTask:
    """A dataset is ((points, labels), held out); the state's ``at`` moves towards the mean of the points."""

    name = "mean"

    def __init__(self, policy: Policy, dimensions: int = 20) -> None:
        self.policy, self.dimensions = policy, dimensions

    def init(self) -> State:
        return State({"at": np.zeros((self.dimensions // 2, 2))})

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        return {"at": (self.dimensions // 2, 2)}

    def load(self, path: str) -> Any:
        points = np.loadtxt(path, ndmin=2)
        return (points, np.zeros(len(points), dtype=np.int64)), (points[:0], np.zeros(0, dtype=np.int64))

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        points, _ = data[0]
        mean = np.mean(points, axis=0).reshape(-1, 2)
        return Contribution({"at": (mean - state.arrays["at"]) / 2}, len(points))

    def update(self, state: State, aggregate: Aggregate) -> State:
        return State({"at": state.arrays["at"] + aggregate.arrays["at"]}, state.round + 1, state.exponents)

    def metrics(self) -> Mapping[str, Metric]:
        return {"count": Count()}

    def evaluate(self, state: State, data: Any) -> Mapping[str, NDArray[np.int64]]:
        return {"count": Count().partial(np.zeros(0), data[0][1])}


def datasets(members: int, seed: int = 0, dimensions: int = 20) -> list[Any]:
    """Points around a centre of each member's own, all of them around 3; labels 0 to 4."""
    random = np.random.default_rng(seed)
    made = []
    for member in range(members):
        count = 5 + member % 3
        points = 3.0 + random.normal(size=dimensions) / 2 + random.normal(size=(count, dimensions)) / 10
        made.append(((points, random.integers(0, 5, count)), (points[:0], np.zeros(0, dtype=np.int64))))
    return made
