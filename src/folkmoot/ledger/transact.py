"""Reaching a chain: JSON-RPC through a web3 provider, and transactions from one account, signed and seen through.

Requests go to the provider itself: web3's middleware stack formats every answer for every purpose, and on the
embedded chain that would cost ten times what the answer does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import rlp  # type: ignore[import-untyped]
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from web3 import Web3
from web3.types import RPCEndpoint

from folkmoot.errors import ChainError, FolkmootError, LedgerRefused
from folkmoot.ledger.abi import revert_reason
from folkmoot.ledger.embedded import EmbeddedProvider
from folkmoot.ledger.statements import sign
from folkmoot.ledger.transaction import GAS_LIMIT

__all__ = ["Chain", "Log", "NodeError", "Receipt", "Sender"]

_RECEIPT_SECONDS = 300.0
_TRIES = 4


class Log(NamedTuple):
    """One event: topics of 32 bytes, the data behind them, and the block it stands in."""

    topics: tuple[bytes, ...]
    data: bytes
    block: int


class Receipt(NamedTuple):
    """What became of a transaction that did not revert."""

    contract: str | None
    """Address of the contract it deployed."""
    logs: tuple[Log, ...]


class NodeError(Exception):
    """The node's own error answer."""

    def __init__(self, error: Mapping[str, Any] | str) -> None:
        message = error if isinstance(error, str) else str(error.get("message", error))
        super().__init__(message)
        self.message = message
        self.code = None if isinstance(error, str) else error.get("code")
        self.output = None if isinstance(error, str) else _output(error.get("data"))

    @property
    def reverted(self) -> bool:
        """Whether the contract refused, and not the node."""
        return self.code == 3 or "revert" in self.message.lower()

    @property
    def reason(self) -> str:
        """Why the contract refused, in its words where it gave some."""
        given = revert_reason(self.output) if self.output else None
        if given is not None:
            return given
        stated = self.message.partition("reverted")[2].lstrip(": ")
        return stated or "it gave no reason; an argument may be longer than the contract allows"


class Chain:
    """Reads from a chain. Raises ``ChainError`` when it cannot be reached, ``LedgerRefused`` on a revert."""

    def __init__(self, w3: Web3) -> None:
        self._provider = w3.provider
        self._embedded = w3.provider if isinstance(w3.provider, EmbeddedProvider) else None
        self.id = int(self.rpc("eth_chainId"), 16)

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded chain: gas is free, and what would revert is refused before it stands."""
        return self._embedded is not None

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of one JSON-RPC call."""
        try:
            return self.request(method, *parameters)
        except NodeError as error:
            if error.reverted:
                raise LedgerRefused(f"the contract refused: {error.reason}") from None
            raise ChainError(f"the chain refused {method}: {error}") from None

    def request(self, method: str, *parameters: Any) -> Any:
        """As ``rpc``, but an error answer of the node is raised as ``NodeError``, for the caller to look at."""
        try:
            answer = self._provider.make_request(RPCEndpoint(method), parameters)
        except FolkmootError:
            raise
        except Exception as error:
            raise ChainError(f"the chain cannot be reached ({method}): {error}") from error
        if answer.get("error"):
            raise NodeError(answer["error"])
        return answer.get("result")

    def call(self, to: str, data: bytes) -> bytes:
        """The output of a read-only call to the contract at ``to``."""
        if self._embedded is not None:
            try:
                return self._embedded.call(to, data)
            except LedgerRefused as error:
                raise LedgerRefused(f"the contract refused: {error}") from None
        return _bytes(self.rpc("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest"))

    def head(self) -> int:
        """The number of the newest block."""
        if self._embedded is not None:
            return self._embedded.head()
        return int(self.rpc("eth_blockNumber"), 16)

    def now(self) -> float:
        """Ledger time in seconds: the embedded chain's clock, or the newest block's timestamp elsewhere."""
        if self._embedded is not None:
            return self._embedded.now()
        return float(int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16))

    def logs(self, address: str, topics: list[bytes | None], first: int) -> list[Log]:
        """The events of ``address`` with these topics, from block ``first`` on, in order.

        Public nodes bound the span of blocks of one question, so it is asked in pieces there.
        """
        last = self.head()
        span = max(last - first + 1, 1) if self.embedded else 10_000
        wanted = [None if topic is None else "0x" + topic.hex() for topic in topics]
        found: list[Log] = []
        for start in range(first, last + 1, span):
            scope = {"fromBlock": hex(start), "toBlock": hex(min(start + span - 1, last))}
            found += map(_log, self.rpc("eth_getLogs", {"address": address, "topics": wanted, **scope}))
        return found


