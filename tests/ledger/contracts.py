"""The compiled contracts on a bare EVM: revm by the rules of London, which any chain since then has.

Answers are decoded by eth_abi, from what the artefacts say of themselves: nothing here goes through the typed client.
"""

from __future__ import annotations

import json
import re
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import eth_abi
import pytest
from pyrevm import EVM, BlockEnv, CfgEnv, Env

from folkmoot.keccak import keccak
from folkmoot.ledger.address import checksum_address

CHAIN = 31337
GAS = 30_000_000
START = 1_700_000_000
_REVERT = re.compile(r"output: 0x([0-9a-f]*)")


class Refused(Exception):
    """A call was reverted, with this reason."""


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """What is called inside must be reverted with exactly this reason."""
    with pytest.raises(Refused) as caught:
        yield
    assert str(caught.value) == reason


class Log(NamedTuple):
    """One event, its arguments by name."""

    address: str
    name: str
    fields: dict[str, Any]


class Artefact:
    """One compiled contract, encoded and decoded by a general library."""

    def __init__(self, made: Mapping[str, Any]) -> None:
        """``made`` has the ``abi`` and the ``bytecode``."""
        self.creation = bytes.fromhex(made["bytecode"][2:])
        self.entries: list[dict[str, Any]] = made["abi"]
        self.functions = {e["name"]: e for e in self.entries if e["type"] == "function"}
        self.events = {self.topic(e): e for e in self.entries if e["type"] == "event"}
        self.selectors = {name: self.topic(e)[:4] for name, e in self.functions.items()}
        self._constructor: list[dict[str, Any]] = next(
            (e["inputs"] for e in self.entries if e["type"] == "constructor"), []
        )

    @staticmethod
    def topic(entry: dict[str, Any]) -> bytes:
        return keccak(f"{entry['name']}({','.join(map(kind, entry['inputs']))})".encode())

    def deployment(self, *arguments: Any) -> bytes:
        return self.creation + eth_abi.encode([kind(i) for i in self._constructor], arguments)

    def calldata(self, name: str, *arguments: Any) -> bytes:
        types = [kind(i) for i in self.functions[name]["inputs"]]
        return self.selectors[name] + eth_abi.encode(types, arguments)

    def answer(self, name: str, data: bytes) -> Any:
        outputs = self.functions[name]["outputs"]
        found = eth_abi.decode([kind(o) for o in outputs], data)
        values = tuple(named(o, value) for o, value in zip(outputs, found, strict=True))
        return values[0] if len(values) == 1 else values or None

    def log(self, address: str, topics: list[bytes], data: bytes) -> Log:
        entry = self.events[topics[0]]
        indexed = [i for i in entry["inputs"] if i["indexed"]]
        plain = [i for i in entry["inputs"] if not i["indexed"]]
        found = dict(zip((i["name"] for i in plain), eth_abi.decode([kind(i) for i in plain], data), strict=True))
        for item, topic in zip(indexed, topics[1:], strict=True):
            (found[item["name"]],) = eth_abi.decode([kind(item)], topic)
        return Log(address, entry["name"], {i["name"]: named(i, found[i["name"]]) for i in entry["inputs"]})


@cache
def artefact(name: str) -> Artefact:
    """A contract of the package."""
    return Artefact(json.loads(files("folkmoot.ledger").joinpath(f"{name}.json").read_text()))


def kind(item: dict[str, Any]) -> str:
    """The type as eth_abi writes it."""
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(map(kind, item['components']))}){item['type'].removeprefix('tuple')}"


def named(item: dict[str, Any], value: Any) -> Any:
    """Addresses checksummed, structs with their fields' names."""
    if item["type"].endswith("]"):
        one = item | {"type": item["type"][: item["type"].rindex("[")]}
        return tuple(named(one, each) for each in value)
    if item["type"] == "address":
        return checksum_address(value)
    if item["type"] == "tuple":
        parts = item["components"]
        return _row(tuple(p["name"] for p in parts))(*(named(p, v) for p, v in zip(parts, value, strict=True)))
    return value


@cache
def _row(names: tuple[str, ...]) -> Callable[..., Any]:
    return namedtuple("Row", names)


class Chain:
    """An EVM whose time is moved by hand; every call is a transaction in a block of its own."""

    def __init__(self) -> None:
        self._evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN)), gas_limit=GAS, spec_id="LONDON")
        self.time = START
        self.block = 0
        self.contracts: dict[str, Artefact] = {}
        self.logs: list[Log] = []
        """What the last transaction gave out."""

    def deploy(self, sender: str, what: str | Artefact, *arguments: Any) -> str:
        self._next_block()
        made = artefact(what) if isinstance(what, str) else what
        with self._reasons():
            address = checksum_address(self._evm.deploy(sender, made.deployment(*arguments), gas=GAS))
        self.contracts[address] = made
        self._take_logs()
        return address

    def call(self, sender: str, address: str, name: str, *arguments: Any) -> Any:
        made = self.contracts[address]
        return made.answer(name, self.raw(sender, address, made.calldata(name, *arguments)))

    def raw(self, sender: str, address: str, data: bytes) -> bytes:
        """Calldata as it is. Raises ``Refused``, with an empty reason where none is given."""
        self._next_block()
        with self._reasons():
            output: bytes = self._evm.message_call(sender, address, data, gas=GAS)
        self._take_logs()
        return output

    def read(self, address: str, name: str, *arguments: Any, sender: str = "0x" + "00" * 20) -> Any:
        made = self.contracts[address]
        self._set_block(self.block + 1)
        with self._reasons():
            output = self._evm.message_call(sender, address, made.calldata(name, *arguments), gas=GAS, is_static=True)
        return made.answer(name, output)

    def later(self, seconds: int) -> None:
        self.time += seconds

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What is done inside is taken back at the end."""
        mark, time, block = self._evm.snapshot(), self.time, self.block
        try:
            yield
        finally:
            self._evm.revert(mark)
            self.time, self.block = time, block

    def _next_block(self) -> None:
        self.block += 1
        self._set_block(self.block)

    def _set_block(self, number: int) -> None:
        self._evm.set_block_env(BlockEnv(number=number, timestamp=self.time, prevrandao=bytes(32)))
        self._evm.reset_transient_storage()

    @contextmanager
    def _reasons(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            found = _REVERT.search(str(error))
            if found is None:
                raise
            raise Refused(_reason(bytes.fromhex(found[1]))) from None

    def _take_logs(self) -> None:
        result = self._evm.result
        assert result is not None
        self.logs = []
        for log in result.logs:
            topics, data = log.data
            address = checksum_address(log.address)
            self.logs.append(self.contracts[address].log(address, [bytes(t) for t in topics], bytes(data)))


def _reason(data: bytes) -> str:
    if data[:4] == keccak(b"Error(string)")[:4]:
        return str(eth_abi.decode(["string"], data[4:])[0])
    if data[:4] == keccak(b"Panic(uint256)")[:4]:
        return f"panic {eth_abi.decode(['uint256'], data[4:])[0]:#x}"
    return ""
