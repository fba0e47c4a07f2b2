"""Record-level privacy in the ready-made tasks: what they compute, and what they refuse."""

import importlib.util
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import SGDClassifier
from torch import nn, optim

import folkmoot as fm
from folkmoot.errors import TaskError
from folkmoot.learn.logistic import sigmoid
from folkmoot.privacy.budget import Training
from folkmoot.privacy.dpsgd import PrivateSteps
from folkmoot.privacy.noise import BitStream

CONTEXT = fm.Context(round=1, seed=bytes(range(32)))
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(400, 6))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0, 1.0] > 0).astype(np.int64)
DATA = ((X[:300], Y[:300]), (X[300:], Y[300:]))
FEW = ((X[:40], Y[:40]), (X[300:], Y[300:]))


def policy(epsilon=8.0, rounds=5, clip=1.0):
    return fm.Policy(rounds=rounds, epsilon=epsilon, privacy_unit="record", record_clip=clip)


def logistic(**changed):
    options = {"name": "t", "load": lambda path: DATA, "features": 6, "standardise": False, "learning_rate": 1.0}
    return fm.LogisticTask(**options | {"batch_size": 30, "policy": policy()} | changed)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))


def torch_task(**changed):
    options = {"name": "t", "load": lambda path: DATA, "model": mlp, "loss": nn.CrossEntropyLoss()}
    options |= {"optimizer": lambda params: optim.SGD(params, lr=1.0), "metrics": {"accuracy": fm.metrics.accuracy}}
    return fm.TorchTask(**options | {"batch_size": 30, "policy": policy()} | changed)


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(BitStream, "gaussian", lambda self, sigma, count: np.zeros(count, dtype=np.int64))


@pytest.mark.parametrize("make", [logistic, torch_task])
@pytest.mark.parametrize(("epsilon", "least"), [(8.0, 0.85), (2.0, 0.75)])
def test_a_model_learns_under_record_privacy(make, epsilon, least):
    task = make(policy=policy(epsilon))
    data = task.load("")
    assert fm.held_out(task, fm.together(task, [data]), data)["accuracy"] > least


@pytest.mark.parametrize("make", [logistic, torch_task])
def test_a_contribution_repeated_is_the_same_and_another_seed_or_record_changes_its_noise(make):
    task = make()
    data, state = task.load(""), task.init()
    first, again = (task.contribute(state, data, CONTEXT).arrays for _ in range(2))
    other = task.contribute(state, data, fm.Context(1, bytes(32))).arrays
    (x, y), held_out = make(load=lambda path: ((X[:300] + 1e-6, Y[:300]), DATA[1])).load("")
    moved = task.contribute(state, ((x, y), held_out), CONTEXT).arrays
    for name, array in first.items():
        assert array.tobytes() == again[name].tobytes()
        # Noise of a few hundredths, which would cancel out between two contributions of the same seed.
        assert np.abs(array - other[name]).max() > 1e-3
        assert np.abs(array - moved[name]).max() > 1e-3


def batches_of(task, data, state, inputs):
    training = Training(len(data[0][1]), task.batch_size, task.local_epochs)
    return list(PrivateSteps(task.policy, training, CONTEXT.seed, inputs))


def test_logistic_training_is_clipped_gradient_descent_on_secret_batches(no_noise):
    """Against a loop over records, with the noise taken out; two epochs, weight decay and FedProx included."""
    task = logistic(batch_size=10, local_epochs=2, l2=0.1, prox_mu=0.3, policy=policy(clip=0.4))
    state = task.init()
    model = np.zeros(7)
    for batch in batches_of(task, FEW, state, (X[:40], Y[:40].astype(float), model)):
        total = np.zeros(7)
        for i in batch:
            row = np.append(1.0, X[i])
            gradient = (sigmoid(row @ model) - Y[i]) * row
            total += gradient * min(1.0, 0.4 / np.linalg.norm(gradient))
        decay = 0.1 * np.append(0.0, model[1:])
        model = model - 1.0 * (total / 10 + decay + 0.3 * model)
    trained = task.contribute(state, FEW, CONTEXT).arrays
    np.testing.assert_allclose(np.append(trained["bias"], trained["weights"]), model, atol=1e-7)


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_torch_training_is_clipped_gradient_descent_on_secret_batches(no_noise, mu):
    """Against autograd of one record after another, with the noise taken out, and an optimiser with momentum."""

    def sgd(params):
        return optim.SGD(params, lr=0.5, momentum=0.9)

    task = torch_task(batch_size=10, prox_mu=mu, optimizer=sgd, policy=policy(clip=0.3), load=lambda path: FEW)
    data, state = task.load(""), task.init()
    x, y = data[0]
    raw = [tensor.contiguous().view(torch.uint8).numpy() for tensor in (x, y)]
    order = sorted(state.arrays)
    model = mlp()
    model.load_state_dict({name: torch.tensor(array) for name, array in state.arrays.items()})
    start, optimizer = [p.detach().clone() for p in model.parameters()], sgd(model.parameters())
    for batch in batches_of(task, data, state, [*raw, *(state.arrays[name] for name in order)]):
        totals = [torch.zeros_like(p) for p in model.parameters()]
        for i in batch:
            gradients = torch.autograd.grad(
                nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), model.parameters()
            )
            norm = sum(g.square().sum() for g in gradients).sqrt()
            for total, g in zip(totals, gradients, strict=True):
                total += g * min(1.0, 0.3 / float(norm))
        for p, total, old in zip(model.parameters(), totals, start, strict=True):
            p.grad = total / 10 + mu * (p.detach() - old)
        optimizer.step()
    contribution = task.contribute(state, data, CONTEXT)
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(contribution.arrays[name] + state.arrays[name], tensor.double().numpy(), atol=2e-6)
    assert contribution.weight == 40


