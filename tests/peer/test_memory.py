"""Peers that do not know what they have told: their journal was lost or is too old, or another machine speaks, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig

from folkmoot.peer.home import Home
from folkmoot.peer.status import read_status

NAMES = ["anna", "bert", "carl", "dora", "emil", "fred"]


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Rig]:
    """A secret task, whose first round is under way for a while, since dora never finishes; meanwhile bert loses his
    journal, and an older copy of carl's is put back."""
    folder = tmp_path_factory.mktemp("memory")
    source = rig.tiny_task(
        folder / "task.py", rounds=4, start_members=6, secrecy="sums", train_seconds=5, exchange_seconds=1
    )
    with rig.moot(folder / "moot", NAMES) as made:
        task = made.offer(source, rig.tiny_data(folder, NAMES, dora="hang\n"), grant=False)
        copies = {file: file.read_bytes() for file in made.homes["carl"].path.glob("journal.sqlite*")}
        made.grant(task, *NAMES)
        made.until("bert and carl have committed", lambda: made.view(task).committed & 0b110 == 0b110)
        for name in ("bert", "carl"):
            made.kill(name)
            for file in made.homes[name].path.glob("journal.sqlite*"):
                file.unlink()
        for file, content in copies.items():
            file.write_bytes(content)
        made.start("bert", "carl")
        yield made


@pytest.mark.parametrize(("name", "why"), [("bert", "was lost, and is begun anew"), ("carl", "is older than what")])
def test_without_its_journal_a_member_sits_out_the_secret_round_under_way_and_says_so(
    moot: rig.Rig, name: str, why: str
) -> None:
    said = moot.said(name, "sits out round 1 of task 1")
    assert why in said
    assert str(moot.homes[name].journal) in said


def test_it_tells_nothing_in_that_round_and_takes_part_in_later_ones(moot: rig.Rig) -> None:
    moot.finish(1)
    finals = moot.finals(1)
    assert finals[0].survivors == 0b110001
    assert finals[-1].survivors == 0b110111
    moot.filled(1, "anna")
    assert moot.verify("anna").rounds == 4


def test_what_it_says_of_that_is_over_with_the_round(moot: rig.Rig) -> None:
    moot.finish(1)
    for name in ("bert", "carl"):

        def over(name: str = name) -> bool:
            return not any("sits out" in error.text for error in moot.peer_status(name).errors)

        moot.until(f"{name} says no more that it sits out", over)


def test_one_identity_on_two_machines_is_recognised_by_both_and_neither_takes_part(tmp_path: Path) -> None:
    names = NAMES[:4]
    with rig.moot(tmp_path / "moot", names) as moot:
        moot.until("bert has announced himself", lambda: moot.client().members()[1].addresses)
        copy = Home(tmp_path / "copy")
        shutil.copytree(moot.homes["bert"].path, copy.path, ignore=shutil.ignore_patterns("peer.lock", "status.json"))
        process = rig.FORKS.Process(target=rig.peer_process, args=(str(copy.path),))
        process.start()
        try:
            told = moot.said("bert", "the same identity runs on another machine, too")
            assert "announced itself at 127.0.0.1:" in told

            def recognised() -> bool:
                status = read_status(copy)
                return status is not None and any(error.kind == "identity" for error in status.errors)

            moot.until("the copy recognises bert", recognised)
            task = moot.offer(rig.tiny_task(tmp_path / "task.py", rounds=1), rig.tiny_data(tmp_path, names))
            moot.finish(task)
            assert moot.finals(task)[0].survivors == 0b1101
        finally:
            process.kill()
            process.join()
