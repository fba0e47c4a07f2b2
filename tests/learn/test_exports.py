"""What leaves the moot loads strictly where models are used: names, types, tied and frozen tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, load_file, save
from sklearn.linear_model import ElasticNet, SGDClassifier
from torch import Tensor, nn, optim

import folkmoot as fm
from folkmoot.errors import IntegrityError, TaskError
from folkmoot.learn.sklearn_fitted import put
from folkmoot.task import Policy, State
from folkmoot.task.exports import check_same, model_file, with_metadata

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(40, 4))
Y = (X[:, 0] > 0).astype(np.int64)
DATA = ((X, Y), (X, Y))


class Whole(nn.Module):
    """Tied, frozen, complex, normed; a table, a flag, a count."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.last.weight = self.first.weight
        self.frozen = nn.Linear(4, 2).requires_grad_(False)
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.register_buffer("table", torch.arange(3))
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.begun.fill_(True)
        return self.frozen(self.last(self.norm(self.first(x)))) * self.phase.abs()


def torch_task(model: Any = Whole, **changed: Any) -> fm.TorchTask:
    options: dict[str, Any] = {
        "name": "t", "model": model, "loss": nn.CrossEntropyLoss(), "load": lambda path: DATA,
        "optimizer": lambda params: optim.SGD(params, lr=0.1), "policy": Policy(rounds=3), "server": fm.FedAdam(),
    }  # fmt: skip
    return fm.TorchTask(**options | changed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_an_exported_model_loads_strictly_and_predicts_as_the_task_does(dtype: torch.dtype, tmp_path: Path) -> None:
    def made() -> nn.Module:
        module = Whole()
        return module.to(dtype) if dtype.is_floating_point and dtype != torch.float32 else module

    model = made if dtype in (torch.float32, torch.float64) else lambda: nn.Linear(4, 2).to(dtype)
    task = torch_task(model)
    state = fm.alone(task, DATA)
    path = tmp_path / "model.safetensors"
    path.write_bytes(with_metadata(model_file(task, state), {"folkmoot": "task 1"}))
    fresh = model()
    fresh.load_state_dict(load_file(path), strict=True)
    assert {name: t.dtype for name, t in load_file(path).items()} == {n: t.dtype for n, t in fresh.state_dict().items()}
    mine = task.model(state)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, mine.state_dict()[name]), name
    x = torch.tensor(X, dtype=torch.float64 if dtype == torch.float64 else torch.float32).to(dtype)
    assert torch.equal(fresh.eval()(x), mine(x))


def test_frozen_parameters_are_in_the_export_as_the_members_had_them() -> None:
    state = torch_task().init()
    torch.manual_seed(99)
    exported = load(model_file(torch_task(), state))
    assert torch.equal(exported["frozen.weight"], torch_task().model(state).state_dict()["frozen.weight"])
    assert torch.equal(exported["first.weight"], exported["last.weight"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_model_is_held_against_the_state_that_it_was_written_from(dtype: torch.dtype) -> None:
    task = torch_task(lambda: nn.Linear(4, 2).to(dtype))
    state = fm.alone(task, DATA)
    assert check_same(model_file(task, state), state) == ()
    changed = load(model_file(task, state))
    changed["weight"].view(torch.uint8)[0, 0] ^= 1
    with pytest.raises(IntegrityError, match="its 'weight' is not the state's"):
        check_same(save(changed), state)
    with pytest.raises(IntegrityError, match="cannot be read"):
        check_same(b"no file at all", state)
    own = check_same(model_file(torch_task(), torch_task().init()), torch_task().init())
    assert own == ("frozen.bias", "frozen.weight", "last.weight", "table")


def test_metadata_is_added_and_nothing_else_moves() -> None:
    file = save_arrays({"a": np.arange(3.0), "b": np.ones((2, 2))}, metadata={"format": "np"})
    told = with_metadata(file, {"folkmoot": "task 1, round 2"})
    assert b'"folkmoot":"task 1, round 2"' in told
    assert b'"format":"np"' in told
    for name, array in load_arrays(file).items():
        np.testing.assert_array_equal(load_arrays(told)[name], array)


def test_a_fitted_estimator_comes_of_a_state_and_of_its_file() -> None:
    for estimator, classes in ((SGDClassifier(loss="log_loss"), 2), (ElasticNet(alpha=0.01, warm_start=True), None)):
        task = fm.SklearnTask(name="t", load=None, features=4, estimator=estimator, classes=classes)
        state = fm.alone(task, DATA)
        fitted = task.model(state)
        arrays = load_arrays(model_file(task, state))
        assert set(arrays) == {"coef_", "intercept_"}
        again = task.model(task.init())
        put(again, arrays)
        np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


def test_a_task_without_an_export_of_its_own_gives_its_arrays_and_one_that_gives_no_file_is_told() -> None:
    task = fm.LogisticTask(name="t", load=None, features=4, server=fm.FedAdam())
    assert set(load_arrays(model_file(task, task.init()))) == {"bias", "weights", "standard/mean", "standard/scale"}

    class Wrong(fm.LogisticTask):
        def export(self, state: State) -> object:
            return {"weights": 1.0}

    wrong = Wrong(name="t", load=None, features=4)
    with pytest.raises(TaskError, match="export must return the bytes of a safetensors file"):
        model_file(wrong, wrong.init())
