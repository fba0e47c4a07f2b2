"""The embedded chain as a web3 provider: Ethereum's JSON-RPC over one SQLite file, with no node and no network.

``Web3(EmbeddedProvider(path))`` does what a Web3 on a node does, within these bounds: state is kept for the newest
block only; every transaction is final once sent; there are no coins, no mining, no filters to poll. A call runs as
the next block would: ``block.number`` is one more than the newest, ``block.timestamp`` is ledger time now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from folkmoot.ledger import jsonrpc
from folkmoot.ledger.replica import Replica

__all__ = ["EmbeddedProvider"]


class EmbeddedProvider(JSONBaseProvider):
    """A provider for ``Web3`` over the ledger file at ``path``.

    ``trust_cache=False`` replays everything from the genesis, without looking at ``PATH.cache/``. ``clock`` gives
    seconds since 1970. Raises ChainError if there is no ledger file at ``path``, IntegrityError if its content does
    not hold.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        trust_cache: bool = True,
        clock: Callable[[], float] = time.time,
    ):
        super().__init__()
        self.path = Path(path)
        self.replica = Replica(path, trust_cache=trust_cache, clock=clock)

    @property
    def chain_id(self) -> int:
        """The number that every transaction of this chain is signed for."""
        return self.replica.meta.chain_id

    def head(self) -> int:
        """Follow what others appended; the newest block's number. Microseconds if nothing changed."""
        return self.replica.head()

    def now(self) -> float:
        """Ledger time in seconds since 1970: this machine's clock, or the newest block's time if later."""
        return self.replica.now()

    def call(self, to: str, data: bytes) -> bytes:
        """``eth_call`` without detours: what the contract at ``to`` returns. Raises LedgerRefused with its reason."""
        return self.replica.call(to, data)

    def send(self, raw: bytes) -> bytes:
        """``eth_sendRawTransaction`` without detours: the hash of the transaction, now final.

        Raises LedgerRefused, and appends nothing, if it is malformed, has a wrong nonce, or the contract reverts it;
        ChainError if the file cannot be written.
        """
        return self.replica.send(raw)

    def close(self) -> None:
        """Close the ledger file."""
        self.replica.close()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one JSON-RPC request; errors come back as JSON-RPC errors."""
        head = {"jsonrpc": "2.0", "id": next(self.request_counter)}
        return cast(RPCResponse, head | jsonrpc.respond(self.replica, str(method), params or ()))

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Whether the ledger file is still there."""
        return self.path.is_file()
