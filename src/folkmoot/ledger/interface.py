"""A compiled contract as bytes in and out: calldata of its functions, topics of its events, its initcode.

What members wrote (names, addresses) is decoded without trust: a contract bounds its length, not its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from folkmoot.errors import ChainError
from folkmoot.keccak import keccak
from folkmoot.ledger.codec import decode, encode

__all__ = ["Interface", "answer", "hints", "not_a_moot", "revert_reason", "text", "word", "words"]

_ERROR = keccak(b"Error(string)")[:4]


class Interface:
    """One contract of this package, by its name: ``Interface("Moot")`` reads ``Moot.json``."""

    def __init__(self, name: str) -> None:
        artefact: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text())
        entries = artefact["abi"]
        self.name = name
        self.creation = bytes.fromhex(artefact["bytecode"][2:])
        self.runtime_bytes: int = artefact["runtime_bytes"]
        self.functions = {e["name"]: (keccak(_signature(e))[:4], _inputs(e)) for e in entries if _is(e, "function")}
        self.topics = {e["name"]: keccak(_signature(e)) for e in entries if _is(e, "event")}
        self._events = {keccak(_signature(e)): e for e in entries if _is(e, "event")}
        self._constructor = next((_inputs(e) for e in entries if _is(e, "constructor")), [])

    def call(self, name: str, *arguments: Any) -> bytes:
        """Calldata for the function ``name``. Raises ``ValueError`` on arguments its types cannot hold."""
        selector, types = self.functions[name]
        return selector + encode(types, arguments)

    def deploy(self, *arguments: Any) -> bytes:
        """Initcode that deploys the contract with these constructor arguments."""
        return self.creation + encode(self._constructor, arguments)

    def event(self, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]]:
        """Name and fields of an event; addresses checksummed, strings fit to be printed, tuples as ``dict``.

        Raises ``ChainError`` where it is none of this contract's.
        """
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            raise ChainError(f"the contract {self.name} of this version has no such event; is folkmoot up to date?")
        inputs = entry["inputs"]
        loose = [item for item in inputs if not item["indexed"]]
        plain = iter(answer([_type(item, strings="bytes") for item in loose], data))
        found = iter(topics[1:])
        try:
            values = [
                _plain(item, next(plain) if item in loose else answer([_type(item)], next(found))[0]) for item in inputs
            ]
        except StopIteration:
            raise not_a_moot(len(data)) from None
        return entry["name"], {item["name"]: value for item, value in zip(inputs, values, strict=True)}

    def is_code(self, code: bytes) -> bool:
        """Whether ``code``, found on a chain, is this contract's, whatever it was deployed with.

        What a deployment fixes stands behind the code, so the code itself is the same everywhere.
        """
        return len(code) >= self.runtime_bytes and self.creation.find(code[: self.runtime_bytes]) >= 0

    def is_creation(self, data: bytes) -> bool:
        """Whether a transaction with this data deployed the contract by its own constructor, with whatever arguments.

        Code alone does not show that: what deploys it could have written anything into its storage before.
        """
        return data.startswith(self.creation)

    def fixed(self, code: bytes) -> bytes:
        """What a deployment has fixed, of code found on a chain: the contract's immutable words."""
        return code[self.runtime_bytes :]


def _is(entry: Mapping[str, Any], kind: str) -> bool:
    return bool(entry["type"] == kind)


def _type(item: Mapping[str, Any], *, strings: str = "string") -> str:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return strings if kind == "string" else kind
    return f"({','.join(_type(part, strings=strings) for part in item['components'])}){kind.removeprefix('tuple')}"


def _plain(item: Mapping[str, Any], value: Any) -> Any:
    if item["type"] == "string":
        return text(value)
    if item["type"] == "tuple":
        return {part["name"]: _plain(part, one) for part, one in zip(item["components"], value, strict=True)}
    return value


def _inputs(entry: Mapping[str, Any]) -> list[str]:
    return [_type(item) for item in entry["inputs"]]


def _signature(entry: Mapping[str, Any]) -> bytes:
    return f"{entry['name']}({','.join(_inputs(entry))})".encode()


def word(value: int) -> bytes:
    """``value`` as one word: 32 bytes."""
    return value.to_bytes(32, "big")


def words(data: bytes, count: int) -> list[int]:
    """The first ``count`` words of ``data`` as numbers. Raises ``ChainError`` when there are fewer."""
    if len(data) < 32 * count:
        raise not_a_moot(len(data))
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, 32 * count, 32)]


def answer(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """What a contract answered. Raises ``ChainError`` when it is not of these types.

    Strings are to be read as ``bytes``, and made fit with ``text``: a strict decoder would refuse a whole page for one
    member's bad name.
    """
    try:
        return decode(types, data)
    except ValueError as error:
        raise not_a_moot(len(data)) from error


def not_a_moot(size: int) -> ChainError:
    """The error for an answer of ``size`` bytes that no contract of this version gives."""
    return ChainError(
        f"the chain answered {size} bytes that no moot of this version would; check the contract's address, "
        "and that the ledger is the right one"
    )


def revert_reason(output: bytes) -> str | None:
    """The reason in a revert's output, if it carries one."""
    if output[:4] != _ERROR:
        return None
    try:
        (reason,) = decode(["bytes"], output[4:])
    except ValueError:
        return None
    return text(reason)


def text(raw: bytes) -> str:
    """What someone else wrote, fit to be printed: no control characters, no invalid UTF-8."""
    return "".join(c if c.isprintable() else "\ufffd" for c in raw.decode(errors="replace"))


def hints(raw: bytes) -> tuple[str, ...]:
    """The addresses in a comma-separated list."""
    return tuple(hint for hint in text(raw).split(",") if hint)
