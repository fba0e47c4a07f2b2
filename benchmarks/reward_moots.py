"""Moots whose members are worth different things: real data, some of it spoilt, and riders that have none.

Two tasks. *Digits*: scikit-learn's handwritten digits and the perceptron of ``benchmarks.robustness``. *Heart*: the
four hospitals of the UCI heart-disease data, which differ by themselves, and logistic regression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from blake3 import blake3

from benchmarks.robustness import CLASSES, DigitsTask, digits
from folkmoot.learn import metrics
from folkmoot.learn.heart import HEART_FEATURES, hospitals, load_heart
from folkmoot.learn.logistic import LogisticTask
from folkmoot.reward.effects import effects
from folkmoot.round.groups import deal
from folkmoot.round.reduce import draws, layout_of, make_contribution, next_state
from folkmoot.task import Context, Contribution, Policy, State, Task

ROLES = ("large", *["honest"] * 6, "small", "half noisy", "noisy", "zero", "copy")
FEW_ROLES = ("large", "honest", "small", "noisy", "zero", "copy")
SIZES = {"large": 300, "small": 20}
USUAL, CLAIMED = 90, 90
NOISE = {"noisy": 1.0, "half noisy": 0.5}
RIDERS = ("zero", "copy")
Data = tuple[tuple[Any, Any], tuple[Any, Any]]


class Rider(tuple[Any, Any]):
    """A dataset of nothing to train on. Its owner sends zeros, or the moot's last step over again, which is all that it
    can know of others before commits close."""

    copies = False
    last: State | None = None

    def contribution(self, schema: Mapping[str, tuple[int, ...]], state: State) -> Contribution:
        last, self.last = self.last, state
        if not self.copies or last is None or last.round >= state.round:
            return Contribution({name: np.zeros(shape) for name, shape in schema.items()}, CLAIMED)
        return Contribution({name: state.arrays[name] - last.arrays[name] for name in schema}, CLAIMED)


class Riding:
    """Lets riders ride along a task whose contribution is a step of its model."""

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        if isinstance(data, Rider):
            return data.contribution(self.schema(state), state)  # type: ignore[attr-defined]
        return super().contribute(state, data, context)  # type: ignore[misc]


class Digits(Riding, DigitsTask):
    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self._metrics = {"loss": metrics.log_loss}

    def predict(self, state: State, features: Any) -> np.ndarray:
        a = state.arrays
        logits = np.maximum(features @ a["w1"] + a["b1"], 0.0) @ a["w2"] + a["b2"]
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)


class Heart(Riding, LogisticTask):
    def __init__(self, policy: Policy) -> None:
        super().__init__(
            name="heart",
            load=load_heart,
            features=HEART_FEATURES,
            standardise=False,
            learning_rate=0.1,
            policy=policy,
            metrics={"loss": metrics.log_loss},
        )


@dataclass(frozen=True)
class Moot:
    """The members' datasets, by seat, and what nobody trains on."""

    roles: tuple[str, ...]
    data: tuple[Data, ...]
    test: Data

    def seats(self, *roles: str) -> list[int]:
        return [seat for seat, role in enumerate(self.roles) if role in roles]


