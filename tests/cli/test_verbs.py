"""A moot made by hand with the verbs, as far as no running peer is needed."""

import json
from pathlib import Path

import pytest
from command_line import Folkmoot

TASK = '''
import numpy as np
import folkmoot as fm


class Mean:
    """Averages one number."""

    name = "mean"
    policy = fm.Policy(rounds=2, min_members=1, start_members=2)

    def init(self):
        return fm.State({"mean": np.zeros(1)})

    def schema(self, state):
        return {"mean": (1,)}

    def load(self, path):
        return float(open(path).read())

    def contribute(self, state, data, context):
        return fm.Contribution({"mean": np.array([data])}, 1)

    def update(self, state, aggregate):
        return fm.State({"mean": aggregate.arrays["mean"]}, state.round + 1, state.exponents)

    def metrics(self):
        return {}

    def evaluate(self, state, data):
        return {}


task = Mean()
'''


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "task.py").write_text(TASK)
    for name in ("ann", "bob"):
        (tmp_path / f"{name}.csv").write_text("1.5\n")
    return {name: tmp_path / name for name in ("ann", "bob", "task.py", "ledger.sqlite")}


@pytest.fixture
def moot(folkmoot: Folkmoot, places: dict[str, Path]) -> dict[str, Path]:
    """Ann founded a moot of two seats, Bob joined."""
    made = folkmoot(
        "new",
        "heart",
        "--seats",
        2,
        "--as",
        "ann",
        "--ledger",
        places["ledger.sqlite"],
        "--home",
        places["ann"],
        "--json",
    )
    assert made.code == 0, made.err
    joined = folkmoot("join", json.loads(made.out)["ticket"], "--as", "bob", "--home", places["bob"], "--json")
    assert joined.code == 0, joined.err
    assert json.loads(joined.out)["member"] == 2
    return places


def test_founding_prints_a_ticket_and_the_next_step(folkmoot: Folkmoot, tmp_path: Path) -> None:
    made = folkmoot("new", "heart", "--as", "ann")
    assert made.code == 0
    (ticket,) = [line for line in made.out.splitlines() if line.startswith("moot1")]
    assert "folkmoot join TICKET" in made.out
    assert (tmp_path / "home" / "ledger.sqlite").exists()
    joined = folkmoot("join", ticket, "--as", "bob", "--home", tmp_path / "bob")
    assert "its member 2" in joined.out
    again = folkmoot("new", "heart", "--as", "ann")
    assert again.code == 1
    assert "--home" in again.err


def test_a_mistyped_ticket_is_refused(folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path) -> None:
    bad = folkmoot("join", "moot1abc", "--as", "eve", "--home", tmp_path / "eve")
    assert (bad.code, bad.err.count("\n")) == (1, 1)
    assert "copy the whole line again" in bad.err


def test_members_list_each_other_with_bound_keys(folkmoot: Folkmoot, moot: dict[str, Path]) -> None:
    listed = json.loads(folkmoot("members", "--home", moot["bob"], "--json").out)
    assert [member["name"] for member in listed] == ["ann", "bob"]
    shown = folkmoot("id", "--home", moot["bob"], "--json")
    assert json.loads(shown.out)["endpoint"] == listed[1]["endpoint"]
    assert "NOT BOUND" not in folkmoot("members", "--home", moot["bob"]).out


def test_a_third_member_needs_more_than_half_of_the_votes(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path
) -> None:
    first = json.loads(folkmoot("invite", "--home", moot["ann"], "--json").out)
    assert first["admits"] is False
    refused = folkmoot("join", first["ticket"], "--as", "cat", "--home", tmp_path / "cat")
    assert "voucher is not usable" in refused.err
    second = json.loads(folkmoot("invite", first["ticket"], "--home", moot["bob"], "--json").out)
    assert second == {"ticket": first["ticket"], "admits": True}
    assert folkmoot("join", first["ticket"], "--as", "cat", "--home", tmp_path / "cat").code == 0


