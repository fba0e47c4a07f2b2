"""What the members decide, as their running peers take it up: pause, stop, removal, other keys, another contract."""

from pathlib import Path

import pytest
import rig
from rig import decide

from folkmoot.errors import LedgerRefused, LocalError
from folkmoot.ledger import Moot, Phase, chronicle
from folkmoot.ledger.motions import Kind, Motion
from folkmoot.ledger.records import Standing, members_of
from folkmoot.peer import delegation, governing, migration, reviewing
from folkmoot.peer.journal import Journal
from folkmoot.peer.offering import propose
from folkmoot.task import read_bundle

NAMES = ["anna", "bert", "carl", "dora"]


def test_a_paused_task_takes_no_commits_and_goes_on_when_resumed_and_a_removed_member_is_out(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=200, pause=0.1, min_members=2)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 3)
        decide(moot, "anna", "bert", "carl", kind=Kind.STEER, words=(task, Standing.PAUSED))
        moot.said("dora", "paused by a decision of the moot")
        moot.until("the round under way goes no further", lambda: moot.view(task).phase is Phase.COMMIT)
        paused = moot.view(task)
        assert paused.paused
        with pytest.raises(LedgerRefused, match="task is paused"):
            moot.client("anna").commit(task, paused.round, paused.attempt, b"\x01" * 32)
        decide(moot, "anna", "bert", "carl", kind=Kind.REMOVE, words=(3,))
        moot.said("dora", "the members have removed this peer from the moot")
        decide(moot, "anna", "bert", "carl", kind=Kind.STEER, words=(task, Standing.ADOPTED))
        moot.reach(task, paused.round + 3)
        last = moot.finals(task)[-1]
        assert (members_of(last.members), members_of(last.survivors)) == ((0, 1, 2), (0, 1, 2))
        assert not any(final.survivors >> 3 & 1 for final in moot.finals(task)[paused.round :])
        decide(moot, "bert", "carl", kind=Kind.STEER, words=(task, Standing.STOPPED))
        stopped = moot.view(task)
        assert stopped.phase is Phase.DONE
        assert stopped.parent == moot.finals(task)[-1].model
        moot.filled(task, "carl")
        assert moot.verify("carl").models == {task: stopped.parent}


def test_a_grant_for_two_rounds_is_over_after_two(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=4, start_members=4)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES), grant=False)
        moot.client("dora").grant(task, max(moot.homes["dora"].data()), rounds=2)
        moot.grant(task, "anna", "bert", "carl")
        moot.finish(task)
        assert [final.survivors >> 3 & 1 for final in moot.finals(task)] == [1, 1, 0, 0]
        assert moot.client("dora").grant_of(task, 3) is None


def test_a_peer_with_daily_keys_takes_over_and_the_old_keys_are_worthless(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=6, pause=0.1, start_members=4)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.reach(task, 2)
        moot.terminate("dora")
        main = moot.homes["dora"]
        daily = delegation.delegate(main, tmp_path / "daily")
        with pytest.raises(LedgerRefused, match="only the main account may"):
            daily.moot().grant(task, max(daily.data()))
        with pytest.raises(LocalError, match="holds the daily keys"):
            delegation.take_back(daily)
        moot.local.homes["daily"] = daily  # type: ignore[index]
        moot.start("daily")
        model = moot.finish(task)
        assert members_of(moot.finals(task)[-1].survivors) == (0, 1, 2, 3)
        moot.start("dora")
        rig.until("the peer with the main key declines", lambda: not moot.processes["dora"].is_alive())
        assert "holds the main key" in moot.output("dora")
        del moot.processes["dora"]
        moot.filled(task, "anna")
        assert moot.verify("anna").models == {task: model}  # over both sets of keys
        moot.terminate("daily")
        again = delegation.delegate(main, tmp_path / "again")
        moot.local.homes["again"] = again  # type: ignore[index]
        moot.start("again")
        moot.ready(task, "again")
        counted = sum(final.survivors >> 3 & 1 for final in moot.finals(task))
        spent = Journal(again.journal).releases(task, (max(again.data()),), 9, attempts=False)
        assert spent >= counted >= 1, "what another set of keys let go of the data counts"
        moot.terminate("again")
        delegation.take_back(main)
        members = moot.client().members()
        assert (members[3].address, members[3].endpoint) == (main.identity.account.address, main.identity.endpoint)


