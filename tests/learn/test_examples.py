"""What `load` may give besides arrays, to every ready-made task, and what it may not, by the column at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from torch import nn, optim

import folkmoot as fm
from folkmoot.errors import DataError
from folkmoot.learn.examples import array_of, not_finite
from folkmoot.task import Context

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(30, 3))
Y = (X[:, 0] > 0).astype(np.int64)
CONTEXT = Context(1, bytes(range(32)))
Make = Callable[[Any], Any]


def logistic(load: Any) -> fm.LogisticTask:
    return fm.LogisticTask(name="t", load=load, features=3, standardise=False)


def newton(load: Any) -> fm.NewtonTask:
    return fm.NewtonTask(name="t", load=load, features=3, standardise=False)


def of_sklearn(load: Any) -> fm.SklearnTask:
    return fm.SklearnTask(name="t", load=load, features=3, estimator=LogisticRegression(warm_start=True))


def of_torch(load: Any) -> fm.TorchTask:
    return fm.TorchTask(
        name="t", load=load, model=lambda: nn.Linear(3, 2), loss=nn.CrossEntropyLoss(),
        optimizer=lambda p: optim.SGD(p, lr=0.1),
    )  # fmt: skip


TASKS = [logistic, newton, of_sklearn, of_torch]


def sent(make: Make, features: Any, labels: Any = Y) -> Any:
    task = make(lambda path: ((features, labels), (features, labels)))
    data = task.load("")
    task.evaluate(task.init(), data)
    return task.contribute(task.init(), data, CONTEXT)


@pytest.mark.parametrize("make", TASKS)
@pytest.mark.parametrize("given", [X.tolist(), sparse.csr_matrix(X), sparse.csr_array(X), X.astype(">f8")], ids=type)
def test_lists_and_sparse_matrices_train_as_the_array_of_their_numbers(make: Make, given: Any) -> None:
    expected, found = sent(make, X), sent(make, given, list(map(int, Y)))
    for name, array in expected.arrays.items():
        np.testing.assert_allclose(found.arrays[name], array)


@pytest.mark.parametrize("make", TASKS)
def test_a_table_trains_as_the_array_of_its_columns_and_its_columns_are_named(make: Make) -> None:
    tables: Any = pytest.importorskip("pandas")
    named = {name: X[:, at] for at, name in enumerate(("age", "size", "dose"))}
    expected, found = sent(make, X), sent(make, tables.DataFrame(named), tables.Series(Y))
    for name, array in expected.arrays.items():
        np.testing.assert_allclose(found.arrays[name], array)
    colours = tables.DataFrame({**named, "size": ["red", "blue", "red"] * 10})
    with pytest.raises(DataError, match=r"features hold 'red', 'blue' in column 1 \('size'\); make numbers of them"):
        sent(make, colours)
    with pytest.raises(DataError, match=r"column 2 \('dose'\) of example 4 is inf"):
        sent(make, tables.DataFrame({**named, "dose": np.where(np.arange(30) == 4, np.inf, X[:, 2])}))


@pytest.mark.parametrize("make", TASKS)
@pytest.mark.parametrize(
    ("features", "labels", "cure"),
    [
        ({"age": X[:, 0], "size": X[:, 1]}, Y, r"are a dict \('age', 'size', ...\).*np.column_stack"),
        ([{"age": 1.0}] * 30, Y, r"hold \"\{'age': 1.0\}\" \(dict\); `load` must give numbers"),
        ([[1.0, 2.0], [3.0]] * 15, Y, "features are not one array of numbers"),
        (np.array([["a", "b", "c"]] * 30), Y, "features hold 'a' in column 0; make numbers of them in `load`"),
        (np.array([[1.0, "b", 2.0]] * 30, dtype=object), Y, "features hold 'b' in column 1; make numbers"),
        (np.full((30, 3), np.datetime64("2020-01-01")), Y, r"2020-01-01' in column 0 \(datetime64\)"),
        (X, np.array(["ill", "well", "ill"] * 10), r"labels hold 'ill', 'well'; number .*\{'ill': 0, 'well': 1\}"),
    ],
    ids=["dict", "dicts", "ragged", "strings", "mixed", "dates", "string labels"],
)
def test_what_are_no_numbers_is_refused_with_what_to_do(make: Make, features: Any, labels: Any, cure: str) -> None:
    with pytest.raises(DataError, match=cure):
        sent(make, features, labels)


def test_a_missing_number_of_a_table_is_nan_and_told_by_its_place() -> None:
    tables: Any = pytest.importorskip("pandas")
    table = tables.DataFrame({"a": [1, 2], "b": tables.array([None, 3], dtype="Int64")})
    array = array_of("features", table)
    assert array.dtype == np.float64
    assert not_finite(array, ("a", "b")) == "column 1 ('b') of example 0 is nan"
    assert not_finite(np.full((2, 3, 4), np.inf)) == "element (0, 0) of example 0 is inf"
    assert not_finite(np.arange(3)) is None
