"""The chain's virtual machine: pyrevm, used so that every process computes the same, gas included.

pyrevm keeps one open journal and never empties it: left alone it grows without bound, and what a transaction costs
would depend on which slots earlier calls had touched. So each transaction runs inside a checkpoint; what it
changed is read from the journal, the checkpoint is taken back, and the changes go into the database below it. Each
transaction thus meets cold slots and an empty journal, as on any Ethereum chain (rules of Cancun), memory is the
state's alone, and a machine restored from saved changes behaves as the one that lived through them.

What contracts see: ``block.number`` and ``block.timestamp`` of the block; coinbase, difficulty, base fee and gas price
are 0; ``block.prevrandao`` is 32 zero bytes; ``blockhash`` is a constant of the number alone. None of those may be
used as randomness. There are no coins: all balances are 0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env, ExecutionResult, JournalCheckpoint

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.codec import decode as abi_decode
from folkmoot.ledger.transaction import GAS_LIMIT, Transaction

__all__ = ["ZERO", "Account", "Log", "Machine", "Outcome", "Reverted", "account"]

ZERO = "0x" + "00" * 20

Log = tuple[bytes, tuple[bytes, ...], bytes]
"""Address (20 bytes), topics (32 bytes each), data."""

Account = tuple[int, bytes]
"""Nonce, code."""

_WRITTEN = re.compile(r"StorageChange \{ address: (0x[0-9a-f]{40}), key: (\d+), had_value: Some")
"""A slot written to. Slots only read say ``had_value: None``, transient ones give a bare number."""
_ACCOUNT = re.compile(r"(NonceChange|CodeChange|AccountCreated|AccountDestroyed) \{ address: (0x[0-9a-f]{40})")
_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{ reason: (\w+)")
_NO_CODE = keccak(b"")
_SLOT = struct.Struct("32s32s")


class Reverted(LedgerRefused):
    """A call that the contract reverted. ``data`` is what it returned, encoded as the ABI says."""

    def __init__(self, message: str, data: bytes = b""):
        super().__init__(message)
        self.data = data


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a transaction changes; not yet in the machine's state until ``Machine.apply``."""

    gas: int
    created: str | None
    """The new contract's address."""
    logs: tuple[Log, ...]
    accounts: Mapping[str, AccountInfo]
    slots: tuple[tuple[str, int, int], ...]
    """Address, key, new value."""


