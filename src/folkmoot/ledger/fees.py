"""What a transaction offers for its gas: enough for the market as it is, more when it is stuck, never above the cap."""

from __future__ import annotations

from typing import NamedTuple

from folkmoot.errors import ChainError
from folkmoot.ledger.answers import NodeError
from folkmoot.ledger.node import Node
from folkmoot.ledger.nodes import Nodes

__all__ = ["Fees", "Market", "gwei"]


class Fees(NamedTuple):
    """An offer, in wei a unit of gas."""

    most: int
    """All that is paid at most."""
    tip: int | None
    """What of it goes to the maker of the block (EIP-1559); None for a chain from before that."""

    def raised(self) -> Fees:
        """The least that every node takes in place of this: each part an eighth more. What is free stays free."""
        if self.most == 0:
            return self
        return Fees(_eighth_more(self.most), None if self.tip is None else _eighth_more(self.tip))

    def at_least(self, other: Fees) -> Fees:
        """In each part the higher of the two."""
        return Fees(max(self.most, other.most), None if self.tip is None else max(self.tip, other.tip or 0))

    def within(self, cap: int | None) -> Fees:
        """The same, and no more than ``cap``."""
        if cap is None or self.most <= cap:
            return self
        return Fees(cap, None if self.tip is None else min(self.tip, cap))

    def beats(self, other: Fees) -> bool:
        """Whether nodes take this in place of ``other``."""
        least = other.raised()
        return self.most >= least.most and (self.tip or 0) >= (least.tip or 0) and self != other


class Market(NamedTuple):
    """What gas costs now."""

    base: int
    """Wei a unit that the next block takes about, whoever makes it."""
    offer: Fees
    """What is likely to be taken, for a few blocks of rising prices too."""

    @classmethod
    def ask(cls, nodes: Nodes, account: str) -> Market:
        """Ask the nodes. Of their ideas of a tip the lowest counts: it is paid in full, and one of them may lie.

        There are chains whose gas is free, so an account without coins offers nothing. Raises ``ChainError`` if that
        is less than the base fee.
        """
        base = nodes.first(Node.newest).base_fee
        if nodes.first(lambda node: node.balance(account)) == 0:
            if base:
                raise ChainError(f"{account} has no coins, and gas costs {gwei(base)} a unit: send it some")
            return cls(0, Fees(0, None if base is None else 0))
        if base is None:
            price = nodes.first(Node.gas_price)
            return cls(price, Fees(price, None))
        tips = [answer.value for answer in nodes.told("a tip", Node.tip) if not isinstance(answer.value, NodeError)]
        return cls(base, Fees(2 * base + min(tips), min(tips)))


def gwei(wei: int) -> str:
    """An amount for people to read."""
    return f"{wei / 1e9:.4g} gwei"


def _eighth_more(amount: int) -> int:
    return amount + max(1, -(-amount // 8))
