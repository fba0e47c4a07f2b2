import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn, optim

import folkmoot as fm
from folkmoot.errors import TaskError
from folkmoot.learn.baselines import mean_of
from folkmoot.learn.torch_init import PortableRandomness
from folkmoot.task import read_state, state_bytes

SEED = bytes(range(32))
CONTEXT = fm.Context(round=1, seed=SEED)
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(60, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] > 0).astype(np.int64)
DATA = ((X[:40], Y[:40]), (X[40:], Y[40:]))


def mlp():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))


def task_of(**changed):
    options = {
        "name": "t",
        "model": mlp,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": lambda params: optim.SGD(params, lr=0.1),
        "load": lambda path: DATA,
        "metrics": {"accuracy": fm.metrics.accuracy, "auc": fm.metrics.roc_auc, "loss": fm.metrics.log_loss},
        "batch_size": 8,
    }
    return fm.TorchTask(**options | changed)


def hand_written(model, batch=8, epochs=2, mu=0.0):
    """The plain training loop of the same work."""
    start = [p.detach().clone() for p in model.parameters()]
    x, y = torch.tensor(DATA[0][0], dtype=torch.float32), torch.tensor(DATA[0][1])
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(int.from_bytes(SEED[:8], "little"))
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for at in range(0, len(x), batch):
            index = order[at : at + batch]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[index]), y[index])
            if mu:
                loss = loss + mu / 2 * sum(((p - s) ** 2).sum() for p, s in zip(model.parameters(), start, strict=True))
            loss.backward()
            optimizer.step()
    return model


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_a_contribution_is_what_the_hand_written_loop_changes(mu):
    task = task_of(optimizer=lambda params: optim.SGD(params, lr=0.1, momentum=0.9), local_epochs=2, prox_mu=mu)
    state = task.init()
    model = mlp()
    model.load_state_dict({name: torch.tensor(array) for name, array in state.arrays.items()})
    contribution = task.contribute(state, task.load(""), CONTEXT)
    for name, tensor in hand_written(model, mu=mu).state_dict().items():
        trained = state.arrays[name] + contribution.arrays[name]
        np.testing.assert_allclose(trained, tensor.double().numpy(), atol=0 if mu == 0 else 1e-6)
    assert contribution.weight == 40


def test_parameters_are_named_and_shaped_as_in_the_state_dict():
    state = task_of().init()
    assert {name: a.shape for name, a in state.arrays.items()} == {
        n: tuple(t.shape) for n, t in mlp().state_dict().items()
    }
    assert task_of().schema(state) == {name: array.shape for name, array in state.arrays.items()}


def test_a_contribution_depends_on_state_data_and_context_alone():
    def dropout():
        return nn.Sequential(nn.Linear(5, 8), nn.Dropout(), nn.Linear(8, 2))

    task = task_of(model=dropout)
    state, data = task.init(), task.load("")
    torch.manual_seed(1)
    first = task.contribute(state, data, CONTEXT)
    before = torch.random.get_rng_state()
    task.contribute(task.update(state, mean_of([first])), data, fm.Context(2, bytes(32)))
    again = task.contribute(state, data, CONTEXT)
    fresh = task_of(model=dropout).contribute(state, data, CONTEXT)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, array in first.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes() == fresh.arrays[name].tobytes()


