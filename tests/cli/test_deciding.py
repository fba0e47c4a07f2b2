"""The verbs by which members decide together and consent, on the embedded ledger, without running peers."""

import json
from pathlib import Path

import pytest
from command_line import Folkmoot
from test_verbs import TASK

NAMES = ["ann", "bob", "cid"]


@pytest.fixture
def homes(folkmoot: Folkmoot, tmp_path: Path) -> dict[str, Path]:
    """Three members; the first founded the moot."""
    homes = {name: tmp_path / name for name in NAMES}
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "data.csv").write_text("1.5\n2\n")
    ledger = tmp_path / "ledger.sqlite"
    made = folkmoot("new", "m", "--seats", 3, "--as", "ann", "--ledger", ledger, "--home", homes["ann"], "--json")
    for name in NAMES[1:]:
        folkmoot("join", json.loads(made.out)["ticket"], "--as", name, "--home", homes[name])
    return homes


def test_a_task_is_adopted_by_more_than_half_and_a_grant_is_a_vote_for_it(
    folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path
) -> None:
    folkmoot("propose", tmp_path / "task.py", "--home", homes["ann"])
    listed = folkmoot("tasks", "--home", homes["bob"])
    assert "proposed" in listed.out
    folkmoot("data", "add", tmp_path / "data.csv", "--home", homes["bob"])
    granted = folkmoot("grant", 1, 1, "--no-rehearsal", "--home", homes["bob"])
    assert granted.code == 0, granted.err
    assert "you have not read this code here" in granted.err
    shown = json.loads(folkmoot("motions", "--all", "--json", "--home", homes["cid"]).out)
    (motion,) = shown["motions"]
    assert (motion["asks"], motion["state"], motion["for"]) == ("adopt task 1", "enacted", ["ann", "bob"])
    assert folkmoot("motions", "--home", homes["cid"]).out.count("adopt") == 0  # nothing is pending
    again = folkmoot("vote", 1, "--home", homes["cid"])
    assert again.out == "motion 1, to adopt task 1: enacted\n"


def test_who_votes_against_is_counted_and_nobody_votes_twice(folkmoot: Folkmoot, homes: dict[str, Path]) -> None:
    moved = folkmoot("move", "remove", "cid", "--because", "never there", "--home", homes["ann"])
    assert moved.out.startswith("motion 1, to remove cid: open\n1 of 3 are for it; it passes with more than 66%\n")
    assert folkmoot("vote", 1, "--against", "--home", homes["cid"]).code == 0
    shown = json.loads(folkmoot("motions", "--json", "--home", homes["ann"]).out)["motions"][0]
    assert (shown["against"], shown["reasons"]) == (["cid"], "never there")
    assert "are not here yet" in folkmoot("motions", "--home", homes["bob"]).out
    twice = folkmoot("vote", 1, "--home", homes["cid"])
    assert (twice.code, twice.err) == (1, "folkmoot: the contract refused: already voted\n")
    early = folkmoot("enact", 1, "--home", homes["bob"])
    assert (early.code, early.err) == (1, "folkmoot: motion 1 has not passed: see folkmoot motions\n")
    assert folkmoot("vote", 7, "--home", homes["bob"]).err == "folkmoot: the moot has no motion 7\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("remove", "zoe"), "the moot has no member 'zoe'; its members are 1 ann, 2 bob, 3 cid"),
        (("remove", "0"), "the moot has no member '0'; its members are 1 ann, 2 bob, 3 cid"),
        (("pause", 9), "the moot has no task 9"),
        (("rekey", "bob", "0x12"), "'0x12' is not an address: 0x and 40 hex digits"),
        (
            ("rules", "--ordinary", 30),
            "percents go from 50 to 99, the grave one no smaller; the window from 10 s to 90",
        ),
    ],
)
def test_a_motion_that_could_never_be_is_not_moved(
    folkmoot: Folkmoot, homes: dict[str, Path], words: tuple[object, ...], said: str
) -> None:
    refused = folkmoot("move", *words, "--home", homes["ann"])
    assert refused.code == 1
    assert refused.err.startswith(f"folkmoot: {said}")
    assert json.loads(folkmoot("motions", "--all", "--json", "--home", homes["ann"]).out)["motions"] == []


def test_the_rules_and_the_limits_are_the_members_to_change(
    folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path
) -> None:
    folkmoot("move", "limits", "--min-members", 2, "--secret", "--home", homes["ann"])
    assert folkmoot("vote", 1, "--home", homes["bob"]).out.endswith("enacted\n")
    refused = folkmoot("propose", tmp_path / "task.py", "--home", homes["ann"])
    assert "the contract refused: fewer members than the moot allows" in refused.err
    folkmoot("move", "rules", "--ordinary", 60, "--home", homes["ann"])
    folkmoot("vote", 2, "--home", homes["bob"])
    assert folkmoot("vote", 2, "--home", homes["cid"]).out.endswith("enacted\n")
    assert json.loads(folkmoot("motions", "--json", "--home", homes["ann"]).out)["rules"]["ordinary"] == 60
    folkmoot("move", "weigh", "ann", 5, "--home", homes["bob"])
    folkmoot("vote", 3, "--home", homes["ann"])
    folkmoot("vote", 3, "--home", homes["cid"])
    heavy = folkmoot("move", "limits", "--home", homes["ann"])
    assert heavy.out.startswith("motion 4, to allow only tasks with at least 0 members in each round: enacted\n")