def test_a_lost_folder_comes_back_from_the_words(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = json.loads(folkmoot("backup", "--home", moot["bob"], "--json").out)["words"]
    file = tmp_path / "bob-backup.json"
    assert folkmoot("backup", "--home", moot["bob"], "--file", file).code == 0
    address = json.loads(folkmoot("id", "--home", moot["bob"], "--json").out)["account"]

    restored = folkmoot("restore", "--file", file, "--home", tmp_path / "from-file")
    assert address in restored.out
    shown = folkmoot("backup", "--home", moot["bob"]).out
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO(shown))
    assert address in folkmoot("restore", "--home", tmp_path / "from-words").out
    assert all(word in shown for word in words.split())

    ticket = json.loads(folkmoot("invite", "--home", moot["ann"], "--json").out)["ticket"]
    back = folkmoot("join", ticket, "--as", "bob", "--home", tmp_path / "from-words", "--json")
    assert json.loads(back.out)["member"] == 2


def test_data_stay_and_their_path_is_told_to_nobody(folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path) -> None:
    added = json.loads(folkmoot("data", "add", tmp_path / "ann.csv", "--home", moot["ann"], "--json").out)
    assert (added["dataset"], added["records"]) == (1, 1)
    (seen_by_bob,) = json.loads(folkmoot("data", "list", "--home", moot["bob"], "--json").out)
    assert seen_by_bob["path"] is None
    (seen_by_ann,) = json.loads(folkmoot("data", "list", "--home", moot["ann"], "--json").out)
    assert seen_by_ann["path"] == str(tmp_path / "ann.csv")
    assert b"ann.csv" not in moot["ledger.sqlite"].read_bytes()


def test_records_are_counted_to_two_digits(folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "many.csv").write_text("1\n" * 1_296 + "\n\n")
    auto = folkmoot("data", "add", tmp_path / "many.csv", "--home", moot["ann"], "--json")
    assert json.loads(auto.out)["records"] == 1_300
    told = folkmoot("data", "add", tmp_path / "many.csv", "--records", 5, "--home", moot["ann"], "--json")
    assert json.loads(told.out)["records"] == 5
    assert folkmoot("data", "add", tmp_path / "many.csv", "--records", "-3", "--home", moot["ann"]).code == 2
    folder = folkmoot("data", "add", tmp_path, "--home", moot["ann"])
    assert "--records N" in folder.err


