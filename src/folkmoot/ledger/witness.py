"""Who signed a transaction that a node tells of: worked out from the signature, whatever the node says.

A node can leave things out and make events up. It cannot sign: so what a member did in a transaction of its own is
proved by that transaction, and by nothing less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from folkmoot.errors import IntegrityError
from folkmoot.keccak import keccak
from folkmoot.ledger import rlp
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.rlp import shortest
from folkmoot.ledger.statements import recover

__all__ = ["Call", "signed_call"]


class Call(NamedTuple):
    """What a transaction asked for, and whose key signed it."""

    sender: str
    """Checksummed, as ``to``."""
    to: str | None
    data: bytes


def signed_call(told: Mapping[str, Any] | None, transaction: bytes, chain_id: int) -> Call:
    """The call in the answer of ``eth_getTransactionByHash`` for the hash ``transaction`` (32 bytes).

    Raises ``IntegrityError`` unless it hashes to that, is for this chain, and is signed. Knows legacy transactions with
    a chain id (EIP-155), and those of types 1 (EIP-2930) and 2 (EIP-1559).
    """
    where = f"transaction 0x{transaction.hex()}"
    if told is None:
        raise IntegrityError(f"{where}: the node does not have it")
    try:
        digest, raw, signature = _rebuilt(told, chain_id)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(f"{where}: what the node tells of it cannot be read: {error}") from None
    if keccak(raw) != transaction:
        raise IntegrityError(f"{where}: what the node tells is another transaction")
    receiver = told.get("to")
    return Call(recover(digest, signature), checksum_address(receiver) if receiver else None, _bytes(told["input"]))


def _rebuilt(told: Mapping[str, Any], chain_id: int) -> tuple[bytes, bytes, bytes]:
    """What was signed (32 bytes), the raw transaction, and the signature in 65 bytes."""
    kind = int(told.get("type") or "0x0", 16)
    halves = [shortest(_number(told, half)) for half in ("r", "s")]
    common: list[rlp.Tree] = [_bytes(told["to"] or "0x"), shortest(_number(told, "value")), _bytes(told["input"])]
    numbers = [shortest(_number(told, "nonce"))]
    if kind == 0:
        numbers += [shortest(_number(told, name)) for name in ("gasPrice", "gas")]
        v = _number(told, "v")
        if v not in (35 + 2 * chain_id, 36 + 2 * chain_id):
            raise ValueError("it is signed for another chain")
        fields = [*numbers, *common]
        digest = keccak(rlp.encode([*fields, shortest(chain_id), b"", b""]))
        return digest, rlp.encode([*fields, shortest(v), *halves]), _signature(told, (v - 35) % 2)
    if kind not in (1, 2):
        raise ValueError(f"it is of type {kind}")
    fees = ("gasPrice",) if kind == 1 else ("maxPriorityFeePerGas", "maxFeePerGas")
    numbers += [shortest(_number(told, name)) for name in (*fees, "gas")]
    accesses = [
        (_bytes(item["address"]), tuple(map(_bytes, item["storageKeys"]))) for item in told.get("accessList") or ()
    ]
    fields = [shortest(chain_id), *numbers, *common, accesses]
    parity = _number(told, "yParity" if "yParity" in told else "v")
    mark = bytes([kind])
    raw = mark + rlp.encode([*fields, shortest(parity), *halves])
    return keccak(mark + rlp.encode(fields)), raw, _signature(told, parity)


def _signature(told: Mapping[str, Any], parity: int) -> bytes:
    return _number(told, "r").to_bytes(32, "big") + _number(told, "s").to_bytes(32, "big") + bytes([27 + parity])


def _number(told: Mapping[str, Any], name: str) -> int:
    return int(told[name], 16)


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
