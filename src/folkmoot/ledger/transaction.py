"""A signed transaction: made, and read from the bytes that stand on the ledger.

Two kinds there are: type 2 (EIP-1559) and legacy with a chain id (EIP-155). Fees may say what they like, since
the embedded chain has no coins. Every field must be in its one canonical form (no leading zeros, the lower ``s`` of
EIP-2), so nobody can make a second valid encoding of someone else's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coincurve import PublicKey

from folkmoot.errors import LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger import rlp
from folkmoot.ledger.rlp import shortest
from folkmoot.ledger.statements import sign

__all__ = ["GAS_LIMIT", "RAW_LIMIT", "Transaction", "decode", "sign_1559", "sign_legacy"]

GAS_LIMIT = 30_000_000
"""Gas one transaction (and so one block) may use."""

RAW_LIMIT = 128 * 1024
"""Bytes a raw transaction may have, as on public Ethereum nodes."""

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a raw transaction says, its signature checked: ``sender`` signed it."""

    raw: bytes
    hash: bytes
    """32 bytes: keccak256 of ``raw``."""
    sender: str
    """0x and 40 lower-case hex digits."""
    nonce: int
    to: str | None
    """Like ``sender``; None makes a contract."""
    gas: int
    data: bytes
    kind: int
    """0 (legacy) or 2 (EIP-1559)."""
    max_fee: int
    max_priority_fee: int
    v: int
    r: int
    s: int


def sign_legacy(
    key: bytes, chain_id: int, nonce: int, to: str | None, data: bytes, *, gas: int, gas_price: int, value: int = 0
) -> bytes:
    """A raw legacy transaction (EIP-155) signed by ``key`` (32 bytes). ``to`` is an address; None makes a contract.
    ``value`` is what it gives away, in wei."""
    fields = [shortest(nonce), shortest(gas_price), shortest(gas), _receiver(to), shortest(value), data]
    signature = sign(key, _legacy_digest(fields, chain_id))
    v = shortest(signature[64] + 8 + 2 * chain_id)
    return rlp.encode([*fields, v, *_halves(signature)])


def sign_1559(
    key: bytes,
    chain_id: int,
    nonce: int,
    to: str | None,
    data: bytes,
    *,
    gas: int,
    max_fee: int,
    max_priority_fee: int,
    value: int = 0,
) -> bytes:
    """A raw type 2 transaction (EIP-1559) signed by ``key``, without an access list. Fees are wei a unit of gas, and
    ``value`` is what it gives away, in wei."""
    numbers = map(shortest, (chain_id, nonce, max_priority_fee, max_fee, gas))
    fields: list[rlp.Tree] = [*numbers, _receiver(to), shortest(value), data, ()]
    signature = sign(key, _1559_digest(fields))
    return b"\x02" + rlp.encode([*fields, shortest(signature[64] - 27), *_halves(signature)])


def decode(raw: bytes, chain_id: int) -> Transaction:
    """The transaction that ``raw`` holds, signed for the chain ``chain_id``.

    Raises LedgerRefused naming the field that does not fit.
    """
    if len(raw) > RAW_LIMIT:
        raise LedgerRefused(
            f"the transaction has {len(raw)} bytes; the limit is {RAW_LIMIT}: put large data into a blob"
        )
    if not raw:
        raise LedgerRefused("the transaction is empty")
    if raw[0] == 2:
        return _decode_1559(raw, chain_id)
    if raw[0] >= 0xC0:
        return _decode_legacy(raw, chain_id)
    raise LedgerRefused(f"transactions of type {raw[0]} are not taken; send type 2 (EIP-1559)")


def _decode_1559(raw: bytes, chain_id: int) -> Transaction:
    fields = _fields(raw[1:], 12, accesses=8)
    chain, nonce, priority, fee, gas, value, v, r, s = map(_int, fields[:5] + fields[6:7] + fields[9:])
    if fields[8]:
        raise LedgerRefused("access lists are not taken; leave accessList empty")
    if v > 1:
        raise LedgerRefused(f"the signature's parity is {v}; it is 0 or 1")
    _check_chain(chain, chain_id)
    digest = _1559_digest([*fields[:8], ()])
    return _checked(raw, digest, nonce, fields[5], value, gas, fields[7], 2, fee, priority, (v, v, r, s))


