"""Models, losses, optimisers and data as people have them: what trains rightly, and what is refused with its cure."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional

import folkmoot as fm
from folkmoot.errors import DataError, TaskError
from folkmoot.learn.torch_training import Training
from folkmoot.simulate import simulate
from folkmoot.task import Context, Policy, read_state, state_bytes

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(160, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] > 0).astype(np.int64)
DATA = ((X[:99], Y[:99]), (X[99:], Y[99:]))
MEMBERS = [((X[i:99:3], Y[i:99:3]), (X[99 + i :: 3], Y[99 + i :: 3])) for i in range(3)]
CONTEXT = Context(1, bytes(range(32)))


def linear() -> nn.Module:
    return nn.Linear(5, 2)


def task_of(model: Any = linear, **changed: Any) -> fm.TorchTask:
    options: dict[str, Any] = {
        "name": "t", "model": model, "loss": nn.CrossEntropyLoss(), "load": lambda path: DATA, "local_epochs": 3,
        "optimizer": lambda params: optim.SGD(params, lr=0.5), "metrics": {"accuracy": fm.metrics.accuracy},
        "policy": Policy(rounds=12),
    }  # fmt: skip
    return fm.TorchTask(**options | changed)


def train(task: fm.TorchTask, data: Any = DATA) -> fm.Contribution:
    return task.contribute(task.init(), data, CONTEXT)


def accuracy(task: fm.TorchTask, data: Any = DATA) -> float:
    return fm.held_out(task, read_state(state_bytes(fm.alone(task, data))), data)["accuracy"]


class Fourier(nn.Module):
    """Complex weights: the angle of their product with the input decides."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(5, 2, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.complex64) @ self.weight).imag


def test_complex_parameters_keep_their_imaginary_part() -> None:
    task = task_of(Fourier)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = read_state(state_bytes(simulate(task, MEMBERS)))
        assert fm.held_out(task, state, *MEMBERS)["accuracy"] > 0.9
    assert state.arrays["weight"].shape == (5, 2, 2)
    assert np.abs(state.arrays["weight"][..., 1]).max() > 0.1, "the imaginary part"


def test_complex_parameters_are_refused_where_each_record_is_hidden() -> None:
    private = Policy(epsilon=5.0, privacy_unit="record")
    with pytest.raises(TaskError, match=r"'weight' is complex.*use pairs of reals"):
        task_of(Fourier, policy=private).init()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss(), nn.MSELoss()], ids=str)
def test_parameters_of_any_real_type_train_and_are_measured(dtype: torch.dtype, loss: nn.Module) -> None:
    outputs = 2 if isinstance(loss, nn.CrossEntropyLoss) else 1
    metric = {"mse": fm.metrics.mean_squared_error} if isinstance(loss, nn.MSELoss) else {"auc": fm.metrics.roc_auc}
    task = task_of(lambda: nn.Linear(5, outputs).to(dtype), loss=loss, metrics=metric)
    data = task.load("")
    found = fm.held_out(task, fm.alone(task, data), data)
    assert found.get("auc", 1.0) > 0.9
    assert found.get("mse", 0.0) < 0.2


def test_a_regression_is_measured_against_the_labels_as_they_were_given() -> None:
    exact = np.full(160, 1003.0)  # bfloat16 has no such number: 1004
    task = task_of(
        lambda: nn.Linear(5, 1).to(torch.bfloat16), loss=nn.MSELoss(), metrics={"mse": fm.metrics.mean_squared_error},
        load=lambda path: ((X[:99], exact[:99]), (X[99:], exact[99:])),
    )  # fmt: skip
    assert float(task.load("")[1][1][0]) == 1003.0