def test_a_dataset_is_described_by_hashes_and_a_grant_may_end_by_itself(
    folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "schema.json").write_text('{"x": "float64"}')
    (tmp_path / "terms.txt").write_text("research only")
    options = ("--schema", tmp_path / "schema.json", "--terms", tmp_path / "terms.txt")
    described = folkmoot("data", "add", tmp_path / "data.csv", *options, "--json", "--home", homes["ann"])
    told = json.loads(described.out)
    kept = {path.stem for path in (homes["ann"] / "cards").iterdir()}
    assert {told["schema"], told["conditions"], told["card"]} == kept
    folkmoot("propose", tmp_path / "task.py", "--home", homes["ann"])
    past = folkmoot("grant", 1, 1, "--no-rehearsal", "--until", "2020-01-01", "--home", homes["ann"])
    assert past.err.endswith("folkmoot: the contract refused: until out of bounds\n")
    options = ("--until", "2099-12-31", "--max-rounds", 2, "--no-rehearsal")
    ended = folkmoot("grant", 1, 1, *options, "--home", homes["ann"])
    assert ended.code == 0, ended.err


def test_daily_keys_are_put_into_use_and_taken_back(folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path) -> None:
    delegated = folkmoot("delegate", tmp_path / "daily", "--home", homes["bob"])
    assert delegated.code == 0, delegated.err
    assert "delegated" in folkmoot("members", "--home", homes["ann"]).out
    refused = folkmoot("move", "remove", "cid", "--home", tmp_path / "daily")
    assert refused.err == "folkmoot: the contract refused: only the main account may\n"
    assert folkmoot("delegate", "--back", "--home", homes["bob"]).code == 0
    assert "delegated" not in folkmoot("members", "--home", homes["ann"]).out
    neither = folkmoot("delegate", "--home", homes["bob"])
    assert neither.err == "folkmoot: name the folder of the daily keys, or give --back\n"


def test_where_transactions_are_free_nobody_needs_a_sponsor(folkmoot: Folkmoot, homes: dict[str, Path]) -> None:
    account = "0x" + "12" * 20
    free = folkmoot("sponsor", account, "0.5", "--home", homes["ann"])
    assert free.err == "folkmoot: this chain has no coins, and needs none\n"
    for wrong in (("0x12", "1"), (account, "much"), (account, "-1"), (account, "nan")):
        assert folkmoot("sponsor", "--home", homes["ann"], "--", *wrong).code == 1


def test_a_ticket_is_for_one_chain(folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path) -> None:
    made = folkmoot(
        "new", "other", "--as", "ann", "--ledger", tmp_path / "other.sqlite", "--home", tmp_path / "o", "--json"
    )
    ticket, ledger = json.loads(made.out)["ticket"], tmp_path / "ledger.sqlite"
    refused = folkmoot("join", ticket, "--as", "dan", "--ledger", ledger, "--home", tmp_path / "dan")
    assert refused.code == 1
    assert "and the ticket is for chain" in refused.err


def test_a_moot_that_has_not_moved_cannot_be_followed(folkmoot: Folkmoot, homes: dict[str, Path]) -> None:
    refused = folkmoot("follow", "--home", homes["bob"])
    assert refused.err == "folkmoot: the moot has not moved; see folkmoot motions\n"


def test_a_move_to_a_hosted_chain_says_how_its_host_is_run_and_an_unclear_one_is_refused(
    folkmoot: Folkmoot, homes: dict[str, Path], tmp_path: Path
) -> None:
    for words in ((), (tmp_path / "next.sqlite", "--hosted")):
        refused = folkmoot("move", "migrate", *words, "--home", homes["ann"])
        assert refused.code == 2
        assert "name a ledger, or give --hosted" in refused.err
    refused = folkmoot("move", "migrate", tmp_path / "next.sqlite", "--listen", "127.0.0.1:0", "--home", homes["ann"])
    assert "--listen goes with --hosted" in refused.err
    moved = json.loads(folkmoot("move", "migrate", "--hosted", "--json", "--home", homes["ann"]).out)
    assert moved["state"] == "open"
    assert Path(moved["host_home"]).parent == homes["ann"]
    shown = json.loads(folkmoot("host", "show", "--json", "--home", moved["host_home"]).out)
    assert shown["host"] == "ann"
    said = folkmoot("move", "migrate", "--hosted", "--listen", "127.0.0.1:0", "--home", homes["ann"]).out
    assert "Before they can vote, and until all have followed: folkmoot run --home" in said
    elsewhere = folkmoot("move", "migrate", shown["url"], "--home", homes["ann"])
    assert "with --hosted instead, a peer of yours hosts a new one" in elsewhere.err
