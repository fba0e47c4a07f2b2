"""The verbs about bounties, where no peer needs to run: set aside, shown, taken back."""

import json
from pathlib import Path

import pytest
from command_line import Folkmoot

from folkmoot.ledger.purse import POINTS
from folkmoot.ledger.transact import Sender
from folkmoot.peer.home import Home

TASK = """
import folkmoot as fm


def load(path):
    return fm.load_heart(path)


metrics = {"auc": fm.metrics.roc_auc}
task = fm.LogisticTask(name="heart", load=load, features=13, metrics=metrics, policy=fm.Policy(min_members=1))
"""


@pytest.fixture
def token(folkmoot: Folkmoot, tmp_path: Path) -> str:
    """A moot of one with a task; its member has 70 units of this ERC-20."""
    assert not folkmoot("new", "alone", "--as", "anna", "--seats", "1").code
    (tmp_path / "task.py").write_text(TASK)
    said = folkmoot("propose", tmp_path / "task.py")
    assert "A bounty would go to all who take part alike: the task has no metric named 'loss'" in said.out, said
    home = Home.open(tmp_path / "home")
    sender = Sender(home.chain(), home.identity.account)
    token = sender.receipt(sender.send(None, POINTS.deploy(sender.address))).contract
    assert token is not None
    sender.send(token, POINTS.call("mint", 70))
    return token


def test_what_is_set_aside_is_shown_and_taken_back_when_nothing_came_of_the_task(
    folkmoot: Folkmoot, token: str
) -> None:
    assert "no task has a bounty" in folkmoot("rewards").out
    assert "nothing is set aside for task 1" in folkmoot("rewards", 1).out
    assert "30 units" in folkmoot("rewards", "fund", 1, 30, "--token", token).out
    assert json.loads(folkmoot("rewards", "fund", 1, 40, "--token", token, "--json").out)["pot"]["funded"] == 70
    told = json.loads(folkmoot("rewards", 1, "--json").out)
    assert told["pots"] == [{"token": told["pots"][0]["token"], "funded": 70, "released": 0, "last_round": None}]
    assert told["pots"][0]["token"].lower() == token.lower()
    assert (told["settlements"], told["scores"], list(told["owed"].values())) == ([], {}, [{}])
    assert [shown["task"] for shown in json.loads(folkmoot("rewards", "--json").out)] == [1]
    refused = folkmoot("rewards", "reclaim", 1)
    assert (refused.code, "it is the members'" in refused.err) == (1, True)
    assert not folkmoot("move", "stop", 1).code
    assert "is yours again" in folkmoot("rewards", "reclaim", 1).out
    assert json.loads(folkmoot("rewards", 1, "--json").out)["pots"][0]["funded"] == 0


def test_what_cannot_be_done_is_said(folkmoot: Folkmoot, token: str) -> None:
    assert "nothing is owed to anna" in folkmoot("rewards", "claim").out
    for words, why in (
        (("fund", 1, 71, "--token", token), "the contract refused"),
        (("fund", 1, 1, "--token", "0xabc"), "is not an address"),
        (("fund", 2, 1, "--token", token), "the moot has no task 2"),
        (("reclaim", 1), "you have set nothing aside for task 1"),
        ((2,), "the moot has no task 2"),
    ):
        said = folkmoot("rewards", *words)
        assert (said.code, why in said.err) == (1, True), said
    assert "No such command 'clam'" in folkmoot("rewards", "clam").err
