"""What all ready-made supervised tasks share: loading (train, test), moving the model by mean deltas, metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError
from folkmoot.learn.examples import array_of, column_names, not_finite, pairs_of, pool, size_of
from folkmoot.learn.server import FedAvg, ServerOptimizer
from folkmoot.task import Aggregate, Arrays, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_check import check_data, check_file
from folkmoot.task.data_schema import Columns, declared

__all__ = ["Array", "Data", "Loader", "SupervisedTask", "generator", "local_work", "weight_of"]

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
        self._columns: tuple[str, ...] = ()
        """The names of the features, where `load` gave a table: for errors."""

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
        self._columns = column_names(checked[0][0])
        if expected is not None:
            check_data(expected, checked, path)
        return checked

    def metrics(self) -> Mapping[str, Metric]:
        """The metrics by name."""
        return self._metrics

    def pool(self, datasets: Sequence[Any]) -> Data:
        """All of ``datasets`` as one. Raises ``TaskError`` unless each is a (train, test) of (features, labels)."""
        return pool(datasets)

    def evaluate(self, state: State, data: Data) -> Mapping[str, NDArray[np.int64]]:
        """Partial results of every metric on the held-out part; zeros where nothing is held out.

        Raises ``DataError``, naming the value, where a metric fails because of one that is NaN or infinite.
        """
        features, labels = data[1]
        if not size_of(labels):
            return {name: np.zeros(metric.words, np.int64) for name, metric in self._metrics.items()}
        prediction, truth = self.predict(state, features), array_of("labels", labels)
        try:
            return {name: metric.partial(prediction, truth) for name, metric in self._metrics.items()}
        except Exception:
            self._check_finite("held-out", features, labels)
            if not np.isfinite(prediction).all():
                raise TaskError(
                    "The model predicts NaN or infinity for held-out examples that are finite: it has diverged in the"
                    " rounds before; lower the learning rate."
                ) from None
            raise

    def _check_finite(self, part: str, features: Any, labels: Any) -> None:
        """Raise ``DataError`` where an example of this part is NaN or infinite."""
        for what, values in (("features", features), ("labels", labels)):
            place = not_finite(array_of(what, values), self._columns if what == "features" else ())
            if place:
                raise DataError(f"The {part} {what}: {place}; fill it, or leave the example out, in `load`.")

    def _trained(self, deltas: Arrays, features: Any, labels: Any, advice: str) -> Arrays:
        """``deltas``, if all are finite. Raises ``DataError`` where the training examples are to blame that they are
        not, else ``TaskError`` with ``advice``."""
        for name, array in deltas.items():
            # The sum is finite only if all are, and needs no second array to see it.
            if not np.isfinite(array.sum()) and not np.isfinite(array).all():
                self._check_finite("training", features, labels)
                raise TaskError(f"Local training diverged: {name!r} holds NaN or infinity; {advice}.")
        return deltas


def generator(context: Context) -> np.random.Generator:
    """Randomness from the context's seed."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(context.seed, "little")))


def local_work(epochs: int | None, steps: int | None) -> tuple[int, int | None]:
    """Passes and batches of a round's local training: one pass unless said otherwise; ``steps`` in place of passes.

    Raises ``TaskError`` where both are given, or one below 1.
    """
    if epochs is not None and steps is not None:
        raise TaskError(f"local_epochs={epochs} and local_steps={steps} are both given; give one of the two.")
    for name, value in (("local_epochs", epochs), ("local_steps", steps)):
        if value is not None and value < 1:
            raise TaskError(f"{name} is {value}; it must be 1 or more.")
    return epochs or 1, steps


def weight_of(data: Data) -> int:
    """The number of training examples."""
    return size_of(data[0][1])


def _checked(data: Any, path: str) -> Data:
    try:
        checked = pairs_of(data)
    except TaskError as error:
        raise TaskError(f"`load` must return (train, test), each (features, labels); of {path} {error}.") from None
    if not size_of(checked[0][0]):
        raise DataError(f"{path} gives no training example.")
    return checked
