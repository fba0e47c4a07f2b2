"""Reaching a chain: an embedded or hosted one through this process's replica, any other through its nodes.

web3 is imported by who brings a ``Web3``, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.ledger import jsonrpc
from folkmoot.ledger.answers import Block, Log, NodeError, Placed, octets
from folkmoot.ledger.node import Node, Provided
from folkmoot.ledger.nodes import Disagreement, Nodes
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.view import Reorganised, View

if TYPE_CHECKING:
    from web3 import Web3

__all__ = [
    "HOSTED_SCHEME",
    "Chain",
    "Disagreement",
    "Log",
    "NodeError",
    "Patience",
    "Placed",
    "Reorganised",
    "is_hosted",
    "open_chain",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
HOSTED_SCHEME = "host:"
"""How the URL of a chain begins that one of the members serves (``folkmoot.hosted``)."""
_TRIES = 4


@dataclass(frozen=True)
class Patience:
    """How long a transaction may take, where it goes through nodes."""

    blocks: int = 3
    """So many blocks that leave it out, and ``seconds`` gone by: then it offers more."""
    seconds: float = 12.0
    most: float = 300.0
    """Seconds it may wait for a block, or a block for those above it, until that is an error."""


class Chain:
    """A chain, reached through a ``Replica``, ``Nodes`` or a ``Web3``.

    Through nodes, what is read is read at the newest block that has ``confirmations`` others above it, and all nodes
    have to agree about it; ``fee_cap`` is in gwei a unit of gas. Methods raise ``ChainError`` when the chain cannot be
    reached, ``Disagreement`` when its nodes contradict each other, ``Reorganised`` once when it took back what was read
    before, and ``LedgerRefused`` on a revert. It is first asked something when the first of them is called.
    """

    def __init__(
        self,
        source: Replica | Nodes | Web3,
        *,
        confirmations: int = 0,
        fee_cap: float | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.fee_cap: int | None = None if fee_cap is None else round(fee_cap * 1e9)
        """Wei that a unit of gas may cost at most."""
        self.patience: Patience = patience or Patience()
        if not isinstance(source, Replica | Nodes):
            # EmbeddedProvider has its replica in an attribute; asking for the class would import web3
            replica = getattr(source.provider, "replica", None)
            source = replica if isinstance(replica, Replica) else Nodes([Node(Provided(source.provider))])
        self._replica = source if isinstance(source, Replica) else None
        self._nodes = source if isinstance(source, Nodes) else None
        self._view = None if self._nodes is None else View(self._nodes, confirmations)

    @cached_property
    def id(self) -> int:
        """The number that every transaction for this chain is signed with."""
        return int(self.rpc("eth_chainId"), 16) if self._nodes is None else self._nodes.chain_id()

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

    @property
    def nodes(self) -> Nodes:
        """What a chain that is not embedded is reached through."""
        assert self._nodes is not None, "an embedded chain has no nodes"
        return self._nodes

    @property
    def view(self) -> View:
        """What is believed of a chain that is not embedded."""
        assert self._view is not None, "an embedded chain is believed to the last block"
        return self._view

    @property
    def epoch(self) -> int:
        """How often the chain took back what was read: who remembers something of it asks again when this changes."""
        return 0 if self._view is None else self._view.reorganised

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of one JSON-RPC call, by the first node that answers: nothing is compared, nor confirmed."""
        try:
            return self.request(method, *parameters)
        except NodeError as error:
            if error.reverted:
                raise LedgerRefused(f"the contract refused: {error.reason}") from None
            raise ChainError(f"the chain refused {method}: {error}") from None

    def request(self, method: str, *parameters: Any) -> Any:
        """As ``rpc``, but an error answer of the node is raised as ``NodeError``, for the caller to look at."""
        if self._replica is None:
            return self.nodes.first(lambda node: node.ask(lambda result: result, method, *parameters))
        response = jsonrpc.respond(self._replica, method, parameters)
        if response.get("error"):
            raise NodeError(response["error"])
        return response.get("result")

    # ---- what is believed ------------------------------------------------------------------------------------

    def head(self) -> int:
        """The number of the newest block that is believed."""
        return self.view.believed().number if self._replica is None else self._replica.head()

    def now(self) -> float:
        """Ledger time in seconds: the embedded chain's clock, or the newest believed block's timestamp elsewhere."""
        return float(self.view.believed().time) if self._replica is None else self._replica.now()

    def newest_time(self) -> int:
        """The time of the newest believed block, in seconds. Blocks never go back in time: none that comes later has an
        earlier one, whatever the clock says."""
        if self._replica is None:
            return self.view.believed().time
        self._replica.head()
        return self._replica.newest.timestamp

    def block_time(self, number: int) -> int:
        """The time of a block, in seconds."""
        if self._replica is None:
            return self.nodes.agreed(f"block {number}", lambda node: node.block(number)).time
        return int(self.rpc("eth_getBlockByNumber", hex(number), False)["timestamp"], 16)

    def call(self, to: str, data: bytes) -> bytes:
        """The output of a read-only call to the contract at ``to``."""
        if self._replica is None:
            call = {"to": to, "data": "0x" + data.hex()}
            return self._pinned(self.view.believed, f"a call of {to}", partial(Node.call, call=call))
        try:
            return self._replica.call(to, data)
        except LedgerRefused as error:
            raise LedgerRefused(f"the contract refused: {error}") from None

    def newest_calls(self, to: str, data: bytes) -> list[bytes]:
        """As ``call``, by each node at its own newest block, believed or not; nothing of an embedded chain, whose
        newest block ``call`` asks."""
        if self._replica is not None:
            return []
        call = {"to": to, "data": "0x" + data.hex()}
        answers = self.nodes.told(f"a call of {to}", lambda node: node.ask(octets, "eth_call", call, "latest"))
        return [answer.get() for answer in answers]

    def check(self, call: dict[str, str]) -> None:
        """Raise ``LedgerRefused`` if a transaction like this would revert, going by what nodes are believed."""
        self._pinned(self.view.look, f"a call of {call.get('to', 'no contract')}", partial(Node.call, call=call))

    def code(self, address: str) -> bytes:
        """The code of the contract at ``address``."""
        if self._replica is None:
            return self._pinned(self.view.believed, f"the code at {address}", partial(Node.code, address=address))
        return octets(self.rpc("eth_getCode", address, "latest"))

    def code_at(self, address: str, number: int) -> bytes:
        """The code of the contract in block ``number``. Raises ``ChainError`` where no node has the state of then."""
        what = f"the code at {address} in block {number}"
        return self.nodes.agreed(what, lambda node: node.code_then(address, number))

    def logs_in(self, address: str, topics: Sequence[bytes | None], number: int) -> list[Log]:
        """The events of ``address`` with these topics in block ``number``, in order."""
        what = f"the events of {address} in block {number}"
        found = self.nodes.agreed(what, lambda node: node.logs([address], topics, number, at=node.block(number)))
        return [event.placed.log for event in found]

    def logs(self, address: str, topics: Sequence[bytes | None], first: int) -> list[Log]:
        """The events of ``address`` with these topics, from block ``first`` on, in order."""
        if self._replica is None:
            return [placed.log for placed in self._told([address], topics, first)]
        return list(map(Log.of, self._kept([address], topics, first)))

    def history(self, addresses: Sequence[str], first: int) -> list[Placed]:
        """All events of these contracts from block ``first`` on, in order, each with its place."""
        if self._replica is None:
            return self._told(addresses, [], first)
        return list(map(Placed.of, self._kept(addresses, [], first)))

    def _told(self, addresses: Sequence[str], topics: Sequence[bytes | None], first: int) -> list[Placed]:
        question = partial(Node.logs, addresses=addresses, topics=topics, first=first)
        found = self._pinned(self.view.believed, f"the events of {', '.join(addresses)}", question)
        return [event.placed for event in found]

    def _kept(self, addresses: Sequence[str], topics: Sequence[bytes | None], first: int) -> list[dict[str, Any]]:
        wanted = [None if topic is None else "0x" + topic.hex() for topic in topics]
        scope = {"address": list(addresses), "topics": wanted, "fromBlock": hex(first), "toBlock": hex(self.head())}
        found: list[dict[str, Any]] = self.rpc("eth_getLogs", scope)
        return found

    def _pinned(self, block_of: Callable[[], Block], what: str, question: _Question[T]) -> T:
        """What all nodes answer about exactly the block that ``block_of`` gives.

        Where they cannot, for the chain has just put another one in its place, it is asked about that.
        """
        for turn in range(_TRIES):
            block = block_of()
            try:
                return self.nodes.agreed(f"{what} at block {block.number}", partial(question, at=block))
            except NodeError as error:
                raise LedgerRefused(f"the contract refused: {error.reason}") from None
            except Disagreement:
                raise
            except ChainError:
                if turn + 1 == _TRIES or block_of().hash == block.hash:
                    raise
        raise AssertionError


