"""What a daemon asks its worker, and what the worker answers: MessagePack in a pipe between them."""

from __future__ import annotations

import msgspec

from folkmoot.digest import Hash
from folkmoot.round.layout import Layout
from folkmoot.task.policy import Policy

__all__ = [
    "Advance",
    "Advanced",
    "Answer",
    "Ask",
    "Contribute",
    "Failure",
    "Load",
    "Loaded",
    "Made",
    "Prepare",
    "Prepared",
    "SumUp",
    "Summed",
]


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load the task of this bundle blob."""

    bundle: Hash


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Make ready for the round that starts from ``state`` (a blob), or from what ``init`` makes."""

    state: Hash | None


class Contribute(msgspec.Struct, frozen=True, tag="contribute"):
    """Train from ``state`` on the dataset at ``path``."""

    state: Hash
    path: str
    round: int
    seed: bytes
    shards: int


class SumUp(msgspec.Struct, frozen=True, tag="sum"):
    """Sum each of these shards (number -> blobs) of the round that starts from ``state``."""

    state: Hash
    shards: int
    blobs: dict[int, tuple[Hash, ...]]


class Advance(msgspec.Struct, frozen=True, tag="advance"):
    """Make the next state from the sums of all shards, in order."""

    state: Hash
    members: int
    sums: tuple[Hash, ...]


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The task is ready."""

    name: str
    policy: Policy


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """``state`` is ready, and this is how contributions from it look."""

    state: Hash
    layout: Layout


class Made(msgspec.Struct, frozen=True, tag="made"):
    """The contribution's shards are in the store."""

    shards: tuple[Hash, ...]
    norm: float


class Summed(msgspec.Struct, frozen=True, tag="summed"):
    """The sums of the shards; in the store where the round has more than one shard."""

    sums: dict[int, Hash]


class Advanced(msgspec.Struct, frozen=True, tag="advanced"):
    """The new state is in the store."""

    model: Hash
    aggregate: Hash
    metrics: dict[str, float]


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """The request failed; the worker is ready for the next."""

    kind: str
    message: str


Ask = Load | Prepare | Contribute | SumUp | Advance
Answer = Loaded | Prepared | Made | Summed | Advanced | Failure
