"""A grant is for data as it was: what becomes of it when the data changes, and how it is taken up, or found, again."""

import asyncio
import contextlib
from contextlib import closing
from pathlib import Path

import pytest
import rig

from folkmoot.errors import DataError, LocalError, TaskError
from folkmoot.ledger import Phase
from folkmoot.network import BlobMessage, Node
from folkmoot.peer import custody
from folkmoot.peer.compute import Compute
from folkmoot.peer.context import PeerContext
from folkmoot.peer.datasets import add_dataset, check_granted, relink, update_dataset
from folkmoot.peer.delegation import delegate
from folkmoot.peer.journal import Journal, Source, strayed
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.log import Log
from folkmoot.peer.messages import RoundMessage
from folkmoot.peer.ownbook import own_record
from folkmoot.round import members_of
from folkmoot.round.events import Key, Reveal, Train
from folkmoot.round.plan import make_plan
from folkmoot.task import Policy

NAMES = ["anna", "bert", "carl", "dora"]


def test_who_s_data_changes_in_the_middle_of_a_task_takes_no_part_until_it_is_granted_anew(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=100_000, pause=0.05, start_members=4, train_seconds=2)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, data)
        moot.reach(task, 3)
        content = data["dora"].read_text()
        data["dora"].write_text("1000\n2000\n")
        said = moot.said("dora", "is not the data that dataset 4 was described by")
        assert "folkmoot data update 4" in said
        assert moot.status("dora", task).phase == "failed"
        gone = moot.view(task).round
        moot.reach(task, gone + 4)
        assert all(members_of(final.survivors) == (0, 1, 2) for final in moot.finals(task) if final.round > gone + 1)

        data["dora"].write_text(content)  # the same bytes again: nobody need consent to them twice
        moot.until("dora is back", lambda: moot.finals(task)[-1].survivors >> 3 & 1)
        assert moot.status("dora", task).failure is None

        data["dora"].unlink()
        moot.said("dora", "cannot read")
        data["dora"].write_text("7\n8\n9\n")
        new, tasks = update_dataset(moot.homes["dora"], 4, 3, data["dora"])
        assert (new.id, new.records, tasks) == (5, 3, (task,))
        assert moot.client("dora").grant_of(task, 3) is None
        moot.client("dora").grant(task, new.id)
        since = moot.view(task).round
        moot.until("dora's new data serves", lambda: [f for f in moot.finals(task)[since:] if f.survivors >> 3 & 1])
        assert moot.view(task).phase is not Phase.DONE
        told = [(seen.dataset, seen.task, seen.what) for seen in strayed(moot.homes["dora"])]
        assert told[:3] == [(4, task, what) for what in ("changed", "as it was granted", "missing")]
        assert [row["found"] for row in own_record(moot.homes["dora"])["data"]] == [what for _, _, what in told]


def test_data_that_changes_while_it_is_trained_on_is_not_committed(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=1, pause=2.0, start_members=4, train_seconds=5)
    data = rig.tiny_data(tmp_path, NAMES)
    with rig.moot(tmp_path / "moot", NAMES) as moot:
        task = moot.offer(source, data)
        moot.until("dora trains", lambda: moot.status("dora", task).phase == "training")
        data["dora"].write_text("1000\n")
        moot.finish(task)
        assert members_of(moot.finals(task)[0].survivors) == (0, 1, 2)


@pytest.fixture
def alone(tmp_path: Path) -> LocalMoot:
    return LocalMoot.found(tmp_path / "moot", ["anna", "bert"], name="test")


def test_a_dataset_is_linked_again_only_to_the_data_that_its_card_describes(alone: LocalMoot, tmp_path: Path) -> None:
    home = alone.homes["anna"]
    for name, content in (("here.csv", "1\n2\n"), ("there.csv", "1\n2\n"), ("other.csv", "1\n3\n")):
        (tmp_path / name).write_text(content)
    dataset = add_dataset(home, tmp_path / "here.csv", 2)
    home.data_file.unlink()
    with pytest.raises(DataError, match=r"folkmoot data relink 1 PATH"):
        check_granted(home, home.moot(), dataset.id)
    with pytest.raises(DataError, match=r"other\.csv is not the data that dataset 1 .* folkmoot data update 1"):
        relink(home, dataset.id, tmp_path / "other.csv")
    relink(home, dataset.id, tmp_path / "there.csv")
    assert check_granted(home, home.moot(), dataset.id) == tmp_path / "there.csv"
    with pytest.raises(LocalError, match="dataset 1 is another member's"):
        relink(alone.homes["bert"], dataset.id, tmp_path / "there.csv")


@pytest.mark.parametrize("harm", ["lost", "altered"])
def test_without_its_card_nobody_can_tell_what_a_dataset_is(alone: LocalMoot, tmp_path: Path, harm: str) -> None:
    home = alone.homes["anna"]
    (tmp_path / "here.csv").write_text("1\n2\n")
    dataset = add_dataset(home, tmp_path / "here.csv", 2)
    card = home.cards / f"{dataset.card.hex()}.json"
    if harm == "lost":
        card.unlink()
    else:
        card.write_bytes(card.read_bytes().replace(b'"records":2', b'"records":3'))
    with pytest.raises(DataError, match=r"folkmoot restore --file.*folkmoot data add|is not the card of dataset 1"):
        relink(home, dataset.id, tmp_path / "here.csv")