def test_data_that_the_task_cannot_read_are_found_out_before_they_are_described(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("63,1,145,xx\n")
    heart = Path(__file__).parents[2] / "src" / "folkmoot" / "data" / "tasks" / "heart.py"
    ran = folkmoot("data", "add", bad, "--task", heart, "--home", moot["ann"])
    assert ran.code == 1
    assert f"{bad}, line 1" in ran.err
    assert json.loads(folkmoot("data", "list", "--home", moot["ann"], "--json").out) == []


def test_a_task_is_proposed_reviewed_granted_and_revoked(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path
) -> None:
    proposed = json.loads(folkmoot("propose", moot["task.py"], "--home", moot["ann"], "--json").out)
    assert (proposed["task"], proposed["rounds"]) == (1, 2)
    reviewed = folkmoot("review", 1, "--home", moot["ann"])
    assert TASK.strip() in reviewed.out
    assert proposed["bundle"] in reviewed.out
    not_here = folkmoot("review", 1, "--home", moot["bob"])
    assert "folkmoot run" in not_here.err

    folkmoot("data", "add", tmp_path / "ann.csv", "--home", moot["ann"])
    folkmoot("data", "add", tmp_path / "bob.csv", "--home", moot["bob"])
    foreign = folkmoot("grant", 1, 1, "--home", moot["bob"])
    assert "folkmoot data list" in foreign.err
    granted = folkmoot("grant", 1, 1, "--home", moot["ann"])
    assert "1 of the 2 grants" in granted.out
    (listed,) = json.loads(folkmoot("tasks", "--home", moot["bob"], "--json").out)
    assert (listed["granted_by"], listed["round"], listed["phase"]) == (["ann"], 0, "proposed")
    assert folkmoot("revoke", 1, "--home", moot["ann"]).code == 0
    (listed,) = json.loads(folkmoot("tasks", "--home", moot["bob"], "--json").out)
    assert listed["granted_by"] == []
    assert "no grant" in folkmoot("revoke", 1, "--home", moot["ann"]).err


def test_what_is_not_there_is_said(folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path) -> None:
    assert "no task 7" in folkmoot("review", 7, "--home", moot["ann"]).err
    assert "no task 7" in folkmoot("log", 7, "--home", moot["ann"]).err
    folkmoot("propose", moot["task.py"], "--home", moot["ann"])
    export = folkmoot("export", 1, "-o", tmp_path / "m.safetensors", "--home", moot["ann"])
    assert "task 1 has no model yet: no round of it is final" in export.err
    assert folkmoot("log", 1, "--home", moot["ann"], "--json").out.strip() == "[]"


def test_a_task_that_raises_is_refused_with_its_line(folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import folkmoot as fm\n1 / 0\n")
    ran = folkmoot("propose", tmp_path / "broken.py", "--home", moot["ann"])
    assert ran.code == 1
    assert "line 2" in ran.err
    assert "ZeroDivisionError" in ran.err


def test_escape_sequences_in_reviewed_code_are_shown_and_not_obeyed(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "sly.py").write_text(TASK + "# \x1b[2K\x1b[1A hidden\n")
    folkmoot("propose", tmp_path / "sly.py", "--home", moot["ann"])
    out = folkmoot("review", 1, "--home", moot["ann"]).out
    assert "\x1b" not in out
    assert "\\x1b[2K" in out


def test_a_peer_that_never_ran_says_so(folkmoot: Folkmoot, moot: dict[str, Path]) -> None:
    assert "folkmoot run" in folkmoot("status", "--home", moot["ann"]).out
    assert folkmoot("status", "--home", moot["ann"], "--json").out.strip() == "null"


GUARDED = """
import folkmoot as fm

task = fm.LogisticTask(
    name="guarded",
    load=lambda path: None,
    features=3,
    standardise=False,
    policy=fm.Policy({policy}),
)
"""


def guarded(folder: Path, policy: str) -> Path:
    path = folder / "guarded.py"
    path.write_text(GUARDED.replace("{policy}", policy))
    return path


def test_whoever_proposes_sees_what_the_policy_promises_and_costs_before_anyone_agrees(
    folkmoot: Folkmoot, tmp_path: Path
) -> None:
    home = tmp_path / "ann"
    folkmoot("new", "large", "--seats", 12, "--as", "ann", "--home", home)
    plain = folkmoot("propose", guarded(tmp_path, "min_members=1"), "--home", home).out
    assert "Members see each other's contributions." in plain
    assert "differential privacy: none" in plain
    policy = 'min_members=12, secrecy="sums", robust="trimmed-mean", faults=1, clip=1.0, rounds=10, epsilon=8.0'
    secret = folkmoot("propose", guarded(tmp_path, policy), "--home", home).out
    assert "the sums of groups of 4 or more" in secret
    assert "at least 3 honest members" in secret
    assert "withstands 1 lying members" in secret
    epsilon = float(secret.partition("cost an epsilon of ")[2].partition(",")[0])
    assert 7.5 < epsilon <= 8.0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ('secrecy="sums", robust="median", faults=1, clip=1.0, min_members=8', "so 12 members"),
        ('robust="krum", faults=1, min_members=4', "among 5 or more"),
        ('secrecy="sums", min_members=2', "a sum of fewer than 3 is no secret"),
        ("min_members=5", "needs 5 contributions in each round, and the moot has 2 members or seats"),
        ('robust="median", faults=1, min_members=3, start_members=3', "and the moot has 2 members or seats"),
        ("min_members=1, epsilon=1.0", "needs secrecy='sums'"),
    ],
)
def test_what_the_moot_cannot_deliver_is_refused_when_proposed_with_the_arithmetic(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path, policy: str, words: str
) -> None:
    ran = folkmoot("propose", guarded(tmp_path, policy), "--home", moot["ann"])
    assert ran.code == 1
    assert words in ran.err
    assert "[]" in folkmoot("tasks", "--home", moot["ann"], "--json").out


def test_a_grant_may_limit_what_is_spent_of_a_datasets_privacy(
    folkmoot: Folkmoot, moot: dict[str, Path], tmp_path: Path
) -> None:
    folkmoot("propose", moot["task.py"], "--home", moot["ann"])
    folkmoot("data", "add", tmp_path / "ann.csv", "--home", moot["ann"])
    assert folkmoot("grant", 1, 1, "--epsilon", 0, "--home", moot["ann"]).code == 1
    granted = folkmoot("grant", 1, 1, "--epsilon", 2.5, "--home", moot["ann"])
    assert "at most an epsilon of 2.5" in granted.out
    assert "has never run" in folkmoot("privacy", "--home", moot["ann"]).err
