"""What the author of a task meets: check, and the rehearsals before a task is proposed or a dataset described."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Folkmoot

from folkmoot.peer.home import Home
from folkmoot.peer.journal import Journal, overrides
from folkmoot.peer.ownbook import own_record, record_override

TASK = """
import numpy as np
import folkmoot as fm


def load(path):
    table = np.genfromtxt(path, delimiter=",", skip_header=1)
    if len(table) > 4:
        raise RuntimeError("more than I can take")
    return (table[:, :2], table[:, 2]), (table[:2, :2], table[:2, 2])


task = fm.LogisticTask(
    name="small", load=load, features=2, metrics={"accuracy": fm.metrics.accuracy},
    policy=fm.Policy(rounds=2, min_members=1, start_members=1),
)
"""
GOOD = "a,b,label\n1,2,0\n2,1,1\n1,3,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "nan.csv").write_text("a,b,label\n1,2,nan\n2,1,nan\n1,3,nan\n")
    (tmp_path / "much.csv").write_text(GOOD + "1,1,1\n2,2,0\n")
    return tmp_path


@pytest.fixture
def home(folkmoot: Folkmoot, folder: Path) -> Home:
    assert folkmoot("new", "heart", "--as", "ann").code == 0
    return Home.open(folder / "home")


def test_check_tells_each_member_whether_its_data_would_train(folkmoot: Folkmoot, folder: Path) -> None:
    ran = folkmoot(
        "check", folder / "task.py", *(w for n in ("good", "nan", "much") for w in ("--data", folder / f"{n}.csv"))
    )
    assert ran.code == 1
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line.startswith(str(folder))}
    assert lines[str(folder / "good.csv")].rstrip().endswith("ok")
    assert "bytes" in lines[str(folder / "good.csv")]
    assert f"{folder / 'much.csv'}, at load: The task failed in load (task.py, line 9): RuntimeError: more" in ran.out
    assert f"{folder / 'nan.csv'}, at round 1: contribute: " in ran.out
    alone = folkmoot("check", folder / "task.py", "--data", folder / "good.csv", "--json")
    told = json.loads(alone.out)
    assert (alone.code, told["ok"], told["name"], told["refused"]) == (0, True, "small", None)
    assert told["data"][0]["training_seconds"] > 0
    assert set(told["metrics"]) == {"accuracy"}


def test_check_uses_the_sample_that_the_task_ships_or_says_that_it_had_none(folkmoot: Folkmoot, folder: Path) -> None:
    bare = folkmoot("check", folder / "task.py")
    assert (bare.code, "rehearsed without data, on zeros" in bare.out) == (0, True)
    shipped = folder / "shipped"
    shipped.mkdir()
    (shipped / "task.py").write_text(TASK)
    (shipped / "sample.csv").write_text(GOOD)
    assert "the task's sample" in folkmoot("check", shipped).out
    (shipped / "sample.csv").write_text(GOOD + GOOD)
    assert folkmoot("check", shipped).code == 1


def test_a_task_that_cannot_train_is_neither_proposed_nor_described(
    folkmoot: Folkmoot, home: Home, folder: Path
) -> None:
    for words in (("propose", folder / "task.py", "--data"), ("data", "add", "--task", folder / "task.py")):
        refused = folkmoot(*words, folder / "nan.csv")
        assert refused.code == 1
        assert f"folkmoot: the rehearsal on {folder / 'nan.csv'} failed at round 1: contribute: " in refused.err
    assert (home.moot().tasks(), home.moot().datasets()) == ((), ())
    assert folkmoot("data", "add", folder / "good.csv", "--task", folder / "task.py").code == 0
    proposed = folkmoot("propose", folder / "task.py", "--data", folder / "good.csv")
    assert (proposed.code, "rehearsed on" in proposed.out) == (0, True)


def test_a_task_that_waits_for_more_members_than_the_moot_has_seats_is_not_proposed(
    folkmoot: Folkmoot, folder: Path, home: Home
) -> None:
    seats = home.moot().about().seats
    for start, code in ((seats + 2, 1), (seats, 0)):
        (folder / "task.py").write_text(TASK.replace("start_members=1", f"start_members={start}"))
        proposed = folkmoot("propose", folder / "task.py")
        assert proposed.code == code
        assert ("admit 2 more members first" in proposed.err) is bool(code)
    assert len(home.moot().tasks()) == 1


def test_a_member_that_would_fail_learns_it_before_its_consent_counts(
    folkmoot: Folkmoot, home: Home, folder: Path
) -> None:
    assert folkmoot("propose", folder / "task.py").code == 0
    assert folkmoot("data", "add", folder / "much.csv").code == 0
    refused = folkmoot("grant", 1, 1)
    assert (refused.code, "RuntimeError: more than I can take" in refused.err) == (1, True)
    assert home.moot().task(1).granted == 0
    granted = folkmoot("grant", 1, 1, "--no-rehearsal")
    assert (granted.code, "not rehearsed, as --no-rehearsal says" in granted.err) == (0, True)
    once = ("rehearsal", "grant 1 1 --no-rehearsal")
    assert not home.journal.exists()
    assert [(override.what, override.how) for override in overrides(home)] == [once]
    Journal(home.journal).close()
    record_override(home, *once)
    assert [(told["what"], told["how"]) for told in own_record(home)["overrides"]] == [once, once]


def test_an_authors_error_is_the_authors_and_debug_shows_the_authors_traceback(
    folkmoot: Folkmoot, home: Home, folder: Path
) -> None:
    (folder / "task.py").write_text(TASK.replace("task = ", "class Own(fm.LogisticTask):\n    def init(self):\n"
        "        return self.wieghts\n\n\ntask = ").replace("fm.LogisticTask(\n", "Own(\n"))  # fmt: skip
    for words in (("propose",), ("propose", "--no-rehearsal"), ("check",)):
        ran = folkmoot(*words, folder / "task.py")
        assert ran.code == 1
        assert "failed in init (task.py, line 15): AttributeError: 'Own' object has no attribute 'wieghts'" in (
            ran.err + ran.out
        )
        assert "this is a bug" not in ran.err
    own = subprocess.run(
        [sys.executable, "-m", "folkmoot", "propose", folder / "task.py", "--debug"], capture_output=True, text=True
    )
    shown = folkmoot("check", folder / "task.py", "--debug")
    for text in (own.stderr, shown.out):
        assert 'task.py", line 15, in init\n    return self.wieghts' in text


def test_check_names_the_column_in_which_a_members_data_differs_from_the_first(
    folkmoot: Folkmoot, folder: Path
) -> None:
    (folder / "turned.csv").write_text(GOOD.replace("a,b,", "b,a,"))
    ran = folkmoot("check", folder / "task.py", "--data", folder / "good.csv", "--data", folder / "turned.csv")
    assert (ran.code, "column 1 is 'b' here, 'a' in the task" in ran.out) == (1, True)
