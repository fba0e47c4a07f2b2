"""What the ledger says, as values. Read by every room above; made only by ``ledger.moot``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol

from folkmoot.errors import LocalError
from folkmoot.round.view import Phase, RoundView, called, faults, members_of, number_of, quorum

__all__ = [
    "Commit",
    "Dataset",
    "Expulsion",
    "Final",
    "Grant",
    "JoinFields",
    "Member",
    "MootRecord",
    "Phase",
    "PolicyTerms",
    "RoundView",
    "Seated",
    "Standing",
    "TaskRecord",
    "Terms",
    "bitmap_of",
    "called",
    "faults",
    "iso",
    "member_named",
    "members_of",
    "number_of",
    "quorum",
]


_LAST_SECOND = 253_402_300_799


def iso(seconds: float) -> str:
    """Ledger seconds, or any since 1970, in ISO 8601: ``2026-01-31T12:00:00Z``; at most the last second of 9999."""
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bitmap_of(members: Iterable[int]) -> int:
    """The bitmap of these member indices, the inverse of ``members_of``."""
    return sum(1 << member for member in set(members))


class Standing(IntEnum):
    """What the members have decided on a task."""

    PROPOSED = 0
    """Nothing yet: it may be granted, and does not start."""
    ADOPTED = 1
    PAUSED = 2
    """Nobody commits; what is committed goes on."""
    STOPPED = 3
    """Its last final round is its end."""


@dataclass(frozen=True)
class Member:
    """An organisation with a key on the ledger. ``index`` is its bit in every bitmap."""

    index: int
    address: str
    """EVM address in daily use, checksummed: signs statements and most transactions."""
    name: str
    endpoint: bytes
    """32 bytes: Ed25519 public key, the iroh EndpointId."""
    exchange: bytes
    """32 bytes: X25519 public key."""
    binding: bytes
    """64 bytes: the endpoint key's signature over address and exchange key; ``identity.check_binding``."""
    addresses: tuple[str, ...]
    """Where its peer was last reachable, ``host:port``; may be stale or empty."""
    since: int = 0
    """The block, as contracts see it, in which endpoint and exchange key were put in use; 0: it joined with them."""
    main: str = ""
    """EVM address that consents and votes; the same as ``address`` unless the member delegates."""
    living: bool = True
    """Whether it belongs to the moot; not once it was removed."""

    @property
    def number(self) -> int:
        """The number by which people know it, from 1."""
        return number_of(self.index)


def member_named(members: Sequence[Member], word: str) -> Member:
    """The one of ``members`` that a person means by its name or its number; a name goes first.

    Raises ``LocalError`` listing them where there is none.
    """
    for known in (*(m for m in members if m.name == word), *(m for m in members if str(m.number) == word)):
        return known
    listed = ", ".join(f"{member.number} {member.name}" for member in members)
    raise LocalError(f"the moot has no member {word!r}; its members are {listed}")


@dataclass(frozen=True)
class Seated:
    """The record of which accounts a member has from a block on, from its event."""

    member: int
    account: str
    """In daily use, checksummed."""
    main: str
    block: int


@dataclass(frozen=True)
class Dataset:
    """A dataset as described on the ledger: never its data or values."""

    id: int
    owner: int
    card: bytes
    """32 bytes: hash of its description."""
    schema: bytes
    """32 bytes: hash of what its records look like; zeros where not told."""
    conditions: bytes
    """32 bytes: hash of what its owner asks of whoever trains on it; zeros where not told."""
    records: int
    """Number of records, rounded as its owner chose."""


@dataclass(frozen=True)
class TaskRecord:
    """A proposed task. The numbers come from its policy and are binding on the contract."""

    id: int
    proposer: int
    bundle: bytes
    genesis: bytes
    """32 bytes: blob hash of the state that ``init`` makes."""
    rounds: int
    """Rounds on the ledger: all but the last train; the last measures the model that they made."""
    min_members: int
    start_members: int
    train_seconds: int
    exchange_seconds: int
    final_seconds: int
    sealed: bool
    """Whether an attempt is open only to those it was dealt to when it opened: their masks are made among them."""
    granted: int
    """Bitmap of members with a live grant."""
    barred: int
    """Bitmap of members expelled from this task."""
    standing: Standing = Standing.ADOPTED

    @property
    def training(self) -> int:
        """How many rounds train. When these are final the model is, whether it is measured yet or not."""
        return self.rounds - 1

    def trained(self, view: RoundView) -> int:
        """How many rounds that train are final."""
        final = view.round if view.phase is Phase.DONE else max(view.round - 1, 0)
        return min(final, self.training)

    def measures(self, view: RoundView) -> bool:
        """Whether the round being made is the one that measures the final model."""
        return view.phase in (Phase.COMMIT, Phase.FROZEN) and view.round > self.training

    def measured(self, view: RoundView) -> bool:
        """Whether that round is final too."""
        return view.phase is Phase.DONE and view.round > self.training


