"""The verbs of a hosted chain, as far as no running peer is needed."""

import json
from pathlib import Path

import pytest
from command_line import Folkmoot


@pytest.fixture
def home(folkmoot: Folkmoot, tmp_path: Path) -> Path:
    """Ann's, who founded a moot and hosts its chain."""
    made = folkmoot("new", "heart", "--hosted", "--seats", 3, "--as", "ann", "--home", tmp_path / "ann", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["ledger"].startswith("host:")
    return tmp_path / "ann"


def test_founding_a_hosted_moot_fixes_where_it_is_to_be_reached(folkmoot: Folkmoot, home: Path) -> None:
    config = json.loads((home / "config.json").read_text())
    assert config["ledger"].endswith(config["bind"])
    assert not config["bind"].endswith(":0")
    assert (home / "ledger.sqlite").exists()


def test_founding_says_that_the_peer_must_run(folkmoot: Folkmoot, tmp_path: Path) -> None:
    said = folkmoot("new", "heart", "--hosted", "--as", "ann", "--home", tmp_path / "ann")
    assert "folkmoot run" in said.out
    both = folkmoot("new", "heart", "--hosted", "--ledger", tmp_path / "x", "--as", "ann", "--home", tmp_path / "bob")
    assert both.code == 2


def test_founding_and_joining_say_where_the_peer_listens_and_a_firewall_is_told_of(
    folkmoot: Folkmoot, tmp_path: Path
) -> None:
    founded = folkmoot("new", "heart", "--ledger", tmp_path / "x", "--as", "ann", "--home", tmp_path / "ann", "--json")
    made = json.loads(founded.out)
    assert made["listen"] == "127.0.0.1:4100+"
    joined = folkmoot("join", made["ticket"], "--as", "bob", "--home", tmp_path / "bob", "--listen", "0.0.0.0:4100")
    assert "listens on UDP port 4100 of all addresses of this machine: let that through your firewall" in joined.out
    also = folkmoot("new", "b", "--ledger", tmp_path / "y", "--as", "ann", "--home", tmp_path / "other")
    assert "listens on UDP port 4100, or the next free one, of 127.0.0.1: only this machine reaches it" in also.out
    wrong = folkmoot("join", made["ticket"], "--as", "cy", "--home", tmp_path / "cy", "--listen", "4100")
    assert "'4100' is no address to listen on" in wrong.err
    assert not (tmp_path / "cy" / "config.json").exists()


def test_the_host_is_shown(folkmoot: Folkmoot, home: Path) -> None:
    shown = json.loads(folkmoot("host", "show", "--home", home, "--json").out)
    assert (shown["host"], shown["term"], shown["first_block"]) == ("ann", 0, 1)
    assert (shown["needed"], shown["wanted"], shown["held"], shown["trouble"]) == (1, {}, False, None)
    said = folkmoot("host", "show", "--home", home).out
    assert "ann, term 0, from block 1 on" in said
    assert shown["newest"] in said


def test_commands_of_the_host_need_no_running_peer(folkmoot: Folkmoot, home: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1\n")
    assert folkmoot("data", "add", tmp_path / "data.csv", "--home", home).code == 0
    assert folkmoot("verify", "--home", home).code == 1  # no blobs yet, and that is what it says
    assert folkmoot("members", "--home", home).code == 0


def test_a_vote_names_a_member_and_can_be_taken_back(folkmoot: Folkmoot, home: Path) -> None:
    assert "the moot has no member 'bob'" in folkmoot("host", "move", "bob", "--home", home).err
    assert "who hosts the chain" in folkmoot("host", "move", "ann", "--home", home).out
    assert json.loads(folkmoot("host", "move", "1", "--home", home, "--json").out)["missing"] == 0


def test_who_cannot_reach_the_host_is_told_where_it_was_looked_for(
    folkmoot: Folkmoot, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from folkmoot.peer import guest

    monkeypatch.setattr(guest, "SECONDS", 0.5)
    made = json.loads(folkmoot("new", "x", "--hosted", "--as", "ann", "--home", tmp_path / "other", "--json").out)
    joined = folkmoot("join", made["ticket"], "--as", "bob", "--home", tmp_path / "bob")
    assert joined.code == 1
    assert "the host of the chain at 127.0.0.1:" in joined.err
    assert "cannot be reached" in joined.err


def test_an_embedded_chain_has_no_host(folkmoot: Folkmoot, tmp_path: Path) -> None:
    folkmoot("new", "heart", "--as", "ann", "--home", tmp_path / "ann")
    assert "nobody hosts this moot's chain" in folkmoot("host", "show", "--home", tmp_path / "ann").err
