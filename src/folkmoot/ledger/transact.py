"""Transactions from one account: built, checked, signed, sent and seen through."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.chain import Chain, Log, NodeError
from folkmoot.ledger.signer import Keyed
from folkmoot.ledger.transaction import GAS_LIMIT, sign_1559, sign_legacy

__all__ = ["Receipt", "Sender"]

_RECEIPT_SECONDS = 300.0
_TRIES = 4


class Receipt(NamedTuple):
    """What became of a transaction that did not revert."""

    contract: str | None
    """Address of the contract it deployed."""
    logs: tuple[Log, ...]


class Sender:
    """Transactions from one account: built, checked, signed, sent and waited for.

    One lock holds from the choice of the nonce to the acceptance by the node. The next nonce is remembered, and
    asked for again after anything unexpected.
    """

    def __init__(self, chain: Chain, signer: Keyed) -> None:
        self.address: str = signer.address
        self._chain = chain
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
        return Receipt(receipt.get("contractAddress"), tuple(map(Log.of, receipt["logs"])))

    def _costs(self, call: dict[str, str]) -> dict[str, int]:
        """Gas and its price, in wei. Asking what it takes also shows a revert before anything is paid."""
        if self._chain.embedded:
            return {"gas": GAS_LIMIT, "gas_price": 0}
        # a quarter more: others' calls, landing first, may make this one write more
        gas = int(self._chain.rpc("eth_estimateGas", call), 16) * 5 // 4
        base = self._chain.rpc("eth_getBlockByNumber", "latest", False).get("baseFeePerGas")
        if base is None:
            return {"gas": gas, "gas_price": int(self._chain.rpc("eth_gasPrice"), 16)}
        tip = int(self._chain.rpc("eth_maxPriorityFeePerGas"), 16)
        return {"gas": gas, "max_priority_fee": tip, "max_fee": 2 * int(base, 16) + tip}

    def _submit(self, call: dict[str, str], data: bytes) -> str:
        """Sign and send; the transaction's hash."""
        costs = self._costs(call)
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
        sign = sign_1559 if "max_fee" in costs else sign_legacy
        return sign(self._key, self._chain.id, nonce, to, data, **costs)

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
