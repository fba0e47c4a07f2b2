"""One node that answers JSON-RPC: its answers, read strictly, and how it has been doing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from folkmoot.errors import FolkmootError
from folkmoot.ledger.answers import AskFailed, Block, Found, Landed, NodeError, Placed, events, octets, quantity, text

if TYPE_CHECKING:
    from web3.providers import BaseProvider

__all__ = ["Node", "Provided", "Transport"]

T = TypeVar("T")
ANSWER_SECONDS = 15.0
"""How long a node has for one answer."""
PROBE_SECONDS = 2.0
"""How long one has that gave none the last time: it is not to hold the others up."""
BACK_OFF, MOST_BACK_OFF = 1.0, 60.0
"""Seconds until a node that failed is asked again, if there is another; doubles each time."""
SPAN = 10_000
"""Blocks that one question for events spans. A node that allows fewer refuses, and is asked about half as many."""
LEAST_SPAN = 10
_RUN = ("eth_call", "eth_estimateGas", "eth_sendRawTransaction")
_LOG = logging.getLogger(__name__)


class Transport(Protocol):
    """What carries a question to a node."""

    @property
    def name(self) -> str:
        """What the node is called in messages."""

    def __call__(self, method: str, parameters: Sequence[Any], seconds: float) -> Mapping[str, Any]:
        """The response, with ``result`` or ``error``. Raises ``AskFailed``."""


class Provided:
    """A node behind a provider of web3, which has timeouts of its own."""

    def __init__(self, provider: BaseProvider) -> None:
        self._provider = provider
        self.name = str(getattr(provider, "endpoint_uri", type(provider).__name__))

    def __call__(self, method: str, parameters: Sequence[Any], seconds: float) -> Mapping[str, Any]:
        """What the provider's node responds."""
        from web3.types import RPCEndpoint

        try:
            return self._provider.make_request(RPCEndpoint(method), parameters)
        except FolkmootError:
            raise
        except Exception as error:  # of the provider's own kind
            raise AskFailed(f"cannot be reached: {error}") from error