class Sender:
    """Transactions from one account: built, checked, signed, sent and waited for.

    One lock holds from the choice of the nonce to the acceptance by the node. The next nonce is remembered, and
    asked for again after anything unexpected.
    """

    def __init__(self, chain: Chain, signer: LocalAccount) -> None:
        self.address: str = signer.address
        self._chain = chain
        self._signer = signer
        self._key = bytes(signer.key)
        self._lock = threading.Lock()
        self._nonce: int | None = None

    def send(self, to: str | None, data: bytes) -> str:
        """Run ``data`` against the contract at ``to``, or deploy it; the transaction's hash, once it stands in a block.

        Raises ``LedgerRefused`` with the contract's reason if it reverts (if it would now, nothing is sent and nothing
        paid), ``ChainError`` when the chain does not take it or it is in no block after five minutes.
        """
        call = {"from": self.address, "data": "0x" + data.hex()} | ({} if to is None else {"to": to})
        with self._lock:
            name = self._submit(call, data)
        if not self._chain.embedded:  # there, what was taken stands
            self._see_through(name, call)
        return name

    def receipt(self, name: str) -> Receipt:
        """What the transaction with this hash, sent before, left behind."""
        receipt = self._chain.rpc("eth_getTransactionReceipt", name)
        if receipt is None:
            raise ChainError(f"transaction {name} stood in a block and does no more; the chain reorganised: try again")
        return Receipt(receipt.get("contractAddress"), tuple(map(_log, receipt["logs"])))

    def _costs(self, call: dict[str, str]) -> dict[str, int]:
        """Gas and its price on a node. Asking what it takes also shows a revert before anything is paid."""
        # a quarter more: others' calls, landing first, may make this one write more
        gas = int(self._chain.rpc("eth_estimateGas", call), 16) * 5 // 4
        base = self._chain.rpc("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        if base is None:
            return {"gas": gas, "gasPrice": int(self._chain.rpc("eth_gasPrice"), 16)}
        tip = int(self._chain.rpc("eth_maxPriorityFeePerGas"), 16)
        return {"gas": gas, "maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * int(base, 16) + tip}

    def _submit(self, call: dict[str, str], data: bytes) -> str:
        """Sign and send; the transaction's hash."""
        costs = {} if self._chain.embedded else self._costs(call)
        for _ in range(_TRIES):
            if self._nonce is None:
                self._nonce = int(self._chain.rpc("eth_getTransactionCount", self.address, "pending"), 16)
            nonce, self._nonce = self._nonce, None
            raw = self._signed(nonce, call.get("to"), data, costs)
            try:
                self._chain.request("eth_sendRawTransaction", "0x" + raw.hex())
            except NodeError as error:
                message = error.message.lower()
                if "already known" not in message:
                    if not error.reverted and ("nonce" in message or "underpriced" in message):
                        continue
                    if error.reverted:
                        self._nonce = nonce if self._chain.embedded else None
                        raise LedgerRefused(f"the contract refused: {error.reason}") from None
                    raise ChainError(f"the chain did not take the transaction: {error}") from None
            self._nonce = nonce + 1
            return "0x" + keccak(raw).hex()
        raise ChainError(
            f"the chain refused {_TRIES} nonces of {self.address}; another process may be sending with its key"
        )

    def _signed(self, nonce: int, to: str | None, data: bytes, costs: dict[str, int]) -> bytes:
        if self._chain.embedded:
            return _signed_legacy(self._key, self._chain.id, nonce, to, data)
        fields: dict[str, Any] = {"nonce": nonce, "value": 0, "chainId": self._chain.id, "data": data, **costs}
        if to is not None:
            fields["to"] = to
        return bytes(self._signer.sign_transaction(fields).raw_transaction)

    def _see_through(self, name: str, call: dict[str, str]) -> None:
        """Wait until the transaction stands in a block, and did not revert there."""
        deadline = time.monotonic() + _RECEIPT_SECONDS
        pause = 0.01
        while (receipt := self._chain.rpc("eth_getTransactionReceipt", name)) is None:
            if time.monotonic() > deadline:
                self._nonce = None
                raise ChainError(f"transaction {name} is in no block after {_RECEIPT_SECONDS:.0f} s; is the chain up?")
            time.sleep(pause)
            pause = min(2 * pause, 1.0)
        if int(receipt["status"], 16) != 1:
            # it was good when it was checked, so another came first: the same call now tells what is wrong
            self._chain.rpc("eth_call", call, "latest")
            raise LedgerRefused("the contract refused: another transaction came first")


def _signed_legacy(key: bytes, chain_id: int, nonce: int, to: str | None, data: bytes) -> bytes:
    """A transaction of EIP-155 at gas price 0, for the embedded chain.

    eth_account makes the same bytes (a test compares) in four times the time: it serves every kind of transaction.
    """
    target = b"" if to is None else bytes.fromhex(to[2:])
    fields = [_shortest(nonce), b"", _shortest(GAS_LIMIT), target, b"", data]
    signature = sign(key, keccak(rlp.encode([*fields, _shortest(chain_id), b"", b""])))
    v = signature[64] + 8 + 2 * chain_id
    r, s = (_shortest(int.from_bytes(half, "big")) for half in (signature[:32], signature[32:64]))
    return bytes(rlp.encode([*fields, _shortest(v), r, s]))


def _shortest(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _log(entry: Mapping[str, Any]) -> Log:
    return Log(tuple(map(_bytes, entry["topics"])), _bytes(entry["data"]), int(entry["blockNumber"], 16))


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value[2:]) if isinstance(value, str) else bytes(value)


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
