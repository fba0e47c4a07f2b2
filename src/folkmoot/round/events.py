"""What the round machine is told, and what it asks for. All plain values; signatures were checked before.

A ``Key`` names one attempt at one round of one task; everything sent or computed for it carries it, so that nothing of
one attempt can be taken for another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from folkmoot.digest import Hash
from folkmoot.round.view import RoundView

__all__ = [
    "Action",
    "Announce",
    "AskSeeds",
    "Attend",
    "Clock",
    "Computed",
    "Event",
    "Failed",
    "HoldingReceived",
    "Key",
    "LedgerSeen",
    "ModelReceived",
    "Open",
    "Opened",
    "OpeningReceived",
    "Overtaken",
    "PostCommit",
    "PostFinal",
    "PostFreeze",
    "PostOpening",
    "PostRetry",
    "Pull",
    "PullSum",
    "Push",
    "Release",
    "Reveal",
    "RevealReceived",
    "Row",
    "SeedsHeld",
    "SendHolding",
    "SendModel",
    "SendOpening",
    "ShardHeld",
    "Statement",
    "Sum",
    "SumHeld",
    "SumsReceived",
    "Train",
    "Trained",
    "Update",
    "Wait",
    "WaitKind",
]

WaitKind = Literal[
    "attempt",
    "commits",
    "contributions",
    "data",
    "decision",
    "failed",
    "grants",
    "holdings",
    "members",
    "parent",
    "round",
    "seeds",
    "signatures",
    "sums",
]
"""What is waited for: the next ``attempt`` or ``round``; others' ``commits``, ``contributions``, mask ``seeds``,
``sums`` of shards, words on what they hold (``holdings``) or ``signatures`` under the model; the ``parent`` state; the
``grants`` that start the task; more ``members``, for too few have contributed; a ``decision`` of the moot; or that this
peer does not fail any more (``failed``)."""


class Key(NamedTuple):
    """One attempt at one round of one task."""

    task: int
    round: int
    attempt: int


@dataclass(frozen=True)
class Reveal:
    """What opens a commit: its salt and the blob hashes of the contribution's shards."""

    salt: bytes
    shards: tuple[Hash, ...]


@dataclass(frozen=True)
class Row:
    """Survivors whose contributions are summed together, and the masks that are still on that sum."""

    members: tuple[int, ...]
    """Ascending."""
    group: int = 0
    """The size of their mask group; 0 where contributions are not masked."""
    masks: tuple[tuple[int, bytes], ...] = ()
    """Sign and 16-byte seed of each mask that is to be taken off."""


@dataclass(frozen=True)
class Statement:
    """What a quorum signs: the outcome of one attempt. ``inputs`` and ``aggregate`` name the blobs that record them."""

    parent: Hash
    inputs: Hash
    aggregate: Hash
    model: Hash
    survivors: int


# ---- events: what happened ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LedgerSeen:
    """The ledger's view of the task at ledger time ``now``.

    ``willing``: this peer has checked, for this very view, that it holds a live grant and the granted dataset.
    ``rekeyed``: its exchange key was put in use after the attempt opened, so that the attempt's masks are not its own.
    """

    view: RoundView
    now: float
    willing: bool
    rekeyed: bool = False


@dataclass(frozen=True)
class Clock:
    """Ledger time moved on, and as far as is known nothing new stands on the ledger."""

    now: float


@dataclass(frozen=True)
class Opened:
    """The parent state is here and its layout known: shards may be received and made."""

    key: Key


@dataclass(frozen=True)
class Trained:
    """This peer's contribution is on disk with its salt, and may be committed."""

    key: Key
    reveal: Reveal


@dataclass(frozen=True)
class Failed:
    """This peer could not ``open`` the attempt, or ``train`` for it; it goes on helping. Not ``lasting`` is what took
    too long: it may be quicker another time."""

    key: Key
    reason: str
    step: Literal["open", "train"] = "train"
    lasting: bool = True


@dataclass(frozen=True)
class Overtaken:
    """Training was cut short, for the round went on without it. Until then nothing was wrong."""

    key: Key


@dataclass(frozen=True)
class RevealReceived:
    """A member opened its commit (not yet compared with the ledger)."""

    key: Key
    member: int
    reveal: Reveal


@dataclass(frozen=True)
class ShardHeld:
    """A shard, with exactly the revealed hash and a valid form, is on disk."""

    key: Key
    member: int
    shard: int


@dataclass(frozen=True)
class HoldingReceived:
    """A member's signed word on whose shards it holds."""

    key: Key
    member: int
    contributors: int
    signature: bytes


@dataclass(frozen=True)
class SeedsHeld:
    """The mask seeds of a survivor that may be known are known here: target -> 16 bytes, checked against its
    envelope; the survivor itself is the target of its self mask."""

    key: Key
    dealer: int
    seeds: Mapping[int, bytes]


@dataclass(frozen=True)
class OpeningReceived:
    """A member's signed word on whose masks it can take off, of these survivors."""

    key: Key
    member: int
    survivors: int
    opened: int
    signature: bytes


@dataclass(frozen=True)
class SumsReceived:
    """A holder's word on the sums of its shards."""

    key: Key
    member: int
    sums: Mapping[int, Hash]


@dataclass(frozen=True)
class SumHeld:
    """The sum of a shard, of the named hash, is on disk."""

    key: Key
    shard: int
    sum: Hash


