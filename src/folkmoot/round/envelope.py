"""The envelope beside a masked contribution: how the seeds behind its masks can be had when its maker falls silent.

For its self-mask seed and for each seed shared with a neighbour, the *targets*, an envelope holds a hash, by which
anyone can check a seed that is released; and for each neighbour a box, which only that neighbour can open, with its
Shamir share of every one of these seeds. Beside the boxes lies a short tag of each share, so that a holder cannot pass
off another. The order of targets is the dealer, then its neighbours, ascending; with k neighbours:

    k + 1 hashes of 32 bytes | k rows of k + 1 tags of 8 bytes | k boxes of k + 1 shares and an AEAD tag, 16 bytes each

A seed can be rebuilt from ``share_threshold(k)`` shares. A box is ChaCha20-Poly1305 (RFC 8439) under a key that is used
for this one message, so its nonce is zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from folkmoot.digest import HASH_BYTES
from folkmoot.errors import IntegrityError
from folkmoot.round import shamir
from folkmoot.round.seeds import SEED_BYTES, Secrets
from folkmoot.round.shamir import SHARE_BYTES
from folkmoot.round.view import called
from folkmoot.task.policy import share_threshold

__all__ = ["Envelope", "FalseShares", "envelope_bytes", "seal"]

_TAG_BYTES = 8
_AEAD_BYTES = 16
_NONCE = bytes(12)
_SEED_CONTEXT = "folkmoot 2026 mask seed hash v1"
_TAG_CONTEXT = "folkmoot 2026 mask share tag v1"


def envelope_bytes(k: int) -> int:
    """The size of an envelope of a member with ``k`` neighbours."""
    return _tags_end(k) + k * _box_bytes(k)


def seal(secrets: Secrets) -> bytes:
    """The envelope of one member: the same bytes whenever it is made."""
    me, holders, seeds = secrets.me, secrets.neighbours, secrets.seeds
    threshold = share_threshold(len(holders))
    coefficients = secrets.coefficients((threshold - 1) * len(seeds))
    rows = shamir.split(list(seeds.values()), holders, threshold, coefficients)
    hashes = [_seed_hash(secrets.context, me, target, seed) for target, seed in seeds.items()]
    tags, boxes = [], []
    for holder, row in zip(holders, rows, strict=True):
        tags += _tags(secrets.context, me, holder, dict(zip(secrets.targets, row, strict=True)))
        boxes.append(ChaCha20Poly1305(secrets.box_key(me, holder)).encrypt(_NONCE, b"".join(row), None))
    return b"".join((*hashes, *tags, *boxes))


class FalseShares(IntegrityError):
    """A dealer's shares fit their tags and make another seed than it hashed: they prove that it lied."""

    def __init__(self, dealer: int, target: int, shares: Mapping[int, bytes]) -> None:
        super().__init__(
            f"the shares that {called(dealer)} dealt for {called(target)} make another seed than it hashed"
        )
        self.dealer = dealer
        self.target = target
        self.shares = dict(shares)


