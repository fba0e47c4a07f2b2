"""The sandbox as people meet it: the option to do without, the status, and the demo where there is none."""

import json
import os
from pathlib import Path

import pytest
from command_line import Folkmoot

from folkmoot.cli.demo_peers import Peers
from folkmoot.peer import daemon
from folkmoot.peer.home import Home
from folkmoot.peer.sandbox import VARIABLE, Choice, choose
from folkmoot.peer.status import Complaint, Failure, PeerStatus, TaskStatus, write_status


@pytest.fixture
def home(folkmoot: Folkmoot, tmp_path: Path) -> Home:
    assert folkmoot("new", "heart", "--as", "ann").code == 0
    return Home.open(tmp_path / "home")


def test_who_runs_without_a_sandbox_says_so_on_the_command_line(
    folkmoot: Folkmoot, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[Choice] = []
    monkeypatch.setattr(daemon, "run", lambda home, *_: chosen.append(choose(home.config)))
    monkeypatch.setenv(VARIABLE, "bubblewrap")
    for options in ((), ("--no-sandbox",)):
        assert folkmoot("run", *options).code == 0
    assert [choice.kind for choice in chosen] == ["bubblewrap", "none"]
    assert "--no-sandbox" in chosen[1].by


def test_the_status_shows_that_there_is_none(folkmoot: Folkmoot, home: Home) -> None:
    write_status(home, PeerStatus(name="ann", pid=os.getpid(), state="idle", sandbox="none"))
    assert "the code of others runs without a sandbox here" in folkmoot("status").out
    assert json.loads(folkmoot("status", "--json").out)["sandbox"] == "none"
    write_status(home, PeerStatus(name="ann", pid=os.getpid(), state="idle", sandbox="bubblewrap"))
    assert "without a sandbox" not in folkmoot("status").out


def test_what_a_task_calls_itself_cannot_spoil_the_table(folkmoot: Folkmoot, home: Home) -> None:
    task = TaskStatus(task=1, name="[/red]", phase="failed", metrics={"[/x]": [(1, 0.5)]})
    task.failure = Failure(kind="task", step="train", text="[bold]", since=1.0, last=2.0)
    said = [Complaint(kind="member", text="[/]", since=1.0, last=2.0)]
    write_status(home, PeerStatus(name="ann", pid=os.getpid(), state="idle", tasks=[task], errors=said))
    shown = folkmoot("status")
    assert (shown.code, shown.err) == (0, "")
    assert all(text in shown.out for text in ("[/red]", "[bold]", "[/x]", "[/]"))


def test_the_demo_does_without_where_no_sandbox_can_be_made_and_knows_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = Peers({})
    assert peers.no_sandbox == "bubblewrap (bwrap) is not installed here"
    assert peers._environment[VARIABLE] == "none"