class Machine:
    """The state of all accounts at one block, and the means to run transactions on it."""

    def __init__(self, chain_id: int):
        env = Env(cfg=CfgEnv(chain_id=chain_id))
        self._evm = EVM(env=env, gas_limit=GAS_LIMIT, spec_id="Cancun")

    def run(self, transaction: Transaction, number: int, timestamp: int) -> Outcome:
        """Run ``transaction`` as block ``number`` at ``timestamp`` and leave the state as it was.

        Raises LedgerRefused for a wrong nonce, Reverted if the transaction does not succeed.
        """
        evm = self._evm
        sender = transaction.sender
        mark = self._begin(number, timestamp)
        try:
            _check_nonce(transaction, evm.basic(sender).nonce)
            created = self._execute(sender, transaction.to, transaction.data, transaction.gas)[1]
            result = self._result()
            logs = tuple((_bytes(log.address), tuple(log.data[0]), log.data[1]) for log in result.logs)
            accounts, slots = self._changes()
            accounts[sender] = AccountInfo(nonce=transaction.nonce + 1)
            return Outcome(result.gas_used, created, logs, accounts, slots)
        finally:
            evm.revert(mark)

    def apply(self, outcome: Outcome) -> None:
        """Make what ``run`` found the state."""
        for address, info in outcome.accounts.items():
            self._evm.insert_account_info(address, info)
        for address, key, value in outcome.slots:
            self._store(address, key, value)

    def view(
        self,
        sender: str,
        to: str | None,
        data: bytes,
        number: int,
        timestamp: int,
        gas: int = GAS_LIMIT,
    ) -> tuple[bytes, int]:
        """What a call returns, and the gas it takes before refunds; nothing it does stays. Raises Reverted."""
        mark = self._begin(number, timestamp)
        try:
            output = self._execute(sender, to, data, gas)[0]
            result = self._result()
            return output, result.gas_used + result.gas_refunded
        finally:
            self._evm.revert(mark)

    def account(self, address: str) -> Account:
        """Nonce and code at ``address``; (0, b"") where nothing is."""
        mark = self._evm.snapshot()
        self._evm.get_code(address)
        info = self._evm.basic(address)
        self._evm.revert(mark)
        return account(info)

    def storage(self, address: str, key: int) -> int:
        """The word in slot ``key`` of the contract at ``address``."""
        mark = self._evm.snapshot()
        value: int = self._evm.storage(address, key)
        self._evm.revert(mark)
        return value

    def restore(self, accounts: Mapping[bytes, Account], slots: Mapping[bytes, bytes]) -> None:
        """Put saved accounts (by 20-byte address) and slots (concatenated 32-byte key and value) into the state."""
        for raw, (nonce, code) in accounts.items():
            self._evm.insert_account_info("0x" + raw.hex(), self._info(nonce, code))
        for raw, packed in slots.items():
            address = "0x" + raw.hex()
            for key, value in _SLOT.iter_unpack(packed):
                self._store(address, int.from_bytes(key, "big"), int.from_bytes(value, "big"))

    def _store(self, address: str, key: int, value: int) -> None:
        """Put one slot into the database. That also loads its account into the journal, where the next slot would then
        go and be lost; so take the loading back each time.
        """
        mark = self._evm.snapshot()
        self._evm.insert_account_storage(address, key, value)
        self._evm.revert(mark)

    def _begin(self, number: int, timestamp: int) -> JournalCheckpoint:
        self._evm.set_block_env(BlockEnv(number=number, timestamp=timestamp, prevrandao=bytes(32)))
        self._evm.reset_transient_storage()
        return self._evm.snapshot()

    def _execute(self, sender: str, to: str | None, data: bytes, gas: int) -> tuple[bytes, str | None]:
        """Return data and the address of a contract made. The caller opens and closes the checkpoint."""
        try:
            if to is None:
                created: str = self._evm.deploy(sender, data, gas=gas)
                return account(self._evm.basic(created))[1], created
            return self._evm.message_call(sender, to, calldata=data, gas=gas), None
        except RuntimeError as error:
            raise _reverted(str(error)) from None

    def _result(self) -> ExecutionResult:
        result = self._evm.result
        assert result is not None
        return result

    def _changes(self) -> tuple[dict[str, AccountInfo], tuple[tuple[str, int, int], ...]]:
        """What the open checkpoint changed, from pyrevm's description of its journal."""
        text: str = self._evm.journal_str
        journal = text[text.rindex(", depth: ") :]
        slots = set(_WRITTEN.findall(journal))
        accounts: set[str] = set()
        destroyed: set[str] = set()
        for kind, address in _ACCOUNT.findall(journal):
            (destroyed if kind == "AccountDestroyed" else accounts).add(address)
        basic, storage = self._evm.basic, self._evm.storage
        # By Cancun's rules only a contract made in this same transaction can destroy itself: it never was.
        return (
            {address: basic(address) for address in sorted(accounts - destroyed)},
            tuple((a, int(k), storage(a, int(k))) for a, k in sorted(slots) if a not in destroyed),
        )

    def _info(self, nonce: int, code: bytes) -> AccountInfo:
        if not code or nonce != 1:
            return AccountInfo(nonce=nonce, code=code) if code else AccountInfo(nonce=nonce)
        # Code put in as bytes is analysed again at every call; code that a deployment left is analysed once.
        # PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN, then the code: a constructor that returns it.
        constructor = b"\x61" + len(code).to_bytes(2, "big") + bytes.fromhex("80600a5f395ff3")
        mark = self._evm.snapshot()
        try:
            return self._evm.basic(self._evm.deploy(ZERO, constructor + code, gas=GAS_LIMIT))
        finally:
            self._evm.revert(mark)


def account(info: AccountInfo) -> Account:
    """Nonce and code of what pyrevm says of an account. pyrevm gives analysed code with zeros at its end."""
    code_hash = bytes(info.code_hash or b"")
    if code_hash == _NO_CODE:
        return info.nonce, b""
    code: bytes = info.code or b""
    for candidate in (code[:-33], code):
        if keccak(candidate) == code_hash:
            return info.nonce, candidate
    raise ChainError("pyrevm gave code that does not match its hash; is pyrevm the pinned version?")


def _check_nonce(transaction: Transaction, expected: int) -> None:
    if transaction.nonce < expected:
        raise LedgerRefused(f"nonce {transaction.nonce} of {transaction.sender} is used; the next is {expected}")
    if transaction.nonce > expected:
        raise LedgerRefused(f"nonce {transaction.nonce} of {transaction.sender} leaves a gap; the next is {expected}")


def _reverted(message: str) -> Reverted:
    """What pyrevm's error says, as an error for people."""
    if found := _REVERT.search(message):
        data = bytes.fromhex(found[1])
        return Reverted(_reason(data), data)
    if found := _HALT.search(message):
        return Reverted("out of gas" if found[1] == "OutOfGas" else f"the contract stopped: {found[1]}")
    return Reverted(f"the call cannot run: {message}")


def _reason(data: bytes) -> str:
    try:
        if data[:4] == b"\x08\xc3\x79\xa0":
            return str(abi_decode(["string"], data[4:])[0])
        if data[:4] == b"\x4e\x48\x7b\x71":
            return f"the contract panicked with code {abi_decode(['uint256'], data[4:])[0]:#x}"
    except ValueError:
        pass
    return f"the contract reverted with 0x{data.hex()}" if data else "the contract reverted without a reason"


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])