class Node:
    """One node. Its methods raise ``AskFailed`` when there is no answer that makes sense, and ``NodeError`` for an
    error that the node answers."""

    def __init__(self, transport: Transport, name: str | None = None) -> None:
        self.name = name or transport.name
        self.reason = ""
        """Why it failed, until it answers again."""
        self.again = float("-inf")
        """When it may be asked again, on the clock of ``time.monotonic``."""
        self.greeted = False
        """Whether its chain's id was found right since it last failed."""
        self._transport = transport
        self._failures = 0
        self._failed_at = float("-inf")
        self._span = SPAN

    # ---- how it does -----------------------------------------------------------------------------------------

    def failed(self, reason: str, *, brief: bool = False) -> None:
        """Note that it gave no answer; it is left alone for a while, and longer if that was not the first time, unless
        it is ``brief``."""
        if reason != self.reason and not (brief and self.reason):
            _LOG.warning("ledger node %s %s", self.name, reason)
        now = time.monotonic()
        if brief:
            self.reason, self.again = reason, now + BACK_OFF
            return
        self._failures = 0 if now > self._failed_at + 2 * MOST_BACK_OFF else self._failures + 1
        self.again = now + min(MOST_BACK_OFF, BACK_OFF * 2.0 ** min(self._failures, 20))
        self.reason, self.greeted, self._failed_at = reason, False, now

    def answered(self) -> None:
        """Note that it answers."""
        if self.reason:
            _LOG.warning("ledger node %s answers again", self.name)
        self.reason, self.again = "", float("-inf")

    # ---- what it says ----------------------------------------------------------------------------------------

    def ask(self, read: Callable[[Any], T], method: str, *parameters: Any) -> T:
        """Its answer to one question, as ``read`` understands it."""
        seconds = PROBE_SECONDS if self.reason else ANSWER_SECONDS
        response = self._transport(method, parameters, seconds)
        error = response.get("error")
        if error:
            raise NodeError(error if isinstance(error, Mapping) else str(error), runs=method in _RUN)
        try:
            return read(response.get("result"))
        except (ValueError, TypeError, KeyError, AttributeError) as misfit:
            raise AskFailed(f"answers {method} with nonsense: {str(misfit)[:200]}") from None

    def chain_id(self) -> int:
        """The id of its chain."""
        return self.ask(quantity, "eth_chainId")

    def newest(self) -> Block:
        """Its newest block."""
        return self.ask(Block.of, "eth_getBlockByNumber", "latest", False)

    def block(self, number: int) -> Block:
        """The block of this number. Raises ``AskFailed`` if it has none."""
        found = self.ask(_block, "eth_getBlockByNumber", hex(number), False)
        if found is None or found.number != number:
            raise AskFailed(f"has no block {number}")
        return found

    def call(self, call: Mapping[str, str], *, at: Block) -> bytes:
        """The output of a call, at exactly this block (EIP-1898)."""
        return self.ask(octets, "eth_call", call, _exactly(at))

    def code(self, address: str, *, at: Block) -> bytes:
        """The code of a contract, likewise."""
        return self.ask(octets, "eth_getCode", address, _exactly(at))

    def code_then(self, address: str, number: int) -> bytes:
        """The code of a contract as of the block of this number; many nodes know only of the newest ones."""
        return self.ask(octets, "eth_getCode", address, hex(number))

    def count(self, account: str, *, at: Block) -> int:
        """How many transactions of the account stand in this block and those below it."""
        return self.ask(quantity, "eth_getTransactionCount", account, _exactly(at))

    def next_nonce(self, account: str, *, pending: bool) -> int:
        """The account's next nonce after the newest block, or after what waits for the next one."""
        return self.ask(quantity, "eth_getTransactionCount", account, "pending" if pending else "latest")

    def balance(self, account: str) -> int:
        """Wei that the account has now."""
        return self.ask(quantity, "eth_getBalance", account, "latest")

    def estimate(self, call: Mapping[str, str]) -> int:
        """Gas that a transaction would take after the newest block. Raises ``NodeError`` if it would revert."""
        # some nodes reckon with what is pending unless told not to, and that may never stand
        return self.ask(quantity, "eth_estimateGas", call, "latest")

    def gas_price(self) -> int:
        """Wei a unit of gas, by its own reckoning."""
        return self.ask(quantity, "eth_gasPrice")

    def tip(self) -> int:
        """Wei a unit of gas that block makers should have on top of the base fee, by its own reckoning."""
        try:
            return self.ask(quantity, "eth_maxPriorityFeePerGas")
        except NodeError:  # not every node has this method
            return max(0, self.gas_price() - (self.newest().base_fee or 0))

    def send(self, raw: bytes) -> str:
        """Hand a signed transaction over."""
        return self.ask(text, "eth_sendRawTransaction", "0x" + raw.hex())

    def receipt(self, name: str) -> Landed | None:
        """What became of the transaction of this hash; None while it is in no block."""
        return self.ask(Landed.of, "eth_getTransactionReceipt", name)

    def logs(self, addresses: Sequence[str], topics: Sequence[bytes | None], first: int, *, at: Block) -> list[Found]:
        """The events of these contracts with these topics, from block ``first`` up to this one, in order."""
        wanted = {
            "address": list(addresses),
            "topics": [None if topic is None else "0x" + topic.hex() for topic in topics],
        }
        found: list[Found] = []
        start, span = first, self._span
        while start <= at.number:
            end = min(start + span - 1, at.number)
            try:
                scope = {"fromBlock": hex(start), "toBlock": hex(end)}
                found += self.ask(events, "eth_getLogs", wanted | scope)
            except NodeError:
                if end - start < LEAST_SPAN:
                    raise
                span = (end - start + 1) // 2
                continue
            start, self._span = end + 1, span
        # A node that has not got that far yet leaves out the newest events without a word.
        if first <= at.number and self.block(at.number).hash != at.hash:
            raise AskFailed(f"has another block {at.number} than a moment ago")
        for placed, _ in found:
            if not (_fits(placed, addresses, topics) and first <= placed.log.block <= at.number):
                raise AskFailed("answers eth_getLogs with events that nobody asked for")
        return sorted(found, key=lambda event: (event.placed.log.block, event.placed.log_index))


def _exactly(block: Block) -> dict[str, Any]:
    return {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True}


def _block(value: Any) -> Block | None:
    return None if value is None else Block.of(value)


def _fits(placed: Placed, addresses: Sequence[str], topics: Sequence[bytes | None]) -> bool:
    own = placed.log.topics
    return (
        placed.address.lower() in (address.lower() for address in addresses)
        and len(own) >= len(topics)
        and all(topic in (None, mine) for topic, mine in zip(topics, own, strict=False))
    )
