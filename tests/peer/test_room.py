"""Peers whose disk has little room: the others go on, history gives way to the present, and room given is used."""

import contextlib
import os
import resource
from pathlib import Path

import msgspec
import pytest
import rig

from folkmoot.errors import LocalError
from folkmoot.round import members_of
from folkmoot.store import Store

NAMES = ["anna", "bert", "carl", "dora"]
BUDGET = 3 << 20
"""Bytes; a round of the first test's task needs 2,129,044 on a disk, one of the second's 1,481,044."""


def limit(moot: rig.Rig, *names: str, budget: int = BUDGET) -> None:
    for name in names:
        home = moot.homes[name]
        home.write_config(msgspec.structs.replace(home.config, blob_budget=budget))


def test_a_peer_without_room_says_so_the_others_finish_and_room_given_is_used(tmp_path: Path) -> None:
    first = rig.tiny_task(tmp_path / "task.py", name="first", rounds=4, start_members=4, train_seconds=1, size=20_000)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        limit(moot, "dora")
        moot.start()
        task = moot.offer(first, data, grant=False)
        store = Store(moot.homes["dora"].blobs)
        filling = store.put(os.urandom(BUDGET - store.total() - 10_000))
        moot.grant(task, *NAMES)
        said = moot.said("dora", "do not fit the store's budget")
        assert "raise the budget" in said
        moot.finish(task)
        assert members_of(moot.finals(task)[-1].survivors) == (0, 1, 2)

        store.delete(filling)
        second = rig.tiny_task(tmp_path / "task.py", name="second", rounds=2, min_members=4, size=1_000)
        again = moot.offer(second, data)
        moot.finish(again)
        assert [members_of(final.survivors) for final in moot.finals(again)] == [(0, 1, 2, 3)] * 2


def test_old_contributions_give_way_when_the_budget_is_used_up(tmp_path: Path) -> None:
    rounds = 16
    source = rig.tiny_task(tmp_path / "task.py", rounds=rounds, start_members=4, size=8_000, pause=0.05)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        limit(moot, *NAMES[:-1], budget=BUDGET // 2)
        moot.start()
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        model = moot.finish(task)
        for name in NAMES[:-1]:
            moot.until(f"{name} has room", lambda name=name: moot.homes[name].store().total() < BUDGET // 2)
            assert any(record["event"] == "collected" for record in moot.log(name))
            moot.until(f"{name} has the model", lambda name=name: moot.homes[name].store().has(model))
        with pytest.raises(LocalError, match=r"task 1, round 1: .* is in none of the given stores"):
            moot.verify("anna")
        moot.filled(task, "dora")
        assert moot.verify("dora").models == {task: model}


def test_a_peer_whose_disk_refuses_every_write_stays_up_and_recovers_when_it_takes_them_again(tmp_path: Path) -> None:
    """As on a full disk: no file may grow beyond 10 kB, neither blob nor journal, log, status or ledger."""
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        first = rig.tiny_task(
            tmp_path / "task.py", name="first", rounds=3, start_members=4, train_seconds=1, size=20_000
        )
        task = moot.offer(first, data, grant=False)
        allow(moot, "dora", 10_000)
        moot.grant(task, *NAMES)
        moot.finish(task)
        assert members_of(moot.finals(task)[-1].survivors) == (0, 1, 2)
        moot.check()

        allow(moot, "dora", resource.RLIM_INFINITY)
        moot.said("dora", "disk full while writing")
        source = tmp_path / "task.py"
        second = rig.tiny_task(source, name="second", rounds=2, min_members=4, size=20_000)
        again = moot.offer(second, data)
        model = moot.finish(again)
        moot.filled(task, "dora")
        moot.filled(again, "dora")
        assert moot.verify("dora").models[again] == model


def allow(moot: rig.Rig, name: str, size: int) -> None:
    """Let no file that the peer or its workers write grow beyond ``size`` bytes."""
    pid = moot.processes[name].pid
    for process in (pid, *rig.children(pid)):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
