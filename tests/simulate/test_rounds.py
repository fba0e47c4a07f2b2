"""Simulated rounds: what peers would compute, with liars among them."""

from __future__ import annotations

import numpy as np
import pytest
from mean_task import MeanTask, datasets

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.learn import together
from folkmoot.simulate import ATTACKS, rounds, simulate
from folkmoot.task import Policy, State

LIES = [name for name, attack in ATTACKS.items() if attack.lie]
ROBUST = Policy(rounds=6, min_members=17, robust="trimmed-mean", faults=4)
GROUPED = Policy(
    rounds=7, min_members=48, secrecy="sums", robust="trimmed-mean", mix="nearest-neighbours", faults=5, clip=20.0
)


def at(state: State) -> np.ndarray:
    return state.arrays["at"].reshape(-1)


def distance(policy: Policy, members: int, liars: tuple[int, ...], name: str | None) -> float:
    """How far from the honest members' mean the state ends, in their standard deviations."""
    data = datasets(members)
    means = np.array([own[0][0].mean(axis=0) for i, own in enumerate(data) if i not in liars])
    found = at(simulate(MeanTask(policy), data, liars=liars, attack=ATTACKS[name] if name else None))
    spread = np.sqrt(np.square(means - means.mean(axis=0)).sum(axis=1).mean())
    return float(np.linalg.norm(found - means.mean(axis=0)) / spread)


def test_without_liars_the_mean_is_that_of_the_baseline() -> None:
    task, data = MeanTask(Policy(rounds=5)), datasets(7)
    np.testing.assert_allclose(at(simulate(task, data)), at(together(task, data)), atol=1e-3)


def test_the_state_after_each_round_comes_with_the_metrics_of_the_one_before() -> None:
    task, data = MeanTask(Policy(rounds=3)), datasets(4)
    found = list(rounds(task, data))
    assert [state.round for state, _ in found] == [1, 2, 3]
    assert all(metrics == {"count": sum(len(own[0][1]) for own in data)} for _, metrics in found)


def test_the_same_seed_gives_the_same_bits() -> None:
    data = datasets(48)
    liars = (1, 2, 30, 31, 47)
    first, again, other = (
        simulate(MeanTask(GROUPED), data, liars=liars, attack=ATTACKS["gaussian"], seed=seed) for seed in (5, 5, 6)
    )
    assert at(first).tobytes() == at(again).tobytes() != at(other).tobytes()


@pytest.mark.parametrize("name", LIES)
def test_a_robust_rule_stays_with_the_honest(name: str) -> None:
    assert distance(ROBUST, 17, (0, 5, 6, 16), name) < 0.8


@pytest.mark.parametrize("name", LIES)
def test_a_robust_rule_over_secret_groups_stays_with_the_honest(name: str) -> None:
    assert distance(GROUPED, 48, (0, 5, 6, 16, 47), name) < 0.8


def test_the_undefended_mean_goes_where_liars_want() -> None:
    assert distance(Policy(rounds=6), 17, (0, 5, 6, 16), "foe-tuned") > 4.0


def test_a_capped_lie_is_no_longer_than_the_cap() -> None:
    policy = Policy(rounds=1, secrecy="sums", clip=1.0)
    found = at(simulate(MeanTask(policy), datasets(5), liars=(0, 1, 2), attack=ATTACKS["gaussian"]))
    assert np.linalg.norm(found) <= 1.0 + 1e-9


def test_poisoned_members_train_on_what_they_poisoned() -> None:
    data = datasets(5)
    policy = Policy(rounds=3)
    honest = at(simulate(MeanTask(policy), data, liars=(1,)))
    assert at(simulate(MeanTask(policy), data)).tobytes() == honest.tobytes()
    poisoned = at(simulate(MeanTask(policy), data, liars=(1,), attack=ATTACKS["backdoor"]))
    # The trigger is in the last three features and nowhere else.
    assert np.flatnonzero(np.abs(poisoned - honest) > 1e-3).tolist() == [17, 18, 19]


def test_what_cannot_be_simulated_is_refused() -> None:
    noisy = Policy(secrecy="sums", clip=1.0, epsilon=1.0)
    with pytest.raises(TaskError, match="epsilon"):
        simulate(MeanTask(noisy), datasets(3))
    with pytest.raises(IntegrityError, match="withstands 4 liars among 9 inputs"):
        simulate(MeanTask(ROBUST), datasets(8))
    with pytest.raises(TaskError, match="honest"):
        simulate(MeanTask(Policy()), datasets(3), liars=range(3), attack=ATTACKS["zero"])
