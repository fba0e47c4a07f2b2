"""Members that come late, are missed, withdraw their consent, or are too few for a while."""

import shutil
from pathlib import Path

import pytest
import rig

from folkmoot.errors import IntegrityError
from folkmoot.ledger import Phase
from folkmoot.peer.founding import join, vote
from folkmoot.peer.offering import add_dataset
from folkmoot.round import members_of

NAMES = ["anna", "bert", "carl", "dora"]


def test_who_joins_and_grants_while_rounds_are_made_counts_from_a_later_one_on(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=20, pause=0.1, start_members=4, train_seconds=5)
    data = rig.tiny_data(tmp_path, [*NAMES, "late"])
    late = data.pop("late")
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, data)
        moot.reach(task, 3)
        ticket, _ = vote(moot.homes["anna"])
        for name in ("bert", "carl"):
            vote(moot.homes[name], ticket)
        home, index = join(tmp_path / "moot" / "late", ticket, member="late")
        moot.homes["late"] = home  # type: ignore[index]
        add_dataset(home, late, 5)
        granted_at = moot.view(task).round
        moot.grant(task, "late")
        moot.start("late")
        model = moot.finish(task)
        finals = moot.finals(task)
        counted = [final.round for final in finals if final.survivors >> index & 1]
        assert counted
        assert min(counted) >= granted_at
        assert all(final.members.bit_count() == 5 for final in finals if final.round in counted)
        moot.filled(task, "late")
        report = moot.verify("late")
        assert (report.rounds, report.models[task]) == (20, model)


def test_below_the_minimum_the_moot_waits_says_so_and_goes_on_by_itself(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=6, min_members=4, train_seconds=1)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES), grant=False)
        moot.kill("dora")
        moot.grant(task, *NAMES)
        said = moot.said("anna", "paused: 3 of at least 4 members have contributed")
        assert "\n" not in said
        moot.until("the phase is paused", lambda: moot.status("bert", task).phase == "paused")
        assert moot.view(task).round == 1
        moot.start("dora")
        moot.finish(task)
        assert {members_of(final.survivors) for final in moot.finals(task)} == {(0, 1, 2, 3)}


def test_a_revoked_grant_ends_that_member_s_part_with_the_next_round(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=20, pause=0.05, start_members=4, train_seconds=5)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 3)
        moot.client("dora").revoke(task)
        revoked_in = moot.view(task).round
        moot.finish(task)
        finals = moot.finals(task)
        assert all(not final.survivors >> 3 & 1 for final in finals if final.round > revoked_in)
        assert all(members_of(final.survivors)[:3] == (0, 1, 2) for final in finals)
        assert finals[0].survivors >> 3 & 1
        made = [record for record in moot.log("dora") if record["event"] == "trained"]
        assert max(record["round"] for record in made) <= revoked_in


def test_a_moot_of_which_everyone_was_killed_goes_on_when_all_are_back(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=10, pause=0.05, start_members=4)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 4)
        for name in NAMES:
            moot.kill(name)
        assert moot.view(task).phase is not Phase.DONE
        moot.start()
        model = moot.finish(task)
        moot.filled(task)
        for name in NAMES:
            assert moot.verify(name).models == {task: model}


def test_a_peer_whose_files_are_lost_or_spoilt_comes_back_with_its_identity_alone(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=12, pause=0.05, start_members=4, exchange_seconds=1)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 3)
        for name in ("carl", "dora"):
            moot.kill(name)
        shutil.rmtree(moot.homes["dora"].blobs)
        for path in moot.homes["dora"].path.glob("journal.sqlite*"):
            path.unlink()
        for blob in (moot.homes["carl"].blobs / "blobs").rglob("*"):
            if blob.is_file():
                blob.write_bytes(b"?" + blob.read_bytes()[1:])
        moot.start("carl", "dora")
        model = moot.finish(task)
        assert moot.finals(task)[-1].survivors.bit_count() >= 3
        moot.filled(task, "dora")
        assert moot.verify("dora").models == {task: model}
        with pytest.raises(IntegrityError, match=r"blob file .*carl"):
            moot.verify("carl")
