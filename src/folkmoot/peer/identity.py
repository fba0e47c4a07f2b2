"""A member's identity: one seed of 32 bytes, and the three keys that grow from it.

The EVM key signs on the ledger, the Ed25519 key is the address on the network (an iroh EndpointId), the
X25519 key agrees on secrets with other members. Each is HKDF-SHA256 (RFC 5869) of the seed under a context of
its own, so a backup is one seed: 24 words of BIP-39, or the file itself.
"""

from __future__ import annotations

import difflib
import hashlib
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.binding import binding_message
from folkmoot.ledger.signer import Signer
from folkmoot.peer.durable import write_once

if TYPE_CHECKING:
    from eth_account.hdaccount.mnemonic import Mnemonic

__all__ = ["SEED_BYTES", "WORDS", "Identity", "read_secret", "write_secret"]

SEED_BYTES = 32
WORDS = 24

_SALT = b"folkmoot identity v1"
_SECP256K1_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_FORMAT = "folkmoot-identity-1"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an identity file holds; ``check`` catches a file that was cut or mistyped."""

    format: str
    seed: str
    check: str


@dataclass(frozen=True)
class Identity:
    """The keys of one member, all derived from ``seed`` (32 bytes, secret)."""

    seed: bytes

    def __post_init__(self) -> None:
        """Refuse a seed that is not 32 bytes."""
        if len(self.seed) != SEED_BYTES:
            raise LocalError(f"an identity's seed has {SEED_BYTES} bytes, not {len(self.seed)}")

    def __repr__(self) -> str:
        """Name the address; never the seed."""
        return f"Identity({self.account.address})"

    @classmethod
    def create(cls) -> Identity:
        """A new identity from the operating system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_words(cls, words: str | Sequence[str]) -> Identity:
        """The identity whose ``words()`` these are; case and spacing do not matter.

        Raises ``LocalError`` naming the first word that is not in the list, or a wrong count or checksum.
        """
        given = (words if isinstance(words, str) else " ".join(words)).lower().split()
        if len(given) != WORDS:
            raise LocalError(f"a backup has {WORDS} words, these are {len(given)}; copy them all, in order")
        return cls(_seed_of(given))

    def words(self) -> str:
        """The seed as 24 words of the English BIP-39 list, checksum included."""
        return _mnemonic().to_mnemonic(self.seed)

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read what ``save`` wrote.

        Raises ``LocalError`` when the file is missing, malformed, or readable by others than its owner.
        """
        return cls.parse(read_secret(path), path)

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> Identity:
        """The identity in the content of a file. Raises ``IntegrityError``, naming ``path``, when it is malformed."""
        try:
            file = msgspec.json.decode(raw, type=_File)
            seed = bytes.fromhex(file.seed)
        except (msgspec.DecodeError, ValueError) as error:
            raise _damaged(path, str(error)) from None
        if file.format != _FORMAT:
            raise _damaged(path, f"its format is {file.format!r}, not {_FORMAT!r}")
        if len(seed) != SEED_BYTES or file.check != _checksum(seed):
            raise _damaged(path, "its checksum does not fit its seed")
        return cls(seed)

    def encoded(self) -> bytes:
        """What ``parse`` takes."""
        return msgspec.json.encode(_File(_FORMAT, self.seed.hex(), _checksum(self.seed)))

    def save(self, path: Path) -> None:
        """Write the seed to a new file that only its owner can read, atomically and durably.

        Raises ``LocalError`` when the file exists: overwriting an identity loses a member its keys; and ``DiskError``.
        """
        write_secret(path, msgspec.json.format(self.encoded()) + b"\n")

    @cached_property
    def account(self) -> Signer:
        """The EVM account (secp256k1) that signs transactions and EIP-712 statements."""
        # 48 bytes reduced modulo the order: the bias is below 2**-128, and zero cannot come out.
        wide = int.from_bytes(self._derive(b"evm secp256k1 key", 48))
        key = wide % (_SECP256K1_ORDER - 1) + 1
        return Signer(key.to_bytes(32))

    @cached_property
    def endpoint_secret(self) -> bytes:
        """32 bytes: the Ed25519 secret key of the network endpoint."""
        return self._derive(b"endpoint ed25519 key", 32)

    @cached_property
    def endpoint(self) -> bytes:
        """32 bytes: the Ed25519 public key, which is the iroh EndpointId."""
        return Ed25519PrivateKey.from_private_bytes(self.endpoint_secret).public_key().public_bytes_raw()

    @cached_property
    def exchange_secret(self) -> bytes:
        """32 bytes: the X25519 secret key."""
        return self._derive(b"exchange x25519 key", 32)

    @cached_property
    def exchange(self) -> bytes:
        """32 bytes: the X25519 public key."""
        return X25519PrivateKey.from_private_bytes(self.exchange_secret).public_key().public_bytes_raw()

    @cached_property
    def mask_secret(self) -> bytes:
        """32 bytes: what the member's own masks, and the shares of them, grow from."""
        return self._derive(b"mask secret", 32)

    def binding(self) -> bytes:
        """64 bytes: the endpoint key's signature over the EVM address and the exchange key.

        The ledger shows that the address wants these keys; the binding shows that the keys want the address.
        """
        key = Ed25519PrivateKey.from_private_bytes(self.endpoint_secret)
        return key.sign(binding_message(self.account.address, self.exchange))

    def _derive(self, purpose: bytes, length: int) -> bytes:
        info = b"folkmoot 2026 " + purpose + b" v1"
        return HKDF(algorithm=SHA256(), length=length, salt=_SALT, info=info).derive(self.seed)


def read_secret(path: Path) -> bytes:
    """The content of a file that holds keys. Raises ``LocalError`` when it cannot be read, or others can read it."""
    try:
        mode = path.stat().st_mode
        raw = path.read_bytes()
    except OSError as error:
        raise LocalError(f"cannot read the identity {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise LocalError(f"{path} can be read by others; it holds all your keys: run chmod 600 {path}")
    return raw


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that holds keys, for its owner alone. Raises ``LocalError`` when it exists."""
    try:
        write_once(path, content, mode=0o600)
    except FileExistsError:
        raise LocalError(f"{path} exists and is not overwritten; move it away first if you are sure") from None


def _seed_of(words: Sequence[str]) -> bytes:
    """Entropy from 24 BIP-39 words: 11 bits each, the last 8 bits the checksum."""
    index = {word: i for i, word in enumerate(_mnemonic().wordlist)}
    bits = 0
    for place, word in enumerate(words, start=1):
        if word not in index:
            near = difflib.get_close_matches(word, index, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LocalError(f"word {place} of the backup, {word!r}, is not in the BIP-39 list{hint}")
        bits = bits << 11 | index[word]
    seed, check = (bits >> 8).to_bytes(SEED_BYTES), bits & 0xFF
    if hashlib.sha256(seed).digest()[0] != check:
        raise LocalError("the backup's checksum is wrong: a word is mistaken or two are swapped; compare")
    return seed


def _mnemonic() -> Mnemonic:
    """The word list. Its package takes most of a second to import, and is needed on the day of a backup only."""
    from eth_account.hdaccount.mnemonic import Mnemonic

    return Mnemonic()


def _checksum(seed: bytes) -> str:
    return hashlib.sha256(b"folkmoot identity file" + seed).hexdigest()[:8]


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} is not an identity file ({why}); restore it: folkmoot restore")
