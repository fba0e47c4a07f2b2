"""The Task protocol: what the round asks of a task, and the values that pass between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import TaskError
from folkmoot.task.policy import Policy

__all__ = ["Aggregate", "Arrays", "Buffered", "Context", "Contribution", "Metric", "State", "Task", "buffers_of"]

Arrays = Mapping[str, NDArray[np.float64]]
"""Named float64 arrays. Names are ASCII, 1 to 200 characters; order of iteration is sorted order on the wire."""


class _Arrays:
    """What the values below share: NumPy makes a scalar of every result without dimensions, so ``2.0 * a`` is no array
    where ``a`` is one of shape (). Scalars among ``arrays`` become the arrays of shape () that they stand for."""

    arrays: Arrays

    def __post_init__(self) -> None:
        """Make arrays of scalars."""
        given = self.arrays
        if isinstance(given, Mapping) and any(isinstance(array, np.generic) for array in given.values()):
            whole = {name: np.asarray(a) if isinstance(a, np.generic) else a for name, a in given.items()}
            object.__setattr__(self, "arrays", whole)


@dataclass(frozen=True)
class State(_Arrays):
    """The public state after a round.

    ``arrays`` holds everything the next round needs, all float64: the model's parameters, and what the server
    optimiser remembers under names that begin with ``server/``. ``round`` counts finished rounds (0 after
    ``init``). ``exponents`` is kept by the round itself: the power-of-two step of each contribution array.
    """

    arrays: Arrays
    round: int = 0
    exponents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Contribution(_Arrays):
    """One member's part of a round: arrays shaped as ``Task.schema`` says, and the examples behind them.

    ``weight`` is the number of examples, 1 to 2**40. The round forms sum(weight * array) / sum(weight).
    """

    arrays: Arrays
    weight: int


@dataclass(frozen=True)
class Aggregate(_Arrays):
    """What a round made of its contributions: the weighted mean of each array, and the sums behind it."""

    arrays: Arrays
    weight: int
    members: int


@dataclass(frozen=True)
class Context:
    """What a contribution may depend on besides state and data: 32 bytes of seed, unlike for every member and
    round, the same when the same round is tried again; and the round being made, counted from 1."""

    round: int
    seed: bytes


class Metric(Protocol):
    """A quality that can be summed over members: int64 words from predictions, a number from their sum.

    Of a quality of *pairs* of examples (the area under a ROC curve, the concordance of survival times), what members
    can sum decides which pairs count. Words that describe examples one by one, such as histograms of scores by class,
    give a value over all pairs, also of examples of two members, as on pooled data. Words that count pairs give one
    over the pairs within members alone, in which members with many examples weigh by the square of their number; name
    such a metric for it (``concordance_within``).
    """

    @property
    def words(self) -> int:
        """How many int64 words a partial result has."""
        ...

    def partial(self, prediction: NDArray[Any], label: NDArray[Any]) -> NDArray[np.int64]:
        """The words of one member's held-out data, each below 2**46 in magnitude."""
        ...

    def value(self, total: NDArray[np.int64]) -> float:
        """The metric from the sum of all members' words; ``nan`` where it is undefined."""
        ...


@runtime_checkable
class Task(Protocol):
    """What to learn. ``init``, ``schema`` and ``update`` are public and deterministic: anyone replays them.

    A task may have besides: ``buffers(state)``, see `Buffered`; ``pool(datasets)``, which joins what ``load`` gave of
    several members, for a comparison with training on all data in one place; ``export(state)``, which gives the bytes
    of a safetensors file as the model's framework loads it.
    """

    name: str
    policy: Policy

    def init(self) -> State:
        """The state before the first round."""
        ...

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every array a contribution from ``state`` has."""
        ...

    def load(self, path: str) -> Any:
        """The local dataset, from a path on this machine. Raises ``DataError`` naming file, line and column."""
        ...

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        """The local update; private; may do anything."""
        ...

    def update(self, state: State, aggregate: Aggregate) -> State:
        """The next state (``round`` is one more). Element-wise float64 only, so that all machines agree."""
        ...

    def metrics(self) -> Mapping[str, Metric]:
        """The metrics that ``evaluate`` gives partial results of."""
        ...

    def evaluate(self, state: State, data: Any) -> Mapping[str, NDArray[np.int64]]:
        """Partial results of every metric on the local held-out data."""
        ...


class Buffered(Protocol):
    """What a task may have besides: arrays that training changes and no gradient does, as BatchNorm's statistics are.

    The cap on contributions (``policy.clip``) neither counts nor shrinks them, and a robust rule takes their median by
    element; each value travels in 48 bits, with a range of its own that everyone checks. No noise can cover them, so a
    policy that hides members behind noise takes no task that has some.
    """

    def buffers(self, state: State) -> Collection[str]:
        """Which of the names in ``Task.schema(state)`` are buffers."""
        ...


def buffers_of(task: Task, state: State) -> frozenset[str]:
    """The names of the task's buffers among the arrays of a contribution from ``state``.

    Raises ``TaskError`` on a name that the schema lacks, and where the policy adds noise for members.
    """
    told = getattr(task, "buffers", None)  # isinstance would not see it through what stands in for a task
    found: frozenset[str] = frozenset(told(state)) if callable(told) else frozenset()
    if strange := sorted(found - task.schema(state).keys()):
        raise TaskError(f"the task's buffers {strange} are not in its schema")
    if found and task.policy.noisy:
        raise TaskError(
            f"policy.epsilon adds noise for members, which cannot cover the buffers {', '.join(sorted(found))}: what"
            " training counts or averages there has no known size. Use layers without running statistics (GroupNorm,"
            " LayerNorm or InstanceNorm for BatchNorm)"
        )
    return found
