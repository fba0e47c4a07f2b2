"""What proves to anyone that a member broke a rule: its own signatures, held against the ledger and against its blobs.

A piece of evidence is a blob of at most ``EVIDENCE_LIMIT`` bytes. It needs nobody's word: whoever has the ledger can
check it, now or years later. A quorum that has done so bars the member from the task (``Moot.expel``).
"""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import IntegrityError
from folkmoot.keccak import keccak
from folkmoot.ledger import statements
from folkmoot.ledger.statements import Domain
from folkmoot.peer.messages import ByTarget, Bytes32, Index, Number, Seeds, Shards, Signature
from folkmoot.round.commitment import commit_hash, contribution_root, seat_of
from folkmoot.round.envelope import Envelope, FalseShares
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.groups import released
from folkmoot.round.masking import Place, context_of
from folkmoot.round.plan import Plan
from folkmoot.round.view import called

__all__ = [
    "EVIDENCE_LIMIT",
    "BadShares",
    "Evidence",
    "Facts",
    "FalseReveal",
    "TwoOutcomes",
    "WrongSeeds",
    "bad_shares",
    "convicts",
    "decode",
    "encode",
    "seeds_root",
    "two_outcomes",
    "wrong_seeds",
]

EVIDENCE_LIMIT = 1 << 22


class _Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all evidence says: against whom, and of which attempt."""

    member: Annotated[int, msgspec.Meta(ge=0, le=255)]
    task: Number
    round: Number
    attempt: Number

    @property
    def key(self) -> Key:
        """The attempt."""
        return Key(self.task, self.round, self.attempt)


class FalseReveal(_Evidence, frozen=True, kw_only=True, tag="false reveal"):
    """The member signed, as its contribution, what does not open its commit."""

    salt: Bytes32
    shards: Shards
    signature: Signature


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed word on how an attempt ended."""

    inputs: Bytes32
    aggregate: Bytes32
    model: Bytes32
    signature: Signature


class TwoOutcomes(_Evidence, frozen=True, kw_only=True, tag="two outcomes"):
    """The member signed two different outcomes of one attempt, of the same parent and survivors."""

    parent: Bytes32
    survivors: Bytes32
    first: Outcome
    second: Outcome


class WrongSeeds(_Evidence, frozen=True, kw_only=True, tag="wrong seeds"):
    """The member signed, as its mask seeds, what its envelope says they are not."""

    salt: Bytes32
    shards: Shards
    envelope: Annotated[bytes, msgspec.Meta(max_length=EVIDENCE_LIMIT)]
    survivors: Bytes32
    seeds: ByTarget
    signature: Signature


class BadShares(_Evidence, frozen=True, kw_only=True, tag="bad shares"):
    """The member dealt shares, each as its envelope says, that make another seed than its envelope says.

    It needs no signature: the envelope is what the member committed to.
    """

    salt: Bytes32
    shards: Shards
    envelope: Annotated[bytes, msgspec.Meta(max_length=EVIDENCE_LIMIT)]
    target: Index
    shares: ByTarget
    """By holder."""


Evidence = FalseReveal | TwoOutcomes | WrongSeeds | BadShares


class Facts(Protocol):
    """What evidence is held against: the ledger as one has read it oneself."""

    @property
    def domain(self) -> Domain:
        """Where statements count."""
        ...

    def accounts(self, member: int) -> frozenset[str]:
        """The accounts whose signature counts as a member's. Raises ``IntegrityError`` when there is no such member."""
        ...

    def commit(self, key: Key, member: int) -> bytes | None:
        """What a member committed to in an attempt."""
        ...

    def plan(self, key: Key) -> tuple[Place, Plan] | None:
        """Place and plan of an attempt, where they can still be told."""
        ...


def encode(evidence: Evidence) -> bytes:
    """The blob."""
    return msgspec.msgpack.encode(evidence)


def decode(data: bytes) -> Evidence:
    """The inverse of ``encode``. Raises ``IntegrityError`` on anything else."""
    try:
        evidence: Evidence = msgspec.msgpack.decode(data, type=Evidence)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"these {len(data)} bytes are no evidence: {error}") from None
    if len(data) > EVIDENCE_LIMIT or encode(evidence) != data:
        raise IntegrityError(f"these {len(data)} bytes are no evidence in canonical form")
    return evidence


def convicts(evidence: Evidence, facts: Facts) -> None:
    """Raise ``IntegrityError``, saying what is lacking, unless ``evidence`` proves what it says."""
    if isinstance(evidence, FalseReveal):
        _false_reveal(evidence, facts)
    elif isinstance(evidence, TwoOutcomes):
        _two_outcomes(evidence, facts)
    elif isinstance(evidence, WrongSeeds):
        _wrong_seeds(evidence, facts)
    else:
        _bad_shares(evidence, facts)


def _false_reveal(evidence: FalseReveal, facts: Facts) -> None:
    root = contribution_root(evidence.shards)
    digest = statements.reveal_digest(facts.domain, *evidence.key, evidence.salt, root)
    _signed(evidence, facts, digest, evidence.signature)
    committed = facts.commit(evidence.key, evidence.member)
    if committed is None:
        raise IntegrityError("the member committed to nothing in that attempt")
    if _opens(evidence, facts, committed):
        raise IntegrityError("what the member signed does open its commit")