@dataclass(frozen=True)
class Computed:
    """The new state is on disk."""

    key: Key
    statement: Statement


@dataclass(frozen=True)
class ModelReceived:
    """A member's signed word on the outcome."""

    key: Key
    member: int
    statement: Statement
    signature: bytes


Event = (
    LedgerSeen
    | Clock
    | Opened
    | Trained
    | Failed
    | Overtaken
    | RevealReceived
    | ShardHeld
    | HoldingReceived
    | SeedsHeld
    | OpeningReceived
    | SumsReceived
    | SumHeld
    | Computed
    | ModelReceived
)


# ---- actions: what is to be done ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """Get the parent state and learn the layout from it."""

    key: Key
    parent: Hash


@dataclass(frozen=True)
class Train:
    """Make this peer's contribution, or find it in the journal; answer with ``Trained`` or ``Failed``.

    Also asked after a restart when the commit already stands: then only the journalled contribution can serve.
    """

    key: Key
    parent: Hash


@dataclass(frozen=True)
class PostCommit:
    """Put the commit on the ledger."""

    key: Key
    hash: Hash


@dataclass(frozen=True)
class Attend:
    """Ask the ledger to be expected from the next attempt on."""

    key: Key


@dataclass(frozen=True)
class Push:
    """Send this peer's reveal, and these shards, to a member."""

    key: Key
    to: int
    reveal: Reveal
    shards: tuple[int, ...]


@dataclass(frozen=True)
class Pull:
    """Ask for a contributor's reveal and these of its shards, from any of ``sources`` in order."""

    key: Key
    contributor: int
    shards: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True)
class SendHolding:
    """Sign the bitmap of contributors held and send it to a member; ``to`` may be oneself."""

    key: Key
    to: int
    contributors: int


@dataclass(frozen=True)
class PostFreeze:
    """Put a quorum of holdings on the ledger: member -> (contributors, signature)."""

    key: Key
    holdings: Mapping[int, tuple[int, bytes]]


@dataclass(frozen=True)
class Release:
    """Tell everyone those of this peer's mask seeds that may be known now that the ledger has fixed ``survivors``
    (bitmap).

    Which those are ``groups.released`` says, and nothing else can be asked for: of a survivor its self-mask seed and
    those it shares with who was lost, of a lost member nothing.
    """

    key: Key
    survivors: int
    to: tuple[int, ...]


@dataclass(frozen=True)
class AskSeeds:
    """Ask ``sources`` for these survivors' seeds, or for their shares of them."""

    key: Key
    survivors: int
    dealers: tuple[int, ...]
    sources: tuple[int, ...]


@dataclass(frozen=True)
class SendOpening:
    """Sign of whom, among these survivors, the masks can be taken off; send it to a member, ``to`` may be oneself."""

    key: Key
    to: int
    survivors: int
    opened: int


@dataclass(frozen=True)
class PostOpening:
    """Put a quorum of openings on the ledger: member -> (opened, signature). It goes on without the others."""

    key: Key
    survivors: int
    openings: Mapping[int, tuple[int, bytes]]


@dataclass(frozen=True)
class Sum:
    """Sum these shards over the survivors, row by row: shard -> for each row the blob hashes of its members' shards."""

    key: Key
    shards: Mapping[int, tuple[tuple[Hash, ...], ...]]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Announce:
    """Tell a member the sums of this peer's shards."""

    key: Key
    to: int
    sums: Mapping[int, Hash]


@dataclass(frozen=True)
class PullSum:
    """Fetch the sum of a shard from any of ``sources``."""

    key: Key
    shard: int
    sum: Hash
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Update:
    """Make the new state from the sums of all shards in order; answer with ``Computed`` or ``Failed``."""

    key: Key
    parent: Hash
    inputs: Mapping[int, Reveal]
    """The survivors' reveals; with ``seeds`` their record is a blob whose hash the statement names."""
    seeds: Mapping[int, Mapping[int, bytes]]
    """Of each survivor that is summed, the mask seeds that were released; none where nothing is masked."""
    sums: tuple[Hash, ...]
    rows: tuple[int, ...]
    """How many contributions are in each row."""
    lost: int
    """Mask groups that could not be summed."""
    beacon: Hash


@dataclass(frozen=True)
class SendModel:
    """Sign the outcome and send it to a member; ``to`` may be oneself."""

    key: Key
    to: int
    statement: Statement


@dataclass(frozen=True)
class PostFinal:
    """Put the outcome and a quorum of signatures on the ledger."""

    key: Key
    statement: Statement
    signatures: Mapping[int, bytes]


@dataclass(frozen=True)
class PostRetry:
    """Ask the ledger for the next attempt."""

    key: Key


@dataclass(frozen=True)
class Wait:
    """Nothing to do but wait; ``reason`` is for people."""

    key: Key
    kind: WaitKind
    reason: str
    members: int = 0
    """Bitmap of the members that are waited for, where it is known who they are."""


Action = (
    Open
    | Train
    | PostCommit
    | Attend
    | Push
    | Pull
    | SendHolding
    | PostFreeze
    | Release
    | AskSeeds
    | SendOpening
    | PostOpening
    | Sum
    | Announce
    | PullSum
    | Update
    | SendModel
    | PostFinal
    | PostRetry
    | Wait
)
