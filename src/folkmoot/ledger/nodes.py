"""Several nodes of one chain: one that fails is done without, and what two tell differently is not believed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from folkmoot.errors import ChainError
from folkmoot.ledger.answers import AskFailed, Block, Landed, NodeError
from folkmoot.ledger.node import Node

__all__ = ["Answer", "Disagreement", "Nodes"]

T = TypeVar("T")


class Disagreement(ChainError):
    """Two nodes tell different things about the same: one of them lies, or follows another chain."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What one node said, be it an error."""

    node: Node
    value: T | NodeError

    def get(self) -> T:
        """The value. Raises ``NodeError`` if it is one."""
        if isinstance(self.value, NodeError):
            raise self.value
        return self.value

    @property
    def failure(self) -> NodeError | None:
        """An error of the node's own: not the contract's refusal, which is an answer like another."""
        return self.value if isinstance(self.value, NodeError) and not self.value.reverted else None


class Nodes:
    """The nodes of a chain, in the order of preference.

    Whoever failed is left alone for a while if there is another; if there is none, it is asked all the same.
    ``chain_id`` is what they all have to say about their chain; without it, what the first one says.
    """

    def __init__(self, nodes: Sequence[Node], chain_id: int | None = None) -> None:
        self._nodes = tuple(nodes)
        self._chain_id = chain_id
        self._told_by = "config.json (chain_id)"

    def chain_id(self) -> int:
        """The chain's id. Raises ``ChainError`` when no node tells it, or one is on another chain."""
        if self._chain_id is None:
            self.first(Node.chain_id)
        assert self._chain_id is not None
        return self._chain_id

    @property
    def away(self) -> list[Node]:
        """The nodes that failed when they were last asked."""
        return [node for node in self._nodes if node.reason]

    def first(self, question: Callable[[Node], T]) -> T:
        """The answer of the first node that gives one. Raises its ``NodeError`` if none gives any but errors."""
        refused: NodeError | None = None
        for answer in self._ask(question):
            if answer.failure is None:
                return answer.get()
            refused = refused or answer.failure
        if refused is not None:
            raise refused
        raise self._unreachable()

    def each(self, question: Callable[[Node], T]) -> list[Answer[T]]:
        """What every node says that can be asked, at least one."""
        answers = list(self._ask(question))
        if not answers:
            raise self._unreachable()
        return answers

    def told(self, what: str, question: Callable[[Node], T]) -> list[Answer[T]]:
        """As ``each``, without those that have but an error to say. Raises ``ChainError`` if nobody has more."""
        answers = self.each(question)
        good = [answer for answer in answers if answer.failure is None]
        if not good:
            raise ChainError(f"the chain refused to tell {what}: {answers[0].failure}")
        for answer in answers:
            if answer.failure is not None:
                answer.node.failed(f"cannot tell {what}: {answer.failure}")
        return good

    def agreed(self, what: str, question: Callable[[Node], T]) -> T:
        """What all nodes say about ``what``. Raises ``Disagreement`` if they do not say the same, and ``NodeError`` if
        it is that the contract refuses."""
        first, *others = self.told(what, question)
        for other in others:
            if _key(other) != _key(first):
                raise Disagreement(
                    f"the ledger's nodes disagree about {what}: {first.node.name} says {_shown(first, other)}, "
                    f"{other.node.name} says {_shown(other, first)}; nothing is believed until they agree"
                )
        return first.get()

    def _ask(self, question: Callable[[Node], T]) -> Iterator[Answer[T]]:
        now = time.monotonic()
        for node in [node for node in self._nodes if node.again <= now] or self._nodes:
            try:
                self._greet(node)
                value: T | NodeError = question(node)
            except AskFailed as failure:
                node.failed(str(failure))
                continue
            except NodeError as error:
                value = error
            node.answered()
            yield Answer(node, value)

    def _greet(self, node: Node) -> None:
        """See that the node is on the right chain, before anything else it says."""
        if node.greeted:
            return
        told = node.chain_id()
        if self._chain_id is None:
            self._chain_id, self._told_by = told, node.name
        if told != self._chain_id:
            raise ChainError(
                f"{node.name} is a node of chain {told}, and the moot's is {self._chain_id} by {self._told_by}; "
                "set the right ledger in config.json"
            )
        node.greeted = True

    def _unreachable(self) -> ChainError:
        reasons = "; ".join(f"{node.name} {node.reason}" for node in self._nodes)
        return ChainError(f"the chain cannot be reached: {reasons}")


def _key(answer: Answer[Any]) -> object:
    """What is compared: refusals by the output, for every kind of node has its own words."""
    return (NodeError, answer.value.output) if isinstance(answer.value, NodeError) else answer.value


def _shown(answer: Answer[Any], other: Answer[Any]) -> str:
    """What one node says, as far as the other does not."""
    value = answer.value
    if isinstance(value, NodeError):
        return f"that the contract refuses ({value.reason})"
    if isinstance(value, Block):
        return f"0x{value.hash.hex()} of time {value.time}"
    if isinstance(value, bytes):
        return f"0x{value[:64].hex()}" + ("..." if len(value) > 64 else "")
    if isinstance(value, list):
        own = [event for event in value if not isinstance(other.value, list) or event not in other.value]
        return f"{len(value)} events" + (f", one in block {own[0].placed.log.block} by itself" if own else "")
    if isinstance(value, Landed):
        return f"it stands in block {value.block}, with {len(value.found)} events"
    return "it is in no block" if value is None else str(value)
