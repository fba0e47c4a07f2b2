"""A member whose data has other columns than the task's trains on nothing; the others go on without it."""

from pathlib import Path

import numpy as np
import rig

from folkmoot.round import members_of
from folkmoot.task import make_bundle, read_bundle
from folkmoot.task.data_schema import SCHEMA_FILE, Column, DataSchema, pinned

NAMES = ["anna", "bert", "carl", "dora"]
TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return (table[:-8, :2], table[:-8, 2]), (table[-8:, :2], table[-8:, 2])


task = fm.LogisticTask(
    name="heart",
    load=load,
    features=2,
    policy=fm.Policy(rounds=3, min_members=3, start_members=4, train_seconds=3, exchange_seconds=3, final_seconds=3),
)
"""


def table(path: Path, header: str, seed: int) -> Path:
    values = np.random.default_rng(seed).normal(size=(40, 3))
    values[:, 2] = values[:, 0] > 0
    np.savetxt(path, values, delimiter=",", header=header, comments="", fmt="%.4f")
    return path


def test_who_s_columns_stand_in_another_order_is_told_which_and_the_moot_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    schema = DataSchema(columns=tuple(Column(name=name) for name in ("age", "chol", "sick")), header=True)
    (folder / SCHEMA_FILE).write_bytes(read_bundle(pinned(make_bundle(folder), schema))[SCHEMA_FILE])
    headers = dict.fromkeys(NAMES, "age,chol,sick") | {"dora": "chol,age,sick"}
    data = {name: table(tmp_path / f"{name}.csv", headers[name], at) for at, name in enumerate(NAMES)}
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(folder, data)
        said = moot.said("dora", "column 1 is 'chol' here, 'age' in the task")
        assert str(data["dora"]) in said
        failure = moot.status("dora", task).failure
        assert failure is not None
        assert (failure.kind, failure.step) == ("data", "train")
        moot.finish(task)
        assert {members_of(final.survivors) for final in moot.finals(task)} == {(0, 1, 2)}
