"""What peers in virtual time say to each other, sign and keep, and what the judges know of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fault_ledger import Ledger, account_of, key_of

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import IntegrityError
from folkmoot.ledger import statements
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.plan import Plan
from folkmoot.round.reduce import Made
from folkmoot.round.seeds import agree


@dataclass(frozen=True)
class Push:
    key: Key
    reveal: Reveal
    shards: Mapping[int, bytes]


@dataclass(frozen=True)
class Pull:
    key: Key
    contributor: int
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Shown:
    reveal: Reveal
    shards: Mapping[int, bytes]


@dataclass(frozen=True)
class Blob:
    name: Hash


@dataclass(frozen=True)
class Seeds:
    key: Key
    survivors: int
    seeds: Mapping[int, bytes]


@dataclass(frozen=True)
class SeedsWanted:
    key: Key
    survivors: int
    dealers: tuple[int, ...]


@dataclass(frozen=True)
class SeedsKnown:
    seeds: Mapping[int, Mapping[int, bytes]]
    shares: Mapping[int, Mapping[int, bytes]]


@dataclass
class Disk:
    """What a crash leaves."""

    blobs: dict[Hash, bytes] = field(default_factory=dict)
    released: dict[Key, int] = field(default_factory=dict)
    """For whose sum the own masks of an attempt were opened."""
    journal: dict[Key, tuple[Hash, Reveal]] = field(default_factory=dict)

    def put(self, data: bytes) -> Hash:
        name = blob_hash(data)
        self.blobs[name] = data
        return name


@dataclass
class Diary:
    """What all peers did, for the judges."""

    statements: dict[Key, dict[int, set[Statement]]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    """What an honest peer holds against an honest peer: always a bug."""
    plain: dict[tuple[Key, int], Made] = field(default_factory=dict)
    """What each honest peer contributed, before it was masked."""
    complete: dict[tuple[Key, int, int], float] = field(default_factory=dict)
    """When a peer had all its shards of a contributor."""


@functools.cache
def exchange_secret(member: int) -> bytes:
    return blob_hash(b"exchange" + bytes([member]))


@functools.cache
def shared(a: int, b: int) -> bytes:
    """What X25519 agrees between two members."""
    if a > b:
        return shared(b, a)
    public = X25519PrivateKey.from_private_bytes(exchange_secret(b)).public_key().public_bytes_raw()
    return agree(exchange_secret(a), public)


@functools.lru_cache(maxsize=256)
def share(plan: Plan, member: int) -> tuple[int, ...]:
    return plan.held_by(member)


@functools.lru_cache(maxsize=1 << 14)
def sign(member: int, digest: bytes) -> bytes:
    return statements.sign(key_of(member), digest)


@functools.lru_cache(maxsize=1 << 14)
def _recover(digest: bytes, signature: bytes) -> str:
    return statements.recover(digest, signature)


def check(member: int, sender: int, digest: bytes, signature: bytes) -> None:
    if member != sender or _recover(digest, signature) != account_of(member):
        raise IntegrityError("the signature is not the sender's")


def model_digest(ledger: Ledger, key: Key, s: Statement) -> bytes:
    return statements.model_digest(ledger.domain, *key, s.parent, s.inputs, s.aggregate, s.model, s.survivors)
