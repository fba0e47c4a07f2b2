"""What the clients of all contracts share: calls, transactions and their events."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from folkmoot.errors import ChainError, LocalError
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.chain import Chain, Log
from folkmoot.ledger.interface import Interface
from folkmoot.ledger.statements import Domain
from folkmoot.ledger.transact import Sender

__all__ = ["Contract"]


class Contract:
    """One contract at an address of a chain; ``sender`` writes to it, and may be left out to read."""

    interface: ClassVar[Interface]

    def __init__(self, chain: Chain, address: str, sender: Sender | None) -> None:
        self.address: str = checksum_address(address)
        self._chain = chain
        self._sender = sender

    @cached_property
    def domain(self) -> Domain:
        """Where statements that this contract checks count; for ``statements``."""
        return Domain(self._chain.id, self.address)

    @property
    def epoch(self) -> int:
        """How often the chain took back what was read."""
        return self._chain.epoch

    @property
    def _writer(self) -> Sender:
        if self._sender is None:
            raise LocalError("this view of the moot has no key to sign transactions with")
        return self._sender

    def _call(self, name: str, *arguments: object) -> bytes:
        return self._chain.call(self.address, self.interface.call(name, *arguments))

    def _send(self, name: str, *arguments: object) -> str:
        return self._writer.send(self.address, self.interface.call(name, *arguments))

    def _event(self, name: str, transaction: str) -> Log:
        """What a call gave out; from its event, for between a dry run and the block others may have come first."""
        for log in self._writer.receipt(transaction).logs:
            if log.topics[0] == self.interface.topics[name]:
                return log
        raise ChainError(f"the transaction left no event; is {self.address} a moot's {self.interface.name}?")

    def _made(self, name: str, transaction: str) -> int:
        """The id of what a call made, the first thing that its event names."""
        return int.from_bytes(self._event(name, transaction).topics[1], "big")