def _decode_legacy(raw: bytes, chain_id: int) -> Transaction:
    fields = _fields(raw, 9)
    nonce, fee, gas, value, v, r, s = map(_int, [*fields[:3], fields[4], *fields[6:]])
    if v < 35:
        raise LedgerRefused("the transaction is signed for no particular chain; sign it with a chain id (EIP-155)")
    _check_chain((v - 35) // 2, chain_id)
    digest = _legacy_digest(fields[:6], chain_id)
    parity = (v - 35) % 2
    return _checked(raw, digest, nonce, fields[3], value, gas, fields[5], 0, fee, fee, (parity, v, r, s))


def _legacy_digest(fields: Sequence[rlp.Tree], chain_id: int) -> bytes:
    return keccak(rlp.encode([*fields, shortest(chain_id), b"", b""]))


def _1559_digest(fields: Sequence[rlp.Tree]) -> bytes:
    return keccak(b"\x02" + rlp.encode(fields))


def _checked(
    raw: bytes,
    digest: bytes,
    nonce: int,
    to: bytes,
    value: int,
    gas: int,
    data: bytes,
    kind: int,
    fee: int,
    priority: int,
    signature: tuple[int, int, int, int],
) -> Transaction:
    if len(to) not in (0, 20):
        raise LedgerRefused(f"the receiver has {len(to)} bytes; an address has 20")
    if value:
        raise LedgerRefused(f"the transaction sends {value} wei; this chain has no coins: value must be 0")
    if gas > GAS_LIMIT:
        raise LedgerRefused(f"the transaction's gas limit is {gas}; the block's is {GAS_LIMIT}")
    if nonce >= 2**64 - 1:
        raise LedgerRefused(f"the nonce {nonce} is too large")
    parity, v, r, s = signature
    sender = _signer(digest, parity, r, s)
    receiver = "0x" + to.hex() if to else None
    return Transaction(raw, keccak(raw), sender, nonce, receiver, gas, data, kind, fee, priority, v, r, s)


def _signer(digest: bytes, parity: int, r: int, s: int) -> str:
    """The address whose key signed ``digest``."""
    if s > _HALF_ORDER:
        raise LedgerRefused("the signature's s is in the upper half of its range (EIP-2)")
    try:
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception for a signature that names no key
        raise LedgerRefused(f"the signature names no key: {error}") from None
    return "0x" + keccak(key.format(compressed=False)[1:])[12:].hex()


def _check_chain(claimed: int, chain_id: int) -> None:
    if claimed != chain_id:
        raise LedgerRefused(f"the transaction is signed for chain {claimed}; this is chain {chain_id}")


def _fields(encoded: bytes, count: int, accesses: int | None = None) -> list[bytes]:
    """The payloads of the list's items; all are strings, but for the one at ``accesses``, which is a list."""
    try:
        items = rlp.decode_list(encoded)
    except ValueError as error:
        raise LedgerRefused(f"the transaction is not RLP: {error}") from None
    if len(items) != count:
        raise LedgerRefused(f"the transaction is not a list of {count} fields")
    for place, item in enumerate(items):
        if item.is_list != (place == accesses):
            raise LedgerRefused(f"field {place} of the transaction is a {'list' if item.is_list else 'string'}")
    return [item.payload for item in items]


def _int(field: bytes) -> int:
    if len(field) > 32 or field[:1] == b"\0":
        raise LedgerRefused("a number in the transaction is not in its shortest form")
    return int.from_bytes(field, "big")


def _receiver(to: str | None) -> bytes:
    return b"" if to is None else bytes.fromhex(to.removeprefix("0x"))


def _halves(signature: bytes) -> tuple[bytes, bytes]:
    """r and s, without leading zeros."""
    return signature[:32].lstrip(b"\0"), signature[32:64].lstrip(b"\0")
