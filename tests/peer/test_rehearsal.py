"""Rehearsals on real workers: what they let pass, what they refuse, at which step and at whose data."""

import re
from pathlib import Path

import pytest
import rig

from folkmoot.errors import TaskError
from folkmoot.peer.rehearsal import Rehearsal, rehearse, sample_of
from folkmoot.peer.workbench import Workbench
from folkmoot.task import make_bundle

OWN = '''
import os
import numpy as np
import folkmoot as fm


class Mean:
    """Averages one number, and can be told what to do wrong where."""

    name = "mean"
    policy = fm.Policy(rounds=3{policy})

    def init(self):
        {init}
        return fm.State({{"mean": np.zeros(1)}})

    def schema(self, state):
        {schema}
        return {{"mean": (1,)}}

    def load(self, path):
        {load}
        return float(open(path).read())

    def contribute(self, state, data, context):
        {contribute}
        return fm.Contribution({{"mean": np.array([data])}}, 1)

    def update(self, state, aggregate):
        {update}
        return fm.State({{"mean": aggregate.arrays["mean"]}}, state.round + 1, state.exponents)

    def metrics(self):
        return {{}}

    def evaluate(self, state, data):
        {evaluate}
        return {{}}


task = Mean()
'''
METHODS = ("init", "schema", "load", "contribute", "update", "evaluate")


def own_task(folder: Path, policy: str = "", **lines: str) -> Path:
    path = folder / "task.py"
    path.write_text(OWN.format(policy=policy, **{name: lines.get(name, "pass") for name in METHODS}))
    return path


def line_of(source: Path, text: str) -> int:
    return next(number for number, line in enumerate(source.read_text().splitlines(), start=1) if text in line)


def numbers(folder: Path, *values: float) -> list[Path]:
    made = []
    for at, value in enumerate(values):
        made.append(folder / f"{at}.txt")
        made[-1].write_text(f"{value}\n")
    return made


def rehearsed(source: Path, *data: Path) -> Rehearsal:
    with Workbench(make_bundle(source)) as bench:
        return rehearse(bench, {str(path): path for path in data})


