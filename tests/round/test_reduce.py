"""From contributions to the next state under each kind of policy: caps, rules, noise, and the round that draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fault_task import SCHEMA, DriftTask
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.errors import TaskError
from folkmoot.round import fixed
from folkmoot.round.layout import capped_exponent
from folkmoot.round.reduce import layout_of, make_contribution, mask_shards, next_state, noised, sum_row
from folkmoot.task import Aggregate, Context, Contribution, Policy, State, state_bytes

SEED = bytes(range(32))


class Sends(DriftTask):
    """Contributes what it is given, (arrays, weight), and keeps what it is told."""

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        return Contribution({name: np.full(shape, data[0]) for name, shape in SCHEMA.items()}, data[1])

    def evaluate(self, state: State, data: Any) -> Mapping[str, np.ndarray]:
        return {"count": np.array([1, data[1]])}

    def update(self, state: State, aggregate: Aggregate) -> State:
        self.told = aggregate
        return super().update(state, aggregate)


def round_of(policy: Policy, sent: Sequence[tuple[float, int]], state: State | None = None) -> tuple[Sends, State, Any]:
    """One round in which each member sends one number everywhere: a row each, or one for all."""
    task = Sends(policy)
    state = task.init() if state is None else state
    layout = layout_of(task, state)
    made = [make_contribution(task, state, data, Context(1, SEED), layout) for data in sent]
    packed = [fixed.encode_shards(m.values, m.side, layout, 1)[0] for m in made]
    groups = [packed] if policy.robust == "mean" else [[blob] for blob in packed]
    total = np.stack([sum_row(group, 0, layout, 1) for group in groups])
    new, metrics = next_state(task, state, layout, [total], [len(group) for group in groups], SEED)
    return task, new, metrics


def test_the_mean_counts_members_by_their_examples_and_a_rule_counts_each_alike() -> None:
    sent = [(1.0, 100), (1.0, 100), (4.0, 10_000)]
    mean, _, _ = round_of(Policy(bits=32), sent)
    assert mean.told.arrays["w"][0, 0] == pytest.approx((100 + 100 + 40_000) / 10_200, abs=1e-3)
    middle, _, _ = round_of(Policy(bits=32, robust="median", faults=1), sent)
    assert middle.told.arrays["w"][0, 0] == pytest.approx(1.0, abs=1e-3)
    assert (middle.told.weight, middle.told.members) == (3, 3), "a number that nobody can check counts for nothing"


def test_a_liars_numbers_and_weight_do_not_move_a_rule_and_its_metrics_not_theirs() -> None:
    sent = [(1.0, 50), (1.1, 50), (0.9, 50), (1.0, 50), (-1e9, 1 << 40)]
    task, _, metrics = round_of(Policy(bits=32, robust="trimmed-mean", faults=1, min_members=3), sent)
    assert task.told.arrays["b"][0] == pytest.approx(1.0, abs=0.1)
    assert metrics["count"] == 50.0


def test_with_a_cap_contributions_are_scaled_down_the_step_follows_from_it_and_nobody_votes() -> None:
    policy = Policy(clip=1.0, bits=16)
    layout = layout_of(Sends(policy), Sends(policy).init())
    assert (layout.voting, layout.wide, layout.bits) == (False, False, 16)
    assert set(layout.exponents) == {capped_exponent(1.0, 16)}
    task, new, _ = round_of(policy, [(100.0, 1)] * 3)
    size = np.sqrt(sum(np.square(array).sum() for array in task.told.arrays.values()))
    assert size <= 1.0
    assert size == pytest.approx(1.0, abs=1e-3)
    assert not new.exponents


def test_what_comes_in_above_the_cap_is_scaled_down_by_everyone() -> None:
    """defence: _alike caps each row; without it a liar's row is as long as its range allows."""
    task = Sends(Policy(clip=1.0, robust="median", faults=1))
    layout = layout_of(task, task.init())
    values = np.zeros((3, layout.values), dtype=np.int64)
    values[:] = (1 << 15) - 1  # every value at the end of its range: a norm of nearly five caps
    total = np.concatenate([values, np.ones((3, layout.side), dtype=np.int64)], axis=1)
    next_state(task, task.init(), layout, [total], [1, 1, 1], SEED)
    size = np.sqrt(sum(np.square(array).sum() for array in task.told.arrays.values()))
    assert size == pytest.approx(1.0, abs=1e-9)


