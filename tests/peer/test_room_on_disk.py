"""Peers whose disk or budget is too small for a round say so, nobody waits for them, and later they take part again."""

from __future__ import annotations

import resource
from pathlib import Path

import msgspec
import pytest
import rig

from folkmoot.errors import StoreError
from folkmoot.peer.room import check_grant

NAMES = ["anna", "bert", "carl", "dora"]
SIZE = 60_000
"""Numbers in a state: 480 kB."""


def limit_budget(moot: rig.Rig, name: str, budget: int) -> None:
    home = moot.homes[name]
    home.write_config(msgspec.structs.replace(home.config, blob_budget=budget))


def test_a_budget_below_what_a_round_needs_is_refused_with_the_number_and_nobody_waits(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", size=SIZE, rounds=3, train_seconds=4)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        limit_budget(moot, "bert", 3 << 20)
        moot.start()
        task = moot.local.offer(source, data)
        moot.ready(task, "anna", "carl", "dora")
        said = moot.said("bert", "needs")
        status = moot.status("bert", task)
        assert status.failure is not None
        assert (status.phase, status.failure.kind, status.failure.step) == ("failed", "disk", "load")
        assert status.store_bytes is not None
        assert f"needs {status.store_bytes} bytes" in said
        assert f"blob_budget in {moot.homes['bert'].config_file} is {3 << 20}" in said
        moot.grant(task, "anna", "carl", "dora")
        moot.finish(task)
        assert [final.survivors for final in moot.finals(task)] == [0b1101] * 3


def test_a_store_that_is_just_large_enough_takes_part_in_every_round(tmp_path: Path) -> None:
    """Each round brings about a third of the budget: what older ones left gives way in time."""
    source = rig.tiny_task(tmp_path / "task.py", size=SIZE, rounds=20, train_seconds=20, exchange_seconds=20)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        limit_budget(moot, "bert", 4_500_000)
        moot.start()
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.finish(task)
        assert all(final.survivors >> 1 & 1 for final in moot.finals(task))
        assert moot.homes["bert"].store().total() <= 4_500_000


def test_whose_disk_is_full_is_named_asks_nobody_to_wait_and_comes_back_when_there_is_space(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", size=10 * SIZE, rounds=16, train_seconds=3, exchange_seconds=6)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 3)
        pid = moot.processes["bert"].pid
        assert pid is not None
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (4_300_000, resource.RLIM_INFINITY))  # a state has 4.8 MB
        moot.said("anna", "waits for bert to commit")
        moot.until("bert has failed", lambda: moot.status("bert", task).phase == "failed")
        failure = moot.status("bert", task).failure
        assert failure is not None
        assert failure.kind == "disk"
        missed = moot.view(task).round
        moot.reach(task, missed + 4)
        later = moot.view(task)
        assert not later.expected >> 1 & 1, "bert asks to be waited for, and cannot take part"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        moot.finish(task)
        finals = moot.finals(task)
        assert [final.survivors for final in finals if missed + 1 <= final.round < later.round] == [0b1101] * 3
        assert finals[-1].survivors == 0b1111
        assert moot.status("bert", task).failure is None


def test_a_grant_to_a_task_for_which_there_is_no_room_is_refused_with_the_number(tmp_path: Path) -> None:
    """No peer runs here: the task's code is asked, in the sandbox."""
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        source = rig.tiny_task(tmp_path / "task.py", size=SIZE)
        task = moot.local.offer(source, rig.tiny_data(tmp_path, NAMES))
        home, record = moot.homes["bert"], moot.client().task(task)
        home.store().put(moot.homes["anna"].store().get(record.bundle))
        check_grant(home, moot.client("bert"), record)
        limit_budget(moot, "bert", 3 << 20)
        with pytest.raises(StoreError, match=r"needs 4\d{6} bytes .* is 3145728: set it to 4\d{6} at least"):
            check_grant(home, moot.client("bert"), record)
