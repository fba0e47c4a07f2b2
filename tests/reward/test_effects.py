"""What the groups of a round are worth on a member's own data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from reward_moot import SECRET, Heart, datasets, sharded

from folkmoot.errors import TaskError
from folkmoot.reward.effects import effects, loss_of
from folkmoot.reward.wire import STEP
from folkmoot.round.fixed import Layout
from folkmoot.round.reduce import layout_of, make_contribution, next_state
from folkmoot.task import Context, Policy, State

ROLES = ("honest", "honest", "noisy", "zero")
PLAIN = Policy(rounds=5)


def scene(policy: Policy, state: State | None = None) -> tuple[Heart, State, Layout, Any, list[Any]]:
    """A task, its state, and a row of each member's contribution."""
    task, data = Heart(policy), datasets(ROLES)
    state = state or task.init()
    layout = layout_of(task, state)
    made = [make_contribution(task, state, own, Context(state.round + 1, bytes(32)), layout) for own in data]
    rows = np.array([np.concatenate([own.values, own.side]) for own in made])
    rows[3, : layout.values] = 0
    return task, state, layout, rows, data


def loss(task: Heart, state: State, data: Any) -> float:
    return task.metrics()["loss"].value(task.evaluate(state, data)["loss"])


def test_an_effect_is_what_a_row_adds_to_nobody_and_to_all_others() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    own = data[0]

    def after(chosen: list[int]) -> float:
        if not chosen:
            return loss(task, state, own)
        sums = rows[chosen].sum(axis=0, keepdims=True)
        return loss(task, next_state(task, state, layout, [sums], [len(chosen)])[0], own)

    found = effects(task, state, layout, [rows], [1] * 4, own)
    for row, effect in enumerate(found):
        rest = [other for other in range(4) if other != row]
        expected = (after([]) - after([row]) + after(rest) - after([0, 1, 2, 3])) / 2
        assert effect * STEP == pytest.approx(expected, abs=2 * STEP)
    assert min(found[:2]) > found[3] > found[2]


def test_shards_make_no_difference() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    assert effects(task, state, layout, sharded(rows, layout, 3), [1] * 4, data[1]) == effects(
        task, state, layout, [rows], [1] * 4, data[1]
    )


def test_a_single_row_has_the_effect_of_the_round() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    sums = rows.sum(axis=0, keepdims=True)
    new, _ = next_state(task, state, layout, [sums], [4])
    (found,) = effects(task, state, layout, [sums], [4], data[0])
    assert found * STEP == pytest.approx(loss(task, state, data[0]) - loss(task, new, data[0]), abs=STEP)


def test_every_row_counts_alike_where_numbers_of_examples_could_be_lied_about() -> None:
    policy = Policy(rounds=5, min_members=4, robust="trimmed-mean", faults=1)
    task, state, layout, rows, data = scene(policy)
    first = effects(task, state, layout, [rows], [1] * 4, data[0])
    rows[2, layout.values] = 10**6
    assert effects(task, state, layout, [rows], [1] * 4, data[0]) == first


def test_secret_groups_are_scored_as_the_task_knows_its_rounds_and_not_in_the_round_that_draws_them() -> None:
    task, drawing, layout, rows, data = scene(SECRET)
    assert effects(task, drawing, layout, [rows], [1] * 4, data[0]) == []
    task, state, layout, rows, data = scene(SECRET, State(drawing.arrays, 1))
    found = effects(task, state, layout, [rows], [1] * 4, data[0])
    assert min(found[:2]) > found[3] > found[2]


def test_a_lie_without_bounds_is_worth_no_more_than_all_that_there_is_to_lose() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    rows[2, : layout.values] = np.where(np.arange(layout.values) % 2, 1, -1) << 55
    found = effects(task, state, layout, [rows], [1] * 4, data[0])
    before = loss(task, state, data[0])
    assert found[2] * STEP == pytest.approx(-before, rel=0.1)
    assert all(abs(effect) * STEP <= before for effect in found)


def test_a_row_of_which_the_task_can_make_nothing_is_the_worst_there_is() -> None:
    class Fragile(Heart):
        def update(self, state: State, aggregate: Any) -> State:
            if np.abs(aggregate.arrays["weights"]).max() > 100.0:
                raise ZeroDivisionError("not today")
            return super().update(state, aggregate)

    _, state, layout, rows, data = scene(PLAIN)
    rows[2, : layout.values] = 1 << 40
    found = effects(Fragile(PLAIN), state, layout, [rows], [1] * 4, data[0])
    before = loss(Heart(PLAIN), state, data[0]) / STEP
    assert found[2] == min(found) == pytest.approx(-before, abs=1)
    rows[3, : layout.values] = 1 << 40
    first, second, *broken = effects(Fragile(PLAIN), state, layout, [rows], [1] * 4, data[0])
    assert broken == pytest.approx([-before / 2] * 2, abs=1)  # without the one there is the other
    assert 0 < max(first, second) < before / 2


def test_who_holds_nothing_out_has_nothing_to_say() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    (x, y), _ = data[0]
    assert effects(task, state, layout, [rows], [1] * 4, ((x, y), (x[:0], y[:0]))) == []


def test_what_fails_without_anybodys_contribution_is_the_tasks_own_fault() -> None:
    task, state, layout, rows, data = scene(PLAIN)
    (x, y), _ = data[0]
    with pytest.raises(TaskError, match="log_loss takes labels"):
        effects(task, state, layout, [rows], [1] * 4, ((x, y), (x, y + 5)))


def test_a_task_without_a_loss_or_whose_members_hide_cannot_be_scored() -> None:
    task = Heart(PLAIN)
    task._metrics = {"auc": task._metrics["loss"]}
    with pytest.raises(TaskError, match=r"no metric named 'loss' \(auc\)"):
        loss_of(task)
    with pytest.raises(TaskError, match="no bounty"):
        loss_of(Heart(Policy(secrecy="sums", clip=1.0, epsilon=1.0)))
    assert math.isnan(loss_of(Heart(PLAIN)).value(np.zeros(2, dtype=np.int64)))
