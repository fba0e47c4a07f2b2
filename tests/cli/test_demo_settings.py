"""What the demo's options come to: who takes part, what they grant, and what a liar among them does."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import Folkmoot

import folkmoot as fm
from folkmoot.cli.demo_quality import ways
from folkmoot.cli.demo_secrecy import Opened
from folkmoot.cli.demo_settings import ATTACKS, Attack, Settings, choose
from folkmoot.cli.demo_task import data_files, pause, task_text
from folkmoot.errors import LocalError
from folkmoot.learn.heart import clinics
from folkmoot.round.reduce import Made, layout_of, make_contribution, next_state
from folkmoot.simulate import liar, simulate
from folkmoot.simulate.lying_worker import LONE, SCALE, lying
from folkmoot.task import Context, Policy, Task, load_task, make_bundle

ALL_WAYS = [(private, attack) for private in (False, True) for attack in (None, *Attack)]


def chosen(*, private: bool = False, attack: Attack | None = None, kill: bool = True, seed: int = 0) -> Settings:
    return choose(peers=None, rounds=20, kill=kill, seed=seed, private=private, attack=attack)


def task_of(settings: Settings, folder: Path) -> Task:
    source = folder / "task.py"
    source.write_text(task_text(settings))
    return load_task(make_bundle(source))


@pytest.mark.parametrize(("private", "attack"), ALL_WAYS)
def test_every_way_to_run_it_makes_a_task_that_its_members_can_do(
    tmp_path: Path, private: bool, attack: Attack | None
) -> None:
    settings = chosen(private=private, attack=attack)
    policy = task_of(settings, tmp_path).policy
    count = len(settings.learners)
    assert (policy.secret, policy.robust != "mean") == (private, attack is not None)
    assert count == (4 if attack is None else 12 if private else 8)
    assert policy.rounds == (21 if private and attack else 20)
    assert policy.start == count
    assert policy.min_members == count - settings.kill
    assert settings.kill != (private and attack is not None)
    assert settings.peers == max(5, count)


@pytest.mark.parametrize("seed", range(20))
def test_liar_victim_and_witness_are_three(seed: int) -> None:
    settings = chosen(attack=Attack.ZERO, seed=seed)
    assert len({settings.liar, settings.victim, settings.witness}) == 3
    assert {settings.liar, settings.victim, settings.witness} <= set(settings.names)


@pytest.mark.parametrize(
    ("peers", "private", "attack", "kill", "why"),
    [
        (4, True, None, True, "fewer than 3 contributions"),
        (3, True, None, False, "fewer than 3 contributions"),
        (7, False, Attack.ZERO, True, "8 clinics"),
        (11, True, Attack.ZERO, True, "12 clinics"),
    ],
)
def test_too_few_peers_are_refused_with_the_reason(
    peers: int, private: bool, attack: Attack | None, kill: bool, why: str
) -> None:
    with pytest.raises(LocalError, match=f"--peers {peers} are too few: .*{why}"):
        choose(peers=peers, rounds=20, kill=kill, seed=0, private=private, attack=attack)
    choose(peers=peers + 1, rounds=20, kill=kill, seed=0, private=private, attack=attack)


def test_an_unknown_attack_is_refused_and_the_known_ones_are_named(
    folkmoot: Folkmoot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = folkmoot("demo", "--attack", "nonsense")
    assert outcome.code == 2
    assert all(attack.value in outcome.err for attack in Attack)
    monkeypatch.setattr(sys, "argv", ["liar", "nowhere", "--attack", "nonsense"])
    with pytest.raises(SystemExit, match="2"):
        liar.main()
    said = capsys.readouterr().err
    assert all(attack.value in said for attack in Attack)


def test_the_demo_offers_just_the_attacks_that_a_lone_liar_can_do() -> None:
    assert {attack.value for attack in Attack} == set(LONE)
    assert set(ATTACKS) == set(Attack)


def test_nobody_takes_time_where_nobody_is_killed() -> None:
    assert pause(chosen(kill=False), 3.0) == 0.0
    assert 0.1 <= pause(chosen(), 3.0) <= 2.0


# ---- clinics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("hospital", fm.hospitals())
def test_clinics_share_out_every_patient_sick_and_healthy_alike(hospital: str, count: int) -> None:
    path = fm.hospitals()[hospital]
    parts = [text.splitlines() for text in clinics(path, count, seed=3)]
    assert Counter(line for part in parts for line in part) == Counter(path.read_text().split())
    for kind in (True, False):
        sizes = [sum(line.endswith(",0") is kind for line in part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert clinics(path, count, seed=3) == clinics(path, count, seed=3)
    assert count == 1 or clinics(path, count, seed=3) != clinics(path, count, seed=4)


@pytest.mark.parametrize("private", [False, True])
def test_every_clinic_trains_and_holds_out_both_kinds(tmp_path: Path, private: bool) -> None:
    settings = chosen(private=private, attack=Attack.ZERO)
    task = task_of(settings, tmp_path)
    files = data_files(settings, tmp_path / "clinics")
    assert tuple(files) == settings.learners
    for path in files.values():
        (_, labels), (_, held_out) = task.load(str(path))
        assert set(labels) == set(held_out) == {0, 1}


def test_the_guarded_task_scales_by_what_it_says(tmp_path: Path) -> None:
    task = task_of(chosen(attack=Attack.ZERO), tmp_path)
    (x, _), (x_test, _) = task.load(str(fm.hospitals()["cleveland"]))
    scaled = np.concatenate([x, x_test])
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0.0, atol=0.1)
    # the rarest code, of four patients, has the coarsest rounded scale
    np.testing.assert_allclose(np.nanstd(scaled, axis=0), 1.0, atol=0.06)


# ---- the liar ----------------------------------------------------------------------------------------------------


def made(task: Task, data: object, attack: Attack | None) -> Made:
    state = task.init()
    make = lying(make_contribution, LONE[attack.value]) if attack else make_contribution
    return make(task, state, data, Context(1, bytes(range(32))), layout_of(task, state))


@pytest.fixture
def guarded(tmp_path: Path) -> tuple[Task, list[object]]:
    settings = chosen(attack=Attack.ZERO)
    task = task_of(settings, tmp_path)
    return task, [task.load(str(path)) for path in data_files(settings, tmp_path / "clinics").values()]


@pytest.mark.parametrize("attack", Attack)
def test_a_lie_looks_like_a_contribution_and_is_none(guarded: tuple[Task, list[object]], attack: Attack) -> None:
    task, data = guarded
    honest, lie = made(task, data[0], None), made(task, data[0], attack)
    np.testing.assert_array_equal(lie.side, honest.side)
    assert lie.values.shape == honest.values.shape
    assert np.abs(lie.values).max() < 1 << task.policy.bits - 1
    assert np.linalg.norm(lie.values - honest.values) > 0.5 * np.linalg.norm(honest.values)


def test_a_turned_contribution_is_ten_times_the_honest_one_as_far_as_the_bits_go(
    guarded: tuple[Task, list[object]],
) -> None:
    task, data = guarded
    honest, lie = made(task, data[2], None).values, made(task, data[2], Attack.SIGN_FLIP).values
    limit = (1 << task.policy.bits - 1) - 1
    np.testing.assert_array_equal(lie, np.clip(-SCALE * honest, -limit, limit))


def test_a_round_that_only_draws_is_not_lied_in(tmp_path: Path) -> None:
    settings = chosen(private=True, attack=Attack.SIGN_FLIP)
    task = task_of(settings, tmp_path)
    assert made(task, None, Attack.SIGN_FLIP).values.size == 0


@pytest.mark.parametrize("attack", Attack)
def test_undefended_is_what_the_same_liar_makes_of_a_plain_mean(
    guarded: tuple[Task, list[object]], attack: Attack
) -> None:
    task, data = guarded
    task.policy = Policy(rounds=1, bits=48)
    state = task.init()
    contributions = [made(task, own, attack if member == 3 else None) for member, own in enumerate(data)]
    sums = np.array([np.concatenate([own.values, own.side]) for own in contributions]).sum(axis=0, keepdims=True)
    real, _ = next_state(task, state, layout_of(task, state), [sums], [len(data)])
    simulated = simulate(task, data, liars=[3], attack=LONE[attack.value])
    if attack is Attack.GAUSSIAN:  # other random numbers, as large
        assert 0.2 < np.linalg.norm(simulated.arrays["weights"]) / np.linalg.norm(real.arrays["weights"]) < 5.0
    else:
        np.testing.assert_allclose(simulated.arrays["weights"], real.arrays["weights"], atol=1e-5)


def test_a_table_of_an_attack_has_a_column_of_the_undefended() -> None:
    assert ways(chosen()) == ("alone", "together", "pooled")
    assert ways(chosen(attack=Attack.ZERO)) == ("alone", "together", "undefended", "pooled")


def test_what_was_opened_is_said_in_two_lines() -> None:
    assert Opened(7, (4, 3), 7, 3).lines() == (
        "secret: no member saw another's contribution: 7 went in under masks, and only 2 sums, of 3 to 4 each, were"
        " opened",
        "opened for that: 7 seeds of contributors' own masks, 3 of masks shared with a lost member; of no member both",
    )
    assert "2 sums, of 4 each" in Opened(8, (4, 4), 8, 0).lines()[0]
    assert "none of masks shared" in Opened(8, (4, 4), 8, 0).lines()[1]
