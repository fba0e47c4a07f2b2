"""Ethereum's Recursive Length Prefix (yellow paper, appendix B), as far as transactions need it.

Read strictly: each list has one encoding, so that nobody can make a second one of someone else's transaction.

There is a package for this, rlp. Importing it costs every process a fifth of a second, most of it for a validator of
JSON; a test holds this to its answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Item", "Tree", "decode_list", "encode", "shortest"]

_STRING, _LIST = 0x80, 0xC0
_SHORT = 55
"""Bytes up to which the length is in the prefix itself."""


Tree = bytes | Sequence["Tree"]
"""What RLP encodes: strings of bytes, and lists of such."""


class Item(NamedTuple):
    """One item of a list that was read: a string's bytes, or the encoded items of a list inside the list."""

    payload: bytes
    is_list: bool


def shortest(number: int) -> bytes:
    """A number as RLP holds it: big-endian, without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode(tree: Tree) -> bytes:
    """The encoding of a string, or of a list of strings and lists."""
    if not isinstance(tree, bytes):
        body = b"".join(map(encode, tree))
        return _prefix(len(body), _LIST) + body
    if len(tree) == 1 and tree[0] < _STRING:
        return tree
    return _prefix(len(tree), _STRING) + tree


def decode_list(data: bytes) -> list[Item]:
    """The items of the list that ``data`` is. Raises ``ValueError`` unless it is its one encoding, from end to end."""
    start, end, is_list = _span(data, 0)
    if not is_list or end != len(data):
        raise ValueError("not one list from the first byte to the last")
    items = []
    while start < end:
        at, stop, nested = _span(data, start)
        if stop > end:
            raise ValueError(f"the item at byte {start} is longer than its list")
        items.append(Item(data[at:stop], nested))
        start = stop
    return items


def _prefix(length: int, kind: int) -> bytes:
    if length <= _SHORT:
        return bytes([kind + length])
    size = shortest(length)
    return bytes([kind + _SHORT + len(size)]) + size


def _span(data: bytes, at: int) -> tuple[int, int, bool]:
    """Where the payload of the item at ``at`` begins and ends, and whether it is a list."""
    if at >= len(data):
        raise ValueError("the data ends where an item should begin")
    prefix = data[at]
    if prefix < _STRING:
        return at, at + 1, False
    is_list = prefix >= _LIST
    length = prefix - (_LIST if is_list else _STRING)
    start = at + 1
    if length > _SHORT:
        start += length - _SHORT
        size = data[at + 1 : start]
        length = int.from_bytes(size, "big")
        if size[:1] == b"\0" or length <= _SHORT:
            raise ValueError(f"the length of the item at byte {at} is not in its shortest form")
    end = start + length
    if end > len(data):
        raise ValueError(f"the item at byte {at} is longer than the data")
    if not is_list and length == 1 and data[start] < _STRING:
        raise ValueError(f"the item at byte {at} is not in its shortest form")
    return start, end, is_list
