"""From a task's contribution to shards, and from shards to the next state: what a worker and an auditor both run.

What a round sums has one *row* for each thing its rule may see: a single row where that is the mean of all, a row for
each mask group, or for each contribution, where the policy has a robust rule.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.privacy.clipping import clipped, clipped_words
from folkmoot.privacy.noise import gaussian_words, sigma_in_steps
from folkmoot.round import fixed, masks
from folkmoot.round.fixed import Layout, Words
from folkmoot.round.layout import masked_width
from folkmoot.round.norms import middle
from folkmoot.round.robust import cap, robust_mean
from folkmoot.task.policy import Policy
from folkmoot.task.protocol import Aggregate, Context, Contribution, State, Task, buffers_of

if TYPE_CHECKING:
    from folkmoot.privacy.budget import Cost

__all__ = [
    "Made",
    "check_metrics",
    "draws",
    "layout_of",
    "make_contribution",
    "make_shards",
    "mask_shards",
    "next_state",
    "noised",
    "sum_row",
]

NOISE_HEADROOM = 6
"""Bits between the cap on a contribution and the end of its range: room for the noise, and for its sum."""


@dataclass(frozen=True)
class Made:
    """A contribution as integers, not yet masked; never leaves its member."""

    values: Words
    side: Words
    norm: float
    """L2 norm of its arrays, as sent, without the buffers."""


def layout_of(task: Task, state: State) -> Layout:
    """The layout of the contributions that are due from ``state``."""
    policy = task.policy
    if draws(policy, state):
        buffers_of(task, state)  # what the noise cannot cover is refused now, not after a round
        return fixed.make_layout({}, {}, {}, policy.bits, cap=policy.clip, weighted=False)
    metrics = {} if policy.noisy else {name: metric.words for name, metric in task.metrics().items()}
    if _measures(policy, state):
        return fixed.make_layout({}, {}, metrics, policy.bits, cap=policy.clip, weighted=False)
    cap = policy.clip
    if cap is not None and policy.noisy:
        cap *= 2.0**NOISE_HEADROOM
    seen = _seen(policy, state)
    schema, buffers = task.schema(seen), buffers_of(task, seen)
    return fixed.make_layout(
        schema, state.exponents, metrics, policy.bits, cap=cap, weighted=policy.weighted, buffers=buffers
    )


def draws(policy: Policy, state: State) -> bool:
    """Whether the round from ``state`` trains nothing: the first one of a policy with secret groups, whose commits draw
    the randomness that deals the groups of the second. Each round deals those of the next."""
    return policy.grouped and state.round == 0


def _measures(policy: Policy, state: State) -> bool:
    """Whether the round from ``state`` trains nothing, because ``state`` is the task's last model."""
    return policy.measures(state.round - policy.begun + 1)


def _seen(policy: Policy, state: State) -> State:
    """``state`` as the task knows it, which has no part in a round that only draws."""
    return replace(state, round=state.round - 1) if policy.grouped else state


def make_contribution(task: Task, state: State, data: Any, context: Context, layout: Layout) -> Made:
    """The local contribution as integers, capped where the policy caps it.

    Raises ``TaskError`` when the contribution does not fit its schema or is not finite.
    """
    policy = task.policy
    if draws(policy, state):
        return Made(np.zeros(0, dtype=np.int64), np.ones(1, dtype=np.int64), 0.0)
    seen = _seen(policy, state)
    metrics = check_metrics(task, seen, data) if layout.metrics else {}
    if _measures(policy, state):
        return Made(*fixed.quantise(Contribution({}, 1), metrics, layout), 0.0)
    contribution = task.contribute(seen, data, replace(context, round=seen.round + 1))
    if not isinstance(contribution, Contribution):
        raise TaskError(f"the task's contribute must return a Contribution, not a {type(contribution).__name__}")
    buffers = {buffer.name for buffer in layout.buffers}
    weights = {name: array for name, array in contribution.arrays.items() if name not in buffers}
    if policy.clip is not None:
        weights = dict(clipped(weights, policy.clip))
        contribution = replace(contribution, arrays={**contribution.arrays, **weights})
    if policy.noisy:
        contribution = replace(contribution, weight=1)
    values, side = fixed.quantise(contribution, metrics, layout)
    if policy.clip is not None:
        values = clipped_words(values, layout.exponents, layout.sizes, policy.clip)
    squares = sum(float(np.square(array).sum()) for array in weights.values())
    return Made(values, side, float(np.sqrt(squares)))