def digits_moot(roles: Sequence[str], seed: int, alpha: float | None = None) -> Moot:
    """A quarter is held out, and shared out alike. With ``alpha`` each member's classes, of what it trains on and of
    what it holds out, are drawn from a Dirichlet distribution."""
    random = np.random.default_rng(seed)
    x, y = digits()
    order = random.permutation(len(y))
    x, y = x[order], y[order]
    cut = len(y) * 3 // 4
    taste = np.ones((len(roles), CLASSES)) if alpha is None else random.dirichlet(np.full(CLASSES, alpha), len(roles))
    free, test = np.ones(cut), (x[cut:], y[cut:])
    data = []
    for role, liked in zip(roles, taste, strict=True):
        mine = _drawn(random, free * (liked[y[:cut]] + 1e-6), SIZES.get(role, USUAL))
        free[mine] = 0.0
        held = cut + _drawn(random, liked[y[cut:]] + 1e-6, (len(y) - cut) // len(roles))
        data.append(_member(role, (x[mine], y[mine]), (x[held], y[held]), CLASSES, random))
    return Moot(tuple(roles), tuple(data), (test, test))


def heart_moot(roles: Sequence[str], seed: int, alpha: float | None = None) -> Moot:
    """Each member's patients are of one hospital, a third of them held out; the large member is most of Budapest."""
    random = np.random.default_rng(seed)
    loaded = {name: load_heart(path, seed) for name, path in hospitals().items()}
    everyone = np.concatenate([x for (x, _), _ in loaded.values()])
    mean, std = np.nanmean(everyone, axis=0), np.nanstd(everyone, axis=0)
    clean = {name: [(np.nan_to_num((x - mean) / std), y) for x, y in parts] for name, parts in loaded.items()}
    homes = {"large": ["hungarian"], "small": ["hungarian"], "noisy": ["cleveland"], "copy": ["va"]}
    others = ["cleveland", "cleveland", "va", "switzerland"]
    left = {name: [random.permutation(len(y)) for _, y in parts] for name, parts in clean.items()}
    takes = {"large": 0.85, "small": 0.1}
    data = []
    for seat, role in enumerate(roles):
        home = homes.get(role, others)[seat % len(homes.get(role, others))]
        share = takes.get(role, 0.18 if home == "cleveland" else 0.3 if home == "va" else 0.9)
        parts = []
        for part in (0, 1):
            x, y = clean[home][part]
            count = max(2, int(share * len(y)))
            mine, left[home][part] = left[home][part][:count], left[home][part][count:]
            parts.append((x[mine], y[mine]))
        data.append(_member(role, parts[0], parts[1], 2, random))
    held = [test for _, test in clean.values()]
    test = (np.concatenate([x for x, _ in held]), np.concatenate([y for _, y in held]))
    return Moot(tuple(roles), tuple(data), (test, test))


def _drawn(random: np.random.Generator, chances: np.ndarray, count: int) -> np.ndarray:
    return random.choice(len(chances), count, replace=False, p=chances / chances.sum())


def _member(
    role: str, train: tuple[Any, Any], held: tuple[Any, Any], classes: int, random: np.random.Generator
) -> Data:
    if role in RIDERS:
        rider = Rider(((train[0][:0], train[1][:0]), held))
        rider.copies = role == "copy"
        return rider  # type: ignore[return-value]
    return tuple((x, _spoilt(y, NOISE.get(role, 0.0), classes, random)) for x, y in (train, held))  # type: ignore


def _spoilt(labels: np.ndarray, noise: float, classes: int, random: np.random.Generator) -> np.ndarray:
    """Labels of which so large a part is drawn at random, of what is held out as well."""
    return np.where(random.random(len(labels)) < noise, random.integers(0, classes, len(labels)), labels)


@dataclass(frozen=True)
class Seen:
    """One round as its scorers see it, and what they say of it."""

    groups: tuple[tuple[int, ...], ...]
    told: dict[int, list[int]]


Lie = Callable[[np.ndarray, float], np.ndarray]
"""What a liar makes of a group's mean: a vector, from the mean of all and the policy's cap."""


def play(
    task: Task, data: Sequence[Data], size: int, seed: int, liar: int | None = None, lie: Lie | None = None
) -> tuple[State, list[Seen]]:
    """All rounds of a task with groups of ``size`` that are dealt anew each round, scored by every member."""
    policy, state, seen = task.policy, task.init(), []
    for number in range(1, policy.rounds + 1):
        layout, beacon = layout_of(task, state), _bytes(seed, number)
        made = [
            make_contribution(task, state, own, Context(number, _bytes(seed, number, seat)), layout)
            for seat, own in enumerate(data)
        ]
        words = [np.concatenate([own.values, own.side]) for own in made]
        groups = deal(beacon, range(len(data)), size)
        sums, sizes = np.array([sum(words[seat] for seat in group) for group in groups]), [len(g) for g in groups]
        if lie is not None and not draws(policy, state):
            steps = np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)
            mean = sums[:, : layout.values].sum(axis=0) * steps / len(data)
            at = next(at for at, group in enumerate(groups) if liar in group)
            sums[at, : layout.values] = np.rint(lie(mean, policy.clip or 1.0) * sizes[at] / steps)
        told = {seat: effects(task, state, layout, [sums], sizes, own) for seat, own in enumerate(data)}
        if not draws(policy, state):
            seen.append(Seen(groups, told))
        rows = sums.sum(axis=0, keepdims=True) if policy.robust == "mean" else sums
        state, _ = next_state(task, state, layout, [rows], sizes if len(rows) > 1 else [len(data)], beacon)
    return state, seen


def _bytes(*numbers: int) -> bytes:
    return blake3(repr(numbers).encode()).digest()