def _two_outcomes(evidence: TwoOutcomes, facts: Facts) -> None:
    first, second = evidence.first, evidence.second
    if (first.inputs, first.aggregate, first.model) == (second.inputs, second.aggregate, second.model):
        raise IntegrityError("the two outcomes are one")
    known = facts.plan(evidence.key)
    if known is None or known[1].shards > 1:
        # where sums come from their holders, an honest member may have believed false ones, and learnt better
        raise IntegrityError("the attempt is not known to be one in which every member sums everything")
    survivors = int.from_bytes(evidence.survivors, "big")
    for told in (first, second):
        hashes = (evidence.parent, told.inputs, told.aggregate, told.model)
        digest = statements.model_digest(facts.domain, *evidence.key, *hashes, survivors)
        _signed(evidence, facts, digest, told.signature)


def _wrong_seeds(evidence: WrongSeeds, facts: Facts) -> None:
    survivors = int.from_bytes(evidence.survivors, "big")
    digest = statements.seeds_digest(facts.domain, *evidence.key, survivors, seeds_root(evidence.seeds))
    _signed(evidence, facts, digest, evidence.signature)
    plan, envelope = _envelope(evidence, facts)
    # of a group from which a second freeze took a member nobody honest signs any seeds
    row = next((row for row in plan.rows(survivors, survivors) if evidence.member in row), ())
    due = released(evidence.member, envelope.neighbours, row)
    if set(evidence.seeds) == set(due) and all(envelope.check_seed(t, evidence.seeds[t]) for t in due):
        raise IntegrityError("the seeds that the member told are right")


def _bad_shares(evidence: BadShares, facts: Facts) -> None:
    _, envelope = _envelope(evidence, facts)
    if evidence.target not in envelope.targets:
        raise IntegrityError(f"the member has no seed for {evidence.target}")
    try:
        envelope.recover(evidence.target, evidence.shares)
    except FalseShares:
        return
    raise IntegrityError("the shares that the member dealt are right")


def _envelope(evidence: WrongSeeds | BadShares, facts: Facts) -> tuple[Plan, Envelope]:
    """The plan of the attempt, and the envelope that the member committed to. Raises ``IntegrityError``."""
    member = evidence.member
    committed, known = facts.commit(evidence.key, member), facts.plan(evidence.key)
    if committed is None or known is None or not _opens(evidence, facts, committed):
        raise IntegrityError("the envelope is not known to be the member's")
    place, plan = known
    if len(evidence.shards) != plan.pieces or blob_hash(evidence.envelope) != evidence.shards[-1]:
        raise IntegrityError("the envelope is not the one that the member committed to")
    near = plan.neighbours.get(member, ())
    return plan, Envelope.parse(evidence.envelope, context_of(place, plan, member), member, near)


def seeds_root(seeds: dict[int, bytes]) -> bytes:
    """The hash that a signature on mask seeds covers: keccak-256 over targets and seeds, ascending by target."""
    return keccak(b"".join(target.to_bytes(2, "big") + seeds[target] for target in sorted(seeds)))


def wrong_seeds(member: int, told: Seeds, reveal: Reveal, envelope: bytes) -> WrongSeeds:
    """The evidence that a message makes, with what opens the member's commit and its envelope."""
    return WrongSeeds(
        member=member,
        task=told.task,
        round=told.round,
        attempt=told.attempt,
        salt=reveal.salt,
        shards=reveal.shards,
        envelope=envelope,
        survivors=told.survivors,
        seeds=dict(told.seeds),
        signature=told.signature,
    )


def bad_shares(key: Key, lie: FalseShares, reveal: Reveal, envelope: bytes) -> BadShares:
    """The evidence that a dealer's shares make."""
    return BadShares(
        member=lie.dealer,
        task=key.task,
        round=key.round,
        attempt=key.attempt,
        salt=reveal.salt,
        shards=reveal.shards,
        envelope=envelope,
        target=lie.target,
        shares=lie.shares,
    )


def two_outcomes(
    member: int, key: Key, first: tuple[Statement, bytes], second: tuple[Statement, bytes]
) -> TwoOutcomes | None:
    """The evidence that two signed statements make; none where they are of different parents or survivors, as those of
    an honest member are when its chain took blocks back."""
    (one, _), (other, _) = first, second
    if one == other or (one.parent, one.survivors) != (other.parent, other.survivors):
        return None
    told = [
        Outcome(inputs=s.inputs, aggregate=s.aggregate, model=s.model, signature=signature)
        for s, signature in (first, second)
    ]
    return TwoOutcomes(
        member=member,
        task=key.task,
        round=key.round,
        attempt=key.attempt,
        parent=one.parent,
        survivors=one.survivors.to_bytes(32, "big"),
        first=told[0],
        second=told[1],
    )


def _opens(evidence: FalseReveal | WrongSeeds | BadShares, facts: Facts, committed: bytes) -> bool:
    seat = seat_of(evidence.member)
    return committed == commit_hash(evidence.salt, seat, *evidence.key, contribution_root(evidence.shards))


def _signed(evidence: Evidence, facts: Facts, digest: bytes, signature: bytes) -> None:
    if statements.recover(digest, signature) not in facts.accounts(evidence.member):
        raise IntegrityError(f"the signature is not {called(evidence.member)}'s")
