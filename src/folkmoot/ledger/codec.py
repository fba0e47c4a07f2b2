"""The encoding of contract calls and answers (Solidity's ABI specification), for the types that contracts here speak:
``uintN``, ``address``, ``bytesN``, ``bytes``, ``string``, lists ``T[]`` and ``T[N]``, and tuples ``(T,...)``.

Decoding takes exactly what encoding gives and nothing else, so no answer is larger in memory than in bytes: a pointer
may not lead anywhere but where its content has its place.

A general library for this exists, eth_abi. Importing it costs every process a quarter of a second, most of it for a
parser of grammars and a validator of JSON; a test holds this one to its answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from folkmoot.ledger.address import checksum_address

__all__ = ["decode", "encode"]

_WORD = 32
_WORD_TYPE = re.compile(r"(uint|bytes)([1-9][0-9]*)")
_LIST_TYPE = re.compile(r"(.+)\[([1-9][0-9]{0,2})\]")


def encode(types: Sequence[str], values: Sequence[Any]) -> bytes:
    """These values one after the other. Raises ``ValueError`` for a value that its type cannot hold."""
    return _row(tuple(types)).encode(values)


def decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values that ``data`` encodes; addresses checksummed, lists and tuples as tuples.

    Raises ``ValueError`` if it is not their encoding, or not UTF-8 where a string should be.
    """
    values, end = _row(tuple(types)).decode(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes too many")
    return values


class _Type(Protocol):
    """``decode`` gives a value and where its encoding ends; ``head`` is the bytes it takes up among its siblings."""

    @property
    def dynamic(self) -> bool: ...
    @property
    def head(self) -> int: ...
    def encode(self, value: Any) -> bytes: ...
    def decode(self, data: bytes, at: int) -> tuple[Any, int]: ...


class _Number:
    """``uintN``."""

    dynamic = False
    head = _WORD

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, int) or not 0 <= value < 1 << self.bits:
            raise ValueError(f"{value!r} is not a number of {self.bits} bits")
        return value.to_bytes(_WORD, "big")

    def decode(self, data: bytes, at: int) -> tuple[int, int]:
        value = _number(data, at)
        if value >> self.bits:
            raise ValueError(f"the number at byte {at} has more than {self.bits} bits")
        return value, at + _WORD


class _Address:
    """``address``."""

    dynamic = False
    head = _WORD

    def encode(self, value: Any) -> bytes:
        return bytes.fromhex(checksum_address(value)[2:]).rjust(_WORD, b"\0")

    def decode(self, data: bytes, at: int) -> tuple[str, int]:
        if _number(data, at) >> 160:
            raise ValueError(f"the word at byte {at} is not an address")
        return checksum_address(bytes(data[at + 12 : at + _WORD])), at + _WORD


class _Fixed:
    """``bytesN``."""

    dynamic = False
    head = _WORD

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, value: Any) -> bytes:
        if len(value) != self.size:
            raise ValueError(f"{len(value)} bytes where {self.size} belong")
        return bytes(value).ljust(_WORD, b"\0")

    def decode(self, data: bytes, at: int) -> tuple[bytes, int]:
        return _padded(data, at, self.size)


class _Bytes:
    """``bytes``, and ``string`` as UTF-8."""

    dynamic = True
    head = _WORD

    def __init__(self, text: bool) -> None:
        self.text = text

    def encode(self, value: Any) -> bytes:
        raw = value.encode() if self.text else bytes(value)
        return len(raw).to_bytes(_WORD, "big") + raw + bytes(-len(raw) % _WORD)

    def decode(self, data: bytes, at: int) -> tuple[bytes | str, int]:
        raw, end = _padded(data, at + _WORD, _number(data, at))
        return raw.decode() if self.text else raw, end


class _List:
    """``T[]``: the number of items, then a row of them."""

    dynamic = True
    head = _WORD

    def __init__(self, item: _Type) -> None:
        self.item = item

    def encode(self, value: Any) -> bytes:
        return len(value).to_bytes(_WORD, "big") + _Row((self.item,) * len(value)).encode(value)

    def decode(self, data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        count, start = _number(data, at), at + _WORD
        if count * self.item.head > len(data) - start:
            raise ValueError(f"the list at byte {at} has {count} items, more than follow")
        return _Row((self.item,) * count).decode(data, start)


class _Row:
    """A tuple: its items' heads, then the content of those that are dynamic; their heads point there."""

    def __init__(self, items: tuple[_Type, ...]) -> None:
        self.items = items
        self.dynamic = any(item.dynamic for item in items)
        self._heads = sum(item.head for item in items)
        self.head = _WORD if self.dynamic else self._heads

    def encode(self, value: Any) -> bytes:
        heads, tails, end = [], [], self._heads
        for item, part in zip(self.items, value, strict=True):
            encoded = item.encode(part)
            if item.dynamic:
                tails.append(encoded)
                encoded, end = end.to_bytes(_WORD, "big"), end + len(encoded)
            heads.append(encoded)
        return b"".join(heads + tails)

    def decode(self, data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        head, end = at, at + self._heads
        values = []
        for item in self.items:
            if item.dynamic:
                if _number(data, head) != end - at:
                    raise ValueError(f"the pointer at byte {head} leads elsewhere than to byte {end}")
                value, end = item.decode(data, end)
            else:
                value, _ = item.decode(data, head)
            values.append(value)
            head += item.head
        return tuple(values), end


@lru_cache(maxsize=256)
def _row(types: tuple[str, ...]) -> _Row:
    return _Row(tuple(map(_parsed, types)))


def _parsed(name: str) -> _Type:
    """The type of this name. Raises ``ValueError`` for one that is not spoken here."""
    if name.endswith("[]"):
        return _List(_parsed(name[:-2]))
    if (found := _LIST_TYPE.fullmatch(name)) is not None:
        return _row((found[1],) * int(found[2]))
    if name.startswith("(") and name.endswith(")"):
        return _row(tuple(_split(name[1:-1])))
    if name == "address":
        return _Address()
    if name in ("bytes", "string"):
        return _Bytes(text=name == "string")
    if (found := _WORD_TYPE.fullmatch(name)) and 1 <= int(found[2]) <= (256 if found[1] == "uint" else _WORD):
        return _Number(int(found[2])) if found[1] == "uint" else _Fixed(int(found[2]))
    raise ValueError(f"{name!r} is none of the types that are spoken here")


def _split(names: str) -> list[str]:
    """The names between the commas that stand in no inner parenthesis."""
    parts, depth = [""], 0
    for letter in names:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _number(data: bytes, at: int) -> int:
    if at + _WORD > len(data):
        raise ValueError(f"the data ends at byte {len(data)}, where a word should be")
    return int.from_bytes(data[at : at + _WORD], "big")


def _padded(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """``size`` bytes and the zeros that fill up the last word; and where those end."""
    end = at + size + -size % _WORD
    if end > len(data):
        raise ValueError(f"the {size} bytes at byte {at} are more than follow")
    if any(data[at + size : end]):
        raise ValueError(f"the bytes at byte {at} are not filled up with zeros")
    return bytes(data[at : at + size]), end
