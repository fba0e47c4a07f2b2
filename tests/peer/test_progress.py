"""What a peer says of a task as it goes: to whoever watches it run, and in its status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import rig

from folkmoot.errors import StoreError, TaskError
from folkmoot.ledger.records import TaskRecord
from folkmoot.peer.progress import Progress, in_words
from folkmoot.round import events as ev
from folkmoot.round.events import Key
from folkmoot.task import load_task, make_bundle
from folkmoot.task.load import task_error

NAMES = ["anna", "bert", "carl", "dora"]
KEY = Key(1, 1, 0)
RECORD = TaskRecord(
    id=1,
    proposer=0,
    bundle=bytes(32),
    genesis=bytes(32),
    rounds=3,
    min_members=2,
    start_members=2,
    train_seconds=1,
    exchange_seconds=1,
    final_seconds=1,
    sealed=False,
    granted=0,
    barred=0,
)


def progress() -> tuple[Progress, list[str]]:
    said: list[str] = []
    return Progress(RECORD, said.append, lambda event, **fields: None, NAMES.__getitem__), said


def test_a_failure_is_said_once_shown_with_its_beginning_and_over_when_the_step_succeeds() -> None:
    made, said = progress()
    made.enter("training")
    made.fail("train", TaskError("it raised"))
    first = made.status.failure
    made.fail("train", TaskError("it raised"))
    assert said == ["task 1: failed in train: it raised"]
    assert first is not None
    assert made.status.failure is not None
    assert (made.status.phase, made.status.failure.since, made.status.failure.kind) == ("failed", first.since, "task")
    made.succeed("open")
    made.succeed("sum")
    assert made.status.failure is not None, "that the round could be opened and summed says nothing of the training"
    made.succeed("train")
    assert made.status.failure is None
    assert made.status.phase == "training"
    assert said[-1] == "task 1: train works again"


def test_a_round_that_is_trained_for_was_opened_too() -> None:
    made, _ = progress()
    made.fail("open", StoreError("the disk is full"))
    made.succeed("train")
    assert made.status.failure is None


def test_what_is_waited_for_is_named_and_keeps_its_beginning() -> None:
    made, _ = progress()
    made.take(ev.Wait(KEY, "commits", "waits for the other members' commits", 0b1010))
    first = made.status.waiting
    assert first is not None
    assert (first.kind, first.text) == ("commits", "waits for bert and dora to commit")
    made.take(ev.Wait(KEY, "commits", "waits for the other members' commits", 0b1000))
    assert made.status.waiting is not None
    assert (made.status.waiting.text, made.status.waiting.since) == ("waits for dora to commit", first.since)
    made.take(ev.Wait(KEY, "members", "paused: 1 of at least 2 members have contributed", 0b10))
    assert made.status.phase == "paused"
    assert made.status.reason == "paused: 1 of at least 2 members have contributed; waits for bert"


def test_many_names_are_shortened() -> None:
    assert in_words(["a"]) == "a"
    assert in_words(["a", "b", "c"]) == "a, b and c"
    assert in_words(list("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_an_error_of_the_task_s_code_carries_its_file_and_line(tmp_path: Path) -> None:
    task = load_task(make_bundle(rig.tiny_task(tmp_path / "task.py")))
    with pytest.raises(RuntimeError) as raised:
        task.contribute(None, ("raise", None), None)  # type: ignore[arg-type]
    assert task_error("failed in contribute", raised.value).where.startswith("task.py, line ")


def test_who_watches_a_peer_run_reads_each_round_each_wait_and_each_failure_once(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot, (tmp_path / "said").open("w") as said:
        moot.start("anna", "bert", "carl")
        program = [sys.executable, "-m", "folkmoot", "run", "--home", str(moot.homes["dora"].path)]
        dora = subprocess.Popen(program, stdout=said, stderr=said)
        try:
            source = rig.tiny_task(tmp_path / "task.py", rounds=3, start_members=4, train_seconds=5)
            task = moot.local.offer(source, rig.tiny_data(tmp_path, NAMES, bert="raise\n"))
            moot.ready(task)
            moot.grant(task, *NAMES)
            moot.until("bert has failed", lambda: moot.status("bert", task).phase == "failed")
            moot.reach(task, 3)
            failure = moot.status("bert", task).failure
            assert failure is not None
            assert (failure.kind, failure.step) == ("task", "train")
            assert failure.where.startswith("task.py, line ")
            moot.finish(task)
            moot.until("dora says so", lambda: "is done after 3 rounds" in (tmp_path / "said").read_text())
        finally:
            dora.terminate()
            assert dora.wait(rig.PATIENCE) == 0
        lines = [line.split(" ", 1)[1] for line in (tmp_path / "said").read_text().splitlines()]
        assert lines[0].startswith("dora runs, process ")
        for round in (1, 2, 3):
            final = [line for line in lines if line.startswith(f"task 1 tiny: round {round} of 3 is final: ")]
            assert len(final) == 1
            assert "anna, carl and dora" in final[0]
        assert lines.count("task 1 tiny: waits for bert to commit") == 1
        failed = [record for record in moot.log("bert") if record["event"] == "failed"]
        assert len(failed) == 1
