"""Contribution scores under secrecy: whom they rank where, beside exact Shapley values, and where they fail.

    python -m benchmarks rewards --write docs/rewards.md

Members train on real data (``benchmarks.reward_moots``), are dealt into new groups every round, and only the groups'
sums are seen. Each scores these sums on its own held-out data with ``reward.effects``; medians and the regression over
rounds are ``reward.scores``. Nothing here knows the roles but the tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from benchmarks.report import Row, print_rows
from benchmarks.reward_moots import (
    FEW_ROLES,
    RIDERS,
    ROLES,
    Digits,
    Heart,
    Lie,
    Moot,
    Rider,
    Seen,
    digits_moot,
    heart_moot,
    play,
)
from folkmoot.learn import metrics
from folkmoot.reward import MILLION, member_scores, scored, split
from folkmoot.reward.effects import effects
from folkmoot.reward.wire import LIMIT
from folkmoot.round.reduce import layout_of, make_contribution
from folkmoot.simulate import simulate
from folkmoot.task import Context, Policy, State

ROUNDS = 40
AFTER = (5, 10, 20, 40)
GROUP = 4
FAULTS = 3
SECRET: Mapping[str, Any] = {
    "secrecy": "sums",
    "robust": "trimmed-mean",
    "faults": 1,
    "clip": 2.0,
    "min_members": len(ROLES),
    "group_size": GROUP,
}
"""With it comes a first round that draws the groups of the second, and trains nothing."""
POLICIES: Mapping[str, Mapping[str, Any]] = {"secret groups": SECRET, "public mean": {}}
"""Under the second all contributions are summed in one row, weighted, and the groups are for scoring alone."""
WORLDS: Mapping[str, tuple[Any, Callable[..., Moot]]] = {"digits": (Digits, digits_moot), "heart": (Heart, heart_moot)}
INTERESTED = ("noisy", *RIDERS)
"""Those who would gain most by lying, as many as f of 12."""
LIES: Mapping[str, Lie] = {
    "noise as long as the cap": lambda mean, cap: _long(np.random.default_rng(0).normal(size=mean.shape), cap),
    "the others' mean, turned round, as long as the cap": lambda mean, cap: _long(-mean, cap),
}


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args(argv).seeds)
    print(f"\nShares are of what is paid for usefulness, in %; each figure is the mean of {len(seeds)} seeds.")
    rows = [_ranks(world, policy, seeds) for world in WORLDS for policy in POLICIES]
    for world in WORLDS:
        _beside_shapley(world, seeds)
    for world in WORLDS:
        _lying_scorers(world, seeds)
    _lying_members(seeds)
    _skew(seeds)
    rows.append(_cost())
    print_rows("In short", rows)
    return rows


def _ranks(world: str, policy: str, seeds: Sequence[int]) -> Row:
    found = {rounds: [_by_role(_played(world, seed, policy), rounds) for seed in seeds] for rounds in AFTER}
    title = f"{world.capitalize()}, {policy}: {len(ROLES)} members in groups of {GROUP}, by rounds scored"
    print(f"\n### {title}\n\n| member | {' | '.join(map(str, AFTER))} | least to most after {ROUNDS} |")
    print(f"| --- |{' ---: |' * (len(AFTER) + 1)}")
    for role in dict.fromkeys(ROLES):
        means = [f"{100 * np.mean([shares[role] for shares in found[rounds]]):.1f}" for rounds in AFTER]
        last = [100 * shares[role] for shares in found[ROUNDS]]
        name = f"{role} (mean of {ROLES.count(role)})" if ROLES.count(role) > 1 else role
        print(f"| {name} | {' | '.join(means)} | {min(last):.1f} to {max(last):.1f} |")
    for name, holds in ORDERS.items():
        cells = [f"{sum(map(holds, found[rounds]))} of {len(seeds)}" for rounds in AFTER]
        print(f"| *{name}* | {' | '.join(cells)} | |", flush=True)
    right = sum(map(_right_order, found[ROUNDS])) / len(seeds)
    return Row(f"{world}, {policy}: right order", 100 * right, "% of seeds", "at least 90 %", right / 0.9, 1.0)


def _right_order(shares: Mapping[str, float]) -> bool:
    return min(shares["large"], shares["honest"]) > max(shares[role] for role in INTERESTED)


ORDERS: Mapping[str, Callable[[Mapping[str, float]], bool]] = {
    "right order: large and honest above noisy, zero and copy": _right_order,
    "noisy and zero are paid nothing": lambda shares: shares["noisy"] == shares["zero"] == 0.0,
}


def _beside_shapley(world: str, seeds: Sequence[int]) -> None:
    from scipy.stats import kendalltau, spearmanr

    task, deal = WORLDS[world]
    exact, by_group = [], {size: [] for size in (1, 2, 3)}  # type: ignore[var-annotated]
    for seed in seeds:
        moot = deal(FEW_ROLES, seed)
        exact.append(_shapley(task, moot, seed))
        for size, all_scores in by_group.items():
            _, seen = play(task(Policy(rounds=ROUNDS)), moot.data, size, seed)
            all_scores.append([_scores(seen[:rounds], faults=1) for rounds in AFTER])
    title = f"{world.capitalize()}: {len(FEW_ROLES)} members, beside exact Shapley values"
    print(f"\n### {title}\n\n| | {' | '.join(FEW_ROLES)} |\n| --- |{' ---: |' * len(FEW_ROLES)}")
    print(f"| Shapley value, loss | {' | '.join(f'{value:.3f}' for value in np.mean(exact, axis=0))} |")
    for size, all_scores in by_group.items():
        means = np.mean([_in_order(scores[-1]) for scores in all_scores], axis=0) / 1e9
        print(f"| score, groups of {size} | {' | '.join(f'{value:.3f}' for value in means)} |")
    print(f"\n| Kendall, Spearman | {' | '.join(f'{rounds} rounds' for rounds in AFTER)} |")
    print(f"| --- |{' ---: |' * len(AFTER)}")
    for size, all_scores in by_group.items():
        cells = []
        for at in range(len(AFTER)):
            pairs = [(_in_order(scores[at]), value) for scores, value in zip(all_scores, exact, strict=True)]
            both = [np.mean([rank(*pair)[0] for pair in pairs]) for rank in (kendalltau, spearmanr)]
            cells.append(", ".join(f"{value:.2f}" for value in both))
        print(f"| groups of {size} | {' | '.join(cells)} |", flush=True)


def _shapley(task: Any, moot: Moot, seed: int) -> list[float]:
    """What each member adds to the moot's final loss, by training every coalition anew: 2**n trainings."""

    @cache
    def loss(coalition: tuple[int, ...]) -> float:
        for own in moot.data:
            if isinstance(own, Rider):
                own.last = None
        one = task(Policy(rounds=ROUNDS, min_members=1))
        state = simulate(one, [moot.data[seat] for seat in coalition], seed=seed) if coalition else one.init()
        return _loss(one, state, moot)

    n = len(moot.data)
    values = []
    for seat in range(n):
        others = [other for other in range(n) if other != seat]
        sets = [chosen for size in range(n) for chosen in combinations(others, size)]
        gains = [(loss(chosen) - loss(tuple(sorted((*chosen, seat))))) / comb(n - 1, len(chosen)) for chosen in sets]
        values.append(sum(gains) / n)
    return values


