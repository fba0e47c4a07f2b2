"""What nodes answer, read strictly: what does not fit raises ``ValueError``, for a node may be broken, or lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.interface import revert_reason

__all__ = [
    "AskFailed",
    "Block",
    "Found",
    "Landed",
    "Log",
    "NodeError",
    "Placed",
    "events",
    "octets",
    "quantity",
    "text",
]

_LONGEST = 500
"""Characters that are kept of what a node has to say."""


class Log(NamedTuple):
    """One event: topics of 32 bytes, the data behind them, and the block it stands in."""

    topics: tuple[bytes, ...]
    data: bytes
    block: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Log:
        """The event that a node's answer describes."""
        return cls(tuple(map(octets, entry["topics"])), octets(entry["data"]), quantity(entry["blockNumber"]))


class Placed(NamedTuple):
    """An event and where exactly it stands: whose it is, in which transaction, and its number within the block."""

    log: Log
    address: str
    """Checksummed."""
    transaction: bytes
    log_index: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Placed:
        """The event that a node's answer describes. Raises ``ValueError`` for one that was taken back."""
        if entry.get("removed"):
            raise ValueError("an event that was taken back")
        address = checksum_address("0x" + octets(entry["address"], 20).hex())
        return cls(Log.of(entry), address, octets(entry["transactionHash"], 32), quantity(entry["logIndex"]))


class Found(NamedTuple):
    """An event, and the hash of its block: what two nodes have to agree about."""

    placed: Placed
    block: bytes

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Found:
        """The event that a node's answer describes."""
        return cls(Placed.of(entry), octets(entry["blockHash"], 32))


class Block(NamedTuple):
    """A block's header, as far as anyone here asks."""

    number: int
    hash: bytes
    parent: bytes
    """Hash of the block before."""
    time: int
    """Unix seconds."""
    base_fee: int | None
    """Wei a unit of gas; None on a chain from before EIP-1559."""
    gas_limit: int

    @classmethod
    def of(cls, block: Any) -> Block:
        """The block that a node's answer describes."""
        base = block.get("baseFeePerGas")
        return cls(
            quantity(block["number"]),
            octets(block["hash"], 32),
            octets(block["parentHash"], 32),
            quantity(block["timestamp"]),
            None if base is None else quantity(base),
            quantity(block["gasLimit"]),
        )


class Landed(NamedTuple):
    """The receipt of a transaction: where it stands, and what it left behind."""

    block: int
    block_hash: bytes
    succeeded: bool
    contract: str | None
    """Address of the contract it deployed."""
    found: tuple[Found, ...]

    @classmethod
    def of(cls, receipt: Any) -> Landed | None:
        """What a node's answer describes; None if the transaction is in no block of its chain."""
        if receipt is None:
            return None
        contract = receipt.get("contractAddress")
        return cls(
            quantity(receipt["blockNumber"]),
            octets(receipt["blockHash"], 32),
            quantity(receipt["status"]) == 1,
            None if contract is None else "0x" + octets(contract, 20).hex(),
            tuple(map(Found.of, receipt["logs"])),
        )


class AskFailed(Exception):
    """A question to a node that got no answer one could read; says why."""


class NodeError(Exception):
    """The node's own error answer; ``runs`` where the question was to run something, which a contract may refuse."""

    def __init__(self, error: Mapping[str, Any] | str, *, runs: bool = True) -> None:
        message = error if isinstance(error, str) else str(error.get("message", error))
        self.message = message[:_LONGEST]
        super().__init__(self.message)
        code = None if isinstance(error, str) else error.get("code")
        self.output = None if isinstance(error, str) else _output(error.get("data"))
        self.reverted: bool = runs and (code == 3 or "revert" in self.message.lower())
        """Whether the contract refused, and not the node."""

    @property
    def reason(self) -> str:
        """Why the contract refused, in its words where it gave some."""
        given = revert_reason(self.output) if self.output else None
        if given is not None:
            return given
        stated = self.message.partition("reverted")[2].lstrip(": ")
        return stated or "it gave no reason; an argument may be longer than the contract allows"


def quantity(value: Any) -> int:
    """The number that an answer writes in hexadecimal."""
    if not isinstance(value, str) or not value.startswith("0x") or len(value) > 66:
        raise ValueError(f"{str(value)[:80]!r} is not a number in hexadecimal")
    return int(value, 16)


def octets(value: Any, size: int | None = None) -> bytes:
    """The bytes that an answer writes in hexadecimal, ``size`` of them where it is given."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"{str(value)[:80]!r} is not bytes in hexadecimal")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError(f"{len(found)} bytes where {size} are due")
    return found


def text(value: Any) -> str:
    """An answer that is any text."""
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:80]!r} is not text")
    return value


def events(value: Any) -> list[Found]:
    """The events that an answer lists."""
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:80]!r} is not a list of events")
    return [Found.of(entry) for entry in value]


def _output(data: Any) -> bytes | None:
    """A revert's output, which nodes put in different places."""
    if isinstance(data, Mapping):
        data = data.get("data") or data.get("result")
    if not isinstance(data, str):
        return None
    start = data.find("0x")
    try:
        return bytes.fromhex(data[start + 2 :]) if start >= 0 else None
    except ValueError:
        return None