@settings(deadline=None, max_examples=100)
@given(st.floats(1e-30, 1e30), st.sampled_from([8, 16, 24, 32, 40, 48]))
def test_the_step_of_a_cap_is_the_finest_that_holds_it(cap: float, bits: int) -> None:
    exponent, limit = capped_exponent(cap, bits), (1 << (bits - 1)) - 1
    assert cap <= limit * 2.0**exponent
    assert cap > limit * 2.0 ** (exponent - 1)


def test_the_round_that_draws_trains_nothing_and_the_task_never_hears_of_it() -> None:
    policy = Policy(secrecy="sums", robust="median", faults=1, clip=1.0, min_members=12)
    task = Sends(policy)
    layout = layout_of(task, task.init())
    assert (layout.values, layout.side) == (0, 1)
    made = make_contribution(task, task.init(), None, Context(1, SEED), layout)
    (blob,) = mask_shards(made, layout, 1, 12, [])
    total = sum_row([blob] * 12, 0, layout, 1, 12)[None]
    drawn, metrics = next_state(task, task.init(), layout, [total], [12], SEED)
    assert (drawn.round, metrics) == (1, {})
    assert all(not array.any() for array in drawn.arrays.values())
    seen = []
    task.contribute = lambda state, data, context: (  # type: ignore[method-assign]
        seen.append((state.round, context.round)) or Contribution({n: np.zeros(s) for n, s in SCHEMA.items()}, 1)
    )
    make_contribution(task, drawn, (0.0, 1), Context(2, SEED), layout_of(task, drawn))
    assert seen == [(0, 1)]


def test_members_noise_is_added_as_planned_and_another_for_each_seed() -> None:
    policy = Policy(secrecy="sums", clip=1.0, epsilon=8.0, rounds=1, bits=24)
    task = Sends(policy)
    layout = layout_of(task, task.init())
    assert not layout.metrics
    made = make_contribution(task, task.init(), (0.0, 77), Context(1, SEED), layout)
    assert made.side.tolist() == [1], "not even the number of examples is told"
    noisy = [noised(policy, made, layout, bytes([seed]) * 32).values for seed in range(200)]
    assert len({values.tobytes() for values in noisy}) == 200
    from folkmoot.privacy.budget import planned

    spread = np.std(np.concatenate(noisy)) * 2.0 ** layout.exponents[0]
    assert spread == pytest.approx(planned(policy).std, rel=0.1)
    assert noised(Policy(), made, layout, SEED) is made


def test_noise_too_fine_for_the_steps_is_refused() -> None:
    policy = Policy(secrecy="sums", clip=1.0, epsilon=100.0, rounds=1, bits=8)
    task = Sends(policy)
    layout = layout_of(task, task.init())
    made = make_contribution(task, task.init(), (0.0, 1), Context(1, SEED), layout)
    with pytest.raises(TaskError, match="choose more bits"):
        noised(policy, made, layout, SEED)


def test_a_weight_that_no_members_can_have_stops_no_round() -> None:
    task = Sends(Policy(secrecy="sums"))
    layout = layout_of(task, task.init())
    for weight in (2, -5, (3 << 40) + 1):
        total = np.zeros((1, layout.values + layout.side), dtype=np.int64)
        total[0, layout.values] = weight
        assert next_state(task, task.init(), layout, [total], [3], SEED)[0].round == 1
        assert 3 <= task.told.weight <= 3 << 40


