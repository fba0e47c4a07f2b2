"""What goes along when a moot moves, and what stays: weights of votes are given again, bounties are paid out before."""

from __future__ import annotations

from pathlib import Path

import pytest

from folkmoot.errors import LocalError
from folkmoot.ledger import Moot, PolicyTerms, statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing
from folkmoot.peer import governing, leaving, migration, weighing
from folkmoot.peer.home import Home
from folkmoot.peer.local import LocalMoot

TERMS = PolicyTerms(rounds=1, min_members=1, start=1, train_seconds=1, exchange_seconds=1, final_seconds=1)


def moot_of(folder: Path, *names: str) -> list[Home]:
    return list(LocalMoot.found(folder, names, name="a moot").homes.values())


def decided(homes: list[Home], kind: Kind, *words: int) -> None:
    """Moved by the first, and voted for by the others until it is done."""
    motion = governing.move(homes[0].moot(), kind, *words)
    for home in homes[1:]:
        if not motion.done:
            motion = governing.vote(home.moot(), motion.id)
    assert motion.done


def moved(homes: list[Home], where: Path) -> None:
    """The moot has moved, and everyone has the account of it."""
    motion = migration.propose_move(homes[0], str(where))
    account = migration.account_moved_with(homes[0], motion)
    for home in homes[1:]:
        home.store().put(account.blob)
        if not motion.done:
            migration.check_successor(home, motion)
            motion = governing.vote(home.moot(), motion.id)
    assert motion.done


def test_votes_weigh_in_the_successor_what_they_weighed_before(tmp_path: Path) -> None:
    homes = moot_of(tmp_path, "anna", "bert", "carl", "dora")
    decided(homes, Kind.WEIGH, 1, 3)
    moved(homes, tmp_path / "new.sqlite")
    for home in homes[:2]:
        migration.follow(home)
    there = homes[0].moot()
    account = weighing.account_here(homes[0].store(), there.about().heritage)
    assert account is not None
    assert weighing.owed(there, account) == {1: 3}
    with pytest.raises(LocalError, match=r"bert's vote weighed 3 \(folkmoot vote 1\): nothing else is decided"):
        weighing.check_carried(there, account)
    for home in homes[2:]:
        migration.follow(home)
    weighing.check_carried(there, account)
    assert [there.assembly.weight_of(member) for member in range(4)] == [1, 3, 1, 1]
    decided([homes[1], homes[0], homes[2]], Kind.WEIGH, 1, 2)
    assert weighing.owed(there, account) == {}, "what the members decide later is theirs"


def one_round(home: Home, task: int) -> None:
    """The one round of an adopted task, of its only member's contribution."""
    moot, key = home.moot(), bytes(home.identity.account.key)
    moot.grant(task, moot.describe(bytes([0xCC, task]) * 16, 10))
    moot.commit(task, 1, 0, b"\x0c" * 32)
    moot.freeze(task, 1, 0, {0: (1, statements.sign(key, statements.holding_digest(moot.domain, task, 1, 0, 1)))})
    outcome = (b"\x01" * 32, b"\x02" * 32, b"\x4d" * 32)
    digest = statements.model_digest(moot.domain, task, 1, 0, b"\x90" * 32, *outcome, survivors=1)
    moot.finalise(task, 1, 0, *outcome, {0: statements.sign(key, digest)})


def settle(home: Home, task: int) -> None:
    """Everything that is set aside for it is the only member's."""
    purse, key = home.moot().purse, bytes(home.identity.account.key)
    digest = statements.split_digest(purse.domain, task, 1, 1, [1])
    purse.settle(task, purse.points, 1, [1], {0: statements.sign(key, digest)})


def offered(home: Home) -> int:
    moot = home.moot()
    task = moot.propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    assert governing.move(moot, Kind.STEER, task, Standing.ADOPTED).done
    return task


