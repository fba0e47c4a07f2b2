"""What a newcomer reads first: names and numbers as people count, and the next step before it is too late for it."""

import json
import re
from pathlib import Path

import handmade
import pytest
from command_line import Folkmoot

HASH = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> handmade.HandMade:
    """Anna, bert, carl and dora made three rounds of task 1; see ``handmade.story``."""
    return handmade.story(tmp_path_factory.mktemp("first-sight"))


def test_members_are_numbered_from_one_wherever_a_number_is_shown_or_typed(
    folkmoot: Folkmoot, made: handmade.HandMade
) -> None:
    home = made.homes[0].path
    rows = folkmoot("members", "--home", home).out.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["1", "anna"], ["2", "bert"], ["3", "carl"], ["4", "dora"]]
    told = folkmoot("log", "--home", home).out
    assert "anna joins as member 1" in told
    assert "member 0" not in told
    assert "attempt 0" not in told
    assert "remove bert" in folkmoot("move", "remove", "2", "--home", home).out
    assert "without dora" in folkmoot("unlearn", "4", 1, "--home", home).out


def test_show_tells_the_last_round_unless_all_are_asked_for(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[0].path

    def rounds(*words: object) -> list[str]:
        table = folkmoot("show", 1, *words, "--home", home).out.rpartition("task  round  attempt")[2]
        return sorted({row.split()[1] for row in table.splitlines()[1:] if row.startswith("   1")})

    assert rounds() == ["3"]
    assert rounds(2) == ["2"]
    assert rounds("--all") == ["1", "2", "3"]
    assert "proposed by anna" in folkmoot("show", 1, "--home", home).out


def test_who_has_never_run_a_peer_sees_how_a_model_came_to_be(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[1].path
    assert not (home / "blobs").exists()
    assert "task 1, round 3" in folkmoot("show", 1, "--home", home).out


def test_a_task_without_a_model_says_so(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[0].path
    folkmoot("propose", made.local.folder / "task.py", "--home", home)
    newest = json.loads(folkmoot("tasks", "--json", "--home", home).out)[-1]["task"]
    assert f"task {newest} has no model yet" in folkmoot("show", newest, "--home", home).err
    assert "task 1 has no model of round 9: its last final round is 3" in folkmoot("show", 1, 9, "--home", home).err


def test_hashes_are_short_for_people_and_whole_for_programs(folkmoot: Folkmoot, made: handmade.HandMade) -> None:
    home = made.homes[0].path
    for verb in (("data", "list"), ("tasks",), ("log", 1), ("motions", "--all"), ("log",)):
        assert not HASH.search(folkmoot(*verb, "--home", home).out), verb
    cards = [row["card"] for row in json.loads(folkmoot("data", "list", "--json", "--home", home).out)]
    assert all(HASH.fullmatch(card) for card in cards)


def test_reading_the_code_is_suggested_before_consent(folkmoot: Folkmoot, tmp_path: Path) -> None:
    home, data = tmp_path / "ann", tmp_path / "data.csv"
    data.write_text("1.5\n")
    ticket = json.loads(folkmoot("new", "moot", "--as", "ann", "--home", home, "--json").out)["ticket"]
    joined = folkmoot("join", ticket, "--as", "bob", "--home", tmp_path / "bob").out
    assert joined.startswith("joined 'moot' as 'bob', its member 2\n")
    assert joined.index("folkmoot run") < joined.index("folkmoot data add") < joined.index("folkmoot review")
    assert "%" not in joined
    told = folkmoot("data", "add", data, "--home", home).out
    assert told.index("folkmoot review") < told.index("folkmoot grant")
    (tmp_path / "task.py").write_text(handmade.TASK)
    proposed = folkmoot("propose", tmp_path / "task.py", "--home", home).out
    assert proposed.index("folkmoot review 1") < proposed.index("folkmoot grant 1")
    assert "folkmoot review 1" in folkmoot("tasks", "--home", home).out
    granted = folkmoot("grant", 1, 1, "--no-rehearsal", "--home", home)
    assert "folkmoot review 1" in granted.err
    assert "folkmoot review" not in granted.out
    assert "folkmoot review" not in folkmoot("tasks", "--home", home).out
