"""What a member says of its data, and what becomes of it when the data is not what was said."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Folkmoot

from folkmoot.peer.home import Home
from folkmoot.task import read_bundle

TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return (table[:-8, :2], table[:-8, 2]), (table[-8:, :2], table[-8:, 2])


task = fm.LogisticTask(
    name="heart", load=load, features=2, policy=fm.Policy(rounds=2, min_members=1, start_members=1, bits=32)
)
"""


def table(path: Path, header: str, rows: int = 40) -> Path:
    values = np.random.default_rng(0).normal(size=(rows, 3))
    values[:, 2] = values[:, 0] > 0
    np.savetxt(path, values, delimiter=",", header=header, comments="", fmt="%.4f")
    return path


@pytest.fixture
def home(folkmoot: Folkmoot, tmp_path: Path) -> Path:
    (tmp_path / "task.py").write_text(TASK)
    made = folkmoot("new", "heart", "--as", "ann", "--ledger", tmp_path / "ledger.sqlite")
    assert made.code == 0, made.err
    return tmp_path / "home"


def test_a_task_that_is_proposed_with_data_holds_every_member_s_data_against_its_columns(
    folkmoot: Folkmoot, home: Path, tmp_path: Path
) -> None:
    mine = table(tmp_path / "mine.csv", "age,chol,sick")
    proposed = folkmoot("propose", tmp_path / "task.py", "--data", mine)
    assert proposed.code == 0, proposed.err
    assert "must look like this: age, chol, sick; train features: float64 (2,)" in proposed.out
    shown = folkmoot("review", 1).out
    assert "data-schema.json" in shown
    assert '"name": "chol"' in shown

    peer = Home.open(home)
    for name, content in read_bundle(peer.store().get(peer.moot().task(1).bundle)).items():
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_bytes(content)
    right, wrong = table(tmp_path / "right.csv", "age,chol,sick"), table(tmp_path / "wrong.csv", "chol,age,sick")
    added = folkmoot("data", "add", right, "--task", tmp_path / "theirs", "--json")
    assert (added.code, json.loads(added.out)["records"]) == (0, 40)
    refused = folkmoot("data", "add", wrong, "--task", tmp_path / "theirs")
    assert refused.code == 1
    assert "column 1 is 'chol' here, 'age' in the task" in refused.err


def test_without_data_a_proposal_says_that_columns_are_not_held_against_anything(
    folkmoot: Folkmoot, home: Path, tmp_path: Path
) -> None:
    assert "Nothing says what its data looks like" in folkmoot("propose", tmp_path / "task.py", "--no-rehearsal").out
    named = TASK.replace("features=2,", "features=2, columns=['age', 'chol', 'sick'],")
    (tmp_path / "task.py").write_text(named)
    assert "must look like this: age, chol, sick" in folkmoot("propose", tmp_path / "task.py", "--no-rehearsal").out


@pytest.mark.parametrize("patients", [100, 1_000, 10_000])
def test_an_archive_stands_on_the_ledger_with_as_many_records_as_it_has(
    folkmoot: Folkmoot, home: Path, tmp_path: Path, patients: int
) -> None:
    np.savez(tmp_path / "scans.npz", x=np.zeros((patients, 5)) + 10, y=np.zeros(patients))
    assert json.loads(folkmoot("data", "add", tmp_path / "scans.npz", "--json").out)["records"] == patients


def test_what_cannot_be_counted_is_asked_for(folkmoot: Folkmoot, home: Path, tmp_path: Path) -> None:
    (tmp_path / "patients.db").write_bytes(b"SQLite format 3\n\n\n")
    refused = folkmoot("data", "add", tmp_path / "patients.db")
    assert (refused.code, "--records N" in refused.err) == (1, True)
    assert Home.open(home).moot().datasets() == ()
    assert folkmoot("data", "add", tmp_path / "patients.db", "--records", 7).code == 0


def test_data_that_has_changed_is_not_granted_but_taken_up_anew(folkmoot: Folkmoot, home: Path, tmp_path: Path) -> None:
    mine = table(tmp_path / "mine.csv", "age,chol,sick")
    folkmoot("propose", tmp_path / "task.py", "--no-rehearsal")
    folkmoot("data", "add", mine)
    granted = ("grant", 1, 1, "--yes", "--no-rehearsal")
    assert folkmoot(*granted).code == 0
    assert folkmoot("data", "update", 1).err.count("there is nothing to take up") == 1
    table(mine, "age,chol,sick", rows=60)
    folkmoot("revoke", 1)
    refused = folkmoot(*granted)
    assert (refused.code, "folkmoot data update 1" in refused.err) == (1, True)

    moot = Home.open(home).moot()
    moot.grant(1, 1)
    updated = folkmoot("data", "update", 1)
    assert updated.code == 0, updated.err
    assert "dataset 2: 60 records" in updated.out
    assert "folkmoot grant 1 2" in updated.out
    assert moot.grant_of(1, 0) is None
    assert "does not know where dataset 1 lies" in folkmoot(*granted).err
    assert folkmoot("grant", 1, 2, "--yes", "--no-rehearsal").code == 0


def test_data_that_was_moved_is_linked_again_and_its_grants_go_on(
    folkmoot: Folkmoot, home: Path, tmp_path: Path
) -> None:
    mine = table(tmp_path / "mine.csv", "age,chol,sick")
    folkmoot("data", "add", mine)
    mine.rename(tmp_path / "moved.csv")
    table(tmp_path / "other.csv", "age,chol,sick", rows=50)
    assert "folkmoot data update 1" in folkmoot("data", "relink", 1, tmp_path / "other.csv").err
    linked = folkmoot("data", "relink", 1, tmp_path / "moved.csv")
    assert linked.code == 0, linked.err
    assert Home.open(home).data() == {1: str(tmp_path / "moved.csv")}