def rich(home: Home) -> Moot:
    """The moot, with 90 points that its member has earned and claimed, 10 that it is owed, 40 of the former set aside
    for a task without a round."""
    moot = home.moot()
    for points in (90, 10):
        task = offered(home)
        assert governing.move(moot, Kind.ENDOW, task, points).done
        one_round(home, task)
        settle(home, task)
        if points == 90:
            moot.purse.claim(moot.purse.points, 0)
    moot.purse.fund(offered(home), moot.purse.points, 40)
    return moot


def test_a_moot_does_not_move_away_from_a_bounty_that_is_neither_paid_out_nor_free_to_be_taken_back(
    tmp_path: Path,
) -> None:
    (home,) = moot_of(tmp_path, "anna")
    moot, where = home.moot(), str(tmp_path / "new.sqlite")
    task = offered(home)
    assert governing.move(moot, Kind.ENDOW, task, 100).done
    with pytest.raises(LocalError, match=r"100 of 0x.* task 1, which would stay behind: stop it first"):
        migration.propose_move(home, where)
    one_round(home, task)
    with pytest.raises(LocalError, match="have running peers settle it"):
        migration.propose_move(home, where)
    assert not (tmp_path / "new.sqlite").exists(), "refused before anything is founded"
    settle(home, task)
    assert migration.propose_move(home, where).done


def test_who_votes_refuses_a_move_that_leaves_a_bounty_behind_unless_that_is_meant(tmp_path: Path) -> None:
    homes = moot_of(tmp_path, "anna", "bert")
    task = homes[0].moot().propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    decided(homes, Kind.ENDOW, task, 100)
    motion = migration.propose_move(homes[0], str(tmp_path / "new.sqlite"), leave_bounties=True)
    homes[1].store().put(migration.account_moved_with(homes[0], motion).blob)
    with pytest.raises(LocalError, match=r"stop it first \(folkmoot move stop 1\), or see --leave-bounties"):
        migration.check_successor(homes[1], motion)
    assert migration.check_successor(homes[1], motion, leave_bounties=True).bounties[0][2] == 100


def test_a_bounty_set_aside_after_the_move_was_proposed_is_seen_by_who_votes(tmp_path: Path) -> None:
    homes = moot_of(tmp_path, "anna", "bert")
    task = homes[0].moot().propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    motion = migration.propose_move(homes[0], str(tmp_path / "new.sqlite"))
    homes[1].store().put(migration.account_moved_with(homes[0], motion).blob)
    assert migration.check_successor(homes[1], motion).bounties == ()
    decided(homes, Kind.ENDOW, task, 7)
    with pytest.raises(LocalError, match=r"7 of 0x.* are set aside for task 1, which would stay behind"):
        migration.check_successor(homes[1], motion)


def test_what_is_owed_or_was_set_aside_for_a_task_without_a_round_is_had_after_the_move(tmp_path: Path) -> None:
    (home,) = moot_of(tmp_path, "anna")
    old = rich(home)
    points, account = old.purse.points, home.identity.account.address
    assert governing.move(old, Kind.STEER, 3, Standing.STOPPED).done
    moved([home], tmp_path / "new.sqlite")
    migration.follow(home)
    assert home.moot().chain_id != old.chain_id
    gap, owed = leaving.left_behind(old, migration.account_moved_with(home, migration.move_of(old)))
    assert f"40 of {points} were set aside for task 3" in gap
    assert "folkmoot rewards reclaim 3 --before-move" in gap
    assert owed == f"10 of {points} are owed to you: folkmoot rewards claim --before-move"
    before = leaving.moot_before(home)
    assert before.chain_id == old.chain_id
    before.purse.reclaim(3, points)
    before.purse.claim(points, 0)
    assert before.purse.balance(points, account) == 100
    with pytest.raises(LocalError, match="followed no moot"):
        leaving.moot_before(moot_of(tmp_path / "other", "emil")[0])
