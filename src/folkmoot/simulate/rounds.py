"""Rounds of any task in one process, made of the functions that peers make theirs of: integers, groups, caps, rules.

Masks are left out. They cancel exactly in a sum of integers, so that they change no bit of what comes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from blake3 import blake3

from folkmoot.errors import TaskError
from folkmoot.round import fixed
from folkmoot.round.fixed import Layout, Words
from folkmoot.round.groups import deal
from folkmoot.round.norms import Array
from folkmoot.round.reduce import Made, draws, layout_of, make_contribution, next_state
from folkmoot.round.robust import cap, robust_mean
from folkmoot.simulate.attacks import Attack, Lie, Sight, poisoned
from folkmoot.task import Context, Contribution, Policy, State, Task

__all__ = ["rounds", "simulate"]


def simulate(
    task: Task, datasets: Sequence[Any], *, liars: Collection[int] = (), attack: Attack | None = None, seed: int = 0
) -> State:
    """The state after ``policy.rounds`` rounds of all ``datasets``, one a member: the last of ``rounds``."""
    return deque(rounds(task, datasets, liars=liars, attack=attack, seed=seed), maxlen=1)[0][0]


def rounds(
    task: Task, datasets: Sequence[Any], *, liars: Collection[int] = (), attack: Attack | None = None, seed: int = 0
) -> Iterator[tuple[State, Mapping[str, float]]]:
    """For each of the ``policy.rounds`` rounds of all ``datasets``, one a member, the state after it and the moot's
    metrics of the state before.

    ``liars`` are the indices of members that do what ``attack`` says. A liar in a secret group sends what makes the
    group's mean its lie, the worst it can do. The same ``seed`` gives the same states.

    Raises ``TaskError`` where the policy wants noise of each member, which is not simulated, or where no input of the
    rule is honest, and ``IntegrityError`` where the members are too few for the rule.
    """
    policy, attack = task.policy, attack or Attack()
    if policy.noisy:
        raise TaskError("policy.epsilon asks each member for noise, which simulate does not add; leave it out here")
    data = [poisoned(own, attack, datasets) if i in liars else own for i, own in enumerate(datasets)]
    state = task.init()
    for number in range(1, policy.rounds + 1):
        layout, beacon = layout_of(task, state), _seed(seed, number, len(data))
        contexts = [Context(number, _seed(seed, number, i)) for i in range(len(data))]
        made = [make_contribution(task, state, own, c, layout) for own, c in zip(data, contexts, strict=True)]
        rows = _rows(policy, made, beacon)
        if attack.lie and not draws(policy, state):
            rows = _with_lies(policy, layout, rows, liars, attack.lie, beacon)
        if policy.robust == "mean":
            rows = [_sum(rows)]
        sums = np.array([np.concatenate([row.values, row.side]) for row in rows])
        state, metrics = next_state(task, state, layout, [sums], [len(row.members) for row in rows], beacon)
        yield state, metrics


@dataclass(frozen=True)
class _Row:
    """An input of the rule: the sum of its members' words."""

    members: tuple[int, ...]
    values: Words
    side: Words

    def vector(self, layout: Layout) -> Array:
        """The members' mean, as the rule sees it."""
        return self.values * _steps(layout) / self._count(layout)

    def lying(self, lie: Array, layout: Layout) -> _Row:
        """With ``lie`` for the members' mean, as near as integers of so many bits come to it. The liar's votes on steps
        are those that its lie calls for."""
        if layout.voting:
            means = fixed.buffer_means(self.side[None], layout, [len(self.members)], [int(self._count(layout))])[0]
            arrays = {**fixed.arrays_of(lie, layout), **fixed.buffer_arrays(means, layout)}
            told = Contribution(arrays, int(self.side[0]))
            return _Row(self.members, *fixed.quantise(told, fixed.metric_words(self.side, layout), layout))
        limit = len(self.members) * float((1 << (layout.bits - 1)) - 1)
        scaled = np.clip(lie * self._count(layout) / _steps(layout), -limit, limit)
        return replace(self, values=np.rint(scaled).astype(np.int64))

    def _count(self, layout: Layout) -> float:
        return float(self.side[0]) if layout.weighted else float(len(self.members))


def _rows(policy: Policy, made: Sequence[Made], beacon: bytes) -> list[_Row]:
    alone = [_Row((i,), own.values, own.side) for i, own in enumerate(made)]
    if not policy.grouped:
        return alone
    return [_sum([alone[i] for i in group]) for group in deal(beacon, range(len(made)), policy.group_size)]


def _sum(rows: Sequence[_Row]) -> _Row:
    members = tuple(i for row in rows for i in row.members)
    values, side = (np.sum([getattr(row, part) for row in rows], axis=0) for part in ("values", "side"))
    return _Row(members, values, side)


def _with_lies(
    policy: Policy, layout: Layout, rows: Sequence[_Row], liars: Collection[int], lie: Lie, beacon: bytes
) -> list[_Row]:
    """``rows`` with a lie for each that has a liar in it. Every liar sees what the others' rows would have been."""
    lying = [i for i, row in enumerate(rows) if not set(row.members).isdisjoint(liars)]
    honest = [i for i in range(len(rows)) if i not in lying]
    if lying and not honest:
        raise TaskError("there is a liar behind every input of the rule; leave an honest one")
    vectors = np.array([row.vector(layout) for row in rows])
    weights = np.array([float(row.side[0]) for row in rows])

    def rule(inputs: Array) -> Array:
        given = np.empty_like(vectors)
        given[[*honest, *lying]] = inputs
        if policy.robust == "mean":
            return np.asarray(weights @ given / weights.sum())
        capped = given if policy.clip is None else cap(given, policy.clip)
        return robust_mean(capped, policy.robust, policy.faults, mix=policy.mix, seed=beacon)

    told = list(rows)
    for i in lying:
        sight = Sight(vectors[honest], vectors[i], len(lying), rule, blake3(beacon + bytes([i])).digest())
        told[i] = rows[i].lying(lie(sight), layout)
    return told


def _steps(layout: Layout) -> Array:
    return np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)


def _seed(seed: int, number: int, member: int) -> bytes:
    return blake3(f"simulate {seed} {number} {member}".encode()).digest()
