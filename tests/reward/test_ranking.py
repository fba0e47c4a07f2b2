"""Real data: who is worth more is scored higher, though only groups are seen."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
import pytest
from reward_moot import SECRET, Heart, datasets, played

from folkmoot.reward import member_scores, scored
from folkmoot.reward.wire import LIMIT
from folkmoot.simulate import simulate
from folkmoot.task import Policy

ROLES = ("large", *["honest"] * 9, "noisy", "zero")
LIARS = (9, 10, 11)
SEEDS = range(3)


@cache
def moot(seed: int) -> tuple[object, ...]:
    return tuple(played(SECRET, datasets(ROLES, seed), ROLES, 4, seed)[0])


def scores(liars: str = "") -> list[float]:
    """The mean score of each seat."""
    found = []
    for seed in SEEDS:
        rounds = []
        for groups, told in moot(seed):  # type: ignore[misc]
            said = dict(told)
            for liar in LIARS if liars else ():
                said[liar] = [LIMIT * (1 if set(group) & set(LIARS) else -1) for group in groups]
                if liars == "silent":
                    del said[liar]
            rounds.append(scored(groups, said, 3))
        found.append([*member_scores(rounds).values()])
    return np.mean(found, axis=0).tolist()


@pytest.mark.parametrize("liars", ["", "silent", "boast"])
def test_spoilt_labels_and_a_free_rider_rank_below_honest_members_under_secrecy(liars: str) -> None:
    large, *honest, noisy, zero = scores(liars)
    assert min(large, float(np.mean(honest[:8]))) > max(noisy, zero)
    assert noisy < 0
    assert zero < np.mean(honest[:8]) / 2


def test_scores_of_groups_agree_with_exact_shapley_values() -> None:
    roles = ("large", "honest", "honest", "noisy", "zero")
    policy, data = Policy(rounds=20, min_members=1), datasets(roles)
    data[4] = ((data[4][0][0] * 0.0, data[4][0][1] * 0), data[4][1])  # what zero trains on moves the bias alone
    test = datasets(["large"], seed=9)[0]

    @cache
    def value(coalition: tuple[int, ...]) -> float:
        task = Heart(policy)
        state = simulate(task, [data[seat] for seat in coalition]) if coalition else task.init()
        return -task.metrics()["loss"].value(task.evaluate(state, (test[1], test[0]))["loss"])

    exact = []
    for seat in range(5):
        others = [other for other in range(5) if other != seat]
        sets = [chosen for size in range(5) for chosen in combinations(others, size)]
        gains = [(value(tuple(sorted((*chosen, seat)))) - value(chosen)) / comb(4, len(chosen)) for chosen in sets]
        exact.append(sum(gains) / 5)
    seen, _ = played(policy, data, roles, 2)
    found = [*member_scores([scored(groups, told) for groups, told in seen]).values()]
    ranks = [np.argsort(np.argsort(values)) for values in (exact, found)]
    assert np.corrcoef(*ranks)[0, 1] >= 0.7
    assert np.argmin(exact) == np.argmin(found) == 3