@pytest.mark.parametrize("count", [33, 65, 2])
def test_a_last_batch_of_one_joins_the_one_before_under_batch_norm(count: int) -> None:
    task = task_of(lambda: nn.Sequential(nn.BatchNorm1d(5), linear()), batch_size=32, local_epochs=1)
    sent = train(task, ((X[:count], Y[:count]), DATA[1]))
    assert sent.weight == count
    assert sent.arrays["0.num_batches_tracked"] == max(1, count // 32)


@pytest.mark.parametrize(("count", "size"), [(1, 32), (10, 1)])
def test_statistics_of_a_single_example_are_refused_with_the_cure(count: int, size: int) -> None:
    task = task_of(lambda: nn.Sequential(nn.BatchNorm1d(5), linear()), batch_size=size)
    with pytest.raises(DataError, match=r"holds 1 example, .*two or more.*batch_size above 1; or use GroupNorm"):
        train(task, ((X[:count], Y[:count]), DATA[1]))


def test_lbfgs_takes_its_several_gradients_a_step() -> None:
    task = task_of(optimizer=lambda p: optim.LBFGS(p, max_iter=5), batch_size=99, local_epochs=2)
    assert accuracy(task) > 0.9
    private = task_of(optimizer=lambda p: optim.LBFGS(p), policy=Policy(epsilon=5.0, privacy_unit="record"))
    with pytest.raises(TaskError, match="use SGD or Adam"):
        train(private)


def test_a_loss_given_as_a_function_counts_as_the_loss_that_it_is() -> None:
    task = task_of(loss=functional.cross_entropy)
    whole = ((X[:99], Y[:99].astype(np.int32)), (X[99:], Y[99:]))
    assert accuracy(task, whole) > 0.85
    assert accuracy(task_of(lambda: nn.Linear(5, 1), loss=functional.binary_cross_entropy_with_logits)) > 0.8


@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.int64, np.int32, np.uint16, ">f4"])
def test_features_of_any_type_of_number_are_reals_to_a_model_of_reals(kind: Any) -> None:
    coarse = (X > 0).astype(kind)
    labels = (coarse[:, 0] > 0).astype(np.int64)
    task = task_of(load=lambda path: ((coarse[:99], labels[:99]), (coarse[99:], labels[99:])))
    assert accuracy(task, task.load("")) > 0.95


def test_images_of_bytes_train_a_convolution() -> None:
    images = DRAW.integers(0, 256, size=(20, 1, 8, 8), dtype=np.uint8)
    model = lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))  # noqa: E731
    task = task_of(model, load=lambda path: ((images, Y[:20]), (images, Y[:20])), optimizer=lambda p: optim.Adam(p))
    assert float(task.load("")[0][0].max()) > 200.0
    assert train(task, task.load("")).weight == 20


MISFITS = [
    (lambda: nn.LazyLinear(2), r"'weight' has no shape before it sees data.*nn.Linear\(13, 1\) for nn.LazyLinear"),
    (lambda: linear().requires_grad_(False), "No parameter of the model has requires_grad.*unfreeze some"),
    (lambda: nn.Identity(), "No parameter of the model has requires_grad"),
    (lambda: nn.Linear(5, 2, device="meta"), "'weight' is on meta; tasks run on the CPU"),
    (lambda: nn.Linear, "`model` gave a type; it must make a torch.nn.Module"),
]


@pytest.mark.parametrize(("model", "cure"), MISFITS)
def test_a_model_that_members_cannot_share_is_refused_when_it_is_proposed(model: Any, cure: str) -> None:
    with pytest.raises(TaskError, match=cure):
        task_of(model).init()


def test_a_sparse_parameter_is_refused_when_it_is_proposed() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(5).to_sparse())

    with pytest.raises(TaskError, match=r"'weight' is sparse.*to_dense"):
        task_of(Sparse).init()


