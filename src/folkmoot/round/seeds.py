"""The secrets of one member in one mask group: what its masks, shares and boxes grow from.

Every secret is HKDF-SHA256 (RFC 5869) under a purpose and the group's context, either of the member's own mask secret
or of what X25519 (RFC 7748) agrees between it and a neighbour. Nothing is drawn: a member that makes its envelope again
after a crash makes the same bytes, so no key ever meets two plaintexts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from folkmoot.digest import HASH_BYTES
from folkmoot.errors import IntegrityError
from folkmoot.round.groups import sign

__all__ = ["KEY_BYTES", "MAX_INDEX", "SEED_BYTES", "Secrets", "agree", "mask_context"]

SEED_BYTES = 16
KEY_BYTES = 32
MAX_INDEX = 511
"""The largest member index: shares are computed at index + 1, which has to stay small."""

_CONTEXT = "folkmoot 2026 mask context v1"
_SALT = b"folkmoot masks v1"


def mask_context(
    chain_id: int,
    contract: bytes,
    task: int,
    round: int,
    attempt: int,
    parent: bytes,
    beacon: bytes,
    group: int,
) -> bytes:
    """32 bytes that no two mask groups have in common: every mask, share and box is bound to them.

    ``contract`` is its 20-byte address, ``parent`` the hash of the state the round starts from, ``beacon`` the 32 bytes
    that dealt the groups, ``group`` the bitmap of the group's members. Raises ``ValueError`` on other lengths.
    """
    if len(contract) != 20 or len(parent) != HASH_BYTES or len(beacon) != HASH_BYTES:
        raise ValueError("a mask context takes a 20-byte address, a 32-byte parent and a 32-byte beacon")
    if group >> MAX_INDEX + 1:
        raise ValueError(f"a mask group has member indices up to {MAX_INDEX}")
    numbers = b"".join(n.to_bytes(32, "big") for n in (chain_id, task, round, attempt))
    bitmap = group.to_bytes((MAX_INDEX + 1) // 8, "big")
    return blake3(numbers + contract + parent + beacon + bitmap, derive_key_context=_CONTEXT).digest()


def agree(exchange_secret: bytes, public: bytes) -> bytes:
    """32 bytes: what X25519 agrees between the two. It never changes, so a caller keeps it for every round.

    With a public key of low order it is zero: whoever published that has made known what it shares with others, as it
    could anyway, and holds up nobody. Raises ``IntegrityError`` on a public key of another length.
    """
    if len(public) != KEY_BYTES:
        raise IntegrityError(f"{public.hex()} is not a public exchange key: it has not 32 bytes")
    try:
        return X25519PrivateKey.from_private_bytes(exchange_secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return bytes(KEY_BYTES)


@dataclass(frozen=True)
class Secrets:
    """What ``me`` knows in the group of ``context``; a pair seed or box key it has in common with one neighbour."""

    context: bytes
    """32 bytes, from ``mask_context``."""
    me: int
    neighbours: tuple[int, ...]
    """Ascending, from ``groups.neighbours``."""
    secret: bytes = field(repr=False)
    """32 bytes that only this member knows, the same for its whole life."""
    shared: Callable[[int], bytes] = field(repr=False)
    """Gives, for a neighbour, what ``agree`` gave."""

    def __post_init__(self) -> None:
        """Refuse a context or secret of another length, and indices that shares cannot be computed at."""
        if len(self.context) != HASH_BYTES or len(self.secret) != KEY_BYTES:
            raise ValueError("secrets take a context and an own secret of 32 bytes each")
        if max(self.me, *self.neighbours, 0) > MAX_INDEX or self.me in self.neighbours:
            raise ValueError(f"member {self.me} cannot have the neighbours {self.neighbours}")

    @property
    def targets(self) -> tuple[int, ...]:
        """What its seeds are of: itself, then its neighbours."""
        return (self.me, *self.neighbours)

    @cached_property
    def seeds(self) -> dict[int, bytes]:
        """16 bytes for each of ``targets``, in that order: the self-mask seed, then those shared with a neighbour."""
        own = _derive(self.secret, b"self mask", self.context, (self.me,), SEED_BYTES)
        return {self.me: own, **{j: self._pair_seed(j) for j in self.neighbours}}

    @property
    def masks(self) -> list[tuple[int, bytes]]:
        """Sign and seed of every mask that this member adds to what it sends; see ``masks.add_masks``."""
        return [(sign(self.me, target), seed) for target, seed in self.seeds.items()]

    def box_key(self, dealer: int, holder: int) -> bytes:
        """32 bytes that encrypt the one message from ``dealer`` to ``holder``; this member is one of the two."""
        other = holder if dealer == self.me else dealer
        return _derive(self.shared(other), b"share box", self.context, (dealer, holder), KEY_BYTES)

    def coefficients(self, count: int) -> bytes:
        """``count`` times 16 bytes: the random coefficients of the polynomials that share this member's seeds."""
        key = _derive(self.secret, b"share coefficients", self.context, (self.me,), KEY_BYTES)
        return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(16 * count))

    def _pair_seed(self, other: int) -> bytes:
        low, high = sorted((self.me, other))
        return _derive(self.shared(other), b"pair mask", self.context, (low, high), SEED_BYTES)


def _derive(secret: bytes, purpose: bytes, context: bytes, members: Sequence[int], length: int) -> bytes:
    info = b"folkmoot 2026 " + purpose + b" v1" + context + b"".join(m.to_bytes(2, "big") for m in members)
    return HKDF(algorithm=SHA256(), length=length, salt=_SALT, info=info).derive(secret)
