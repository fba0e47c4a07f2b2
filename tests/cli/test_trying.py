"""try and rehearse: a task in one process, and with real peers, before any moot is founded."""

import json
from pathlib import Path

import pytest
from command_line import Folkmoot

TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    table = np.genfromtxt(path, delimiter=",", skip_header=1)
    x, y = table[:, :2], table[:, 2]
    return (x[::2], y[::2]), (x[1::2], y[1::2])


task = fm.LogisticTask(
    name="small", load=load, features=2, metrics={"accuracy": fm.metrics.accuracy}, learning_rate=1.0,
    policy=fm.Policy(rounds=3, min_members=2, start_members=2),
)
"""

MEAN = """
import numpy as np
import folkmoot as fm


class Mean:
    name = "mean"
    policy = fm.Policy(rounds=1, min_members=1)

    def init(self):
        return fm.State({"mean": np.zeros(3)})

    def schema(self, state):
        return {"mean": (3,)}

    def load(self, path):
        return np.genfromtxt(path, delimiter=",", skip_header=1)

    def contribute(self, state, data, context):
        return fm.Contribution({"mean": data.mean(axis=0)}, len(data))

    def update(self, state, aggregate):
        return fm.State({"mean": aggregate.arrays["mean"]}, state.round + 1, state.exponents)

    def metrics(self):
        return {}

    def evaluate(self, state, data):
        return {}


task = Mean()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task, and two members: each has seen one feature alone decide."""
    (tmp_path / "task.py").write_text(TASK)
    for name, line in (("one", "{x},0,{y}"), ("two", "0,{x},{y}")):
        rows = [line.format(x=x, y=int(x > 0)) for x in (-2, -2, -1, -1, 1, 1, 2, 2)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    return tmp_path


def test_try_shows_what_training_together_gains_over_training_alone(folkmoot: Folkmoot, folder: Path) -> None:
    words = ("try", folder / "task.py", folder / "one.csv", folder / "two.csv")
    told = json.loads(folkmoot(*words, "--json").out)
    assert (told["name"], told["rounds"], [row["path"] for row in told["data"]]) == ("small", 3, ["one", "two"])
    assert told["data"][0]["alone"] == told["data"][0]["together"] == {"accuracy": 1.0}
    assert told["all"] == {"alone": None, "together": {"accuracy": 1.0}, "pooled": {"accuracy": 1.0}}
    shown = folkmoot(*words).out
    assert "small: held-out quality after 3 rounds" in shown
    assert "accuracy alone" in shown
    assert folkmoot(*words, "--json").out == folkmoot(*words, "--json").out


def test_try_does_without_pooling_where_data_is_of_another_kind_and_says_so(folkmoot: Folkmoot, folder: Path) -> None:
    (folder / "task.py").write_text(MEAN)
    ran = folkmoot("try", folder / "task.py", folder / "one.csv", folder / "two.csv")
    assert (ran.code, ran.err) == (0, "")
    assert "not pooled: " in ran.out
    assert "the task has no metrics" in ran.out


def test_an_error_while_trying_is_told_with_the_authors_line(folkmoot: Folkmoot, folder: Path) -> None:
    (folder / "task.py").write_text(TASK.replace("table[:, 2]", "table[:, 7]"))
    ran = folkmoot("try", folder / "task.py", folder / "one.csv")
    assert ran.code == 1
    assert "folkmoot: The task failed in load (task.py, line 8): IndexError" in ran.err


def test_rehearse_trains_with_real_peers_to_the_verified_end(folkmoot: Folkmoot, folder: Path) -> None:
    ran = folkmoot("rehearse", folder / "task.py", folder / "one.csv", folder / "two.csv", "--keep", folder / "kept")
    assert ran.code == 0, ran.err
    assert "round 3 of 3 is final: 2 contributions" in ran.out
    assert "verified: 3 rounds replayed, every hash holds" in ran.out
    assert "held-out quality of the moot's model" in ran.out
    assert len(json.loads(folkmoot("log", 1, "--home", folder / "kept" / "one", "--json").out)) == 4, (
        "and the measuring one"
    )


def test_rehearse_says_how_many_datasets_it_takes(folkmoot: Folkmoot, folder: Path) -> None:
    ran = folkmoot("rehearse", folder / "task.py", folder / "one.csv")
    assert (ran.code, "the task starts with 2 grants" in ran.err) == (1, True)


def test_rehearse_ends_with_what_a_peer_says_when_it_cannot_train(folkmoot: Folkmoot, folder: Path) -> None:
    broken = "\n\ndef contribute(state, data, context):\n    raise RuntimeError('no luck')\n"
    (folder / "task.py").write_text(TASK + broken + "\n\ntask.contribute = contribute\n")
    ran = folkmoot("rehearse", folder / "task.py", folder / "one.csv", folder / "two.csv")
    assert ran.code == 1
    assert "The task failed in contribute (task.py, line 19): RuntimeError: no luck" in ran.err