def test_private_training_leaves_the_model_and_pytorch_as_they_were():
    task = torch_task()
    data, state = task.load(""), task.init()
    before, plain = torch.random.get_rng_state(), task.predict(state, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.contribute(state, data, CONTEXT)
    assert torch.equal(before, torch.random.get_rng_state())
    module = task._model().module
    assert not [p for p in module.parameters() if hasattr(p, "grad_sample")]
    assert not [part for part in module.modules() if part._forward_hooks or part._backward_hooks]
    np.testing.assert_array_equal(plain, task.predict(state, X))


def test_a_binary_model_with_one_output_trains_privately():
    task = torch_task(model=lambda: nn.Linear(6, 1), loss=nn.BCEWithLogitsLoss())
    data = task.load("")
    assert fm.held_out(task, fm.together(task, [data]), data)["accuracy"] > 0.85


def test_convolutions_embeddings_layer_norm_and_unused_layers_train_privately():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Embedding(10, 4), nn.GroupNorm(1, 4)
            self.convolve, self.unused = nn.Conv1d(4, 4, 3), nn.Linear(2, 2)
            self.end = nn.Linear(16, 2)

        def forward(self, tokens):
            return self.end(self.convolve(self.norm(self.embed(tokens).transpose(1, 2))).flatten(1))

    tokens = DRAW.integers(0, 10, size=(40, 6))
    task = torch_task(model=Odd, load=lambda path: ((tokens, Y[:40]), (tokens, Y[:40])))
    arrays = task.contribute(task.init(), task.load(""), CONTEXT).arrays
    assert all(np.abs(array).max() > 0 for array in arrays.values())


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x):
        return self.linear(x - x.mean(dim=0))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.rest, self.end = nn.Identity(), nn.Linear(6, 2)
        self.rest.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        if self.training:
            self.rest.seen += x.detach().sum(dim=0)
        return self.end(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)),
            "model's 0 is BatchNorm1d, which mixes.*use GroupNorm",
        ),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(6, affine=False, track_running_stats=False), nn.Linear(6, 2)),
            "BatchNorm1d, which mixes",
        ),
        (lambda: nn.LSTM(6, 2), "cannot be trained with policy.privacy_unit='record'.*DPLSTM"),
        (Centred, "depends on the other records of its batch"),
        (Counting, "changed the model's buffer 'rest.seen'"),
    ],
)
def test_a_model_that_mixes_records_is_refused(model, message):
    def contribute():
        task = torch_task(model=model)
        task.contribute(task.init(), task.load(""), CONTEXT)

    with pytest.raises(TaskError, match=message):
        contribute()


def test_without_opacus_the_task_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("folkmoot.learn.torch_task.find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r"pip install 'folkmoot\[private\]'"):
        torch_task()
    torch_task(policy=fm.Policy())
    assert importlib.util.find_spec("opacus")


def test_tasks_that_cannot_hide_a_record_refuse_the_policy():
    with pytest.raises(TaskError, match="pass standardise=False"):
        logistic(standardise=True)
    with pytest.raises(TaskError, match="NewtonTask sends exact gradients"):
        fm.NewtonTask(name="t", load=None, features=6, standardise=False, policy=policy())
    with pytest.raises(TaskError, match="SGDClassifier cannot clip each record's gradient"):
        fm.SklearnTask(name="t", estimator=SGDClassifier(), load=None, features=6, policy=policy())


def test_noise_for_members_leaves_training_as_it_is():
    members = fm.Policy(rounds=5, secrecy="sums", clip=1.0, epsilon=3.0)
    task, plain = logistic(policy=members), logistic(policy=fm.Policy(rounds=5))
    one, other = (t.contribute(t.init(), DATA, CONTEXT).arrays["weights"] for t in (task, plain))
    assert (one == other).all()
