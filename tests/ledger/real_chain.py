"""A small contract on a real node, for the tests of the client's path over JSON-RPC."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from anvil import Anvil
from faulty_rpc import Front

from folkmoot.keccak import keccak
from folkmoot.ledger import open_chain
from folkmoot.ledger.chain import Chain, Patience
from folkmoot.ledger.signer import Signer
from folkmoot.ledger.transact import Sender
from folkmoot.ledger.transaction import sign_1559

Aside = Callable[..., "Future[Any]"]
Two = tuple[Front, Front]

SOURCE = """
# pragma evm-version london
event Marked:
    by: indexed(address)
    word: uint256

words: public(HashMap[address, uint256])
count: public(uint256)

@external
def mark(word: uint256):
    assert self.words[msg.sender] != word, "marked already"
    self.words[msg.sender] = word
    self.count += 1
    log Marked(by=msg.sender, word=word)
"""
MARKED = keccak(b"Marked(address,uint256)")
ANNA, BERT = Signer(b"\xa1" * 32), Signer(b"\xb2" * 32)
ID = 4242
GWEI = 10**9
SOON = Patience(blocks=2, seconds=0.0, most=60.0)
AT_ONCE = Patience(blocks=2, seconds=0.0, most=0.0)


@functools.cache
def bytecode() -> bytes:
    from vyper import compile_code

    return bytes.fromhex(compile_code(SOURCE, output_formats=["bytecode"])["bytecode"][2:])


def selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


def mark(word: int) -> bytes:
    return selector("mark(uint256)") + word.to_bytes(32, "big")


class Contract:
    """The small contract on the node, and what is said to it and read from it."""

    def __init__(self, chain: Anvil) -> None:
        self.node = chain
        chain.fund(ANNA.address, BERT.address)
        chain.automine()
        sender = Sender(Chain(open_chain(chain.url).nodes), ANNA)
        address = sender.receipt(sender.send(None, bytecode())).contract
        assert address is not None
        self.address: str = address
        chain.automine(False)

    def count(self, chain: Chain) -> int:
        return int.from_bytes(chain.call(self.address, selector("count()")), "big")

    def marks(self, chain: Chain) -> list[int]:
        return [int.from_bytes(log.data, "big") for log in chain.logs(self.address, [MARKED], 0)]

    def mark(self, word: int, signer: Signer = ANNA) -> None:
        """Mark, and make a block of it."""
        self.put(signer, mark(word))
        self.node.mine()

    def put(self, signer: Signer, data: bytes, *, nonce: int | None = None, fee: float = 50, tip: float = 1) -> str:
        """Hand a transaction over as another process would; fees in gwei."""
        if nonce is None:
            nonce = int(self.node.rpc("eth_getTransactionCount", signer.address, "pending"), 16)
        fees = {"max_fee": int(fee * GWEI), "max_priority_fee": int(tip * GWEI)}
        raw = sign_1559(signer.key, ID, nonce, self.address, data, gas=200_000, **fees)
        name: str = self.node.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        return name

    def block(self, number: int) -> dict[str, Any]:
        """A block, as the node tells it."""
        found: dict[str, Any] = self.node.rpc("eth_getBlockByNumber", hex(number), False)
        return found

    def waiting(self, signer: Signer = ANNA) -> dict[int, dict[str, Any]]:
        """The account's transactions that are in no block, by nonce."""
        pool = self.node.rpc("txpool_content")
        found: dict[int, dict[str, Any]] = {}
        for kind in pool.values():
            for account, transactions in kind.items():
                if account.lower() == signer.address.lower():
                    found |= {int(nonce): transaction for nonce, transaction in transactions.items()}
        return found


def until(true: Callable[[], Any], patience: float = 60.0) -> None:
    """Wait for something that is bound to come."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def mine_while(chain: Anvil, true: Callable[[], Any], fee: float | None = None, most: int = 400) -> None:
    """Make blocks, of this base fee in gwei where it is given, as long as something is true."""
    for _ in range(most):
        if not true():
            return
        if fee is not None:
            chain.base_fee(fee)
        chain.mine()
        time.sleep(0.02)
    raise AssertionError(f"{most} blocks were not enough")


def mine_until(chain: Anvil, call: Future[Any]) -> Any:
    """Make blocks until the call returns."""
    mine_while(chain, lambda: not call.done())
    return call.result()


def urls(fronts: tuple[Front, ...]) -> str:
    return ",".join(front.url for front in fronts)