def _lying_scorers(world: str, seeds: Sequence[int]) -> None:
    liars = f"{FAULTS} of {len(ROLES)} scorers ({', '.join(INTERESTED)})"
    print(f"\n### {world.capitalize()}: what {liars} gain by lying, after {ROUNDS} rounds\n")
    who = " | ".join((*INTERESTED, "honest (mean of 6)"))
    print(f"| what they say | {who} | with plain medians: {who} |\n| --- |{' ---: |' * 8}")
    for name in ("the truth", "nothing", "anything", "for their own groups, against all others"):
        found = []
        for seed in seeds:
            moot, seen = _played(world, seed)
            liars_at = moot.seats(*INTERESTED)
            told = [Seen(one.groups, _told(one, liars_at, name, seed + at)) for at, one in enumerate(seen)]
            both = [_by_role((moot, told), ROUNDS, faults) for faults in (FAULTS, 0)]
            found.append([shares[role] for shares in both for role in (*INTERESTED, "honest")])
        print(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in np.mean(found, axis=0))} |", flush=True)


def _told(one: Seen, liars: Sequence[int], lie: str, seed: int) -> dict[int, list[int]]:
    """What everybody says of one round if the liars say ``lie``."""
    told = dict(one.told)
    for liar in liars:
        if lie == "nothing":
            del told[liar]
        elif lie == "anything":
            told[liar] = np.random.default_rng([seed, liar]).integers(-LIMIT, LIMIT, len(one.groups)).tolist()
        elif lie != "the truth":
            told[liar] = [-LIMIT if set(group).isdisjoint(liars) else LIMIT for group in one.groups]
    return told


