"""Four hospitals and a helper, each a process of its own: what everyone gets when nothing goes wrong."""

from pathlib import Path

import pytest
import rig

from folkmoot.digest import Hash
from folkmoot.learn.heart import hospitals
from folkmoot.round import members_of
from folkmoot.task import load_task, read_state

ROUNDS = 4


def train(folder: Path, *, seed: int = 7) -> tuple[rig.Rig, int, Hash]:
    """A finished moot: its peers have left, its files are there."""
    with rig.moot(folder, [*hospitals(), "helper"], seed=seed) as moot:
        task = moot.offer(rig.heart_task(folder / "task.py", rounds=ROUNDS), hospitals())
        model = moot.finish(task)
        moot.filled(task)
    return moot, task, model


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[rig.Rig, int, Hash]:
    return train(tmp_path_factory.mktemp("whole"))


def test_all_rounds_become_final_with_everyone_s_data(finished: tuple[rig.Rig, int, Hash]) -> None:
    moot, task, model = finished
    finals = moot.finals(task)
    assert [final.round for final in finals] == [1, 2, 3, 4]
    assert all(members_of(final.survivors) == (0, 1, 2, 3) for final in finals)
    assert finals[-1].model == model


@pytest.mark.parametrize("name", [*hospitals(), "helper"])
def test_the_history_replays_from_any_one_peer_s_blobs(finished: tuple[rig.Rig, int, Hash], name: str) -> None:
    moot, task, model = finished
    report = moot.verify(name)
    assert (report.rounds, report.models, report.notes) == (ROUNDS, {task: model}, [])


def test_every_peer_s_last_word_is_that_it_is_done(finished: tuple[rig.Rig, int, Hash]) -> None:
    moot, task, _ = finished
    for name in moot.names:
        status = rig.read_status(moot.homes[name])
        assert status is not None
        assert status.state == "stopping"
        assert status.errors == []
        (told,) = status.tasks
        assert (told.task, told.phase, told.round, told.final) == (task, "done", ROUNDS, ROUNDS)


def test_the_final_model_is_measured_on_everyone_s_held_out_data(finished: tuple[rig.Rig, int, Hash]) -> None:
    moot, task, model = finished
    code = load_task(moot.homes["cleveland"].store().get(moot.client().task(task).bundle))
    state = read_state(moot.homes["cleveland"].store().get(model))
    words = [code.evaluate(state, code.load(str(path))) for path in hospitals().values()]
    right = {name: metric.value(sum(said[name] for said in words)) for name, metric in code.metrics().items()}
    *_, last = moot.client().finals(task)
    assert (last.round, last.parent, last.model) == (ROUNDS + 1, model, model), "measuring changes nothing"
    for name in moot.names:
        status = rig.read_status(moot.homes[name])
        assert status is not None
        (told,) = status.tasks
        assert told.measured
        assert {metric: points[-1] for metric, points in told.metrics.items()} == {
            metric: (ROUNDS, value) for metric, value in right.items()
        }


def test_the_same_seed_gives_the_same_model(finished: tuple[rig.Rig, int, Hash], tmp_path: Path) -> None:
    assert train(tmp_path)[2] == finished[2]
