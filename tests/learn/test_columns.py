"""Every ready-made task takes ``columns``, and trains on no data that has others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier
from torch import nn, optim

import folkmoot as fm

COLUMNS = ("age", "chol", "sick")


def load(path: str) -> Any:
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return (table[:3, :2], table[:3, 2]), (table[3:, :2], table[3:, 2])


MADE: dict[str, Callable[[], fm.Task]] = {
    "logistic": lambda: fm.LogisticTask(name="t", load=load, features=2, columns=COLUMNS),
    "newton": lambda: fm.NewtonTask(name="t", load=load, features=2, columns=COLUMNS),
    "sklearn": lambda: fm.SklearnTask(
        name="t", load=load, features=2, estimator=SGDClassifier(loss="log_loss"), columns=COLUMNS
    ),
    "torch": lambda: fm.TorchTask(
        name="t",
        load=load,
        model=lambda: nn.Linear(2, 1),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=lambda parameters: optim.SGD(parameters, lr=0.1),
        columns=COLUMNS,
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_task_loads_no_data_whose_columns_stand_in_another_order(kind: str, tmp_path: Path) -> None:
    task = MADE[kind]()
    rows = "63,233,1\n41,204,0\n56,236,1\n57,354,0\n"
    (tmp_path / "right.csv").write_text(f"age,chol,sick\n{rows}")
    (tmp_path / "wrong.csv").write_text(f"chol,age,sick\n{rows}")
    assert len(task.load(str(tmp_path / "right.csv"))[0][1]) == 3
    with pytest.raises(fm.DataError, match=r"wrong\.csv: column 1 is 'chol' here, 'age' in the task"):
        task.load(str(tmp_path / "wrong.csv"))
