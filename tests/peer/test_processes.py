"""The processes of a peer: how they end, what they leave behind, and that there is one per folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig

from folkmoot.cli.demo_peers import Peers

NAMES = ["anna", "bert"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[rig.Rig, Peers, int]]:
    """Two peers, started by the command as a user would, of which ``bert``'s worker is in the middle of training."""
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot, Peers(moot.homes) as peers:
        source = rig.tiny_task(tmp_path / "task.py", min_members=1, start_members=2, train_seconds=600)
        data = rig.tiny_data(tmp_path, NAMES, bert="hang\n")
        task = moot.local.offer(source, data)
        for name in NAMES:
            peers.start(name)
            moot.grant(task, name)
        said = moot.homes["bert"].path / "worker.log"
        rig.until("bert trains", lambda: said.exists() and "hang" in said.read_text())
        yield moot, peers, task


def workers(peers: Peers, name: str) -> set[int]:
    status = peers.status(name)
    assert status is not None
    return rig.children(status.pid)


def test_sigterm_leaves_cleanly_with_the_worker_gone(busy: tuple[rig.Rig, Peers, int]) -> None:
    moot, peers, _ = busy
    (worker,) = workers(peers, "bert")
    process = peers._processes["bert"]
    process.terminate()
    assert process.wait(rig.PATIENCE) == 0
    assert not rig.alive(worker)
    status = rig.read_status(moot.homes["bert"])
    assert status is not None
    assert status.state == "stopping"
    assert moot.log("bert")[-1]["event"] == "stopped"


def test_after_sigkill_of_the_daemon_its_worker_is_gone_too(busy: tuple[rig.Rig, Peers, int]) -> None:
    _, peers, _ = busy
    (worker,) = workers(peers, "bert")
    peers.kill("bert")
    rig.until("the worker is gone", lambda: not rig.alive(worker))


def test_a_second_daemon_on_the_same_folder_is_refused(busy: tuple[rig.Rig, Peers, int]) -> None:
    moot, peers, _ = busy
    command = [sys.executable, "-m", "folkmoot", "run", "--home", str(moot.homes["anna"].path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=rig.PATIENCE, check=False)
    assert second.returncode == 1
    assert f"a peer already runs from {moot.homes['anna'].path} (process " in second.stderr
    assert len(second.stderr.splitlines()) == 1
    peers.check()


def test_a_killed_worker_is_replaced_and_the_task_goes_on(tmp_path: Path) -> None:
    names = ["anna", "bert", "carl", "dora"]
    source = rig.tiny_task(tmp_path / "task.py", rounds=12, pause=0.1, train_seconds=5)
    with rig.moot(tmp_path / "moot", names) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, names))
        moot.reach(task, 3)
        for name in names:
            for worker in rig.children(moot.processes[name].pid):
                os.kill(worker, signal.SIGKILL)
        model = moot.finish(task)
        moot.filled(task, "bert")
        assert moot.verify("bert").models == {task: model}


def test_a_peer_that_is_no_member_says_so_and_ends(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        stranger = rig.Home.create(tmp_path / "stranger", moot.homes["anna"].config)
        command = [sys.executable, "-m", "folkmoot", "run", "--home", str(stranger.path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=rig.PATIENCE, check=False)
        assert ended.returncode == 1
        assert "is not a member of this moot yet; folkmoot join TICKET first" in ended.stderr
