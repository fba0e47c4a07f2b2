"""What is believed of a chain that may take blocks back: the block a given number of blocks below the newest.

A re-organisation that reaches no deeper is never seen. One that does is noticed, for the hashes of what was believed
are remembered: it is told once, and then the new chain is believed.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping

from folkmoot.errors import ChainError
from folkmoot.ledger.answers import AskFailed, Block, NodeError
from folkmoot.ledger.node import Node
from folkmoot.ledger.nodes import Nodes

__all__ = ["Reorganised", "View"]

REMEMBERED = 256
"""Blocks whose hashes are remembered, of those that were believed."""
BEHIND_SECONDS = 120
"""Ledger time by which one node may be behind another. So long it is waited for: it may be the one that is right."""


class Reorganised(ChainError):
    """The chain took back blocks that were believed. Told once; what is asked next is answered by the new chain."""


class View:
    """The newest believed block. Its methods may be called from any thread."""

    def __init__(self, nodes: Nodes, confirmations: int = 0) -> None:
        self.reorganised = 0
        """How often the chain took back what was believed. Who remembers something of the chain compares it."""
        self.newest = 0
        """Number of the newest block that all nodes have, believed or not, as of the last look."""
        self.tips: Mapping[str, bytes] = {}
        """Hash of each node's newest block, likewise: while none changes, nothing has."""
        self._nodes = nodes
        self._confirmations = confirmations
        self._lock = threading.Lock()
        self._believed: Block | None = None
        self._hashes: dict[int, bytes] = {}
        """Of what was believed, by number, ascending."""
        self._notice: str | None = None

    def believed(self) -> Block:
        """The block to read from.

        Raises ``ChainError`` when no node answers, ``Disagreement`` when two contradict each other, ``Reorganised``
        once after the chain took back what was believed.
        """
        with self._lock:
            block = self._look()
            notice, self._notice = self._notice, None
        if notice is not None:
            raise Reorganised(notice)
        return block

    def look(self) -> Block:
        """As ``believed``, for who relies on nothing that was read before: ``Reorganised`` is left for the next."""
        with self._lock:
            return self._look()

    def _look(self) -> Block:
        heads = {answer.node: answer.get() for answer in self._nodes.told("its newest block", Node.newest)}
        tips = {node.name: head.hash for node, head in heads.items()}
        before = self._believed
        if before is not None:
            if tips == self.tips:
                return before
            heads = self._without_fallen(heads, before)
            if not heads:
                return before
        _check_lag(heads)
        lowest = min(head.number for head in heads.values())
        number = max(lowest - self._confirmations, 0)
        if before is not None and lowest >= before.number:
            number = max(number, before.number)  # a chain that has become shorter may have kept all that is believed
        block = self._agreed(number, heads)
        if before is not None and not self._follows(block, before, heads):
            self._take_back(block, before)
        self._believed, self.tips, self.newest = block, tips, lowest
        self._hashes[number] = block.hash
        while len(self._hashes) > REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
        return block

    def _without_fallen(self, heads: Mapping[Node, Block], before: Block) -> dict[Node, Block]:
        """The nodes that have what is believed already. One that started again may not, and is no use until it does;
        but if it has another chain as far as it got, then others told lies while it was away.

        If all have shorter chains, those stay whose chain is another one: that is a re-organisation.
        """
        reached = {node: head for node, head in heads.items() if head.number >= before.number}
        if not reached:
            return {n: head for n, head in heads.items() if self._hashes.get(head.number, head.hash) != head.hash}
        for node, head in heads.items():
            if node not in reached:
                self._agreed(head.number, heads)
                node.failed(
                    f"has {head.number} blocks, and not block {before.number}, which is believed already", brief=True
                )
        return reached

    def _agreed(self, number: int, heads: Mapping[Node, Block]) -> Block:
        """The block of this number, by all nodes."""

        def look_up(node: Node) -> Block:
            head = heads.get(node)
            return head if head is not None and head.number == number else node.block(number)

        return self._nodes.agreed(f"block {number}", look_up)

    def _follows(self, block: Block, before: Block, heads: Mapping[Node, Block]) -> bool:
        """Whether what was believed before is still part of the chain that ends in ``block``."""
        if block.number <= before.number:
            return block.hash == before.hash
        if block.number == before.number + 1:
            return block.parent == before.hash
        return self._agreed(before.number, heads).hash == before.hash

    def _take_back(self, block: Block, before: Block) -> None:
        """Forget what is no longer so, and remember to say it."""
        away = self._nodes.away
        if away:
            names = " and ".join(node.name for node in away)
            raise ChainError(
                f"block {before.number} was believed, and the chain is said to have another one in its place; with "
                f"{names} away nobody else can be asked, so nothing is believed"
            )
        numbers = list(self._hashes)
        first = bisect_left(numbers, True, key=lambda number: self._is_replaced(number, block))
        for number in numbers[first:]:
            del self._hashes[number]
        self.reorganised += 1
        start = numbers[first] if first < len(numbers) else before.number
        depth = before.number + self._confirmations - start + 1
        self._notice = (
            f"the chain took back blocks that were believed, from block {start} on: a re-organisation at least {depth} "
            f"blocks deep, where confirmations in config.json is {self._confirmations}. What was read of these blocks "
            "does not hold any more; from now on the new chain is read"
        )

    def _is_replaced(self, number: int, block: Block) -> bool:
        if number >= block.number:
            return number > block.number or self._hashes[number] != block.hash
        return self._agreed(number, {}).hash != self._hashes[number]


def _check_lag(heads: Mapping[Node, Block]) -> None:
    """Raise ``ChainError`` when a node is so far behind another that one of them is broken, or invents blocks."""
    (slow, low), (fast, high) = (pick(heads.items(), key=lambda item: item[1].number) for pick in (min, max))
    if high.time - low.time <= BEHIND_SECONDS:
        return
    try:
        missed = fast.block(low.number + 1).time  # where blocks are rare, the newest may be old and yet be the last
    except (AskFailed, NodeError):
        return
    if high.time - missed > BEHIND_SECONDS:
        raise ChainError(
            f"the ledger node {slow.name} stands at block {low.number}, and {fast.name} at block {high.number}, "
            f"{high.time - missed} s later; nothing newer is believed until they agree. If the first is stuck, take it "
            "out of the ledger's URLs in config.json"
        )