def test_the_initial_state_does_not_depend_on_what_ran_before():
    torch.manual_seed(5)
    one = state_bytes(task_of().init())
    torch.rand(3)
    assert state_bytes(task_of().init()) == one
    assert state_bytes(task_of(seed=1).init()) != one


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_the_initial_state_is_the_same_on_unlike_processors(capability):
    code = (
        "import folkmoot as fm, torch\nfrom torch import nn\nfrom folkmoot.task import state_bytes\n"
        "from folkmoot.digest import blob_hash\n"
        "model = lambda: nn.Sequential(nn.Embedding(9, 7), nn.Linear(7, 50), nn.LSTM(50, 6))\n"
        "task = fm.TorchTask(name='t', model=model, loss=None, optimizer=None, load=None)\n"
        "print(blob_hash(state_bytes(task.init())).hex())"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "7ad5c8ab050b281583d7238451a30ce02fc2c73cf6c3b5381dd2517fc4ebe5f7", done.stderr


def test_initial_numbers_have_the_spread_that_pytorch_documents():
    with PortableRandomness(0):
        linear, embedding, own = nn.Linear(100, 200), nn.Embedding(200, 100), torch.randn(200, 100)
        shifted = torch.empty(20_000).normal_(3.0, 0.5)
    assert linear.weight.abs().max() <= 0.1
    assert linear.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    for tensor in (embedding.weight, own, (shifted - 3.0) * 2.0):
        assert tensor.mean().item() == pytest.approx(0.0, abs=0.03)
        assert tensor.std().item() == pytest.approx(1.0, rel=0.02)


def test_training_on_one_thread_leaves_the_callers_threads_alone():
    torch.set_num_threads(2)
    task = task_of()
    task.contribute(task.init(), task.load(""), CONTEXT)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.parametrize("server", [fm.FedAvg(), fm.FedAdam(lr=0.05), fm.FedAvgM(lr=0.5)])
def test_a_model_learns_and_its_state_survives_storage(server):
    task = task_of(server=server, policy=fm.Policy(rounds=30))
    data = task.load("")
    state = read_state(state_bytes(fm.alone(task, data)))
    assert fm.held_out(task, state, data)["accuracy"] >= 0.85
    task.contribute(state, data, CONTEXT)


def test_the_design_documents_example_works_with_integer_labels():
    task = task_of(
        model=lambda: nn.Linear(5, 1), loss=nn.BCEWithLogitsLoss(), metrics={"auc": fm.metrics.roc_auc},
        server=fm.FedAdam(lr=0.05), policy=fm.Policy(rounds=20, min_members=3),
    )  # fmt: skip
    data = task.load("")
    assert fm.held_out(task, fm.alone(task, data), data)["auc"] > 0.9


def test_frozen_parameters_stay_out_of_the_state():
    def model():
        module = mlp()
        module[0].requires_grad_(False)
        return module

    task = task_of(model=model)
    assert set(task.init().arrays) == {"2.weight", "2.bias"}
    assert task.contribute(task.init(), task.load(""), CONTEXT)


def test_regression_predicts_numbers():
    target = X @ [1.0, 0.0, 2.0, 0.0, 0.0]
    task = task_of(
        model=lambda: nn.Linear(5, 1), loss=nn.MSELoss(), metrics={"mse": fm.metrics.mean_squared_error},
        load=lambda path: ((X[:40], target[:40]), (X[40:], target[40:])), policy=fm.Policy(rounds=30),
    )  # fmt: skip
    data = task.load("")
    assert fm.held_out(task, fm.alone(task, data), data)["mse"] < 0.01


def test_token_ids_stay_integers():
    tokens = DRAW.integers(0, 10, size=(20, 4))
    task = task_of(
        model=lambda: nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(16, 2)),
        load=lambda path: ((tokens, Y[:20]), (tokens, Y[:20])),
    )
    data = task.load("")
    assert task.contribute(task.init(), data, CONTEXT).weight == 20
    assert set(task.evaluate(task.init(), data)) == {"accuracy", "auc", "loss"}


def test_a_prediction_of_ones_own_replaces_the_default():
    task = task_of(predict=lambda output: output.argmax(dim=1).double(), metrics={"accuracy": fm.metrics.accuracy})
    assert set(np.unique(task.predict(task.init(), X))) <= {0.0, 1.0}


def test_training_that_diverges_says_what_to_lower():
    task = task_of(optimizer=lambda params: optim.SGD(params, lr=1e30), local_epochs=3)
    with pytest.raises(TaskError, match=r"diverged.*lower the optimizer's learning rate"):
        task.contribute(task.init(), task.load(""), CONTEXT)
