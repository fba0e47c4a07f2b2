"""A small real task: its contributions, sums and states are what the round's own arithmetic makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from folkmoot.digest import Hash, blob_hash
from folkmoot.ledger.records import Final
from folkmoot.round import fixed
from folkmoot.round.commitment import commit_hash, contribution_root, decode_hashes, decode_inputs
from folkmoot.round.fixed import Layout
from folkmoot.round.reduce import layout_of, make_shards, next_state
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
    policy = Policy()

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


TASK = DriftTask()
GENESIS = state_bytes(TASK.init())


@lru_cache(maxsize=256)
def opened(parent: bytes) -> tuple[State, Layout]:
    state = read_state(parent)
    return state, layout_of(TASK, state)


def contribution(parent: bytes, member: int, round: int, shards: int, salt: int = 0) -> list[bytes]:
    """The shards of a member's contribution; another ``salt`` gives another contribution."""
    state, layout = opened(parent)
    seed = bytes([member, salt]) + round.to_bytes(30, "big")
    return make_shards(TASK, state, member, Context(round, seed), layout, shards)[0]


def updated(parent: bytes, sums: Sequence[bytes], members: int) -> bytes:
    """The bytes of the next state."""
    state, layout = opened(parent)
    words = [fixed.decode_sum(data, s, layout, len(sums), members) for s, data in enumerate(sums)]
    return state_bytes(next_state(TASK, state, layout, words, members)[0])


def replay(final: Final, parent: bytes, blobs: Mapping[Hash, bytes], address_of: Mapping[int, bytes]) -> bytes:
    """The state after a round, made anew from ledger and blobs; nothing of the peers' arithmetic is trusted.

    Sums are Python integers, so they could not overflow even where int64 would.
    """
    reveals = decode_inputs(blobs[final.inputs])
    survivors = [m for m in range(256) if final.survivors >> m & 1]
    assert sorted(reveals) == survivors, "the inputs are not the survivors'"
    for member, commit in zip(survivors, final.commits, strict=True):
        reveal = reveals[member]
        root = contribution_root(reveal.shards)
        due = commit_hash(reveal.salt, address_of[member], final.task, final.round, final.attempt, root)
        assert due == commit, f"the contribution of member {member} does not open its commit"
    state, layout = opened(parent)
    shards = len(reveals[survivors[0]].shards)
    sums = []
    for s in range(shards):
        rows = [fixed.decode_shard(blobs[reveals[m].shards[s]], s, layout, shards).tolist() for m in survivors]
        sums.append(np.array([sum(column) for column in zip(*rows, strict=True)], dtype=np.int64))
    packed = [fixed.encode_sum(total, s, layout, shards, len(survivors)) for s, total in enumerate(sums)]
    assert decode_hashes(blobs[final.aggregate]) == tuple(map(blob_hash, packed)), "the aggregate is not the sums'"
    return state_bytes(next_state(TASK, state, layout, sums, len(survivors))[0])