def test_keys_put_in_use_while_a_secret_round_is_under_way_serve_from_the_next_attempt_on(tmp_path: Path) -> None:
    """defence: the session tells the machine that the masks are of other keys, so that nothing is made with these."""
    terms = {"rounds": 2, "min_members": 4, "train_seconds": 3, "exchange_seconds": 3, "final_seconds": 5}
    source = rig.tiny_task(tmp_path / "task.py", start_members=4, secrecy="sums", **terms)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start(*NAMES[:-1])
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.until("the others have committed", lambda: moot.view(task).committed == 0b0111)
        daily = delegation.delegate(moot.homes["dora"], tmp_path / "daily")
        moot.local.homes["daily"] = daily  # type: ignore[index]
        moot.start("daily")
        moot.said("daily", "sits out round 1 of task 1")
        assert (moot.view(task).round, moot.view(task).attempt, moot.view(task).committed) == (1, 0, 0b0111)
        for standing in (Standing.PAUSED, Standing.ADOPTED):  # the round cannot do without it
            decide(moot, "anna", "bert", "carl", kind=Kind.STEER, words=(task, standing))
        model = moot.finish(task)
        assert moot.finals(task)[0].attempt > 0
        assert [final.survivors for final in moot.finals(task)] == [0b1111, 0b1111]
        moot.filled(task, "anna")
        assert moot.verify("anna").models == {task: model}


def test_a_moot_moves_to_another_chain_by_vote_and_every_vote_looks_at_where_to(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=1)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.finish(task)
        decide(moot, "anna", "bert", "carl", kind=Kind.WEIGH, words=(3, 2))
        motion = migration.propose_move(moot.homes["anna"], str(tmp_path / "new.sqlite"))
        rig.until("bert has the account", lambda: moot.homes["bert"].store().has(motion.words[2].to_bytes(32, "big")))
        assert migration.check_successor(moot.homes["bert"], motion).tasks[0][2] == 2, "the one that measures, too"
        elsewhere = governing.move(
            moot.client("dora"), Kind.RETIRE, motion.words[0], motion.words[1] + 1, motion.words[2]
        )
        with pytest.raises(LocalError, match=r"successor|moot"):
            migration.check_successor(moot.homes["bert"], elsewhere)
        for name in ("bert", "carl", "dora"):
            motion = governing.vote(moot.client(name), motion.id)
        assert motion.done
        assert moot.client().retired()
        rig.until("all have the account", lambda: all(_has_account(moot, name, motion) for name in NAMES))
        moot.stop()
        for name in NAMES:
            migration.follow(moot.homes[name])
        there = moot.homes["dora"].moot()
        assert [m.name for m in there.members()] == NAMES
        assert there.about().heritage == motion.words[2].to_bytes(32, "big")
        assert {d.card for d in there.datasets()} == {d.card for d in moot.client("anna").datasets()}
        with pytest.raises(LedgerRefused, match="the moot has moved"):
            moot.client("anna").propose(b"\x01" * 32, b"\x02" * 32, _terms())
        assert there.assembly.weight_of(3) == 1, "she came last, and nobody has voted for it yet"
        _train_there(moot, tmp_path, there)
        assert there.assembly.weight_of(3) == 2
        kinds = [entry.kind for entry in chronicle.entries(there) if entry.kind in ("Enacted", "Committed")]
        assert kinds[:3] == ["Enacted", "Enacted", "Committed"], "adopted, weighed, and only then trained"


def _has_account(moot: rig.Rig, name: str, motion: Motion) -> bool:
    return moot.homes[name].store().has(motion.words[2].to_bytes(32, "big"))


def _terms() -> object:
    from folkmoot.ledger import PolicyTerms

    return PolicyTerms(rounds=1, min_members=1, start=1, train_seconds=1, exchange_seconds=1, final_seconds=1)


def _train_there(moot: rig.Rig, tmp_path: Path, there: Moot) -> None:
    """The homes work where they have moved to."""
    again = rig.tiny_task(tmp_path / "again.py", rounds=1)
    record, _ = propose(moot.homes["anna"], again)
    for name in ("bert", "carl"):
        adoption = governing.adoption_of(moot.homes[name].moot(), record.id)
        if adoption is not None:
            governing.vote(moot.homes[name].moot(), adoption.id)
    for name in NAMES:
        moot.homes[name].moot().grant(record.id, max(moot.homes[name].data()))
    moot.start()
    rig.until("it is done there", lambda: there.round_view(record.id).phase is Phase.DONE)


def test_a_review_shows_what_changed_since_the_version_reviewed_before(tmp_path: Path) -> None:
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        home = moot.homes["anna"]
        first, _ = propose(home, rig.tiny_task(tmp_path / "task.py", rounds=2))
        reviewing.remember(home, first.bundle)
        second, _ = propose(home, rig.tiny_task(tmp_path / "task.py", rounds=3))
        files = {k: v.decode() for k, v in read_bundle(home.store().get(second.bundle)).items()}
        before = reviewing.closest(home, second.bundle, files)
        assert before is not None
        assert before[0] == first.bundle
        changed = [line for line in reviewing.difference(before[1], files).splitlines() if line[:1] in "+-"]
        assert len(changed) == 4  # two lines of heading, the line before and after
        assert '"rounds": 3' in changed[-1].replace("'", '"')
        assert not reviewing.was_reviewed(home, second.bundle)