def check_metrics(task: Task, state: State, data: Any) -> dict[str, Words]:
    """The words of each metric of ``state`` on the held-out part of ``data``, once it is sure that they travel and that
    a number comes of them.

    It costs no training, so it comes before. Raises ``TaskError``, naming the metric, where they do not.
    """
    partials, checked = task.evaluate(state, data), {}
    if not isinstance(partials, Mapping):
        raise TaskError(f"the task's evaluate must return the words of each metric by name, not {partials!r:.60}")
    for name, metric in task.metrics().items():
        if name not in partials:
            raise TaskError(f"the task's evaluate gave no words for its metric {name!r}")
        if isinstance(metric.words, bool) or not isinstance(metric.words, int | np.integer) or metric.words < 0:
            raise TaskError(f"metric {name!r} has words = {metric.words!r:.60}; the number of its integers is due")
        words = fixed.metric_partial(name, partials[name], metric.words)
        with np.errstate(all="ignore"):
            value = metric.value(words)
        if isinstance(value, bool | str | bytes) or not _is_number(value):
            raise TaskError(f"metric {name!r} has the value {value!r:.60}; a number is due, nan where there is none")
        checked[name] = words
    return checked


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def noised(policy: Policy, made: Made, layout: Layout, seed: bytes) -> Made:
    """``made`` with this member's share of the noise that hides members, where the policy wants it.

    ``seed`` is 32 bytes: of this member and attempt alone, and secret. Raises ``TaskError`` where the steps are too
    coarse for the noise.
    """
    if not policy.noisy or not layout.values:
        return made
    from folkmoot.privacy.accountant import check_granularity  # it brings SciPy, which most tasks do without

    cost = _cost(policy)
    coarsest = sigma_in_steps(cost.std, max(layout.exponents))
    try:
        check_granularity(coarsest, policy.honest, layout.values, cost.noise_multiplier)
    except ValueError as error:
        raise TaskError(f"the policy's noise cannot be added: {error}") from None
    noise = gaussian_words(cost.std, layout.exponents, layout.sizes, seed)
    # What exceeds the range of one contribution is not cut off: only the sum counts, and it has room for it.
    return replace(made, values=made.values + noise)


@lru_cache(maxsize=8)
def _cost(policy: Policy) -> Cost:
    from folkmoot.privacy.budget import planned

    return planned(policy)


def make_shards(
    task: Task, state: State, data: Any, context: Context, layout: Layout, shards: int
) -> tuple[list[bytes], float]:
    """The packed shards of the local contribution, and the L2 norm of its arrays; raises as ``make_contribution``."""
    made = make_contribution(task, state, data, context, layout)
    return fixed.encode_shards(made.values, made.side, layout, shards), made.norm


