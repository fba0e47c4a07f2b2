"""A PyTorch model of all that is no plain matrix, through real workers: it trains, sums, stores and exports."""

from pathlib import Path

import numpy as np

from folkmoot.peer.offering import draft
from folkmoot.peer.rehearsal import rehearse
from folkmoot.peer.workbench import Workbench
from folkmoot.task import make_bundle

TASK = """
import folkmoot as fm
import numpy as np
import torch
from torch import nn, optim


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.first, self.frozen = nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 1)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.frozen.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.scale.exp() * self.frozen(self.second(torch.relu(self.first(self.norm(x)))))


def load(path):
    rows = np.loadtxt(path, delimiter=",")
    return (rows[:33, :3], rows[:33, 3]), (rows[33:, :3], rows[33:, 3])


task = fm.TorchTask(
    name="whole", model=Model, loss=nn.BCEWithLogitsLoss(), optimizer=lambda p: optim.SGD(p, lr=0.1), load=load,
    metrics={"loss": fm.metrics.log_loss}, policy=fm.Policy(rounds=3, clip=1.0, robust="median", faults=1),
)
"""


def test_buffers_scalars_ties_and_a_last_batch_of_one_pass_through_real_workers(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    data = {}
    for name in ("a", "b"):
        x = draw.normal(scale=30.0, size=(50, 3))
        np.savetxt(tmp_path / name, np.column_stack([x, x[:, 0] > 0]), delimiter=",")
        data[name] = tmp_path / name
    (tmp_path / "task.py").write_text(TASK)
    with Workbench(make_bundle(tmp_path / "task.py")) as bench:
        report = rehearse(bench, data)
    assert report.refusals == []
    assert "export" in [step.name for step in report.steps]
    assert 0.0 < report.metrics["loss"] < 2.0


def test_whoever_proposes_a_task_over_secret_groups_learns_its_buffers_though_the_first_round_only_draws(
    tmp_path: Path,
) -> None:
    secret = 'rounds=3, clip=1.0, secrecy="sums", robust="median", faults=1, group_size=4, min_members=12'
    (tmp_path / "task.py").write_text(TASK.replace('rounds=3, clip=1.0, robust="median", faults=1', secret))
    with Workbench(make_bundle(tmp_path / "task.py")) as bench:
        made = draft(bench)
    assert made.policy.grouped
    assert made.buffers == ("norm.num_batches_tracked", "norm.running_mean", "norm.running_var")
