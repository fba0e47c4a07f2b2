"""Each task that a round used to stop at: the rehearsal refuses it, at the member that would fail and with the cure, or
lets it pass, and then it trains in a real moot."""

import re
from pathlib import Path

import numpy as np
import pytest
import rig
from safetensors.numpy import save
from troubled_tasks import HEAD, Case, own_task, sklearn_task, torch_task, write

from folkmoot.peer.rehearsal import rehearse
from folkmoot.peer.workbench import Workbench
from folkmoot.task import make_bundle

BATCH_NORM = "self.all = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))"
WEIGHTS = HEAD.format(policy="") + (
    "from pathlib import Path\nfrom safetensors.numpy import load_file\n\n\n"
    "class Start(fm.LogisticTask):\n    def init(self):\n"
    "        base = load_file(Path(__file__).parent / 'base.safetensors')\n"
    "        return fm.State({**super().init().arrays, **base})\n\n\n"
    "task = Start(name='start', load=load, features=2, standardise=False, policy=policy)\n"
)
LOGISTIC = HEAD.format(policy="") + "task = fm.LogisticTask(name='l', load=load, features=2, policy=policy)\n"
CASES = {
    "complex parameters": Case(
        own_task("np.zeros(2, dtype=complex)"), ("init", "array 'w' is complex128, not a float64 NumPy array")
    ),
    "columns in another order at one member": Case(
        LOGISTIC,
        ("load", r"column 1 is 'b' here, 'a' in the task; the task's order is a, b, label"),
        at=1,
        rows="{b},{a},{y}",
        header="b,a,label",
    ),
    "a number without dimensions": Case(own_task("np.zeros(())", "np.float64(x.mean()) - state.arrays['w']")),
    "a metric that is no number": Case(
        own_task(value="None"), ("round 1: contribute", "metric 'error' has the value None; a number is due")
    ),
    "labels that are missing at one member": Case(LOGISTIC, ("round 1: contribute", "label"), at=1, rows="{a},{b},nan"),
    "no label at all": Case(
        LOGISTIC.replace("y = table[:, :2], table[:, 2]", "y = table[:, :2], table[:, 2] * np.nan"),
        ("round 1: contribute", "label"),
    ),
    "a package that is not there": Case("import nosuchpackage\n" + LOGISTIC, ("loading the code", "nosuchpackage")),
    "weights beside the task": Case(
        WEIGHTS, files={"base.safetensors": save({"weights": np.ones(2), "bias": np.ones(1)})}
    ),
}
LEARNING = {
    "complex parameters of PyTorch": Case(
        torch_task(
            "self.w = nn.Parameter(torch.zeros(2, 1, dtype=torch.complex64))", "(x.to(torch.complex64) @ self.w).real"
        )
    ),
    "a temperature": Case(
        torch_task(
            "self.last, self.scale = nn.Linear(2, 1), nn.Parameter(torch.tensor(1.0))", "self.last(x) * self.scale"
        )
    ),
    "a last batch of one under BatchNorm": Case(torch_task(BATCH_NORM, "self.all(x)")),
    "bfloat16": Case(torch_task("self.last = nn.Linear(2, 1, dtype=torch.bfloat16)")),
    "features that are missing at one member": Case(
        torch_task(), ("round 1: contribute", "features: column 0 of example 0 is nan"), at=1, rows="nan,{b},{y}"
    ),
    "Ridge": Case(sklearn_task("sklearn.linear_model.Ridge()", "None"), ("loading the code", "use SGDRegressor")),
    "LinearSVC": Case(sklearn_task("sklearn.svm.LinearSVC()"), ("loading the code", "use SGDClassifier")),
    "RandomForest": Case(
        sklearn_task("sklearn.ensemble.RandomForestClassifier()"), ("loading the code", "no mean over members")
    ),
    "Pipeline": Case(
        sklearn_task(
            "sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(),"
            " sklearn.linear_model.SGDClassifier(loss='log_loss'))"
        ),
        ("loading the code", "do what comes before it"),
    ),
    "labels of text": Case(
        torch_task().replace("y = table[:, :2], table[:, 2]", "y = table[:, :2], np.where(table[:, 2] > 0, 'y', 'n')"),
        ("load", "number the classes in `load`"),
    ),
    "features by name": Case(
        torch_task().replace("y = table[:, :2], table[:, 2]", "y = {'a': table[:, 0]}, table[:, 2]").replace(
            "return (x[:-8], y[:-8]), (x[-8:], y[-8:])", "return (x, y), (x, y)"
        ),
        ("load", "join its parts with np.column_stack"),
    ),
}  # fmt: skip


def check(case: Case, folder: Path) -> None:
    source, data = write(case, folder)
    with Workbench(make_bundle(source)) as bench:
        report = rehearse(bench, {path.name: path for path in data})
    if case.refused is None:
        assert report.refusals == []
        return
    step, words = case.refused
    assert {refusal.step for refusal in report.refusals} == {step}
    assert all(re.search(words, refusal.error) for refusal in report.refusals), report.refusals
    if case.at is not None:
        assert [refusal.data for refusal in report.refusals] == [data[case.at].name]


def train(cases: dict[str, Case], folder: Path) -> None:
    """All of these in one moot of two real peers, to their last rounds."""
    with rig.moot(folder / "moot", ["ann", "bob"]) as moot:
        tasks = []
        for number, case in enumerate(cases.values()):
            source, data = write(case, folder / str(number))
            tasks.append(moot.offer(source, dict(zip(moot.names, data, strict=True))))
        for task in tasks:
            moot.finish(task, patience=4 * rig.PATIENCE)
            assert len(moot.finals(task)) >= 2


@pytest.mark.parametrize("name", CASES)
def test_what_would_stop_a_round_is_refused_with_its_cure_before_a_vote(name: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path)


def test_what_the_rehearsal_lets_pass_trains_with_real_peers(tmp_path: Path) -> None:
    train({name: case for name, case in CASES.items() if case.refused is None}, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", LEARNING)
def test_so_it_is_with_models_of_pytorch_and_scikit_learn(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    check(LEARNING[name], tmp_path)


@pytest.mark.long
def test_models_of_pytorch_that_the_rehearsal_lets_pass_train_with_real_peers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train({name: case for name, case in LEARNING.items() if case.refused is None}, tmp_path)