@pytest.mark.parametrize(
    ("labels", "loss", "cure"),
    [
        (np.where(np.arange(99) == 7, 5, Y[:99]), nn.CrossEntropyLoss(), "example 7 is 5; the model has 2 outputs"),
        (np.where(np.arange(99) == 7, -1, Y[:99]), nn.CrossEntropyLoss(), "example 7 is -1; the model has 2 outputs"),
        (np.where(np.arange(99) == 7, 0.5, Y[:99]), nn.CrossEntropyLoss(), "example 7 is 0.5; classes are 0, 1, 2"),
        (Y[:99] + 1, nn.BCEWithLogitsLoss(), "is 2; BCEWithLogitsLoss takes 0 to 1. Number them alike"),
        (np.where(np.arange(99) == 3, np.nan, Y[:99]), nn.BCEWithLogitsLoss(), "example 3 is nan; BCEWithLogitsLoss"),
        (np.where(np.arange(99) == 3, np.nan, Y[:99]), nn.MSELoss(), "training labels: the value of example 3 is nan"),
        (np.where(np.arange(99) == 3, np.inf, Y[:99]), nn.MSELoss(), "training labels: the value of example 3 is inf"),
        (np.array(["cat", "dog", "cat"] * 33), nn.CrossEntropyLoss(), r"hold 'cat', 'dog'; number .*\{'cat': 0, 'dog'"),
    ],
)  # fmt: skip
def test_a_label_that_the_loss_does_not_know_is_named(labels: Any, loss: nn.Module, cure: str) -> None:
    task = task_of(lambda: nn.Linear(5, 2 if isinstance(loss, nn.CrossEntropyLoss) else 1), loss=loss)
    with pytest.raises(DataError, match=cure):
        train(task, ((X[:99], labels), DATA[1]))


def test_ignored_and_soft_labels_are_labels() -> None:
    task = task_of(loss=nn.CrossEntropyLoss(ignore_index=9))
    assert train(task, ((X[:99], np.where(np.arange(99) == 7, 9, Y[:99])), DATA[1]))
    assert train(task_of(), ((X[:99], np.eye(2)[Y[:99]]), DATA[1]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_named_and_no_learning_rate_blamed(value: float) -> None:
    broken = X.copy()
    broken[[41, 120], 3] = value
    with pytest.raises(DataError, match=f"training features: column 3 of example 41 is {value}"):
        train(task_of(), ((broken[:99], Y[:99]), DATA[1]))
    task = task_of()
    with pytest.raises(DataError, match=f"held-out features: column 3 of example 21 is {value}"):
        task.evaluate(task.init(), (DATA[0], (broken[99:], Y[99:])))
    with pytest.raises(TaskError, match=r"diverged.*lower the optimizer's learning rate"):
        train(task_of(optimizer=lambda p: optim.SGD(p, lr=3e38), local_epochs=30))


def test_a_model_that_fills_missing_values_itself_may_have_them() -> None:
    class Fills(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(torch.nan_to_num(x))

    holes = np.where(DRAW.random(X.shape) < 0.1, np.nan, X)
    assert accuracy(task_of(Fills), ((holes[:99], Y[:99]), (holes[99:], Y[99:]))) > 0.8


def test_local_steps_are_so_many_batches_whatever_the_size_of_a_members_data() -> None:
    training = Training(nn.CrossEntropyLoss(), lambda p: optim.SGD(p), 8, 1, 100, 0.0)
    for count in (5, 50, 1000):
        batches = list(training.batches(torch.zeros(count, 5), torch.zeros(count), together=False))
        assert len(batches) == 100
        assert max(len(y) for _, y in batches) == min(8, count)
    assert train(task_of(local_epochs=None, local_steps=7)).weight == 99
    with pytest.raises(TaskError, match="local_epochs=2 and local_steps=7 are both given"):
        task_of(local_epochs=2, local_steps=7)
    with pytest.raises(TaskError, match="local_steps is 0"):
        task_of(local_epochs=None, local_steps=0)


def test_a_column_of_class_numbers_is_labels_also_in_two_dimensions() -> None:
    for column in (Y[:99, None], Y[:99, None].astype(float)):
        found = train(task_of(), ((X[:99], column), DATA[1]))
        np.testing.assert_array_equal(found.arrays["weight"], train(task_of()).arrays["weight"])


def test_features_of_another_width_and_outputs_that_are_no_tensor_are_told_as_such() -> None:
    with pytest.raises(DataError, match=r"shape \(examples, 4\), and a layer of the model takes another number"):
        train(task_of(), ((X[:99, :4], Y[:99]), DATA[1]))

    class Two(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return {"logits": super().forward(x)}

    task = task_of(lambda: Two(5, 2))
    for call in (lambda: train(task), lambda: task.evaluate(task.init(), DATA)):
        with pytest.raises(TaskError, match="output is a dict; it must be one tensor"):
            call()
