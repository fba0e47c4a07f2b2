"""A purse whose moot is played by the test, and tokens that behave in every way that tokens do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import vyper
from contracts import CHAIN, Artefact, Chain
from moot_world import account, bits, key
from vyper.compiler import compile_code

from folkmoot.ledger import statements
from folkmoot.ledger.address import created_address
from folkmoot.ledger.statements import Domain

ASSEMBLY = 50
"""Whose account stands in for the assembly."""
DEPLOYER = 51
SECONDS = 30
"""Of every task's exchange."""
HEAD = f"# pragma version {vyper.__version__}\n# pragma evm-version london\n"

WORK = (
    HEAD
    + """
number_of: public(HashMap[address, uint256])
living: public(uint256)
_accounts: HashMap[uint256, address[2]]
_progress: HashMap[uint256, uint256[4]]

@external
def seat(member: uint256, account: address, main: address):
    self._accounts[member] = [account, main]
    self.number_of[account] = member + 1
    self.number_of[main] = member + 1
    self.living |= 1 << member

@external
def remove(member: uint256):
    self.number_of[self._accounts[member][0]] = 0
    self.number_of[self._accounts[member][1]] = 0
    self.living &= ~(1 << member)

@external
def put(task: uint256, final: uint256, rounds: uint256, done: uint256, seconds: uint256):
    self._progress[task] = [final, rounds, done, seconds]

@external
@view
def accounts_of(member: uint256) -> (address, address):
    return self._accounts[member][0], self._accounts[member][1]

@external
@view
def progress(task: uint256) -> (uint256, uint256, uint256, uint256):
    p: uint256[4] = self._progress[task]
    return p[0], p[1], p[2], p[3]
"""
)
"""What a purse asks of the moot's work; whatever the test says of it."""

TOKEN = (
    HEAD
    + """
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
fee: uint256
refuses: bool
lies: bool
target: address
message: Bytes[2048]
entered: public(bool)
inside: bool

@external
def become(fee: uint256, refuses: bool, lies: bool, target: address, message: Bytes[2048]):
    self.fee = fee
    self.refuses = refuses
    self.lies = lies
    self.target = target
    self.message = message
    self.entered = False

@external
def allow(spender: address, amount: uint256):
    self.allowance[self][spender] = amount

@external
def give(to: address, amount: uint256):
    self.balanceOf[to] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True

@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    return self._move(owner, to, amount)

@internal
def _move(owner: address, to: address, amount: uint256) -> bool:
    assert not self.refuses, "this token moves for nobody"
    if self.lies:
        return False
    if self.target != empty(address) and not self.inside:
        self.inside = True
        self.entered = raw_call(self.target, self.message, revert_on_failure=False)
        self.inside = False
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount - amount * self.fee // 100
    return True
"""
)
SILENT = TOKEN.replace(") -> bool:", "):").replace("return self._move", "self._move").replace("return True", "pass")
SILENT = SILENT.replace("return False", "return").replace("    pass\n", "")
"""The same, of the kind whose calls return nothing."""


@cache
def compiled(source: str) -> Artefact:
    return Artefact(compile_code(source, output_formats=["abi", "bytecode"]))


class Purse:
    """A purse, its moot of ``members`` and its points; tasks are as ``task`` puts them."""

    def __init__(self, members: int = 4) -> None:
        self.chain = Chain()
        maker = account(DEPLOYER)
        at = [created_address(maker, nonce) for nonce in range(3)]
        made = [
            self.chain.deploy(maker, compiled(WORK)),
            self.chain.deploy(maker, "Purse", at[0], account(ASSEMBLY), at[2]),
            self.chain.deploy(maker, "Points", at[1]),
        ]
        assert made == at
        self.work, self.address, self.points = made
        self.domain = Domain(CHAIN, self.address)
        self.members = members
        for member in range(members):
            self.tell("seat", member, account(member), account(member))

    def token(self, source: str = TOKEN) -> str:
        return self.chain.deploy(account(DEPLOYER), compiled(source))

    def call(self, name: str, sender: int, *arguments: Any) -> Any:
        return self.chain.call(account(sender), self.address, name, *arguments)

    def read(self, name: str, *arguments: Any) -> Any:
        return self.chain.read(self.address, name, *arguments)

    def tell(self, name: str, *arguments: Any) -> None:
        """Have the moot be so."""
        self.chain.call(account(DEPLOYER), self.work, name, *arguments)

    def task(self, task: int, final: int, rounds: int = 4, *, done: bool | None = None) -> None:
        """Have a task be so far; it is done after its last round unless told otherwise."""
        self.tell("put", task, final, rounds, int(final == rounds if done is None else done), SECONDS)

    def event(self, name: str) -> Any:
        return next(log.fields for log in self.chain.logs if log.name == name)

    # ---- tokens

    def balance(self, token: str, holder: str) -> int:
        return int(self.chain.read(token, "balanceOf", holder))

    def give(self, token: str, to: int, amount: int) -> None:
        self.chain.call(account(DEPLOYER), token, "give", account(to), amount)

    def become(self, token: str, *, fee: int = 0, refuses: bool = False, lies: bool = False, calls: Any = None) -> None:
        """Change a token's ways; ``calls`` is a contract and the calldata that it is called with at every transfer."""
        target, message = calls or ("0x" + "00" * 20, b"")
        self.chain.call(account(DEPLOYER), token, "become", fee, refuses, lies, target, message)

    def calldata(self, name: str, *arguments: Any) -> bytes:
        return self.chain.contracts[self.address].calldata(name, *arguments)

    def fund(self, task: int, token: str, amount: int, funder: int = 7) -> None:
        """Give it to the funder, who sets it aside."""
        self.give(token, funder, amount)
        self.chain.call(account(funder), token, "approve", self.address, amount)
        self.call("fund", funder, task, token, amount)

    # ---- splits

    def split(
        self,
        task: int,
        token: str,
        last: int,
        weights: Sequence[int],
        signers: Iterable[int] | None = None,
        said: Mapping[str, Any] = {},
    ) -> tuple[Any, ...]:
        """Arguments of ``settle``, signed by all, or by ``signers``; ``said`` is signed instead of what is so."""
        who = range(self.members) if signers is None else sorted(signers)
        first = self.read("pot", task, token)[2] + 1
        statement = {"task": task, "first": first, "last": last, "weights": weights, "domain": self.domain} | dict(said)
        digest = statements.split_digest(**statement)
        joined = b"".join(statements.sign(key(signer), digest) for signer in who)
        return task, token, last, list(weights), bits(who), joined

    def owed(self, token: str, members: int | None = None) -> list[int]:
        return [self.read("owed", token, member) for member in range(members or self.members)]


def parts(amount: int, weights: Sequence[int]) -> list[int]:
    """Cumulative sums, rounded down, one after the other."""
    total, sums = sum(weights), [0]
    for at in range(len(weights)):
        sums.append(amount * sum(weights[: at + 1]) // total)
    return [b - a for a, b in pairwise(sums)]
