"""What all ready-made supervised tasks share: loading (train, test), moving the model by mean deltas, metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, FolkmootError, TaskError
from folkmoot.learn.server import FedAvg, ServerOptimizer
from folkmoot.task import Aggregate, Arrays, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_check import check_data, check_file
from folkmoot.task.data_schema import Columns, declared

__all__ = ["Array", "Data", "Loader", "SupervisedTask", "generator", "weight_of"]

Array = NDArray[np.float64]
Data = tuple[tuple[Any, Any], tuple[Any, Any]]
"""(train, test), each (features, labels), first axis examples."""
Loader = Callable[[str], Data]


class SupervisedTask(ABC):
    """A task on (features, labels) whose contribution is a mean of arrays over examples.

    ``columns`` says what every member's data must have: names in order, a set of names in any order, or for each name
    its type or its categories (``task.data_schema``). ``load`` is not run on data that has others.

    Subclasses say what a contribution is and how to predict. By default the arrays of a contribution are deltas
    (new minus old) of the state's parameters, and the server optimiser applies their weighted mean.
    """

    def __init__(
        self,
        *,
        name: str,
        load: Loader,
        metrics: Mapping[str, Metric],
        policy: Policy | None = None,
        server: ServerOptimizer | None = None,
        columns: Columns | None = None,
    ) -> None:
        self.name = name
        self.columns = columns
        self.policy = Policy() if policy is None else policy
        self.server: ServerOptimizer = FedAvg() if server is None else server
        self._load = load
        self._metrics = dict(metrics)

    @abstractmethod
    def init(self) -> State:
        """The state before the first round."""

    @abstractmethod
    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """The local update."""

    @abstractmethod
    def predict(self, state: State, features: Any) -> NDArray[Any]:
        """Predictions for ``features``, as the task's metrics take them."""

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the parameters: a contribution is a delta of each."""
        return {name: array.shape for name, array in self.parameters(state).items()}

    def update(self, state: State, aggregate: Aggregate) -> State:
        """The server optimiser's step along the mean delta."""
        memory = {name: array for name, array in state.arrays.items() if name.startswith("server/")}
        params, memory = self.server.apply(self.parameters(state), memory, aggregate.arrays)
        rest = {name: array for name, array in state.arrays.items() if name not in memory}
        return State({**rest, **params, **memory}, state.round + 1, state.exponents)

    def parameters(self, state: State) -> dict[str, Array]:
        """The arrays of the state that training moves."""
        return {name: array for name, array in state.arrays.items() if not name.startswith("server/")}

    def load(self, path: str) -> Data:
        """(train, test), each (features, labels), from the user's ``load``, checked.

        Raises ``DataError`` if the file is missing, no example is there or its columns are not the task's,
        ``TaskError`` if ``load`` returns something else than (train, test).
        """
        expected = declared(self)
        try:
            if expected is not None:
                check_file(expected, path)
            data = self._load(path)
        except OSError as error:
            raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}.") from None
        checked = _checked(data, path)
        if expected is not None:
            check_data(expected, checked, path)
        return checked

    def metrics(self) -> Mapping[str, Metric]:
        """The metrics by name."""
        return self._metrics

    def evaluate(self, state: State, data: Data) -> Mapping[str, NDArray[np.int64]]:
        """Partial results of every metric on the held-out part; zeros where nothing is held out."""
        features, labels = data[1]
        if not len(labels):
            return {name: np.zeros(metric.words, np.int64) for name, metric in self._metrics.items()}
        prediction, truth = self.predict(state, features), np.asarray(labels)
        return {name: metric.partial(prediction, truth) for name, metric in self._metrics.items()}


def generator(context: Context) -> np.random.Generator:
    """Randomness from the context's seed."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(context.seed, "little")))


def weight_of(data: Data) -> int:
    """The number of training examples."""
    return len(data[0][1])


def finite(arrays: Arrays, advice: str) -> Arrays:
    """``arrays``, or ``TaskError`` with ``advice`` if one holds NaN or infinity."""
    for name, array in arrays.items():
        # The sum is finite only if all are, and needs no second array to see it.
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            raise TaskError(f"Local training diverged: {name!r} holds NaN or infinity; {advice}.")
    return arrays


def _checked(data: Any, path: str) -> Data:
    try:
        (features, labels), (test_features, test_labels) = data
        sizes = [len(part) for part in (features, labels, test_features, test_labels)]
    except (TypeError, ValueError) as error:
        if isinstance(error, FolkmootError):
            raise
        raise TaskError("`load` must return (train, test), each (features, labels).") from None
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise TaskError(
            f"`load` gave {sizes[0]} training features for {sizes[1]} labels, {sizes[2]} for {sizes[3]} held out."
        )
    if not sizes[0]:
        raise DataError(f"{path} gives no training example.")
    return (features, labels), (test_features, test_labels)
