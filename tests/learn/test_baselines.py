"""Alone, together, pooled: what counts as a member's data, and how a task says that its own is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn, optim

import folkmoot as fm
from folkmoot.errors import TaskError
from folkmoot.learn.baselines import pool
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(np.int64)
MEMBERS = [((X[i:30:2], Y[i:30:2]), (X[30 + i :: 2], Y[30 + i :: 2])) for i in (0, 1)]


class Users:
    """The mean over users, each a list of ratings: its data is a list of users, of any length."""

    name, policy = "users", Policy(rounds=1)

    def init(self) -> State:
        return State({"mean": np.zeros(1)})

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        return {"mean": (1,)}

    def load(self, path: str) -> Any:
        raise NotImplementedError

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        ratings = np.concatenate([np.asarray(user, np.float64) for user in data])
        return Contribution({"mean": ratings.mean(keepdims=True)}, len(ratings))

    def update(self, state: State, aggregate: Aggregate) -> State:
        return State(aggregate.arrays, state.round + 1)

    def metrics(self) -> Mapping[str, Metric]:
        return {}

    def evaluate(self, state: State, data: Any) -> Mapping[str, NDArray[np.int64]]:
        return {}


class Pooling(Users):
    def pool(self, datasets: Sequence[Any]) -> Any:
        return [user for users in datasets for user in users]


USERS = [[[1.0, 2.0], [3.0], [4.0, 4.0]], [[9.0, 9.0], [5.0]]]


def test_data_that_is_no_pair_of_pairs_is_not_pooled_by_guesswork() -> None:
    with pytest.raises(TaskError, match=r"dataset 0 cannot be pooled: .*no \(train, test\).*pool\(datasets\)"):
        fm.pooled(Users(), USERS)
    pairs_in_a_list = [[[[1.0, 2.0], [3.0, 4.0]], [[5.0], [6.0]]]] * 2
    with pytest.raises(TaskError, match="dataset 0 cannot be pooled"):
        fm.pooled(Users(), pairs_in_a_list)


def test_a_task_says_how_its_data_is_pooled() -> None:
    assert fm.pooled(Pooling(), USERS).arrays["mean"][0] == pytest.approx(37.0 / 8)
    assert fm.together(Users(), USERS).arrays["mean"][0] == pytest.approx(37.0 / 8)


def logistic() -> fm.LogisticTask:
    return fm.LogisticTask(name="t", load=lambda path: MEMBERS[0], features=3, policy=Policy(rounds=2))


def of_torch() -> fm.TorchTask:
    return fm.TorchTask(
        name="t", model=lambda: nn.Linear(3, 2), loss=nn.CrossEntropyLoss(), policy=Policy(rounds=2),
        optimizer=lambda p: optim.SGD(p, lr=0.1), load=lambda path: MEMBERS[0], metrics={"a": fm.metrics.accuracy},
    )  # fmt: skip


def measured(task: Any, data: Any) -> Any:
    return fm.held_out(task, task.init(), data)


@pytest.mark.parametrize("make", [logistic, of_torch])
@pytest.mark.parametrize("call", [fm.together, fm.pooled, fm.alone, measured])
@pytest.mark.parametrize(
    "wrong", [[X, X, X], [(X, Y), (X, Y)], [((X, Y), (X, Y[:3]))], [(MEMBERS[0],)], [{"train": 1, "test": 2}]]
)  # fmt: skip
def test_what_is_no_members_data_is_refused_by_every_comparison(make: Any, call: Any, wrong: Any) -> None:
    given = wrong if call in (fm.together, fm.pooled) else wrong[0]
    with pytest.raises(TaskError, match=r"dataset 0 (is not as task 't' loads it|cannot be pooled)"):
        call(make(), given)


@pytest.mark.parametrize("call", [fm.together, fm.pooled])
def test_no_data_at_all_is_told(call: Any) -> None:
    with pytest.raises(TaskError, match="there is no dataset"):
        call(logistic(), [])


def test_what_load_gives_of_each_task_is_pooled_example_by_example() -> None:
    for task in (logistic(), of_torch()):
        (features, labels), (held, _) = task.pool([task.load(""), task.load("")])
        assert (len(features), len(labels), len(held)) == (30, 30, 10)
    lists = [tuple((x.tolist(), y.tolist()) for x, y in member) for member in MEMBERS]
    np.testing.assert_array_equal(pool(lists)[0][0], pool(MEMBERS)[0][0])


def test_tables_whose_columns_differ_are_not_pooled() -> None:
    pandas = pytest.importorskip("pandas")
    one, other = pandas.DataFrame(X, columns=["a", "b", "c"]), pandas.DataFrame(X, columns=["b", "a", "c"])
    with pytest.raises(TaskError, match=r"dataset 1 has the columns \['b', 'a', 'c'\], and the first has"):
        pool([((one, Y), (one, Y)), ((other, Y), (other, Y))])
