"""What members sign, besides transactions: EIP-712 digests, signatures, and who made them.

The statements that contracts check (``Voucher`` the assembly; ``Commit``, ``Holding``, ``Opening``, ``Model`` and
``Expulsion`` the moot; ``Split`` the purse) are hashed here exactly as they hash them. All their fields are one word
wide, so a digest is three keccaks over joined words, and no general encoder is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from coincurve import PrivateKey, PublicKey

from folkmoot.errors import IntegrityError
from folkmoot.keccak import keccak
from folkmoot.ledger.address import checksum_address

__all__ = [
    "SIGNATURE_BYTES",
    "Domain",
    "address_of",
    "commit_digest",
    "delegation_digest",
    "expulsion_digest",
    "holding_digest",
    "hosting_digest",
    "model_digest",
    "opening_digest",
    "recover",
    "reveal_digest",
    "seeds_digest",
    "sign",
    "split_digest",
    "voucher_digest",
]

SIGNATURE_BYTES = 65

_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME = keccak(b"Folkmoot")
_VERSION = keccak(b"1")
_VOUCHER_TYPE = keccak(b"Voucher(address applicant)")
_DELEGATION_TYPE = keccak(b"Delegation(address main)")
_COMMIT_TYPE = keccak(b"Commit(uint256 task,uint256 round,uint256 attempt,bytes32 hash)")
_HOLDING_TYPE = keccak(b"Holding(uint256 task,uint256 round,uint256 attempt,uint256 contributors)")
_MODEL_TYPE = keccak(
    b"Model(uint256 task,uint256 round,uint256 attempt,bytes32 parent,bytes32 inputs,bytes32 aggregate,"
    b"bytes32 model,uint256 survivors)"
)
_OPENING_TYPE = keccak(b"Opening(uint256 task,uint256 round,uint256 attempt,uint256 survivors,uint256 opened)")
_EXPULSION_TYPE = keccak(b"Expulsion(uint256 task,uint256 member,bytes32 evidence)")
_SPLIT_TYPE = keccak(b"Split(uint256 task,uint256 first,uint256 last,bytes32 weights)")
_REVEAL_TYPE = keccak(b"Reveal(uint256 task,uint256 round,uint256 attempt,bytes32 salt,bytes32 root)")
_SEEDS_TYPE = keccak(b"Seeds(uint256 task,uint256 round,uint256 attempt,uint256 survivors,bytes32 root)")
_HOSTING_TYPE = keccak(b"Hosting(uint256 height,bytes32 block,bytes32 endpoint,uint256 term)")
_HALF_ORDER = 0x7FFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_5D576E73_57A4501D_DFE92F46_681B20A0


@dataclass(frozen=True)
class Domain:
    """Where a statement counts: one contract on one chain. A signature is worth nothing anywhere else."""

    chain_id: int
    contract: str
    """Address, ``0x`` and 40 hex digits."""


def voucher_digest(domain: Domain, applicant: str) -> bytes:
    """32 bytes that a voucher's key signs to admit the account ``applicant``; ``domain`` is the assembly's."""
    return _digest(domain, _VOUCHER_TYPE, _account(applicant))


def delegation_digest(domain: Domain, main: str) -> bytes:
    """32 bytes that an account signs to be the daily one of the member whose main account is ``main``.

    ``domain`` is the assembly's.
    """
    return _digest(domain, _DELEGATION_TYPE, _account(main))


def commit_digest(domain: Domain, task: int, round: int, attempt: int, hash: bytes) -> bytes:
    """32 bytes that a member signs to have somebody else put its commit (32 bytes) on the ledger."""
    return _digest(domain, _COMMIT_TYPE, *map(_word, (task, round, attempt)), _hash(hash))


def holding_digest(domain: Domain, task: int, round: int, attempt: int, contributors: int) -> bytes:
    """32 bytes that a member signs to say it holds all its shards of each member in the bitmap ``contributors``."""
    return _digest(domain, _HOLDING_TYPE, *map(_word, (task, round, attempt, contributors)))


def model_digest(
    domain: Domain,
    task: int,
    round: int,
    attempt: int,
    parent: bytes,
    inputs: bytes,
    aggregate: bytes,
    model: bytes,
    survivors: int,
) -> bytes:
    """32 bytes that a member signs to say that this attempt, over these survivors, makes ``model`` of ``parent``.

    ``parent``, ``inputs``, ``aggregate`` and ``model`` are hashes of 32 bytes.
    """
    numbers = map(_word, (task, round, attempt))
    hashes = map(_hash, (parent, inputs, aggregate, model))
    return _digest(domain, _MODEL_TYPE, *numbers, *hashes, _word(survivors))


def opening_digest(domain: Domain, task: int, round: int, attempt: int, survivors: int, opened: int) -> bytes:
    """32 bytes that a member signs to say that of these ``survivors`` it can take off the masks of those ``opened``."""
    return _digest(domain, _OPENING_TYPE, *map(_word, (task, round, attempt, survivors, opened)))


def expulsion_digest(domain: Domain, task: int, member: int, evidence: bytes) -> bytes:
    """32 bytes that a member signs to say that the blob ``evidence`` proves ``member`` broke a rule of ``task``."""
    return _digest(domain, _EXPULSION_TYPE, _word(task), _word(member), _hash(evidence))


def split_digest(domain: Domain, task: int, first: int, last: int, weights: Sequence[int]) -> bytes:
    """32 bytes that a member signs to say that a bounty's part for these rounds goes to members by ``weights``, which
    has one for each index; ``domain`` is the purse's."""
    return _digest(domain, _SPLIT_TYPE, *map(_word, (task, first, last)), keccak(b"".join(map(_word, weights))))


