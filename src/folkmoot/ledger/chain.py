"""Reaching a chain: the embedded one through this process's replica, any other through a web3 provider.

Requests go to the provider itself: web3's middleware stack formats every answer for every purpose, and costs ten times
what most answers do. web3 is imported when a node is to be reached, and by who brings a ``Web3``; a peer on the
embedded chain never waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from folkmoot.errors import ChainError, FolkmootError, LedgerRefused
from folkmoot.ledger import jsonrpc
from folkmoot.ledger.hosting import is_hosted
from folkmoot.ledger.interface import revert_reason
from folkmoot.ledger.replica import Replica

if TYPE_CHECKING:
    from web3 import Web3
    from web3.providers import BaseProvider
    from web3.types import RPCResponse

__all__ = ["Chain", "Log", "NodeError", "Placed", "open_chain"]


class Log(NamedTuple):
    """One event: topics of 32 bytes, the data behind them, and the block it stands in."""

    topics: tuple[bytes, ...]
    data: bytes
    block: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Log:
        """The event that a node's answer describes."""
        return cls(tuple(map(_bytes, entry["topics"])), _bytes(entry["data"]), int(entry["blockNumber"], 16))


class Placed(NamedTuple):
    """An event and where exactly it stands: whose it is, in which transaction, and its number within the block."""

    log: Log
    address: str
    transaction: bytes
    log_index: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Placed:
        """The event that a node's answer describes."""
        return cls(Log.of(entry), entry["address"], _bytes(entry["transactionHash"]), int(entry["logIndex"], 16))


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
    """A chain, reached through a ``Replica`` or a ``Web3``.

    Its methods raise ``ChainError`` when the chain cannot be reached, ``LedgerRefused`` on a revert. It is first asked
    something when the first of them is called.
    """

    def __init__(self, source: Replica | Web3) -> None:
        # EmbeddedProvider has its replica in an attribute; asking for the class would import web3
        found = source if isinstance(source, Replica) else getattr(source.provider, "replica", source.provider)
        self._source: Replica | BaseProvider = found
        self._replica = found if isinstance(found, Replica) else None

    @cached_property
    def id(self) -> int:
        """The number that every transaction for this chain is signed with."""
        return int(self.rpc("eth_chainId"), 16)

    @property
    def replica(self) -> Replica | None:
        """This process's copy of the chain, if it has one: of an embedded or a hosted chain."""
        return self._replica

    @property
    def embedded(self) -> bool:
        """Whether this is the embedded chain: gas is free, and what would revert is refused before it stands.

        A hosted chain is one as well, of which another member says what comes next.
        """
        return self._replica is not None

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
        response = self._respond(method, parameters)
        if response.get("error"):
            raise NodeError(response["error"])
        return response.get("result")

    def _respond(self, method: str, parameters: tuple[Any, ...]) -> Mapping[str, Any] | RPCResponse:
        if isinstance(self._source, Replica):
            return jsonrpc.respond(self._source, method, parameters)
        from web3.types import RPCEndpoint

        try:
            return self._source.make_request(RPCEndpoint(method), parameters)
        except FolkmootError:
            raise
        except Exception as error:
            raise ChainError(f"the chain cannot be reached ({method}): {error}") from error

    def call(self, to: str, data: bytes) -> bytes:
        """The output of a read-only call to the contract at ``to``."""
        if self._replica is not None:
            try:
                return self._replica.call(to, data)
            except LedgerRefused as error:
                raise LedgerRefused(f"the contract refused: {error}") from None
        return _bytes(self.rpc("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest"))

    def head(self) -> int:
        """The number of the newest block."""
        if self._replica is not None:
            return self._replica.head()
        return int(self.rpc("eth_blockNumber"), 16)

    def now(self) -> float:
        """Ledger time in seconds: the embedded chain's clock, or the newest block's timestamp elsewhere."""
        if self._replica is not None:
            return self._replica.now()
        return float(int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16))

    def logs(self, address: str, topics: list[bytes | None], first: int) -> list[Log]:
        """The events of ``address`` with these topics, from block ``first`` on, in order.

        Public nodes bound the span of blocks of one question, so it is asked in pieces there.
        """
        return [Log.of(entry) for entry in self._log_entries([address], topics, first)]

    def history(self, addresses: Sequence[str], first: int) -> list[Placed]:
        """All events of these contracts from block ``first`` on, in order, each with its place."""
        return [Placed.of(entry) for entry in self._log_entries(addresses, [], first)]

    def block_time(self, number: int) -> int:
        """The time of a block, in seconds."""
        return int(self.rpc("eth_getBlockByNumber", hex(number), False)["timestamp"], 16)

    def _log_entries(
        self, addresses: Sequence[str], topics: Sequence[bytes | None], first: int
    ) -> Iterator[Mapping[str, Any]]:
        last = self.head()
        span = max(last - first + 1, 1) if self.embedded else 10_000
        wanted = [None if topic is None else "0x" + topic.hex() for topic in topics]
        for start in range(first, last + 1, span):
            scope = {"fromBlock": hex(start), "toBlock": hex(min(start + span - 1, last))}
            yield from self.rpc("eth_getLogs", {"address": list(addresses), "topics": wanted, **scope})


def open_chain(url: str) -> Chain:
    """The chain at ``url``: a ledger file's path, ``sqlite:PATH``, or a node's ``http(s)://`` address.

    Raises ChainError if there is no ledger file at the path. A node is first spoken to when it is first used. A hosted
    chain (``host:...``) is reached by who has a copy: ``folkmoot.peer.outbox.open_copy``.
    """
    if is_hosted(url):
        raise ChainError(f"{url}: a hosted chain is read from the copy in a peer's folder; name that with --home")
    if url.startswith(("http://", "https://")):
        from web3 import HTTPProvider, Web3

        return Chain(Web3(HTTPProvider(url)))
    scheme, separator, rest = url.partition(":")
    if separator and scheme == "sqlite":
        return Chain(Replica(rest))
    if separator and rest.startswith("//"):
        raise ChainError(f"{url}: a chain is a file, sqlite:PATH, http://... or https://...")
    return Chain(Replica(url))


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