def test_a_liars_votes_do_not_push_the_steps_of_a_rule() -> None:
    """defence: robust_exponents; with summed votes one liar makes every step so coarse that nothing is learned."""
    task = Sends(Policy(robust="trimmed-mean", faults=1, min_members=3))
    state = State(task.init().arrays, 0, dict.fromkeys(SCHEMA, -10))
    layout = layout_of(task, state)
    assert not layout.wide
    side = np.zeros((5, layout.side), dtype=np.int64)
    side[:, 0] = 1
    for vote, change in ((2 * fixed.GROW, 0), (fixed.SHRINK, 0)):
        side[4, 1 : 1 + layout.votes] = vote
        total = np.concatenate([np.zeros((5, layout.values), dtype=np.int64), side], axis=1)
        new, _ = next_state(task, state, layout, [total], [1] * 5, SEED)
        assert set(new.exponents.values()) == {-10 + change}
    side[2:, 1 : 1 + layout.votes] = fixed.GROW
    total = np.concatenate([np.zeros((5, layout.values), dtype=np.int64), side], axis=1)
    new, _ = next_state(task, state, layout, [total], [1] * 5, SEED)
    assert set(new.exponents.values()) == {-9}


class Measured(DriftTask):
    """A task with one metric, as a careless author writes it; training it is an error."""

    def __init__(self, partial: Any = (1, 2), value: Any = 0.5, words: Any = 2) -> None:
        super().__init__(Policy())
        self.partial_, self.value_, self.words = partial, value, words

    def metrics(self) -> Any:
        return {"own": self}

    def evaluate(self, state: State, data: Any) -> Any:
        return {"own": self.partial_}

    def value(self, total: Any) -> Any:
        return self.value_(total) if callable(self.value_) else self.value_

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        raise AssertionError("the metric is measured before anything is trained")


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        (Measured(value=None), "metric 'own' has the value None; a number is due"),
        (Measured(value="0.5"), "metric 'own' has the value '0.5'"),
        (Measured(value=True), "metric 'own' has the value True"),
        (Measured(value=lambda total: total), r"metric 'own' has the value array\(\[1, 2\]\)"),
        (Measured(partial=(1.0, 2.0)), "metric 'own' gave float64 of shape"),
        (Measured(partial=(1,)), r"of shape \(1,\); 2 integers are due"),
        (Measured(partial=[[1], [2, 3]]), "metric 'own' gave no array"),
        (Measured(partial=(1, 1 << 46)), "gave a word of 2\\*\\*46 or more"),
    ],
)
def test_a_metric_that_gives_no_number_is_found_before_anything_is_trained(task: Measured, fault: str) -> None:
    state = task.init()
    with pytest.raises(TaskError, match=fault):
        make_contribution(task, state, None, Context(1, SEED), layout_of(task, state))


def test_a_metric_that_raises_does_so_before_training_in_its_authors_words() -> None:
    task = Measured(value=lambda total: total.missing)
    state = task.init()
    with pytest.raises(AttributeError, match="missing"):
        make_contribution(task, state, None, Context(1, SEED), layout_of(task, state))


@pytest.mark.parametrize("value", [None, "high", lambda total: total.missing, lambda total: total])
def test_a_round_that_was_trained_is_not_lost_to_a_metric(value: Any) -> None:
    class Late(Sends):
        def metrics(self) -> Any:
            return {"count": Measured(value=value)}

    task = Late(Policy())
    state = task.init()
    layout = layout_of(task, state)
    values, side = fixed.quantise(task.contribute(state, (1.0, 5), Context(1, SEED)), {"count": [1, 2]}, layout)
    total = np.concatenate([values, side])[None]
    new, metrics = next_state(task, state, layout, [total], [1], SEED)
    assert new.round == 1
    assert np.isnan(metrics["count"])


@pytest.mark.parametrize("policy", [Policy(rounds=3), Policy(rounds=3, robust="median", faults=1, clip=1.0)])
def test_the_last_round_measures_the_final_model_and_leaves_it_as_it_is(policy: Policy) -> None:
    state = replace(Sends(policy).init(), round=3)
    task, same, metrics = round_of(policy, [(1.0, 10), (2.0, 20), (3.0, 30)], state)
    assert state_bytes(same) == state_bytes(state)
    assert metrics == {"count": 20.0}, "the mean of what the members have"
    assert not hasattr(task, "told"), "nothing was trained"
    assert layout_of(task, state).values == 0


def test_a_task_that_continues_another_one_trains_as_many_rounds_as_it_says_and_then_measures() -> None:
    policy = Policy(rounds=2, begun=5)
    task = Sends(policy)
    trains = [layout_of(task, replace(task.init(), round=round)).values > 0 for round in (5, 6, 7)]
    assert trains == [True, True, False]