def mask_shards(made: Made, layout: Layout, shards: int, group: int, seeds: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """The packed shards of a contribution under its masks: ``seeds`` are pairs of sign and 16 bytes, ``group`` the size
    of its mask group."""
    width = masked_width(layout.bits, group)
    values = masks.unsigned(made.values, width)
    masks.add_masks(values, seeds, start=0)
    side = masks.unsigned(made.side, 64)
    masks.add_masks(side, seeds, start=0, side=True)
    cuts = np.cumsum((0, *layout.shard_values(shards)))
    packed = [masks.pack_bits(values[a:b], width) for a, b in itertools.pairwise(cuts)]
    packed[0] += masks.pack_bits(side, 64)
    return packed


def sum_row(
    blobs: Iterable[bytes],
    shard: int,
    layout: Layout,
    shards: int,
    group: int = 0,
    seeds: Sequence[tuple[int, bytes]] = (),
) -> Words:
    """The words of one shard summed over its ``blobs``.

    Where they are masked ``group`` is the size of their mask group, and the masks of ``seeds``, pairs of sign and 16
    bytes, are taken off. Raises ``IntegrityError`` on a wrong size or none at all.
    """
    contents = iter(blobs)
    first = next(contents, None)
    if first is None:
        raise IntegrityError(f"there is nothing to sum in shard {shard}")
    everything = itertools.chain([first], contents)
    if group:
        return _unmasked(everything, shard, layout, shards, group, seeds)
    total = np.zeros(layout.values_in(shard, shards) + (0 if shard else layout.side), dtype=np.int64)
    for blob in everything:
        fixed.add_shard(total, blob, shard, layout, shards)
    return total


def _unmasked(
    blobs: Iterable[bytes], shard: int, layout: Layout, shards: int, group: int, seeds: Sequence[tuple[int, bytes]]
) -> Words:
    width, count = masked_width(layout.bits, group), layout.values_in(shard, shards)
    at, due = fixed.packed_bytes(count, width), layout.shard_bytes(shards, group)[shard]
    values = masks.unsigned(np.zeros(count, dtype=np.int64), width)
    side = np.zeros(0 if shard else layout.side, dtype=np.uint64)
    for blob in blobs:
        if len(blob) != due:
            raise IntegrityError(f"shard {shard} has {len(blob)} bytes where {due} are due")
        view = memoryview(blob)
        values += masks.unpack_bits(view[:at], count, width)
        if not shard:
            side += masks.unpack_bits(view[at:], layout.side, 64)
    off = [(-sign, seed) for sign, seed in seeds]
    masks.add_masks(values, off, start=sum(layout.shard_values(shards)[:shard]))
    if not shard:
        masks.add_masks(side, off, start=0, side=True)
    return np.concatenate([masks.signed(values, width), masks.signed(side, 64)])


def next_state(
    task: Task,
    state: State,
    layout: Layout,
    sums: Sequence[Words],
    rows: Sequence[int],
    seed: bytes = bytes(32),
    lost: int = 0,
) -> tuple[State, Mapping[str, float]]:
    """The state after the round whose summed shards these are, and the moot's metrics of ``state`` itself; after the
    measuring round that is ``state`` once more.

    Each of ``sums`` is (rows, words); ``rows`` says how many contributions are in each row. ``seed``, the 32 bytes of
    the round's beacon, shuffles buckets; ``lost`` mask groups could not be summed, each by a fault in it. Raises
    ``TaskError`` when the task's update breaks the protocol, and ``IntegrityError`` where the rows are too few for the
    policy's rule.
    """
    policy = task.policy
    if draws(policy, state):
        return replace(state, round=1), {}
    values, side = fixed.split_side(sums, layout, len(sums))
    if _measures(policy, state):
        return state, _measured(task, side, layout)
    total = side.sum(axis=0)
    if policy.weighted:
        aggregate = fixed.aggregate(values[0], total, layout, rows[0])
    else:
        aggregate = _alike(policy, values, side, layout, rows, seed, max(0, policy.faults - lost))
    new = task.update(_seen(policy, state), aggregate)
    seen = _seen(policy, state).round + 1
    if not isinstance(new, State) or new.round != seen:
        raise TaskError("the task's update must return a State whose round is one more than its parent's")
    if policy.robust == "mean":
        exponents = fixed.next_exponents(total, layout, sum(rows))
    else:
        exponents = fixed.robust_exponents(side, layout, policy.faults, rows)
    return replace(new, round=state.round + 1, exponents=exponents), _measured(task, side, layout)


def _alike(
    policy: Policy, values: Words, side: Words, layout: Layout, rows: Sequence[int], seed: bytes, faults: int
) -> Aggregate:
    """The aggregate where each member counts as every other, whatever number of examples it tells. Buffers have no part
    in distances, which they would decide alone: of them each element's median counts."""
    steps = np.repeat([2.0**exponent for exponent in layout.exponents], layout.sizes)
    vectors = values.astype(np.float64) * steps / np.array(rows, dtype=np.float64)[:, None]
    if policy.clip is not None and not policy.noisy:
        vectors = cap(vectors, policy.clip)
    mean = robust_mean(vectors, policy.robust, faults, mix=policy.mix, seed=seed)
    buffers = middle(fixed.buffer_means(side, layout, rows, rows))
    # a number of examples that nobody can check counts for nothing here
    return Aggregate({**fixed.arrays_of(mean, layout), **fixed.buffer_arrays(buffers, layout)}, sum(rows), sum(rows))


def _measured(task: Task, side: Words, layout: Layout) -> dict[str, float]:
    """The moot's metrics: of the summed words, or, where a rule withstands liars, the median of the rows' own."""
    known, rows = task.metrics(), side if task.policy.robust != "mean" else side.sum(axis=0, keepdims=True)
    found: dict[str, list[float]] = {name: [] for name, _ in layout.metrics}
    for row in rows:
        for name, words in fixed.metric_words(row, layout).items():
            found[name].append(_value(known[name], words))
    return {name: _middle(values) for name, values in found.items()}


def _value(metric: Any, words: Words) -> float:
    try:
        with np.errstate(all="ignore"):
            return float(metric.value(words))
    except Exception:  # the task's own code, and a liar's words may be none that any data gives: the round goes on
        return math.nan


def _middle(values: Sequence[float]) -> float:
    good = sorted(value for value in values if math.isfinite(value))
    if not good:
        return math.nan
    return (good[(len(good) - 1) // 2] + good[len(good) // 2]) / 2 if len(values) > 1 else good[0]
