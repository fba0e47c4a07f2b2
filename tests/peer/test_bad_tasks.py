"""Tasks and data that go wrong on one member only: the others finish without it, and its status says why."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rig

from folkmoot.ledger import Phase
from folkmoot.peer.datasets import update_dataset
from folkmoot.round import members_of

NAMES = ["anna", "bert", "carl", "odd"]
ROUNDS = 2
WRONG = {
    "raise": "RuntimeError: the sky fell",
    "nan": "'mean' holds NaN or infinity",
    "infinity": "'mean' holds NaN or infinity",
    "shape": "'mean' has shape (5,); the schema says (4,)",
    "type": "must return a Contribution, not a dict",
    "die": "the task's worker died in contribute (status 3)",
    "hang": "the task's contribute took over",
    "malformed": "malformed/odd.txt, line 2, column 1: 'x7' is not a number.",
    "missing": "missing/odd.txt: No such file or directory",
}


@dataclass
class Outcome:
    """What became of the moot whose member ``odd`` does everything wrong, each thing in a task of its own."""

    moot: rig.Rig
    tasks: dict[str, int]
    heard: dict[str, set[str]] = field(default_factory=dict)
    """For each task what the status of ``odd`` gave as its reason."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("wrong")
    with rig.moot(folder / "moot", NAMES) as moot:
        found = Outcome(moot, {wrong: offer(moot, folder / wrong, wrong) for wrong in WRONG})
        for task in found.tasks.values():
            moot.ready(task)
        (folder / "missing" / "odd.txt").unlink()
        for task in found.tasks.values():
            moot.grant(task, *NAMES[:-1])
        listen(found)
        for task in found.tasks.values():
            moot.filled(task, "anna")
        yield found


def offer(moot: rig.Rig, folder: Path, wrong: str) -> int:
    folder.mkdir()
    first = {"malformed": "1\nx7\n", "missing": ""}.get(wrong, f"{wrong}\n")
    data = rig.tiny_data(folder, NAMES, odd=first)
    task = moot.local.offer(
        rig.tiny_task(folder / "task.py", name=wrong, rounds=ROUNDS, start_members=4, train_seconds=2), data
    )
    moot.grant(task, "odd")
    return task


def listen(found: Outcome) -> None:
    """Note what ``odd`` says, until all tasks are done."""
    left = dict(found.tasks)
    deadline = time.monotonic() + rig.PATIENCE
    while left:
        found.moot.check()
        for wrong, task in found.tasks.items():
            found.heard.setdefault(wrong, set()).add(found.moot.status("odd", task).reason)
        for wrong, task in list(left.items()):
            if found.moot.view(task).phase is Phase.DONE:
                del left[wrong]
        assert time.monotonic() < deadline, found.moot.report()
        time.sleep(0.05)


@pytest.mark.parametrize("wrong", WRONG)
def test_the_others_finish_without_the_member_whose_contribution_fails(outcome: Outcome, wrong: str) -> None:
    finals = outcome.moot.finals(outcome.tasks[wrong])
    assert [members_of(final.survivors) for final in finals] == [(0, 1, 2)] * ROUNDS


@pytest.mark.parametrize("wrong", WRONG)
def test_its_status_says_in_one_sentence_what_went_wrong(outcome: Outcome, wrong: str) -> None:
    reasons = outcome.heard[wrong]
    assert any(WRONG[wrong] in reason for reason in reasons), reasons
    assert all("\n" not in reason for reason in reasons)


def test_a_task_that_raises_is_named_with_file_and_line(outcome: Outcome) -> None:
    assert any("(task.py, line " in reason for reason in outcome.heard["raise"])


def test_all_of_it_replays(outcome: Outcome) -> None:
    assert outcome.moot.verify("anna").rounds == ROUNDS * len(WRONG)


@pytest.mark.parametrize("wrong", ["malformed", "hang"])
def test_a_moot_that_waits_for_a_member_goes_on_when_its_data_are_mended(tmp_path: Path, wrong: str) -> None:
    first = {"malformed": "x7\n"}.get(wrong, f"{wrong}\n")
    data = rig.tiny_data(tmp_path, NAMES, odd=first)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        source = rig.tiny_task(tmp_path / "task.py", rounds=2, min_members=4, train_seconds=1)
        task = moot.offer(source, data)
        moot.said("anna", "paused: 3 of at least 4 members have contributed")
        moot.said("odd", {"malformed": "line 1, column 1", "hang": "was ended"}[wrong])
        rig.tiny_data(tmp_path, NAMES)
        odd = moot.homes["odd"]
        update_dataset(odd, max(odd.data()), 5, data["odd"])
        moot.grant(task, "odd")
        moot.finish(task)
        assert [members_of(final.survivors) for final in moot.finals(task)] == [(0, 1, 2, 3)] * 2


def test_who_cannot_train_still_helps_to_finish(tmp_path: Path) -> None:
    """Two of four fail; the other two are enough for a round, and no quorum to sign it."""
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        source = rig.tiny_task(tmp_path / "task.py", rounds=2, min_members=2, start_members=4, train_seconds=1)
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES, carl="raise\n", odd="nan\n"))
        moot.finish(task)
        assert [members_of(final.survivors) for final in moot.finals(task)] == [(0, 1)] * 2
