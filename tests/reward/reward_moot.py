"""A moot over the packaged heart-disease data whose members are worth different things, played in one process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from blake3 import blake3

from folkmoot.learn import LogisticTask, metrics
from folkmoot.learn.heart import HEART_FEATURES, hospitals, load_heart
from folkmoot.reward import scoring_groups
from folkmoot.reward.effects import effects
from folkmoot.round import fixed
from folkmoot.round.groups import deal
from folkmoot.round.reduce import draws, layout_of, make_contribution, next_state
from folkmoot.task import Context, Policy

SECRET = Policy(
    rounds=31, min_members=12, secrecy="sums", robust="trimmed-mean", mix="none", faults=1, clip=2.0, group_size=4
)


class Heart(LogisticTask):
    """Logistic regression on features that are scaled beforehand."""

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


def patients(hospital: str = "hungarian") -> tuple[np.ndarray, np.ndarray]:
    """One hospital's scaled features, shuffled, and labels."""
    (x, y), (more_x, more_y) = load_heart(hospitals()[hospital])
    x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    return np.nan_to_num((x - np.nanmean(x, axis=0)) / (np.nanstd(x, axis=0) + 1e-9)), y


def datasets(roles: Sequence[str], seed: int = 0) -> list[Any]:
    """For each role ((features, labels), held out): as many patients each, more of them for ``large``.

    ``noisy`` has the labels of others; ``zero`` is a rider, whose contributions ``played`` replaces.
    """
    random = np.random.default_rng(seed)
    x, y = patients()
    order = random.permutation(len(y))
    held, rest = order[:96], order[96:]
    made = []
    for seat, role in enumerate(roles):
        mine = random.choice(rest, 120 if role == "large" else 30, replace=False)
        labels = 1 - y[mine] if role == "noisy" else y[mine]
        own = held[seat * 8 : seat * 8 + 8] if len(roles) > 6 else held[seat * 16 : seat * 16 + 16]
        made.append(((x[mine], labels), (x[own], y[own])))
    return made


def played(policy: Policy, data: Sequence[Any], roles: Sequence[str], size: int, seed: int = 0) -> Any:
    """(groups, what each member says of them) of every round that trained; the last state."""
    task, seen = Heart(policy), []
    state = task.init()
    for number in range(1, policy.rounds + 1):
        layout, beacon = layout_of(task, state), blake3(f"{seed} {number}".encode()).digest()
        words = []
        for own, role in zip(data, roles, strict=True):
            made = make_contribution(task, state, own, Context(number, bytes(32)), layout)
            values = np.zeros_like(made.values) if role == "zero" else made.values
            words.append(np.concatenate([values, made.side]))
        grouped = policy.grouped and not draws(policy, state)
        groups = deal(beacon, range(len(data)), size) if grouped else scoring_groups(range(len(data)), beacon, size)
        rows, sizes = np.array([sum(words[seat] for seat in group) for group in groups]), [len(g) for g in groups]
        told = {seat: effects(task, state, layout, [rows], sizes, own) for seat, own in enumerate(data)}
        if not draws(policy, state):
            seen.append((groups, told))
        sums = rows if grouped else rows.sum(axis=0, keepdims=True)
        state, _ = next_state(task, state, layout, [sums], sizes if grouped else [len(data)], beacon)
    return seen, state


def sharded(rows: Any, layout: fixed.Layout, shards: int) -> list[Any]:
    """The words of ``rows`` as the round has them in shards."""
    values, side = rows[:, : layout.values], rows[:, layout.values :]
    cuts = np.cumsum((0, *layout.shard_values(shards)))
    parts = [values[:, a:b] for a, b in pairwise(cuts)]
    return [np.concatenate([parts[0], side], axis=1), *parts[1:]]