def _lying_members(seeds: Sequence[int]) -> None:
    roles = ("liar", *["honest"] * 11)
    print(f"\n### Digits: a liar in a group, 11 honest members alike, after {ROUNDS} rounds\n")
    print("| what makes the liar's group's mean | liar | honest: least | median | most | honest paid nothing |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, lie in LIES.items():
        found = []
        for seed in seeds:
            moot = digits_moot(roles, seed)
            _, seen = play(Digits(Policy(rounds=ROUNDS + 1, **SECRET)), moot.data, GROUP, seed, 0, lie)
            found.append(_shares(_scores(seen)))
        liar, honest = np.mean([shares[0] for shares in found]), np.array([shares[1:] for shares in found])
        spread = [np.mean(part(honest, axis=1)) for part in (np.min, np.median, np.max)]
        cells = [f"{100 * value:.1f}" for value in (liar, *spread)]
        print(f"| {name} | {' | '.join(cells)} | {np.mean((honest == 0).sum(axis=1)):.1f} of 11 |", flush=True)


def _skew(seeds: Sequence[int]) -> None:
    from scipy.stats import spearmanr

    print(f"\n### Digits: the more members' classes differ, after {ROUNDS} rounds\n")
    print("| classes | honest: least | median | most | noisy | zero | copy | right order | Spearman to groups of 1 |")
    print("| --- |" + " ---: |" * 8)
    for name, alpha in (("alike", None), ("Dirichlet 1.0", 1.0), ("Dirichlet 0.3", 0.3), ("Dirichlet 0.1", 0.1)):
        lines, right, alike = [], 0, []
        for seed in seeds:
            moot, seen = _played("digits", seed, alpha=alpha)
            scores = _scores(seen)
            shares, honest = _shares(scores), moot.seats("honest")
            by_role = _by_role((moot, seen), ROUNDS)
            spread = [part([shares[seat] for seat in honest]) for part in (min, np.median, max)]
            lines.append([*spread, *(by_role[role] for role in INTERESTED)])
            right += _right_order(by_role)
            again = digits_moot(ROLES, seed, alpha)
            _, alone = play(Digits(Policy(rounds=ROUNDS, clip=SECRET["clip"])), again.data, 1, seed)
            alike.append(spearmanr(_in_order(scores), _in_order(_scores(alone)))[0])
        cells = [f"{100 * value:.1f}" for value in np.mean(lines, axis=0)]
        print(f"| {name} | {' | '.join(cells)} | {right} of {len(seeds)} | {np.mean(alike):.2f} |", flush=True)


def _cost() -> Row:
    """What scoring one round takes a member, beside its own training."""
    moot, policy = digits_moot(ROLES, 0), Policy(**SECRET)
    task = Digits(policy)
    state = State(task.init().arrays, 1)
    layout = layout_of(task, state)
    own, context = moot.data[1], Context(2, bytes(32))
    made = make_contribution(task, state, own, context, layout)
    sums = [np.array([np.concatenate([made.values, made.side]) * GROUP] * 3)]
    training = _seconds(lambda: make_contribution(task, state, own, context, layout))
    scoring = _seconds(lambda: effects(task, state, layout, sums, [GROUP] * 3, own))
    return Row("scoring 3 groups, 37 examples held out", 1e3 * scoring, "ms", "training", scoring / training, None)


def _seconds(work: Callable[[], object], times: int = 50) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


@cache
def _played(
    world: str, seed: int, policy: str = "secret groups", alpha: float | None = None
) -> tuple[Moot, list[Seen]]:
    task, deal = WORLDS[world]
    moot, terms = deal(ROLES, seed, alpha), POLICIES[policy]
    return moot, play(task(Policy(rounds=ROUNDS + bool(terms), **terms)), moot.data, GROUP, seed)[1]


def _scores(seen: Sequence[Seen], faults: int = FAULTS) -> dict[int, int]:
    return member_scores([scored(one.groups, one.told, faults) for one in seen])


def _in_order(scores: Mapping[int, int]) -> list[int]:
    return [scores[seat] for seat in sorted(scores)]


def _shares(scores: Mapping[int, int]) -> list[float]:
    """Of a pot that is paid for usefulness alone, by seat."""
    return [units / MILLION for units in split(MILLION, _in_order(scores), [0] * len(scores))]


def _by_role(played: tuple[Moot, Sequence[Seen]], rounds: int, faults: int = FAULTS) -> dict[str, float]:
    """The mean share of the members of each role, by the first so many rounds."""
    moot, seen = played
    shares = _shares(_scores(seen[:rounds], faults))
    return {role: float(np.mean([shares[seat] for seat in moot.seats(role)])) for role in set(moot.roles)}


def _loss(task: Any, state: State, moot: Moot) -> float:
    return float(metrics.log_loss.value(task.evaluate(state, moot.test)["loss"]))


def _long(vector: np.ndarray, length: float) -> np.ndarray:
    size = float(np.linalg.norm(vector))
    return vector * (length / size) if size else vector


if __name__ == "__main__":
    main()
