"""Tasks as people write them, each with something that a round used to stop at, and the data of two members."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HEAD = """
import numpy as np
import folkmoot as fm

policy = fm.Policy(rounds=2, min_members=2, start_members=2, train_seconds=60{policy})


def load(path):
    table = np.genfromtxt(path, delimiter=",", skip_header=1)
    x, y = table[:, :2], table[:, 2]
    return (x[:-8], y[:-8]), (x[-8:], y[-8:])

"""
TORCH = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        {layers}

    def forward(self, x):
        return {forward}


task = fm.TorchTask(
    name="net", model=Net, loss={loss}, load=load, policy=policy, batch_size=32,
    optimizer=lambda params: {optimizer}, metrics={{"loss": {metric}}},
)
"""
OWN = """

class Own:
    name = "own"
    policy = policy
    columns = None

    def init(self):
        return fm.State({{"w": {zero}}})

    def schema(self, state):
        return {{"w": np.shape(state.arrays["w"])}}

    def load(self, path):
        return load(path)

    def contribute(self, state, data, context):
        (x, y), _ = data
        return fm.Contribution({{"w": {gradient}}}, len(y))

    def update(self, state, aggregate):
        return fm.State({{"w": state.arrays["w"] + aggregate.arrays["w"]}}, state.round + 1, state.exponents)

    def metrics(self):
        return {{"error": Error()}}

    def evaluate(self, state, data):
        return {{"error": Error().partial(state.arrays["w"], data[1][1])}}


class Error:
    words = 2

    def partial(self, prediction, label):
        return np.array([round(1000 * float(np.sum(np.abs(label - np.mean(prediction))))), len(label)])

    def value(self, total):
        return {value}


task = Own()
"""


def torch_task(
    layers: str = "self.last = nn.Linear(2, 1)",
    forward: str = "self.last(x)",
    *,
    loss: str = "nn.BCEWithLogitsLoss()",
    optimizer: str = "torch.optim.SGD(params, lr=0.1)",
    metric: str = "fm.metrics.log_loss",
    policy: str = "",
) -> str:
    text = TORCH.format(layers=layers, forward=forward, loss=loss, optimizer=optimizer, metric=metric)
    return HEAD.format(policy=policy) + text


def own_task(
    zero: str = "np.zeros(2)",
    gradient: str = "x.mean(axis=0) - state.arrays['w']",
    value: str = "total[0] / total[1] / 1000",
) -> str:
    return HEAD.format(policy="") + OWN.format(zero=zero, gradient=gradient, value=value)


def sklearn_task(estimator: str, classes: str = "2") -> str:
    return HEAD.format(policy="") + (
        "import sklearn.linear_model, sklearn.ensemble, sklearn.pipeline, sklearn.preprocessing, sklearn.svm\n"
        f"task = fm.SklearnTask(name='fit', estimator={estimator}, load=load, features=2, classes={classes},"
        " policy=policy)\n"
    )


@dataclass(frozen=True)
class Case:
    """A task, what is wrong at the second member, and what the rehearsal has to say of it."""

    code: str
    refused: tuple[str, str] | None = None
    """The step at which it is refused, and words of its error, a pattern; ``None``: it passes, and trains."""
    at: int | None = None
    """The member that is refused, where the other passes."""
    rows: str = "{a},{b},{y}"
    """The second member's rows; the first's are a, b, y."""
    header: str = "a,b,label"
    count: int = 41
    files: dict[str, bytes] = field(default_factory=dict)
    """Beside the task."""


def write(case: Case, folder: Path) -> tuple[Path, list[Path]]:
    """The task's folder, and both members' data."""
    source = folder / "task"
    source.mkdir(parents=True)
    (source / "task.py").write_text(case.code)
    for name, content in case.files.items():
        (source / name).write_bytes(content)
    return source, [member_data(folder, member, case) for member in (0, 1)]


def member_data(folder: Path, member: int, case: Case) -> Path:
    rng = np.random.default_rng(member)
    form, header = (case.rows, case.header) if member else ("{a},{b},{y}", "a,b,label")
    lines = [header]
    for a, b in rng.normal(size=(case.count, 2)):
        lines.append(form.format(a=f"{a:.4f}", b=f"{b:.4f}", y=int(a + b > 0)))
    path = folder / f"member{member}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
