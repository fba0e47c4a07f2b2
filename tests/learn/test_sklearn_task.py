from inspect import signature

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskElasticNet,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

import folkmoot as fm
from folkmoot.errors import DataError, TaskError
from folkmoot.learn.baselines import mean_of
from folkmoot.learn.sklearn_fitted import learnt
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


@pytest.mark.parametrize(
    ("estimator", "tolerance"),
    [
        (ElasticNet(alpha=0.01, warm_start=True), 0.1),
        (Lasso(alpha=0.01, warm_start=True), 0.1),
        (HuberRegressor(warm_start=True), 0.1),
        (SGDRegressor(eta0=0.05), 0.1),
        (PoissonRegressor(alpha=1e-6, warm_start=True), 0.1),
    ],
)
def test_a_regressor_keeps_its_intercept_and_comes_close_to_training_on_pooled_data(estimator, tolerance):
    far = np.random.default_rng(1).normal(size=(120, 4))
    labels = far @ [1.0, -2.0, 0.5, 0.0] + 100.0 + 0.1 * np.random.default_rng(2).normal(size=120)
    if isinstance(estimator, PoissonRegressor):
        labels = np.exp(far @ [0.1, -0.2, 0.05, 0.0] + 2.0)
    members = [((far[i:80:2], labels[i:80:2]), (far[80:], labels[80:])) for i in (0, 1)]
    metrics = {"mse": fm.metrics.mean_squared_error}
    task = task_of(estimator, classes=None, metrics=metrics, local_epochs=5, policy=fm.Policy(rounds=20))
    together = fm.held_out(task, read_state(state_bytes(fm.together(task, members))), *members)["mse"]
    pooled = fm.held_out(task, fm.pooled(task, members), *members)["mse"]
    assert together < pooled + tolerance
    assert pooled < tolerance


@pytest.mark.parametrize(
    "estimator",
    [MultiTaskElasticNet(alpha=0.01, warm_start=True), MLPRegressor(hidden_layer_sizes=(16,), learning_rate_init=0.02)],
)
def test_a_regressor_of_several_outputs_learns_each(estimator):
    labels = np.column_stack([SCORE, 2.0 - SCORE])
    metrics = {"mse": fm.metrics.mean_squared_error}
    task = task_of(estimator, classes=None, outputs=2, metrics=metrics, local_epochs=5,
                   policy=fm.Policy(rounds=20))  # fmt: skip
    data = data_of(labels)
    state = fm.together(task, data)
    assert fm.held_out(task, state, *data)["mse"] < 0.3
    with pytest.raises(DataError, match="Give SklearnTask outputs="):
        task.contribute(state, data_of(np.column_stack([SCORE] * 3))[0], CONTEXT)


AVERAGED = {
    *("ElasticNet", "GammaRegressor", "HuberRegressor", "Lasso", "LogisticRegression", "MLPClassifier", "MLPRegressor"),
    *("MultiTaskElasticNet", "MultiTaskLasso", "PassiveAggressiveClassifier", "PassiveAggressiveRegressor"),
    *("Perceptron", "PoissonRegressor", "SGDClassifier", "SGDRegressor", "TweedieRegressor"),
}


def federable():
    """Every classifier and regressor of scikit-learn that can go on from what it has learnt, as one would give it."""
    for name, kind in all_estimators(type_filter=["classifier", "regressor"]):
        known = signature(kind).parameters
        if not known.keys() & {"estimator", "estimators"} and ("warm_start" in known or hasattr(kind, "partial_fit")):
            yield name, kind(**{"warm_start": True} if "warm_start" in known else {})


def of_scikit_learn(estimator):
    """A task of it, and data that it takes."""
    classifier, name = is_classifier(estimator), type(estimator).__name__
    outputs = 2 if name.startswith("MultiTask") else 1
    labels = (SCORE > 0).astype(int) if classifier else np.column_stack([np.exp(SCORE)] * outputs).squeeze()
    return task_of(estimator, classes=2 if classifier else None, outputs=outputs), data_of(labels)[0]


