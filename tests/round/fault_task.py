"""A small real task: its contributions, sums and states are what the round's own arithmetic makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from folkmoot.digest import Hash, blob_hash
from folkmoot.ledger.records import Final
from folkmoot.round import fixed
from folkmoot.round.commitment import (
    commit_hash,
    contribution_root,
    decode_hashes,
    decode_inputs,
    decode_masked_inputs,
    seat_of,
)
from folkmoot.round.events import Key, Row
from folkmoot.round.fixed import Layout
from folkmoot.round.groups import sign
from folkmoot.round.masking import Masking
from folkmoot.round.plan import Plan, make_plan
from folkmoot.round.reduce import Made, layout_of, make_contribution, mask_shards, next_state, sum_row
from folkmoot.round.view import members_of
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State, read_state, state_bytes

SCHEMA = {"b": (3,), "w": (4, 5)}


class _Count:
    words = 2

    def partial(self, prediction: NDArray[np.float64], label: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.array([1, len(label)])

    def value(self, total: NDArray[np.int64]) -> float:
        return float(total[1] / total[0])


class DriftTask:
    """Each member pulls the model its own way; ``data`` is the member's index."""

    name = "drift"

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def init(self) -> State:
        return State({name: np.zeros(shape) for name, shape in SCHEMA.items()})

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        return SCHEMA

    def load(self, path: str) -> int:
        return int(path)

    def contribute(self, state: State, data: int, context: Context) -> Contribution:
        rng = np.random.default_rng(list(context.seed))
        arrays = {name: rng.normal(size=shape) - state.arrays[name] / 2 for name, shape in SCHEMA.items()}
        return Contribution(arrays, int(rng.integers(1, 500)))

    def update(self, state: State, aggregate: Aggregate) -> State:
        arrays = {name: state.arrays[name] + aggregate.arrays[name] for name in state.arrays}
        return State(arrays, state.round + 1, state.exponents)

    def metrics(self) -> Mapping[str, Metric]:
        return {"count": _Count()}

    def evaluate(self, state: State, data: int) -> Mapping[str, NDArray[np.int64]]:
        return {"count": np.array([1, data])}


GENESIS = state_bytes(DriftTask(Policy()).init())


@lru_cache(maxsize=256)
def opened(parent: bytes, policy: Policy) -> tuple[State, Layout]:
    state = read_state(parent)
    return state, layout_of(DriftTask(policy), state)


def plain(parent: bytes, policy: Policy, member: int, round: int, salt: int = 0) -> Made:
    """A member's contribution before it is masked; another ``salt`` gives another."""
    state, layout = opened(parent, policy)
    seed = bytes([member, salt]) + round.to_bytes(30, "big")
    return make_contribution(DriftTask(policy), state, member, Context(round, seed), layout)


def pieces(parent: bytes, policy: Policy, made: Made, plan: Plan, masking: Masking | None) -> list[bytes]:
    """The pieces of a contribution, as they are sent."""
    layout = opened(parent, policy)[1]
    if masking is None:
        return fixed.encode_shards(made.values, made.side, layout, plan.shards)
    group = len(plan.group_of(masking.me))
    return [*mask_shards(made, layout, plan.shards, group, masking.masks), masking.envelope()]


def summed(
    parent: bytes, policy: Policy, shard: int, shards: int, rows: Sequence[Row], blobs: Sequence[Sequence[bytes]]
) -> bytes:
    """The packed sums of one shard."""
    layout = opened(parent, policy)[1]
    pairs = zip(rows, blobs, strict=True)
    total = np.stack([sum_row(some, shard, layout, shards, row.group, row.masks) for row, some in pairs])
    return fixed.encode_sum(total, shard, layout, shards, [len(row.members) for row in rows])


def updated(
    parent: bytes, policy: Policy, sums: Sequence[bytes], rows: Sequence[int], beacon: Hash, lost: int
) -> bytes:
    """The bytes of the next state."""
    state, layout = opened(parent, policy)
    words = [fixed.decode_sum(data, s, layout, len(sums), rows) for s, data in enumerate(sums)]
    return state_bytes(next_state(DriftTask(policy), state, layout, words, rows, beacon, lost)[0])


def replay(
    final: Final,
    parent: bytes,
    policy: Policy,
    beacon: Hash,
    blobs: Mapping[Hash, bytes],
    commits: Mapping[int, bytes],
    truth: Mapping[tuple[Key, int], Made],
) -> bytes:
    """The state after a round, made anew from ledger and blobs; nothing of the peers' arithmetic is trusted.

    ``truth`` is what honest members contributed before it was masked. Where a sum is of them alone it has to be its
    sum: in Python integers, so it could not overflow even where int64 would, and without a mask anywhere.
    """
    record = blobs[final.inputs]
    reveals, seeds = decode_masked_inputs(record) if policy.secret else (decode_inputs(record), {})
    survivors = members_of(final.survivors)
    assert tuple(sorted(reveals)) == survivors, "the inputs are not the survivors'"
    for member in survivors:
        reveal = reveals[member]
        root = contribution_root(reveal.shards)
        due = commit_hash(reveal.salt, seat_of(member), final.task, final.round, final.attempt, root)
        assert due == commits[member], f"the contribution of member {member} does not open its commit"
    state, layout = opened(parent, policy)
    plan = make_plan(
        members_of(final.members), final.parent, final.attempt, policy, dealt=members_of(final.dealt), beacon=beacon
    )
    rows, key = plan.rows(final.survivors, final.first_survivors), Key(final.task, final.round, final.attempt)
    sums = []
    for s in range(plan.shards):
        total = []
        for row in rows:
            masks = [(sign(m, target), seed) for m in row if m in seeds for target, seed in seeds[m].items()]
            group = len(plan.group_of(row[0])) if policy.secret else 0
            total.append(sum_row((blobs[reveals[m].shards[s]] for m in row), s, layout, plan.shards, group, masks))
            if all((key, m) in truth for m in row):
                parts = [_shard_of(truth[key, m], s, layout, plan.shards) for m in row]
                exact = [sum(column) for column in zip(*parts, strict=True)]
                assert total[-1].tolist() == exact, "a sum is not the sum of what was contributed"
        sums.append(np.stack(total))
    sizes = [len(row) for row in rows]
    packed = [fixed.encode_sum(total, s, layout, plan.shards, sizes) for s, total in enumerate(sums)]
    assert decode_hashes(blobs[final.aggregate]) == tuple(map(blob_hash, packed)), "the aggregate is not the sums'"
    return state_bytes(next_state(DriftTask(policy), state, layout, sums, sizes, beacon, plan.lost(len(rows)))[0])


def _shard_of(made: Made, shard: int, layout: Layout, shards: int) -> list[int]:
    start = sum(layout.shard_values(shards)[:shard])
    values = made.values[start : start + layout.values_in(shard, shards)].tolist()
    return values if shard else values + made.side.tolist()