def reveal_digest(domain: Domain, task: int, round: int, attempt: int, salt: bytes, root: bytes) -> bytes:
    """32 bytes that a member signs under what it shows: the salt and root (32 bytes each) that open its commit.

    The contract never sees it. Whoever was shown something that does not open the commit can prove it to others.
    """
    return _digest(domain, _REVEAL_TYPE, *map(_word, (task, round, attempt)), _hash(salt), _hash(root))


def seeds_digest(domain: Domain, task: int, round: int, attempt: int, survivors: int, root: bytes) -> bytes:
    """32 bytes that a member signs under the mask seeds it tells for these ``survivors``; ``root`` is their hash.

    The contract never sees it, as with ``reveal_digest``.
    """
    return _digest(domain, _SEEDS_TYPE, *map(_word, (task, round, attempt, survivors)), _hash(root))


def hosting_digest(domain: Domain, height: int, block: bytes, endpoint: bytes, term: int) -> bytes:
    """32 bytes that a member signs to make ``endpoint`` the host of a hosted chain after block ``height`` of hash
    ``block``.

    The contract never sees it: it counts where there is no ledger to vote on.
    """
    return _digest(domain, _HOSTING_TYPE, _word(height), _hash(block), _hash(endpoint), _word(term))


def sign(key: bytes, digest: bytes) -> bytes:
    """The signature of ``digest`` by the secp256k1 private key ``key``: 65 bytes r, s, v, with v 27 or 28.

    Deterministic (RFC 6979), and s is always in the lower half, as the contract asks.
    """
    signature = PrivateKey(key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def recover(digest: bytes, signature: bytes) -> str:
    """The checksummed address of the key that signed ``digest``.

    Refuses what the contract refuses, with ``IntegrityError``: another length, v other than 27 or 28, a large s,
    a point that is not on the curve.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise IntegrityError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    if signature[64] not in (27, 28) or int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise IntegrityError("the signature is malleable: v must be 27 or 28, and s in the lower half")
    compact = signature[:64] + bytes([signature[64] - 27])
    try:
        point = PublicKey.from_signature_and_message(compact, digest, hasher=None).format(compressed=False)
    except Exception as error:  # coincurve raises plain Exception and ValueError alike
        raise IntegrityError(f"the signature is not one: {error}") from None
    return checksum_address(keccak(point[1:])[12:])


def address_of(key: bytes) -> str:
    """The checksummed address of the private key ``key``."""
    return checksum_address(keccak(PrivateKey(key).public_key.format(compressed=False)[1:])[12:])


def _digest(domain: Domain, *words: bytes) -> bytes:
    return keccak(b"\x19\x01" + _separator(domain) + keccak(b"".join(words)))


@lru_cache(maxsize=64)
def _separator(domain: Domain) -> bytes:
    words = (_DOMAIN_TYPE, _NAME, _VERSION, _word(domain.chain_id), _account(domain.contract))
    return keccak(b"".join(words))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _account(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")).rjust(32, b"\0")


def _hash(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"a hash has 32 bytes, not {len(value)}")
    return value
