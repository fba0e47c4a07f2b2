import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import folkmoot as fm
from folkmoot.errors import DataError, TaskError
from folkmoot.task import read_state, state_bytes

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(120, 4))
SCORE = X @ [1.0, -2.0, 0.5, 0.0]
CLASSES = (X @ DRAW.normal(size=(4, 3))).argmax(axis=1)
CONTEXT = fm.Context(round=1, seed=bytes(range(32)))


def data_of(labels):
    return [((X[i:80:2], labels[i:80:2]), (X[80:], labels[80:])) for i in (0, 1)]


def task_of(estimator, **changed):
    options = {"name": "t", "load": None, "features": 4, "metrics": {"accuracy": fm.metrics.accuracy}}
    return fm.SklearnTask(estimator=estimator, **options | changed)


@pytest.mark.parametrize(
    ("estimator", "classes"),
    [
        (SGDClassifier(loss="log_loss"), 2),
        (SGDClassifier(loss="hinge"), 2),
        (SGDClassifier(loss="log_loss"), 3),
        (LogisticRegression(warm_start=True), 2),
        (LogisticRegression(warm_start=True), 3),
        (MLPClassifier((16,), learning_rate_init=0.02), 2),
        (MLPClassifier((16,), learning_rate_init=0.02), 3),
    ],
)
def test_classifiers_learn_together(estimator, classes):
    data = data_of((SCORE > 0).astype(int) if classes == 2 else CLASSES)
    task = task_of(estimator, classes=classes, local_epochs=3, policy=fm.Policy(rounds=10))
    state = read_state(state_bytes(fm.together(task, data)))
    assert fm.held_out(task, state, *data)["accuracy"] > 0.75


@pytest.mark.parametrize("estimator", [SGDRegressor(), MLPRegressor(hidden_layer_sizes=(16,), learning_rate_init=0.02)])
def test_regressors_learn_together(estimator):
    data = data_of(SCORE)
    metrics = {"mse": fm.metrics.mean_squared_error}
    task = task_of(estimator, classes=None, metrics=metrics, local_epochs=5, policy=fm.Policy(rounds=20))
    assert fm.held_out(task, fm.together(task, data), *data)["mse"] < 0.3


@pytest.mark.parametrize("estimator", [SGDClassifier(loss="log_loss"), MLPClassifier((8,))])
def test_a_contribution_depends_on_state_data_and_context_alone(estimator):
    data = data_of((SCORE > 0).astype(int))
    task = task_of(estimator)
    state = task.init()
    first = task.contribute(state, data[0], CONTEXT)
    task.contribute(state, data[1], fm.Context(2, bytes(32)))
    again = task.contribute(state, data[0], CONTEXT)
    assert all(first.arrays[name].tobytes() == again.arrays[name].tobytes() for name in first.arrays)
    assert {name: array.shape for name, array in first.arrays.items()} == task.schema(state)
    assert not hasattr(estimator, "coef_")


def test_an_estimator_that_starts_afresh_or_has_no_coefficients_is_refused():
    with pytest.raises(TaskError, match=r"give LogisticRegression\(warm_start=True\)"):
        task_of(LogisticRegression())
    with pytest.raises(TaskError, match="DecisionTreeClassifier starts from nothing"):
        task_of(DecisionTreeClassifier())
    with pytest.raises(TaskError, match="LinearSVC starts from nothing"):
        task_of(LinearSVC())


def test_data_that_does_not_fit_is_named():
    task = task_of(LogisticRegression(warm_start=True))
    with pytest.raises(DataError, match=r"hold only \[1\] of 2 classes"):
        task.contribute(task.init(), ((X, np.ones(120)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match="label of example 0 is 7"):
        task.contribute(task.init(), ((X, np.full(120, 7)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match=r"takes \(examples, 4\)"):
        task.contribute(task.init(), ((X[:, :3], np.ones(120)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match="Feature 0 of example 0 is nan; fill"):
        task.contribute(task.init(), ((X * np.nan, np.ones(120)), (X, np.ones(120))), CONTEXT)