@dataclass(frozen=True)
class Final:
    """The record of one finished round, from its event."""

    task: int
    round: int
    attempt: int
    parent: bytes
    inputs: bytes
    """32 bytes: hash over the survivors' contribution roots."""
    aggregate: bytes
    """32 bytes: blob hash of the integer sums."""
    model: bytes
    """32 bytes: blob hash of the new state."""
    survivors: int
    signers: int
    signatures: tuple[bytes, ...]
    """65 bytes (r, s, v) for each bit of ``signers``, ascending: EIP-712 ``Model``, checked by the contract."""
    members: int
    dealt: int
    """Bitmap: whom a sealed attempt was dealt to; 0 otherwise."""
    block: int
    time: int
    first_survivors: int
    """Bitmap: those that the attempt was frozen with; a sealed one may have gone on without some of them."""


@dataclass(frozen=True)
class Grant:
    """A live grant: one dataset of a member's may serve one task."""

    dataset: int
    epsilon: float | None
    """What may be spent of the dataset's privacy; ``None`` without a limit."""
    until: int | None = None
    """Ledger seconds at which it ends by itself; ``None``: never."""
    last: int | None = None
    """The last round it is for; ``None``: all."""


@dataclass(frozen=True)
class Expulsion:
    """The record of a member barred from a task by a quorum, from its event."""

    task: int
    member: int
    evidence: bytes
    """32 bytes: the blob that proves what it did."""
    signers: int
    signatures: tuple[bytes, ...]
    """65 bytes (r, s, v) for each bit of ``signers``, ascending: EIP-712 ``Expulsion``, checked by the contract."""
    block: int


@dataclass(frozen=True)
class MootRecord:
    """What was fixed when the moot was founded."""

    name: str
    seats: int
    """Until it has this many members, the founding voucher admits further ones."""
    voucher: str
    """Address of the founding voucher's key."""
    born: int
    """The block its contract was deployed in, as the chain's nodes number it."""
    assembly: str
    """Address of the contract of its members."""
    purse: str
    """Address of the contract of its rewards."""
    heritage: bytes = bytes(32)
    """32 bytes: hash of the state of the moot that it continues; zeros for none."""
    elders: bytes = bytes(32)
    """32 bytes: ``assembly.elders_hash`` of the accounts that can join by their own keys."""


@dataclass(frozen=True)
class JoinFields:
    """What a member tells of itself when it joins; the meaning of each is as in ``Member``."""

    name: str
    """1 to 64 bytes of UTF-8."""
    endpoint: bytes
    exchange: bytes
    binding: bytes
    addresses: tuple[str, ...] = ()
    """Joined by commas, at most 512 bytes."""


class Terms(Protocol):
    """The numbers of a policy that bind the contract. ``task.Policy`` has them, and so has ``PolicyTerms``."""

    @property
    def rounds(self) -> int:
        """1 to 1,000,000."""
        ...

    @property
    def min_members(self) -> int:
        """Fewest contributions of a round, 1 to 256."""
        ...

    @property
    def start(self) -> int:
        """Grants that open the first round, ``min_members`` to 256."""
        ...

    @property
    def train_seconds(self) -> int:
        """1 to 604,800, as the two below."""
        ...

    @property
    def exchange_seconds(self) -> int:
        """From the close of commits to the freeze."""
        ...

    @property
    def final_seconds(self) -> int:
        """From the freeze to a new attempt."""
        ...

    @property
    def secret(self) -> bool:
        """Whether contributions are masked among those whom an attempt is dealt to."""
        ...


@dataclass(frozen=True, kw_only=True)
class PolicyTerms:
    """``Terms`` for those who have no ``task.Policy`` at hand."""

    rounds: int
    min_members: int
    start: int
    train_seconds: int
    exchange_seconds: int
    final_seconds: int
    secret: bool = False


@dataclass(frozen=True)
class Commit:
    """The record of one commit, from its event."""

    task: int
    round: int
    attempt: int
    member: int
    hash: bytes
    """32 bytes."""
    block: int
