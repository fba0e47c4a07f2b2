"""Transactions from one account: checked, built, signed, sent and seen through."""

from __future__ import annotations

import threading
from typing import NamedTuple

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.answers import Log, NodeError
from folkmoot.ledger.chain import Chain
from folkmoot.ledger.delivery import Delivery
from folkmoot.ledger.signer import Keyed
from folkmoot.ledger.transaction import GAS_LIMIT, sign_legacy

__all__ = ["Receipt", "Sender"]

_TRIES = 4


class Receipt(NamedTuple):
    """What became of a transaction that did not revert."""

    contract: str | None
    """Address of the contract it deployed."""
    logs: tuple[Log, ...]


class Sender:
    """Transactions from one account: checked, built, signed, sent and waited for.

    The embedded chain has taken a transaction, or not, when it answers. There one lock holds from the choice of the
    nonce to that, and the next nonce is remembered. To nodes ``Delivery`` carries it.
    """

    def __init__(self, chain: Chain, signer: Keyed) -> None:
        self.address: str = signer.address
        self._chain = chain
        self._key = bytes(signer.key)
        self._lock = threading.Lock()
        self._nonce: int | None = None
        self._delivery = None if chain.embedded else Delivery(chain, self.address, self._key)

    def send(self, to: str | None, data: bytes) -> str:
        """Run ``data`` against the contract at ``to``, or deploy it; the transaction's hash, once it is believed.

        Raises ``LedgerRefused`` with the contract's reason if it reverts (if it would now, nothing is sent and nothing
        paid), ``ChainError`` when the chain does not take it, or for all patience it is in no block.
        """
        if self._delivery is not None:
            return self._delivery.deliver(to, data)
        with self._lock:
            return self._append(to, data)

    def give(self, to: str, amount: int) -> str:
        """Give coins of this account's, in wei, to another; the transaction's hash, once it is believed.

        Raises ``LedgerRefused`` on an embedded chain, which has none.
        """
        if self._delivery is None:
            raise LedgerRefused("this chain has no coins, and needs none")
        return self._delivery.deliver(to, b"", amount)

    def receipt(self, name: str) -> Receipt:
        """What the transaction with this hash, sent before, left behind."""
        if self._delivery is not None:
            landed = self._delivery.receipt(name)
            return Receipt(landed.contract, tuple(event.placed.log for event in landed.found))
        receipt = self._chain.rpc("eth_getTransactionReceipt", name)
        return Receipt(receipt.get("contractAddress"), tuple(map(Log.of, receipt["logs"])))

    def _append(self, to: str | None, data: bytes) -> str:
        """Sign, and append to the embedded chain; the transaction's hash."""
        for _ in range(_TRIES):
            if self._nonce is None:
                self._nonce = int(self._chain.rpc("eth_getTransactionCount", self.address, "pending"), 16)
            nonce, self._nonce = self._nonce, None
            raw = sign_legacy(self._key, self._chain.id, nonce, to, data, gas=GAS_LIMIT, gas_price=0)
            try:
                self._chain.request("eth_sendRawTransaction", "0x" + raw.hex())
            except NodeError as error:
                if error.reverted:
                    self._nonce = nonce
                    raise LedgerRefused(f"the contract refused: {error.reason}") from None
                if error.message.startswith("nonce "):
                    continue
                raise ChainError(f"the chain did not take the transaction: {error}") from None
            self._nonce = nonce + 1
            return "0x" + keccak(raw).hex()
        raise ChainError(
            f"the chain refused {_TRIES} nonces of {self.address}; another process may be sending with its key"
        )
