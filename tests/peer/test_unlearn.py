"""Training done again without a member: from the last model it had no part in, by the others, with the proof of it."""

from pathlib import Path

import handmade
import pytest
import rig

from folkmoot.errors import IntegrityError, LocalError, TaskError
from folkmoot.ledger.motions import Kind
from folkmoot.peer import governing
from folkmoot.peer.unlearn import check_start, propose_without
from folkmoot.peer.verify import verify
from folkmoot.round import members_of
from folkmoot.store import Store
from folkmoot.task import load_task, read_bundle
from folkmoot.task.pin import Pin, pin_of, pinned_bundle

NAMES = ["anna", "bert", "carl", "dora"]
DORA = 3


def stubborn() -> None:
    """For dora's process: it takes no notice of whom a task does without, and contributes as ever."""
    Pin.excluded = property(lambda self: 0)  # type: ignore[method-assign]


def without_dora(moot: rig.Rig, task: int) -> tuple[int, Pin]:
    """The others propose and adopt it, and everybody grants, dora too."""
    record, pin = propose_without(moot.homes["anna"], task, "dora")
    motion = governing.adoption_of(moot.client("anna"), record.id)
    assert motion is not None
    for name in ("bert", "carl"):
        if governing.adoption_of(moot.client("anna"), record.id):
            governing.vote(moot.client(name), motion.id)
    moot.ready(record.id)
    moot.grant(record.id, *reversed(NAMES))
    return record.id, pin


@pytest.fixture(scope="module")
def moot(tmp_path_factory: pytest.TempPathFactory) -> rig.Rig:
    """Dora comes into task 1 in its second round; task 2 does it again without her, and her peer would contribute."""
    folder = tmp_path_factory.mktemp("unlearn")
    with rig.moot(folder / "moot", NAMES, start=False) as running:
        running.start(*NAMES[:3])
        running.start("dora", before=stubborn)
        source = rig.tiny_task(folder / "task.py", rounds=4, start_members=3, train_seconds=3, pause=0.1)
        task = running.offer(source, rig.tiny_data(folder, NAMES), grant=False)
        running.grant(task, *NAMES[:3])
        running.reach(task, 2)
        running.grant(task, "dora")
        running.finish(task)
        again, _ = without_dora(running, task)
        running.finish(again)
        running.filled(again)
        running.filled(task)
    return running


def test_the_others_go_on_from_the_last_model_that_the_member_had_no_part_in(moot: rig.Rig) -> None:
    before, after = moot.finals(1), moot.finals(2)
    first = next(final.round for final in before if final.survivors >> DORA & 1)
    assert first > 1
    pin = pin_of(read_bundle(moot.homes["bert"].store().get(moot.client().task(2).bundle)))
    assert pin is not None
    assert (pin.task, pin.round, pin.without, pin.rounds) == (1, first - 1, (DORA,), 4 - first + 1)
    assert after[0].parent == before[first - 2].model
    assert len(after) == pin.rounds


def test_no_round_counts_the_member_though_it_grants_and_contributes(moot: rig.Rig) -> None:
    assert moot.client().grant_of(2, DORA) is not None
    assert 1 in [commit.round for commit in moot.client().commits_log(2) if commit.member == DORA]
    assert {members_of(final.survivors) for final in moot.finals(2)} == {(0, 1, 2)}


def test_the_replay_shows_what_was_left_out(moot: rig.Rig) -> None:
    report = moot.verify("carl")
    assert report.without == {2: ("dora",)}
    assert report.rounds == len(moot.finals(1)) + len(moot.finals(2))


def test_a_start_that_is_not_the_model_or_the_code_it_says_is_refused(tmp_path: Path) -> None:
    made = handmade.story(tmp_path)
    record, pin = propose_without(made.homes[0], 1, "dora")
    client, bundle = made.moot(), made.store.get(record.bundle)
    plain = {name: content for name, content in read_bundle(bundle).items() if name != "lineage.json"}

    def refused(why: str, **change: object) -> None:
        told = {name: getattr(pin, name) for name in pin.__struct_fields__} | change
        with pytest.raises(TaskError, match=why):
            check_start(client, record, pinned_bundle(plain, Pin(**told)))

    assert check_start(client, record, bundle) == pin
    assert (pin.round, pin.rounds) == (1, 2)
    refused("does not start from the model of round", model="00" * 32)
    refused("does not start from the model of round", round=0)
    refused("which is not final", round=40)
    refused("counts a member that is to be left out", without=(0,))
    refused("continues a task of another moot", chain_id=1)
    refused("was not there when it was proposed", task=2)
    with pytest.raises(TaskError, match="its code is not that of task 1"):
        check_start(client, record, pinned_bundle({**plain, "task.py": plain["task.py"] + b"#"}, pin))


def test_a_survivor_that_was_to_be_left_out_is_named(moot: rig.Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pin, "excluded", property(lambda self: 0b0110))
    monkeypatch.setattr("folkmoot.peer.unlearn._rounds", lambda course: iter(()))
    with pytest.raises(IntegrityError, match="task 2, round 1: bert is among its survivors; it was to be left out"):
        verify(moot.ledger_file, None, [moot.homes["carl"].blobs])


def test_a_member_with_nothing_in_the_model_has_nothing_to_be_taken_out(moot: rig.Rig) -> None:
    with pytest.raises(LocalError, match="nothing to be done again"):
        propose_without(moot.homes["anna"], 2, "dora")


def test_a_second_member_can_be_left_out_of_what_continues_already(moot: rig.Rig) -> None:
    with pytest.raises(LocalError, match="needs 3 contributions in each round"):
        propose_without(moot.homes["anna"], 2, "carl")


def test_the_first_state_of_such_a_task_is_not_what_its_code_makes(moot: rig.Rig) -> None:
    bundle = Store(moot.homes["bert"].blobs).get(moot.client().task(2).bundle)
    task = load_task(bundle)
    assert (task.policy.rounds, task.policy.start) == (len(moot.finals(2)), 3)
    with pytest.raises(TaskError, match="continues task 1"):
        task.init()
    assert Kind.STEER in {motion.kind for motion in moot.client().assembly.motions()}
