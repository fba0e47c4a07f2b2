"""The chronicle: everything that happened in a moot, in order, each with where it stands."""

from pathlib import Path
from typing import Any

import handmade
import pytest

from folkmoot.errors import ChainError
from folkmoot.ledger import Moot, chronicle
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.assembly import ASSEMBLY
from folkmoot.ledger.chronicle import Entry, entries, names_in, tell
from folkmoot.ledger.purse import PURSE


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> Moot:
    return handmade.story(tmp_path_factory.mktemp("story")).moot()


@pytest.fixture(scope="module")
def history(moot: Moot) -> list[Entry]:
    return entries(moot)


def of_kind(history: list[Entry], kind: str) -> list[Entry]:
    return [entry for entry in history if entry.kind == kind]


def test_entries_are_in_the_order_of_the_ledger_and_lead_to_their_transactions(
    moot: Moot, history: list[Entry]
) -> None:
    assert [e.place for e in history] == sorted({e.place for e in history})
    chain: Any = moot._chain
    for entry in history:
        receipt = chain.rpc("eth_getTransactionReceipt", "0x" + entry.transaction.hex())
        assert int(receipt["blockNumber"], 16) == entry.block
        (log,) = [log for log in receipt["logs"] if int(log["logIndex"], 16) == entry.log_index]
        assert log["topics"][0][2:] in {
            t.hex() for t in (*MOOT.topics.values(), *ASSEMBLY.topics.values(), *PURSE.topics.values())
        }
        assert entry.time == moot.block_time(entry.block)


def test_the_history_goes_from_the_founding_to_the_last_round(history: list[Entry]) -> None:
    assert (history[0].kind, history[0].contract) == ("Seated", "Moot")
    counts = {kind: len(of_kind(history, kind)) for kind in ("Joined", "Granted", "Revoked", "Committed", "Finalised")}
    assert counts == {"Joined": 4, "Granted": 4, "Revoked": 2, "Committed": 9, "Finalised": 3}


def test_fields_are_decoded_by_name(history: list[Entry]) -> None:
    (proposed,) = of_kind(history, "Proposed")
    assert proposed["terms"] == {
        "rounds": 4,  # three that train, and the one that measures
        "min_members": 2,
        "start_members": 3,
        "train_seconds": 60,
        "exchange_seconds": 60,
        "final_seconds": 60,
        "sealed": 0,
    }
    assert (proposed.task, proposed.member, len(proposed["bundle"])) == (1, 0, 32)
    dora = of_kind(history, "Granted")[-1]
    assert (dora.task, dora.member, dora.dataset, dora["limit"], dora["last"]) == (1, 3, 4, 2_500_000, 2)
    moved = of_kind(history, "Moved")[-1]
    assert (moved.motion, moved.member, moved["words"]) == (2, 2, (3, 0, 0))
    assert names_in(history) == dict(enumerate(handmade.NAMES))


def test_everything_is_told_in_words(history: list[Entry]) -> None:
    names, motions = names_in(history), {e["motion"]: e for e in history if e.kind == "Moved"}
    told = [tell(entry, names, motions) for entry in history]
    for words in (
        "anna joins as member 1",
        "carl moves to remove dora (motion 2)",
        "anna votes against motion 2 (remove dora)",
        "motion 1 (adopt task 1) is enacted: 3 for, 0 against",
        "task 1 is adopted",
        "dora lets task 1 use dataset 4, for at most an epsilon of 2.5, up to round 2",
    ):
        assert words in told
    assert any(line.startswith("round 2 of task 1 is final") and "anna, bert, carl, dora" in line for line in told)
    assert any(line.startswith("dora is expelled from task 1") for line in told)
    assert {*MOOT.topics, *ASSEMBLY.topics} <= set(chronicle._TOLD), "an event that nobody put into words"


def test_an_event_of_ours_that_is_not_known_is_an_error(moot: Moot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(MOOT._events, MOOT.topics["Granted"])
    monkeypatch.setitem(chronicle._INTERFACES, "Moot", MOOT)
    with pytest.raises(ChainError, match="has no such event"):
        entries(moot)


def test_times_are_asked_for_once_a_block_and_the_end_can_be_chosen(
    moot: Moot, history: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = moot.block_time
    monkeypatch.setattr(moot, "block_time", lambda number: (asked.append(number), real(number))[1])
    assert entries(moot, 20) == [entry for entry in history if entry.block <= 20]
    assert asked == sorted({entry.block for entry in history if entry.block <= 20})


def test_what_members_called_themselves_cannot_reach_a_terminal(tmp_path: Path) -> None:
    made = handmade.LocalMoot.found(tmp_path, ["a\x1b[2Kb", "b"], name="x")
    history = entries(made.homes["b"].moot())
    assert names_in(history)[0] == "a\ufffd[2Kb"