def test_who_keeps_the_main_key_apart_grants_data_that_lies_with_the_peer(alone: LocalMoot, tmp_path: Path) -> None:
    home = alone.homes["anna"]
    (tmp_path / "here.csv").write_text("1\n2\n")
    add_dataset(home, tmp_path / "here.csv", 2)
    daily = delegate(home, tmp_path / "daily")
    (tmp_path / "here.csv").write_text("1\n3\n")
    assert check_granted(home, home.moot(), 1) is None
    with pytest.raises(DataError, match="folkmoot data update 1"):
        check_granted(daily, daily.moot(), 1)


def test_a_dataset_that_takes_its_time_to_be_read_is_not_used_before(
    alone: LocalMoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = alone.homes["anna"]
    (tmp_path / "here.csv").write_text("1\n2\n")
    dataset = add_dataset(home, tmp_path / "here.csv", 2)
    monkeypatch.setattr(custody, "PROMPT_SECONDS", 0.0)

    async def look() -> None:
        kept = custody.Custody(home, lambda number: home.data().get(number))
        with pytest.raises(custody.Unread, match="is being read"):
            await kept.look(dataset)
        await kept.settled(dataset.id)
        found = await kept.look(dataset)
        assert found.path == str(tmp_path / "here.csv")
        (tmp_path / "here.csv").write_text("1\n3\n")
        with pytest.raises(custody.Unread):
            await kept.look(dataset, now=True)
        (tmp_path / "here.csv").write_text("1\n2\n")  # back before anybody asks again: what was read is not this
        await kept.settled(dataset.id)
        monkeypatch.setattr(custody, "PROMPT_SECONDS", 60.0)
        with contextlib.suppress(DataError):
            await kept.look(dataset, now=True)
        assert (await kept.look(dataset, now=True)).mark != found.mark

    asyncio.run(look())


def test_only_what_has_changed_is_taken_up(alone: LocalMoot, tmp_path: Path) -> None:
    home = alone.homes["anna"]
    (tmp_path / "here.csv").write_text("1\n2\n")
    add_dataset(home, tmp_path / "here.csv", 2, "two patients")
    with pytest.raises(LocalError, match="there is nothing to take up"):
        update_dataset(home, 1, 2, tmp_path / "here.csv")
    (tmp_path / "here.csv").write_text("1\n2\n3\n")
    update_dataset(home, 1, 3, tmp_path / "here.csv")
    assert home.data() == {2: str(tmp_path / "here.csv")}


def test_what_was_spent_of_a_dataset_counts_for_the_one_that_takes_its_place(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    for round, dataset in enumerate((1, 1, 4, 6), start=1):
        journal.release(Key(1, round, 0), dataset)
    assert journal.releases(1, (6, 4, 1), 4, attempts=True) == 4
    assert journal.releases(1, (6,), 4, attempts=False) == 1
    assert journal.releases(1, (6, 4, 1), 3, attempts=True) == 3, "what comes after the last round that trains is free"
    journal.close()


def test_many_who_look_at_once_at_data_that_is_read_are_told_the_same(tmp_path: Path) -> None:
    home = LocalMoot.found(tmp_path / "moot", ["anna"], name="m").homes["anna"]
    (tmp_path / "here.csv").write_text("1\n2\n")
    dataset = add_dataset(home, tmp_path / "here.csv", 2, "two patients")
    kept = custody.Custody(home, home.data().get)

    async def look() -> list[custody.Kept]:
        return await asyncio.gather(*(kept.look(dataset, now=True) for _ in range(8)))

    assert len(set(asyncio.run(look()))) == 1


def test_a_contribution_made_before_a_restart_is_not_sent_for_other_data_than_it_was_made_from(
    alone: LocalMoot, tmp_path: Path
) -> None:
    data = rig.tiny_data(tmp_path, ["anna", "bert"])
    task = alone.offer(rig.tiny_task(tmp_path / "task.py", rounds=1, min_members=2), data)
    home, parent, key = alone.homes["anna"], bytes(32), Key(task, 1, 0)
    plan = make_plan((0, 1), parent, 0, Policy())
    with closing(Log(home.log_file)) as log:
        node = Node(home.identity.endpoint_secret, BlobMessage | RoundMessage)
        with closing(PeerContext(home, home.moot(), node, 0, log, embedded=True)) as peer:
            compute = Compute(home.moot().task(task), peer)
            made = Reveal(bytes(32), tuple(peer.store.put(bytes([n])) for n in range(plan.pieces)))
            peer.journal.remember(key, parent, made, 0.5, Source(1, (1,)))

            def contribute(dataset: int) -> tuple[Reveal, float]:
                kept = custody.Kept(dataset, str(data["anna"]), b"")
                return asyncio.run(compute.train(Train(key, parent), kept, plan, None, None))

            assert contribute(1) == (made, 0.5)
            with pytest.raises(TaskError, match="made from other data than the grant names now"):
                contribute(2)