@pytest.mark.parametrize(("name", "estimator"), [pair for pair in federable() if pair[0] in AVERAGED])
@pytest.mark.filterwarnings("ignore")
def test_an_estimator_predicts_from_the_state_as_it_does_by_itself(name, estimator):
    task, data = of_scikit_learn(estimator)
    state = fm.alone(task, data)
    own = task._at(state, 0)
    task._fit(own, *data[0])
    step = fm.Contribution({name: new - state.arrays[name] for name, new in learnt(own).items()}, 1)
    ours = task._at(task.update(state, mean_of([step])), 0)
    np.testing.assert_allclose(ours.predict(X), own.predict(X), rtol=1e-9, atol=1e-9)
    assert type(ours.intercept_ if hasattr(ours, "intercept_") else None) in (type(None), float, np.ndarray)


@pytest.mark.parametrize(("name", "estimator"), [pair for pair in federable() if pair[0] not in AVERAGED])
def test_all_others_of_scikit_learn_are_refused_with_what_they_learn(name, estimator):
    with pytest.raises(TaskError, match=f"{name} learns .*, of which there is no mean over members; use a model"):
        of_scikit_learn(estimator)


@pytest.mark.parametrize(
    ("estimator", "classes", "cure"),
    [
        (LogisticRegression(), 2, r"give LogisticRegression\(warm_start=True\)"),
        (Ridge(), None, r"use SGDRegressor, or ElasticNet\(warm_start=True\)"),
        (LinearRegression(), None, "use SGDRegressor"),
        (LinearSVC(), 2, r"use SGDClassifier \(loss='hinge'"),
        (SVC(), 2, "use a model of coefficients: SGDClassifier"),
        (DecisionTreeClassifier(), 2, "use a model of coefficients"),
        (KNeighborsRegressor(), None, "use a model of coefficients: SGDRegressor or MLPRegressor"),
        (RandomForestClassifier(), 2, r"learns estimator_, estimators_, n_classes_.* no mean over members; use a"),
        (RandomForestClassifier(warm_start=True), 2, "learns estimator_, estimators_, .* no mean over members"),
        (GaussianNB(), 2, "learns class_count_, .*theta_, var_, of which there is no mean"),
        (make_pipeline(StandardScaler(), SGDClassifier()), 2, "Pipeline is made of other estimators.*in `load`"),
        (GridSearchCV(SGDClassifier(), {}), 2, "GridSearchCV is made of other estimators"),
        (SGDClassifier(average=True), 2, "two sets of coefficients.*leave `average` out"),
        (SGDClassifier(early_stopping=True), 2, "cannot be trained round by round: .*early_stopping"),
        (SGDClassifier(class_weight="balanced"), 2, "cannot be trained round by round: .*class_weight"),
        (SGDRegressor(), 2, "SGDRegressor is a regressor; give classes=None"),
        (SGDClassifier(), None, "SGDClassifier is a classifier; give the number of its classes"),
        (StandardScaler(), 2, "StandardScaler is neither a classifier nor a regressor"),
        (object(), 2, "takes a scikit-learn estimator; object is none"),
    ],
)  # fmt: skip
def test_an_estimator_that_members_cannot_average_is_refused_with_what_to_use_instead(estimator, classes, cure):
    with pytest.raises(TaskError, match=cure) as told:
        task_of(estimator, classes=classes)
    assert "warm_start=True" not in str(told.value) or isinstance(
        estimator, LogisticRegression | Ridge | LinearRegression
    )


def test_a_fit_that_scikit_learn_gives_up_is_the_estimators_own_failure_in_its_own_words():
    task = task_of(GammaRegressor(warm_start=True), classes=None, metrics={})
    with pytest.raises(TaskError, match=r"GammaRegressor cannot be fitted to these examples: .*out of the valid range"):
        task.contribute(task.init(), data_of(SCORE)[0], CONTEXT)


def test_data_that_does_not_fit_is_named():
    task = task_of(LogisticRegression(warm_start=True))
    with pytest.raises(DataError, match=r"hold only \[1\] of 2 classes"):
        task.contribute(task.init(), ((X, np.ones(120)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match="label of example 0 is 7"):
        task.contribute(task.init(), ((X, np.full(120, 7)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match=r"takes \(examples, 4\)"):
        task.contribute(task.init(), ((X[:, :3], np.ones(120)), (X, np.ones(120))), CONTEXT)
    with pytest.raises(DataError, match="column 0 of example 0 is nan; fill"):
        task.contribute(task.init(), ((X * np.nan, np.ones(120)), (X, np.ones(120))), CONTEXT)
