"""A model's lineage across a move: whole with the ledger of the moot before, else with its gap in the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import handmade
import pytest
from command_line import Folkmoot

from folkmoot.peer import governing, migration
from folkmoot.peer.attestation import open_envelope, seal
from folkmoot.peer.export import STATEMENT
from folkmoot.peer.local import LocalMoot
from folkmoot.task import State, read_state

AGAIN = """

class Again(fm.LogisticTask):
    def init(self):
        return STATE


task.__class__ = Again
"""


class Moved(NamedTuple):
    """A moot that has moved: its ledger, its contract, the successor, and the task there that goes on."""

    ledger: Path
    contract: str
    new: handmade.HandMade
    home: Path
    task: int

    @property
    def given(self) -> tuple[str | Path, ...]:
        return "--home", self.home


def literal(state: State) -> str:
    """The code of a first state that is this one."""
    arrays = (f"{name!r}: np.array({a.tolist()!r}, dtype={a.dtype.str!r})" for name, a in state.arrays.items())
    made = f"{{{', '.join(arrays)}}}, round={state.round}, exponents={dict(state.exponents)!r}"
    return f"STATE = fm.State({made})\n"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Moved:
    """Three rounds, a move, and two rounds in the successor that begin with the last model."""
    folder = tmp_path_factory.mktemp("moved")
    old = handmade.story(folder / "old")
    contract = old.moot().address
    last = old.moot().finals(1)[-1].model
    motion = migration.propose_move(old.homes[0], str(folder / "new.sqlite"))
    account = old.store.get(motion.words[2].to_bytes(32, "big"))
    for member in (1, 2):
        motion = governing.vote(old.moot(member), motion.id)
    assert motion.done
    for home in old.homes:
        home.store().put(account)
        migration.follow(home)
    new = handmade.HandMade(LocalMoot(folder, old.local.homes))
    source = folder / "again.py"
    source.write_text(handmade.TASK.replace("rounds=3", "rounds=6") + literal(read_state(old.store.get(last))) + AGAIN)
    task = new.local.offer(
        source, {name: handmade.data_file(folder / f"{name}.txt", at) for at, name in enumerate(handmade.NAMES[:2])}
    )
    new.local.grant(task, handmade.NAMES[:3])
    new.round(task, (0, 1, 2))
    new.round(task, (0, 1, 2))
    assert new.moot().task(task).genesis == last
    return Moved(old.ledger, contract, new, new.homes[0].path, task)


def test_show_json_has_the_rounds_before_the_move_or_says_that_they_are_not_told(
    folkmoot: Folkmoot, moved: Moved
) -> None:
    alone = json.loads(folkmoot("show", moved.task, "--json", *moved.given).out)
    assert alone["former"] is None
    assert alone["continues"]["contract"] == moved.contract
    assert "round 3 of task 1" in alone["continues"]["not_covered"]
    whole = json.loads(folkmoot("show", moved.task, "--json", "--former", moved.ledger, *moved.given).out)
    assert whole["continues"]["not_covered"] == ""
    assert [step["round"] for step in whole["former"]["steps"]] == [1, 2, 3]
    assert whole["former"]["model"] == whole["course"][0]["genesis"]
    assert whole["steps"] == alone["steps"]
    said = folkmoot("show", moved.task, "--former", moved.ledger, *moved.given).out
    assert "made before the moot moved here" in said
    assert "dora" in said


def test_an_export_says_in_its_card_and_its_signed_lineage_what_it_does_not_cover(
    folkmoot: Folkmoot, moved: Moved, tmp_path: Path
) -> None:
    assert folkmoot("export", moved.task, "--out", tmp_path / "alone", *moved.given).code == 0
    assert f"of {moved.contract}" in (card := (tmp_path / "alone" / "README.md").read_text())
    assert "Not covered: task 1 begins with the model of round 3" in card
    assert lineage_in(tmp_path / "alone")["continues"]["task"] == 1
    assert "not covered: task 1 begins" in folkmoot("verify", "--export", tmp_path / "alone").out
    assert folkmoot("export", moved.task, "--out", file := tmp_path / "one.safetensors", *moved.given).code == 0
    assert b"not_covered" in file.read_bytes()


def test_an_export_with_the_former_ledger_is_checked_on_both_ledgers(
    folkmoot: Folkmoot, moved: Moved, tmp_path: Path
) -> None:
    former, folder = ("--former", moved.ledger), tmp_path / "whole"
    assert folkmoot("export", moved.task, "--out", folder, *former, *moved.given).code == 0
    assert "3 rounds there, by anna, bert, carl, dora" in (folder / "README.md").read_text()
    assert len(lineage_in(folder)["former"]["steps"]) == 3
    ledger = ("--ledger", moved.home.parent.parent / "new.sqlite", "--blobs", moved.new.homes[0].blobs)
    without = folkmoot("verify", "--export", folder, *ledger)
    assert f"not checked: what it says of {moved.contract}" in without.out
    both = folkmoot("verify", "--export", folder, *ledger, *former)
    assert both.code == 0
    assert "not checked" not in both.out
    assert folkmoot("verify", *ledger, *former).code == 0, "both moots replayed"


def forged(folder: Path, moved: Moved, former: dict[str, Any]) -> None:
    """Sign the statement in ``folder`` again, as its signer, with this said of what went before the move."""
    payload, _ = open_envelope((folder / STATEMENT).read_bytes())
    told = json.loads(payload)
    told["predicate"]["lineage"]["former"] |= former
    sealed = seal(json.dumps(told).encode(), moved.new.homes[0].identity.endpoint_secret)
    (folder / STATEMENT).write_bytes(sealed)


def test_a_signed_lineage_whose_rounds_before_the_move_are_others_is_refused(
    folkmoot: Folkmoot, moved: Moved, tmp_path: Path
) -> None:
    former = ("--former", moved.ledger)
    assert folkmoot("export", moved.task, "--out", tmp_path / "model", *former, *moved.given).code == 0
    steps = lineage_in(tmp_path / "model")["former"]["steps"]
    steps[1]["survivors"].pop()
    forged(tmp_path / "model", moved, {"steps": steps})
    assert folkmoot("verify", "--export", tmp_path / "model").code == 0, "only the ledger tells"
    ledger = ("--ledger", moved.home.parent.parent / "new.sqlite", "--blobs", moved.new.homes[0].blobs)
    refused = folkmoot("verify", "--export", tmp_path / "model", *ledger, *former)
    assert "before the move, task 1, round 2: its survivor dora is missing in the statement" in refused.err


def test_a_signed_lineage_that_begins_in_a_third_moot_is_refused(
    folkmoot: Folkmoot, moved: Moved, tmp_path: Path
) -> None:
    former = ("--former", moved.ledger)
    assert folkmoot("export", moved.task, "--out", tmp_path / "model", *former, *moved.given).code == 0
    forged(tmp_path / "model", moved, {"chain_id": 1})
    refused = folkmoot("verify", "--export", tmp_path / "model")
    assert "not of the moot that the statement says is continued" in refused.err


def test_an_audit_has_the_report_on_the_moot_before_or_says_that_it_does_not_cover_it(
    folkmoot: Folkmoot, moved: Moved, tmp_path: Path
) -> None:
    alone, whole, page = (tmp_path / name for name in ("alone.json", "whole.json", "page.html"))
    assert folkmoot("audit", "--json", alone, "--html", page, *moved.given).code == 0
    told = json.loads(alone.read_bytes())["continues"]
    assert (told["contract"], told["report"]) == (moved.contract, None)
    assert "this report does not cover" in told["not_covered"]
    assert "Not covered: this moot continues" in page.read_text()
    former = ("--former", moved.ledger)
    assert folkmoot("audit", "--json", whole, "--html", page, *former, *moved.given).code == 0
    report = json.loads(whole.read_bytes())
    assert [use["round"] for use in report["continues"]["report"]["uses"]] == [1, 1, 1, 2, 2, 2, 2, 3, 3]
    assert "Not covered" not in page.read_text()
    assert folkmoot("audit", "--check", whole, *former, *moved.given).code == 0
    assert "not compared without its ledger" in folkmoot("audit", "--check", whole, *moved.given).out
    report["continues"]["report"]["uses"].pop()
    whole.write_text(json.dumps(report))
    altered = folkmoot("audit", "--check", whole, *former, *moved.given)
    assert "uses[8] is missing in it" in altered.err


def test_rewards_reach_the_purse_of_the_moot_before(folkmoot: Folkmoot, moved: Moved) -> None:
    claimed = folkmoot("rewards", "claim", "--before-move", *moved.given)
    assert claimed.out == "nothing is owed to anna\n"
    refused = folkmoot("rewards", "reclaim", 1, "--before-move", *moved.given)
    assert "you have set nothing aside for task 1" in refused.err


def lineage_in(folder: Path) -> dict[str, Any]:
    payload, _ = open_envelope((folder / "lineage.intoto.jsonl").read_bytes())
    told: dict[str, Any] = json.loads(payload)["predicate"]["lineage"]
    return told
