"""What training changes besides the weights (BatchNorm's statistics, counts, flags), apart from their cap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim

import folkmoot as fm
from folkmoot.cli.privacy import promises
from folkmoot.errors import TaskError
from folkmoot.learn.baselines import mean_of
from folkmoot.round.reduce import layout_of, make_contribution
from folkmoot.simulate import simulate
from folkmoot.simulate.attacks import Attack
from folkmoot.task import Aggregate, Context, Policy, State, read_state, state_bytes
from folkmoot.task.protocol import buffers_of

DRAW = np.random.default_rng(0)
X = DRAW.normal(loc=[0.0, 1.0, -1.0, 2.0, 0.0], size=(400, 5))
Y = (X @ [1.0, -2.0, 0.5, 0.0, 1.0] > -2.5).astype(np.int64)
MEMBERS = [((X[i:300:4], Y[i:300:4]), (X[300 + i :: 4], Y[300 + i :: 4])) for i in range(4)]
CONTEXT = Context(1, bytes(range(32)))


def normed() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 2))


def task_of(model: Any = normed, **changed: Any) -> fm.TorchTask:
    options: dict[str, Any] = {
        "name": "t", "model": model, "loss": nn.CrossEntropyLoss(), "load": None, "local_epochs": 5, "batch_size": 16,
        "optimizer": lambda params: optim.SGD(params, lr=0.1), "metrics": {"accuracy": fm.metrics.accuracy},
    }  # fmt: skip
    return fm.TorchTask(**options | changed)


def scaled(factor: Any) -> list[Any]:
    return [tuple((x * factor, y) for x, y in member) for member in MEMBERS]


POLICIES = {
    "plain": Policy(rounds=8),
    "clipped": Policy(rounds=8, clip=1.0),
    "secret": Policy(rounds=8, clip=1.0, secrecy="sums"),
    "median": Policy(rounds=8, clip=1.0, robust="median", faults=1),
    "distances": Policy(rounds=8, clip=1.0, robust="geometric-median", faults=1),
    "coarse": Policy(rounds=8, bits=8, clip=1.0),
}


@pytest.mark.parametrize("factor", [30.0, np.array([1e3, 1.0, 1e-3, 30.0, 1.0])], ids=str)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_batch_norm_learns_features_of_any_scale_under_any_cap_and_rule(policy: Policy, factor: Any) -> None:
    task, members = task_of(policy=policy), scaled(factor)
    state = read_state(state_bytes(simulate(task, members)))
    assert fm.held_out(task, state, *members)["accuracy"] > 0.93
    variance = state.arrays["0.running_var"]
    np.testing.assert_allclose(variance, (X[:300] * factor).var(axis=0), rtol=0.35)


def test_buffers_have_the_names_of_the_state_dict_and_the_members_mean_whatever_the_server_optimiser() -> None:
    task = task_of(server=fm.FedAdam())
    state = task.init()
    assert set(state.arrays) >= set(normed().state_dict())
    assert not [name for name in state.arrays if name.startswith("server/") and "running" in name]
    sent = [task.contribute(state, data, CONTEXT) for data in MEMBERS[:2]]
    moved = task.update(state, mean_of(sent)).arrays
    for name in ("0.running_mean", "0.running_var"):
        expected = state.arrays[name] + np.mean([one.arrays[name] for one in sent], axis=0)
        np.testing.assert_allclose(moved[name], expected)
    assert moved["0.num_batches_tracked"] == 25.0  # 75 examples in batches of 16, five times


def test_the_cap_counts_the_weights_alone() -> None:
    task = task_of(policy=Policy(clip=0.5))
    state, data = task.init(), scaled(1e3)[0]
    layout = layout_of(task, state)
    made = make_contribution(task, state, data, CONTEXT, layout)
    assert layout.names == ("0.bias", "0.weight", "1.bias", "1.weight")
    assert [buffer.name for buffer in layout.buffers] == ["0.num_batches_tracked", "0.running_mean", "0.running_var"]
    assert 0.4 < made.norm <= 0.5001, "statistics that are a million times larger take nothing of the cap"


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(5), nn.InstanceNorm1d(5, track_running_stats=True)])
def test_noise_for_members_refuses_running_statistics_before_anything_is_spent(layer: nn.Module) -> None:
    policy = Policy(secrecy="sums", clip=1.0, epsilon=2.0)
    with pytest.raises(TaskError, match=r"The model's 0 is .*Norm1d, which keeps running statistics.*Use GroupNorm"):
        task_of(lambda: nn.Sequential(layer, nn.Linear(5, 2)), policy=policy).init()
    grouped = task_of(lambda: nn.Sequential(nn.Linear(5, 4), nn.GroupNorm(2, 4), nn.Linear(4, 2)), policy=policy)
    assert layout_of(grouped, grouped.init()).buffers == ()


class Odd(nn.Module):
    """Buffers of all kinds."""

    def __init__(self, *, moves: bool = False) -> None:
        super().__init__()
        self.linear, self.moves = nn.Linear(5, 2), moves
        self.register_buffer("begun", torch.tensor(False))
        self.register_buffer("seen", torch.tensor(0, dtype=torch.int16))
        self.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))
        self.register_buffer("table", torch.arange(6))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.begun.fill_(True)
            self.seen += 1
            self.phase += 0.5 - 2.0j
            self.scratch += 1.0
            if self.moves:
                self.table += 1
        return self.linear(x)


def test_counts_stay_whole_flags_stay_flags_and_complex_buffers_keep_both_parts() -> None:
    task = task_of(Odd, policy=Policy(rounds=2, clip=0.5), local_epochs=1)
    members = [((X[:n], Y[:n]), (X[:n], Y[:n])) for n in (16, 32, 48)]
    arrays = simulate(task, members).arrays
    assert set(arrays) == {"linear.weight", "linear.bias", "begun", "seen", "phase"}
    assert (arrays["begun"], arrays["seen"]) == (1.0, 4.0)  # batches of 16: 1, 2 and 3 a round
    np.testing.assert_allclose(arrays["phase"], [[2.0, -8.0]] * 2, atol=1e-4)


def test_an_integer_table_that_training_changes_is_named_and_so_is_any_buffer_under_noise() -> None:
    task = task_of(lambda: Odd(moves=True))
    with pytest.raises(TaskError, match=r"changed the model's buffer 'table' \(torch.int64, 6 values\)"):
        task.contribute(task.init(), MEMBERS[0], CONTEXT)
    noisy = task_of(Odd, policy=Policy(secrecy="sums", clip=1.0, epsilon=2.0))
    with pytest.raises(TaskError, match="changed the model's buffer 'begun'"):
        noisy.contribute(noisy.init(), MEMBERS[0], CONTEXT)


def test_a_variance_is_never_below_zero_whatever_liars_send() -> None:
    task = task_of()
    state = task.init()
    lie = {name: np.full(shape, -50.0) for name, shape in task.schema(state).items()}
    moved: State = task.update(state, Aggregate(lie, 1, 1))
    assert (moved.arrays["0.running_var"] == 0.0).all()
    assert np.isfinite(task.predict(moved, X)).all()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(clip=1.0), "Buffers (0.num_batches_tracked, 0.running_mean, 0.running_var) take the members' mean, "
         "outside the cap."),
        (Policy(robust="median", faults=1), "take the members' median by element, apart from the weights."),
    ],
)  # fmt: skip
def test_whoever_proposes_reads_what_becomes_of_the_buffers(policy: Policy, said: str) -> None:
    task = task_of(policy=policy)
    assert said in promises(policy, 4, buffers_of(task, task.init()))[-1]
    assert len(promises(policy, 4)) == 3


def test_a_liar_among_four_leaves_the_statistics_to_the_honest() -> None:
    attack = Attack(lambda sight: sight.own + 1e6)
    for policy in (Policy(rounds=4, robust="median", faults=1), Policy(rounds=4, robust="median", faults=1, clip=1.0)):
        task, members = task_of(policy=policy), scaled(30.0)
        state = simulate(task, members, liars={1}, attack=attack)
        assert fm.held_out(task, state, *members)["accuracy"] > 0.85
        np.testing.assert_allclose(state.arrays["0.running_var"], (X[:300] * 30.0).var(axis=0), rtol=0.5)


def test_a_frozen_parameter_that_training_moves_is_named_and_moves_nothing_after() -> None:
    class Teacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student, self.teacher = nn.Linear(5, 2), nn.Linear(5, 2).requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.teacher.weight.data.lerp_(self.student.weight.data, 0.1)
            return self.student(x) + self.teacher(x)

    task = task_of(Teacher)
    before = task.predict(task.init(), X)
    with pytest.raises(TaskError, match=r"Training changed the model's 'teacher.weight', which has no requires_grad"):
        task.contribute(task.init(), MEMBERS[0], CONTEXT)
    np.testing.assert_array_equal(task.predict(task.init(), X), before)
