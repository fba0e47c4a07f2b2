"""What a daemon asks its worker, and what the worker answers: MessagePack in a pipe between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from folkmoot.digest import Hash
from folkmoot.round.events import Row
from folkmoot.round.layout import Layout
from folkmoot.task.data_schema import DataSchema
from folkmoot.task.policy import Policy

__all__ = [
    "Account",
    "Accounted",
    "Advance",
    "Advanced",
    "Answer",
    "Appraise",
    "Appraised",
    "Ask",
    "Contribute",
    "Delivery",
    "Export",
    "Exported",
    "Failure",
    "Load",
    "Loaded",
    "Made",
    "OfData",
    "Prepare",
    "Prepared",
    "SumUp",
    "Summed",
    "Survey",
    "Surveyed",
    "blobs_of",
    "most_made",
    "named_in",
]


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load the task of this bundle blob."""

    bundle: Hash


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Make ready for the round that starts from ``state`` (a blob), or from what ``init`` makes."""

    state: Hash | None


class Survey(msgspec.Struct, frozen=True, tag="survey"):
    """Load the dataset at ``path``."""

    path: str


class Contribute(msgspec.Struct, frozen=True, tag="contribute"):
    """Train from ``state`` on the dataset at ``path``, and mask what comes of it."""

    state: Hash
    path: str
    round: int
    seed: bytes
    shards: int
    noise: bytes
    """32 bytes: seed of the noise, where the policy wants some; another one for each attempt."""
    group: int = 0
    """Size of the mask group; 0: no masks."""
    masks: tuple[tuple[int, bytes], ...] = ()
    """Sign and 16-byte seed of each mask to be added."""
    version: str = ""
    """Another one than before: the dataset at ``path`` is to be read anew."""


class SumUp(msgspec.Struct, frozen=True, tag="sum"):
    """Sum each of these shards (number -> for each row its blobs) of the round that starts from ``state``."""

    state: Hash
    shards: int
    blobs: dict[int, tuple[tuple[Hash, ...], ...]]
    rows: tuple[Row, ...]


class Advance(msgspec.Struct, frozen=True, tag="advance"):
    """Make the next state from the sums of all shards, in order."""

    state: Hash
    sums: tuple[Hash, ...]
    rows: tuple[int, ...]
    """How many contributions are in each row."""
    lost: int
    """Mask groups that could not be summed."""
    beacon: Hash


class Account(msgspec.Struct, frozen=True, tag="account"):
    """What ``releases`` of contributions from the dataset at ``path`` cost, and how many stay within ``limit``."""

    path: str
    releases: int
    limit: float | None
    version: str = ""
    """As of ``Contribute``."""


class Appraise(msgspec.Struct, frozen=True, tag="appraise"):
    """What the rows of the round that started from ``state`` are worth on what is held out of the dataset at
    ``path``."""

    state: Hash
    path: str
    rows: tuple[Row, ...]
    blobs: tuple[tuple[Hash, ...], ...] = ()
    """For each row its members' contributions, where each is one blob."""
    sums: tuple[Hash, ...] = ()
    """Else the sums of all shards, in order."""
    version: str = ""
    """As of ``Contribute``."""


class Export(msgspec.Struct, frozen=True, tag="export"):
    """Write the model of ``state`` as its framework loads it."""

    state: Hash


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """A blob that was made for the answer to come: ``size`` bytes, which follow this in the pipe as they are."""

    name: Hash
    size: int
    chunks: bytes
    """32 bytes for each chunk: its hash."""


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The task is ready."""

    name: str
    policy: Policy
    unscored: str | None = None
    """Why contributions to it cannot be told apart for its bounty, where they cannot."""
    schema: DataSchema | None = None
    """What it expects of members' data, where it says."""


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """``state``, delivered if it is new, is ready, and this is how contributions from it look."""

    state: Hash
    layout: Layout
    buffers: tuple[str, ...] = ()
    """The task's buffers, whatever this round sends: a first round may only draw the groups of the second."""


class Surveyed(msgspec.Struct, frozen=True, tag="surveyed"):
    """The dataset is loaded, and as the task expects it."""

    examples: int | None
    """How many there are, to train on and held out; ``None`` where what ``load`` gave does not say."""
    schema: DataSchema
    """What the dataset looks like, as it could be pinned in the task's bundle."""


class Made(msgspec.Struct, frozen=True, tag="made"):
    """The contribution's shards are delivered."""

    shards: tuple[Hash, ...]
    norm: float


class Summed(msgspec.Struct, frozen=True, tag="summed"):
    """The sums of the shards; delivered where the round has more than one shard."""

    sums: dict[int, Hash]


class Advanced(msgspec.Struct, frozen=True, tag="advanced"):
    """The new state, and the record of the sums, are delivered."""

    model: Hash
    aggregate: Hash
    metrics: dict[str, float]


class Accounted(msgspec.Struct, frozen=True, tag="accounted"):
    """The epsilon of all planned rounds and of the releases so far; how many releases the limit pays for, at most twice
    the planned rounds, ``None`` without a limit."""

    planned: float
    spent: float
    allowed: int | None


class Appraised(msgspec.Struct, frozen=True, tag="appraised"):
    """The effect of each row, as ``reward.effects`` has it; none where the round has nothing to tell."""

    effects: tuple[int, ...]


class Exported(msgspec.Struct, frozen=True, tag="exported"):
    """The model's file is delivered."""

    file: Hash


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """The request failed; the worker is ready for the next."""

    kind: str
    message: str
    trace: str = ""
    """The traceback from the first line of the task's code on, where it is an error of that code."""
    where: str = ""
    """Its last place there: ``task.py, line 12``."""


OfData = Survey | Contribute | Account | Appraise
"""Questions about a dataset, whose ``path`` they name."""
Ask = Load | Prepare | Survey | Contribute | SumUp | Advance | Account | Appraise | Export
Answer = Loaded | Prepared | Surveyed | Made | Summed | Advanced | Accounted | Appraised | Exported | Failure


def blobs_of(question: Ask) -> Iterator[Hash]:
    """The blobs that a question is about."""
    if isinstance(question, Load):
        yield question.bundle
    elif isinstance(question, Account | Survey):
        return
    elif question.state is not None:
        yield question.state
    if isinstance(question, SumUp):
        for rows in question.blobs.values():
            for blobs in rows:
                yield from blobs
    elif isinstance(question, Appraise):
        yield from question.sums
        for row in question.blobs:
            yield from row
    elif isinstance(question, Advance):
        yield from question.sums


def most_made(question: Ask) -> int:
    """How many blobs the worker makes for an answer, at most."""
    if isinstance(question, Contribute):
        return question.shards
    if isinstance(question, SumUp):
        return len(question.blobs)
    return {Prepare: 1, Advance: 2, Export: 1}.get(type(question), 0)


def named_in(question: Ask, answer: Answer) -> Iterable[Hash]:
    """The blobs that an answer says are there."""
    if isinstance(answer, Prepared):
        return (answer.state,)
    if isinstance(answer, Exported):
        return (answer.file,)
    if isinstance(answer, Made):
        return answer.shards
    if isinstance(answer, Advanced):
        return answer.model, answer.aggregate
    if isinstance(answer, Summed) and isinstance(question, SumUp) and question.shards > 1:
        return answer.sums.values()
    return ()