class _Question(Protocol[T_co]):
    """What is asked of a node about one block."""

    def __call__(self, node: Node, /, *, at: Block) -> T_co:
        """Its answer."""


def is_hosted(url: str) -> bool:
    """Whether ``url`` names a hosted chain."""
    return url.startswith(HOSTED_SCHEME)


def open_chain(
    url: str,
    *,
    chain_id: int | None = None,
    confirmations: int = 0,
    fee_cap: float | None = None,
    patience: Patience | None = None,
) -> Chain:
    """The chain at ``url``: a ledger file's path, ``sqlite:PATH``, or its nodes' ``http(s)://`` addresses, by commas.

    For the rest see ``Chain``; an embedded chain has use for ``chain_id`` alone. Raises ``ChainError`` if there is no
    ledger file at the path, or if it is not the chain of that id. A node is first spoken to when it is first used. A
    hosted chain (``host:...``) is reached by who has a copy: ``folkmoot.peer.outbox.open_copy``.
    """
    if is_hosted(url):
        raise ChainError(f"{url}: a hosted chain is read from the copy in a peer's folder; name that with --home")
    if url.startswith(("http://", "https://")):
        nodes = Nodes(_nodes(url), chain_id)
        return Chain(nodes, confirmations=confirmations, fee_cap=fee_cap, patience=patience)
    scheme, separator, rest = url.partition(":")
    if separator and rest.startswith("//"):
        raise ChainError(f"{url}: a chain is a file, sqlite:PATH, http://... or https://..., several by commas")
    chain = Chain(Replica(rest if separator and scheme == "sqlite" else url))
    if chain_id not in (None, chain.id):
        raise ChainError(
            f"{url} is chain {chain.id}, and the moot's is {chain_id} by config.json (chain_id); "
            "set the right ledger in config.json"
        )
    return chain


def _nodes(urls: str) -> list[Node]:
    from folkmoot.ledger.rpc import Endpoint  # brings an HTTP client, which an embedded chain never needs

    each = [url.strip() for url in urls.split(",")]
    if len(set(each)) < len(each):
        raise ChainError("one of the ledger's URLs is there twice; a node that is compared with itself proves nothing")
    ends = list(map(Endpoint, each))
    names = [end.name for end in ends]
    return [
        Node(end, end.name if names.count(end.name) == 1 else f"{end.name} (number {place})")
        for place, end in enumerate(ends, 1)
    ]
