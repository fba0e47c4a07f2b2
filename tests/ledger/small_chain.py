"""A small contract on a fresh embedded chain, for the tests of the chain itself."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.embedded import EmbeddedProvider

GENESIS = 1_700_000_000

SOURCE = """
event Committed:
    who: indexed(address)
    number: indexed(uint256)
    word: bytes32

event Noted:
    text: String[40]

count: public(uint256)
values: public(HashMap[address, HashMap[uint256, bytes32]])
seen: transient(bool)

@external
def commit(key: uint256, word: bytes32):
    assert self.values[msg.sender][key] == empty(bytes32), "committed already"
    self.values[msg.sender][key] = word
    self.count += 1
    log Committed(who=msg.sender, number=self.count, word=word)

@external
def clear(key: uint256):
    self.values[msg.sender][key] = empty(bytes32)
    log Noted(text="cleared")

@external
def once():
    assert not self.seen, "transient storage outlived its transaction"
    self.seen = True

@external
def spin(rounds: uint256):
    for i: uint256 in range(rounds, bound=1_000_000):
        self.count += 1

@external
@view
def divide(by: uint256) -> uint256:
    return 10 // by

@external
def make(template: address) -> address:
    made: address = create_copy_of(template)
    return made

@external
@view
def surroundings() -> (uint256, uint256, uint256, bytes32, address):
    return block.number, block.timestamp, chain.id, block.prevrandao, tx.origin
"""


@functools.cache
def compiled() -> dict[str, Any]:
    """Bytecode and ABI of SOURCE."""
    from vyper import compile_code  # slow to import, and not needed by processes that only send

    output: dict[str, Any] = compile_code(SOURCE, output_formats=["bytecode", "abi"])
    return output


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, now: float = GENESIS):
        self.now = now

    def __call__(self) -> float:
        return self.now


class SmallChain:
    """One provider, the contract on it, and accounts to send from."""

    def __init__(self, path: Path, *, clock: Clock | None = None):
        self.path = path
        self.clock = clock or Clock()
        create_chain(path, chain_id=7, genesis_time=GENESIS)
        self.provider = EmbeddedProvider(path, clock=self.clock)
        self.w3 = Web3(self.provider)
        self.account = account(0)
        factory = self.w3.eth.contract(abi=compiled()["abi"], bytecode=compiled()["bytecode"])
        build = factory.constructor().build_transaction({"from": self.account.address})
        receipt = self.w3.eth.wait_for_transaction_receipt(self.send(build))
        self.contract = self.w3.eth.contract(receipt["contractAddress"], abi=compiled()["abi"])

    def send(self, transaction: Any) -> bytes:
        """Sign as the first account and send through JSON-RPC."""
        transaction = {"nonce": self.w3.eth.get_transaction_count(self.account.address), **transaction}
        return self.w3.eth.send_raw_transaction(self.account.sign_transaction(transaction).raw_transaction)

    def calldata(self, function: str, *arguments: Any) -> bytes:
        return bytes.fromhex(self.contract.encode_abi(function, list(arguments))[2:])

    def raw(
        self, nonce: int, function: str, *arguments: Any, signer: LocalAccount | None = None, **fields: Any
    ) -> bytes:
        """A signed call of the contract."""
        transaction = {
            "chainId": 7,
            "nonce": nonce,
            "to": self.contract.address,
            "gas": 200_000,
            "maxFeePerGas": 0,
            "maxPriorityFeePerGas": 0,
            "value": 0,
            "data": self.calldata(function, *arguments),
        } | fields
        return bytes((signer or self.account).sign_transaction(transaction).raw_transaction)

    def commit(self, first: int, count: int) -> None:
        """Send commits with keys (and nonces) from ``first`` on, each at the same ledger time."""
        for nonce in range(first, first + count):
            self.provider.send(self.raw(nonce, "commit", nonce, nonce.to_bytes(32, "big")))


def account(index: int) -> LocalAccount:
    """The ``index``-th test account."""
    signer: LocalAccount = Account.from_key((index + 1).to_bytes(32, "big"))
    return signer