def test_two_rounds_pass_on_a_task_that_will_train_and_tell_what_a_contribution_weighs(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", size=1000, secrecy="public")
    report = rehearsed(source, *rig.tiny_data(tmp_path, ["ann", "bob"]).values())
    report.check()
    assert report.draft is not None
    assert (report.refusals, report.draft.name, report.members) == ([], "tiny", 3)
    # 48 bits a value until there is a step, then 16, and 12 bytes of weight and vote
    assert report.sizes == [6 * 1000 + 12, 2 * 1000 + 12]
    done = [step.name for step in report.steps if step.data in (None, str(tmp_path / "bob.txt"))]
    assert done == [
        *("loading the code", "init", "load", "round 1: contribute", "round 1: sum", "round 1: update"),
        *("round 1: store", "round 2: contribute", "round 2: sum", "round 2: update", "round 2: store"),
        *("export", "the same again"),
    ]


@pytest.mark.parametrize(
    "policy",
    [
        {"secrecy": "sums"},
        {"min_members": 9},
        {"min_members": 9, "secrecy": "sums"},
        {"robust": "median", "faults": 1},
        {"robust": "median", "faults": 1, "secrecy": "sums", "clip": 1.0, "min_members": 12},
        {"secrecy": "sums", "clip": 1.0, "epsilon": 50.0, "min_members": 4},
    ],
    ids=lambda policy: " ".join(policy),
)
def test_every_kind_of_policy_is_rehearsed_with_its_masks_groups_rules_and_noise(
    tmp_path: Path, policy: dict[str, object]
) -> None:
    source = rig.tiny_task(tmp_path / "task.py", size=20, **policy)
    report = rehearsed(source, *rig.tiny_data(tmp_path, ["ann"]).values())
    assert report.refusals == []
    assert rehearsed(source).refusals == []


@pytest.mark.parametrize("method", METHODS)
def test_an_error_is_told_with_the_method_the_line_and_the_authors_own_traceback(tmp_path: Path, method: str) -> None:
    source = own_task(tmp_path, **{method: "raise RuntimeError('no luck')"})
    if method == "evaluate":
        source.write_text(
            source.read_text().replace("return {}\n\n    def ev", "return {'x': fm.metrics.accuracy}\n\n    def ev")
        )
    report = rehearsed(source, *numbers(tmp_path, 1.0))
    (refusal,) = report.refusals
    line = line_of(source, "no luck")
    assert refusal.error == f"The task failed in {method} (task.py, line {line}): RuntimeError: no luck."
    assert f"line {line}, in {method}" in refusal.trace
    assert refusal.trace.endswith("raise RuntimeError('no luck')\nRuntimeError: no luck\n".removesuffix("\n"))
    assert "folkmoot/peer" not in refusal.trace
    with pytest.raises(TaskError, match=re.escape(f"failed at {refusal.step}: {refusal.error}")):
        report.check()


def test_a_member_whose_data_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py")
    data = rig.tiny_data(tmp_path, ["ann", "bob", "cem"], bob="raise\n", cem="nan\n")
    report = rehearsed(source, *data.values())
    assert [(refusal.step, refusal.data) for refusal in report.refusals] == [
        ("round 1: contribute", str(data["bob"])),
        ("round 1: contribute", str(data["cem"])),
    ]
    assert "RuntimeError: the sky fell" in report.refusals[0].error
    assert "'mean' holds NaN or infinity" in report.refusals[1].error
    assert report.steps[-1].name == "the same again"


def test_what_fails_in_the_second_round_only_is_found(tmp_path: Path) -> None:
    source = own_task(tmp_path, contribute="assert state.round == 0, 'once only'")
    (refusal,) = rehearsed(source, *numbers(tmp_path, 1.0)).refusals
    assert (refusal.step, "once only" in refusal.error) == ("round 2: contribute", True)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ({"init": "return fm.State({'mean': np.random.default_rng().normal(size=1)})"}, "init gives a first state"),
        ({"init": "return fm.State({'mean': np.array([float(hash('a') % 1000)])})"}, "init gives a first state"),
        ({"update": "aggregate.arrays = {'mean': np.random.normal(size=1)}"}, "FrozenInstanceError"),
        (
            {"update": "return fm.State({'mean': np.random.normal(size=1)}, state.round + 1)"},
            "update gives a next state",
        ),
    ],
)
def test_what_comes_out_otherwise_in_each_process_is_refused(
    tmp_path: Path, lines: dict[str, str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    (refusal,) = rehearsed(own_task(tmp_path, **lines), *numbers(tmp_path, 1.0)).refusals
    assert what in refusal.error


def test_a_worker_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    source = own_task(tmp_path, contribute="print('out of patience', flush=True); os._exit(3)")
    (refusal,) = rehearsed(source, *numbers(tmp_path, 1.0)).refusals
    assert "died in contribute (status 3)" in refusal.error
    assert refusal.error.endswith("it printed last: out of patience")


def test_leaving_by_sys_exit_is_an_error_of_the_task_like_any_other(tmp_path: Path) -> None:
    source = own_task(tmp_path, contribute="import sys; sys.exit('enough')")
    (refusal,) = rehearsed(source, *numbers(tmp_path, 1.0)).refusals
    assert f"failed in contribute (task.py, line {line_of(source, 'enough')}): SystemExit: enough" in refusal.error


def test_a_training_that_is_longer_than_a_round_waits_is_noted(tmp_path: Path) -> None:
    source = own_task(tmp_path, ", train_seconds=1", contribute="import time; time.sleep(1.1)")
    report = rehearsed(source, *numbers(tmp_path, 1.0))
    report.check()
    assert "commits close after policy.train_seconds=1" in report.notes[0]


def test_without_data_the_public_part_is_rehearsed_on_zeros(tmp_path: Path) -> None:
    report = rehearsed(own_task(tmp_path, load="raise RuntimeError('never called')"))
    report.check()
    assert [step.name for step in report.steps if step.name.startswith("round")] == [
        *("round 1: sum", "round 1: update", "round 1: store"),
    ]
    (refusal,) = rehearsed(own_task(tmp_path, update="return fm.State({'mean': np.array([np.nan])}, 1)")).refusals
    assert "cannot be stored: array 'mean' holds NaN" in refusal.error


def test_an_update_that_zeros_alone_upset_is_noted_and_not_refused(tmp_path: Path) -> None:
    report = rehearsed(own_task(tmp_path, update="np.linalg.inv(np.diag(aggregate.arrays['mean']))"))
    report.check()
    assert "with zeros for contributions its update failed" in report.notes[0]


@pytest.mark.parametrize(
    ("files", "sample"),
    [
        ({}, None),
        ({"sample.csv": "1"}, "sample.csv"),
        ({"sample/a.csv": "1", "sample/b/c.csv": "2"}, "sample"),
        ({"sampler.csv": "1", "sample.py": ""}, None),
    ],
)
def test_a_task_ships_a_sample_beside_its_code(tmp_path: Path, files: dict[str, str], sample: str | None) -> None:
    folder = own_task(tmp_path).parent
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = sample_of(make_bundle(folder), tmp_path / "out")
    assert (None if found is None else str(found.relative_to(tmp_path / "out"))) == sample
    for name, text in files.items():
        if sample is not None:
            assert (tmp_path / "out" / name).read_text() == text


def test_two_samples_are_one_too_many(tmp_path: Path) -> None:
    folder = own_task(tmp_path).parent
    for name in ("sample.csv", "sample.txt"):
        (folder / name).write_text("1")
    with pytest.raises(TaskError, match=r"more than one sample: sample\.csv, sample\.txt"):
        sample_of(make_bundle(folder), tmp_path / "out")
