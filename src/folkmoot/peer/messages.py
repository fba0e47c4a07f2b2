"""What peers say to each other about a round. Every message names its attempt; bitmaps are 32 bytes, big-endian."""

from __future__ import annotations

from typing import Annotated

import msgspec

from folkmoot.digest import Hash
from folkmoot.network.messages import Message
from folkmoot.round.events import Key, Reveal, Statement

__all__ = [
    "Accusation",
    "Ack",
    "Agreed",
    "ByTarget",
    "Bytes32",
    "Committal",
    "Concurrence",
    "Holding",
    "Index",
    "Model",
    "Number",
    "Opening",
    "Pull",
    "Push",
    "RoundMessage",
    "Seeds",
    "SeedsKnown",
    "SeedsWanted",
    "Shards",
    "Shown",
    "Signature",
    "Split",
    "Sums",
    "Unavailable",
    "bitmap",
]

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=65, max_length=65)]
Index = Annotated[int, msgspec.Meta(ge=0, le=255)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
Seed = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
ByTarget = Annotated[dict[Index, Seed], msgspec.Meta(max_length=256)]
Shards = Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=256)]


class _About(Message, frozen=True, kw_only=True):
    """The attempt that a message belongs to."""

    task: Number
    round: Number
    attempt: Number

    @property
    def key(self) -> Key:
        """The attempt as the machine names it."""
        return Key(self.task, self.round, self.attempt)


class Push(_About, frozen=True, kw_only=True):
    """The sender's reveal, signed; the body is the carried pieces, one after the other. Answered by ``Ack``."""

    salt: Bytes32
    shards: Shards
    signature: Signature
    carried: Annotated[tuple[Index, ...], msgspec.Meta(max_length=256)]

    @property
    def reveal(self) -> Reveal:
        """The reveal."""
        return Reveal(self.salt, self.shards)


class Pull(_About, frozen=True, kw_only=True):
    """Asks for a contributor's reveal and these of its shards. Answered by ``Shown`` or ``Unavailable``."""

    contributor: Index
    wanted: Annotated[tuple[Index, ...], msgspec.Meta(max_length=256)]


class Shown(Message, frozen=True, kw_only=True):
    """A contributor's reveal; the body is the carried shards, one after the other."""

    salt: Bytes32
    shards: Shards
    carried: Annotated[tuple[Index, ...], msgspec.Meta(max_length=256)]

    @property
    def reveal(self) -> Reveal:
        """The reveal."""
        return Reveal(self.salt, self.shards)


class Committal(_About, frozen=True, kw_only=True):
    """The sender's commit, signed, for the receiver to put on the ledger with others'. Answered by ``Ack``."""

    hash: Bytes32
    signature: Signature


class Holding(_About, frozen=True, kw_only=True):
    """The sender holds these contributors' shards; signed as the contract checks it. Answered by ``Ack``."""

    contributors: Bytes32
    signature: Signature


class Sums(_About, frozen=True, kw_only=True):
    """The sums of the shards that the sender holds. Answered by ``Ack``."""

    sums: Annotated[dict[Index, Bytes32], msgspec.Meta(min_length=1, max_length=256)]


class Seeds(_About, frozen=True, kw_only=True):
    """The sender's mask seeds, by target, that may be known now that these are the survivors; signed. Answered by
    ``Ack``."""

    survivors: Bytes32
    seeds: ByTarget
    signature: Signature


class SeedsWanted(_About, frozen=True, kw_only=True):
    """Asks for the mask seeds of these survivors. Answered by ``SeedsKnown`` or ``Unavailable``."""

    survivors: Bytes32
    dealers: Annotated[tuple[Index, ...], msgspec.Meta(max_length=256)]


class SeedsKnown(Message, frozen=True, kw_only=True):
    """For each survivor its seeds by target, where they are known, or else the teller's shares of them."""

    seeds: Annotated[dict[Index, ByTarget], msgspec.Meta(max_length=256)]
    shares: Annotated[dict[Index, ByTarget], msgspec.Meta(max_length=256)]


class Opening(_About, frozen=True, kw_only=True):
    """Of these survivors the sender can take off the masks of those opened; signed as the contract checks it. Answered
    by ``Ack``."""

    survivors: Bytes32
    opened: Bytes32
    signature: Signature


class Model(_About, frozen=True, kw_only=True):
    """The sender's outcome of the attempt; signed as the contract checks it. Answered by ``Ack``."""

    parent: Bytes32
    inputs: Bytes32
    aggregate: Bytes32
    model: Bytes32
    survivors: Bytes32
    signature: Signature

    @classmethod
    def of(cls, key: Key, statement: Statement, signature: bytes) -> Model:
        """The message that says this."""
        return cls(
            task=key.task,
            round=key.round,
            attempt=key.attempt,
            parent=statement.parent,
            inputs=statement.inputs,
            aggregate=statement.aggregate,
            model=statement.model,
            survivors=bitmap(statement.survivors),
            signature=signature,
        )

    @property
    def statement(self) -> Statement:
        """The statement that the signature is over."""
        return Statement(self.parent, self.inputs, self.aggregate, self.model, int.from_bytes(self.survivors, "big"))


class Accusation(Message, frozen=True, kw_only=True):
    """A member broke a rule; the body is the evidence. Answered by ``Agreed``, or ``Unavailable`` where it does not
    convince."""

    task: Number
    member: Index
    evidence: Bytes32


class Agreed(Message, frozen=True, kw_only=True):
    """The evidence convinces: signed, as the contract checks it, that the member is to be expelled."""

    signature: Signature


class Split(Message, frozen=True, kw_only=True):
    """The sender splits what is due of a bounty for rounds ``first`` to ``last`` by weights of this hash. Answered by
    ``Concurrence``, or ``Unavailable`` where the receiver does not, or not yet."""

    task: Number
    first: Number
    last: Number
    weights: Bytes32


class Concurrence(Message, frozen=True, kw_only=True):
    """The receiver makes the same split: signed, as the contract checks it."""

    signature: Signature


class Ack(Message, frozen=True):
    """Taken."""


class Unavailable(Message, frozen=True):
    """Not taken, or not to be had here now; no fault of the sender's."""

    reason: Annotated[str, msgspec.Meta(max_length=200)]


RoundMessage = (
    Push
    | Pull
    | Shown
    | Committal
    | Holding
    | Seeds
    | SeedsWanted
    | SeedsKnown
    | Opening
    | Sums
    | Model
    | Accusation
    | Agreed
    | Split
    | Concurrence
    | Ack
    | Unavailable
)


def bitmap(value: int) -> Hash:
    """A bitmap of members as 32 bytes."""
    return value.to_bytes(32, "big")