@dataclass(frozen=True)
class Envelope:
    """An envelope as anyone reads it; made by ``parse``."""

    data: bytes = field(repr=False)
    context: bytes
    """32 bytes: the ``mask_context`` of the group."""
    dealer: int
    neighbours: tuple[int, ...]
    """Of the dealer, ascending: the holders of its shares."""

    @classmethod
    def parse(cls, data: bytes, context: bytes, dealer: int, neighbours: Sequence[int]) -> Envelope:
        """What ``dealer`` sent. Raises ``IntegrityError`` on a wrong size; no other bytes are wrong by themselves."""
        if len(data) != envelope_bytes(len(neighbours)):
            raise IntegrityError(
                f"the envelope of {called(dealer)} has {len(data)} bytes"
                f" where {envelope_bytes(len(neighbours))} are due"
            )
        return cls(bytes(data), context, dealer, tuple(neighbours))

    @property
    def threshold(self) -> int:
        """How many shares rebuild a seed."""
        return share_threshold(len(self.neighbours))

    @cached_property
    def targets(self) -> tuple[int, ...]:
        """What the seeds are of: the dealer itself, then its neighbours."""
        return (self.dealer, *self.neighbours)

    def check_seed(self, target: int, seed: bytes) -> bool:
        """Whether ``seed`` is the dealer's for ``target``; False too for a target it has no seed for."""
        if target not in self.targets or len(seed) != SEED_BYTES:
            return False
        at = self.targets.index(target) * HASH_BYTES
        return self.data[at : at + HASH_BYTES] == _seed_hash(self.context, self.dealer, target, seed)

    def check_share(self, holder: int, target: int, share: bytes) -> bool:
        """Whether ``share`` is what the dealer gave ``holder`` of its seed for ``target``."""
        if holder not in self.neighbours or target not in self.targets or len(share) != SHARE_BYTES:
            return False
        (tag,) = _tags(self.context, self.dealer, holder, {target: share})
        at = self._row(holder) + self.targets.index(target) * _TAG_BYTES
        return self.data[at : at + _TAG_BYTES] == tag

    def open_box(self, secrets: Secrets) -> dict[int, bytes]:
        """The shares that the dealer gave the holder whose ``secrets`` these are: 16 bytes for each target.

        Raises ``IntegrityError`` when the box does not open, when a share does not fit its tag, or when the seed that
        dealer and holder have in common is not the one whose hash is here: the dealer sent what nobody could use.
        Raises ``ValueError`` when the secrets are not those of a neighbour in the same context.
        """
        holder, k = secrets.me, len(self.neighbours)
        if holder not in self.neighbours or secrets.context != self.context:
            raise ValueError(f"{called(holder)} has no box in this envelope of {called(self.dealer)}")
        at = _tags_end(k) + self.neighbours.index(holder) * _box_bytes(k)
        cipher = ChaCha20Poly1305(secrets.box_key(self.dealer, holder))
        try:
            raw = cipher.decrypt(_NONCE, self.data[at : at + _box_bytes(k)], None)
        except InvalidTag:
            raise IntegrityError(f"the box from {called(self.dealer)} to {called(holder)} does not open") from None
        row = [raw[at : at + SHARE_BYTES] for at in range(0, len(raw), SHARE_BYTES)]
        shares = dict(zip(self.targets, row, strict=True))
        tags = b"".join(_tags(self.context, self.dealer, holder, shares))
        if not self.data.startswith(tags, self._row(holder)):
            raise IntegrityError(
                f"a share in the box from {called(self.dealer)} to {called(holder)} does not fit its tag"
            )
        if not self.check_seed(holder, secrets.seeds[self.dealer]):
            raise IntegrityError(f"{called(self.dealer)} masked with another seed than it shares with {called(holder)}")
        return shares

    def recover(self, target: int, shares: Mapping[int, bytes]) -> bytes:
        """The 16-byte seed of ``target`` from its holders' ``shares``; those that do not fit their tag are ignored.

        Raises ``IntegrityError`` when fewer than ``threshold`` fit, and ``FalseShares`` when what they make is not the
        seed whose hash is here: then the dealer itself dealt shares of something else.
        """
        good = {holder: shares[holder] for holder in sorted(shares) if self.check_share(holder, target, shares[holder])}
        if len(good) < self.threshold:
            raise IntegrityError(
                f"{len(good)} shares of the seed of {called(self.dealer)} for {called(target)} fit;"
                f" it takes {self.threshold}"
            )
        enough = {holder: good[holder] for holder in list(good)[: self.threshold]}
        seed = shamir.combine(enough)
        if not self.check_seed(target, seed):
            raise FalseShares(self.dealer, target, enough)
        return seed

    def _row(self, holder: int) -> int:
        """Where the tags of the shares of ``holder`` begin."""
        k = len(self.neighbours)
        return (k + 1) * HASH_BYTES + self.neighbours.index(holder) * (k + 1) * _TAG_BYTES


def _tags_end(k: int) -> int:
    return (k + 1) * HASH_BYTES + k * (k + 1) * _TAG_BYTES


def _box_bytes(k: int) -> int:
    return (k + 1) * SHARE_BYTES + _AEAD_BYTES


def _seed_hash(context: bytes, dealer: int, target: int, seed: bytes) -> bytes:
    """32 bytes. A shorter hash would let a dealer find two seeds for it, and show one to some members only."""
    place = dealer.to_bytes(2, "big") + target.to_bytes(2, "big")
    return blake3(context + place + seed, derive_key_context=_SEED_CONTEXT).digest()


def _tags(context: bytes, dealer: int, holder: int, shares: Mapping[int, bytes]) -> list[bytes]:
    """8 bytes for each target's share, bound to the context and to all three members."""
    place = dealer.to_bytes(2, "big") + holder.to_bytes(2, "big")
    key = blake3(context + place, derive_key_context=_TAG_CONTEXT).digest()
    return [blake3(t.to_bytes(2, "big") + share, key=key).digest(_TAG_BYTES) for t, share in shares.items()]
