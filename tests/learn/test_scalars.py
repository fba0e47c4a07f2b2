"""Arrays without dimensions: a temperature, a logit scale, a lone count. NumPy makes scalars of their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn, optim

import folkmoot as fm
from folkmoot.simulate import simulate
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State, read_state, state_bytes

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(90, 3))
Y = (X @ [1.0, -2.0, 0.5] > 0).astype(np.int64)
MEMBERS = [((X[i:60:3], Y[i:60:3]), (X[60 + i :: 3], Y[60 + i :: 3])) for i in range(3)]
POLICIES = [
    Policy(rounds=3),
    Policy(rounds=3, clip=1.0),
    Policy(rounds=3, robust="median", faults=1),
    Policy(rounds=3, secrecy="sums"),
]
SERVERS = [fm.FedAvg(), fm.FedAvgM(), fm.FedAdam(), fm.FedYogi(), fm.FedAdagrad()]


class Scaled(nn.Module):
    """A linear model under a learnt logit scale, and a count of the batches seen: neither has a dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("seen", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1.0
        return self.scale.exp() * self.linear(x)


class Lone:
    """The members' mean, a number without dimensions, written as one would write it."""

    name = "lone"

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def init(self) -> State:
        return State({"mean": np.float64(0.0)})

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        return {"mean": ()}

    def load(self, path: str) -> Any:
        return np.loadtxt(path)

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        return Contribution({"mean": np.mean(data) - state.arrays["mean"]}, 1)

    def update(self, state: State, aggregate: Aggregate) -> State:
        return State({"mean": state.arrays["mean"] + aggregate.arrays["mean"]}, state.round + 1, state.exponents)

    def metrics(self) -> Mapping[str, Metric]:
        return {}

    def evaluate(self, state: State, data: Any) -> Mapping[str, NDArray[np.int64]]:
        return {}


def kept(state: State) -> State:
    return read_state(state_bytes(state))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_hand_written_task_of_one_number_finds_the_members_mean(policy: Policy) -> None:
    data: Sequence[Any] = [np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.array([2.0, 1.0])]
    found = kept(simulate(Lone(policy), data)).arrays["mean"]
    assert found.shape == ()
    assert float(found) == pytest.approx(1.5 if policy.robust == "median" else 5.5 / 3, abs=1e-3)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_model_with_a_logit_scale_trains_under_every_policy(policy: Policy, server: Any) -> None:
    task = fm.TorchTask(
        name="scaled", model=Scaled, loss=nn.BCEWithLogitsLoss(), optimizer=lambda p: optim.SGD(p, lr=0.1),
        load=None, server=server, policy=policy, metrics={"accuracy": fm.metrics.accuracy},
    )  # fmt: skip
    state = kept(simulate(task, MEMBERS))
    assert state.arrays["scale"].shape == ()
    assert state.arrays["scale"] != task.init().arrays["scale"]
    assert fm.held_out(task, kept(fm.together(task, MEMBERS)), *MEMBERS)["accuracy"] > 0.5
