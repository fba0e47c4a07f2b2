"""The contract encoding, held to eth_abi's."""

import json
from importlib.resources import files

import eth_abi
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.ledger import abi, build
from folkmoot.ledger.codec import decode, encode
from folkmoot.ledger.interface import _type

WORDS = st.sampled_from(["uint256", "uint8", "uint64", "address", "bytes32", "bytes1", "bytes", "string"])
TYPES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        inner.map("{}[]".format),
        inner.map("{}[3]".format),
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: f"({','.join(parts)})"),
    ),
    max_leaves=8,
)


def contract_types():
    """Every list of types that the contracts take or give, and what the event of a finished round holds; but for an
    ERC-20's "true", which nobody reads."""
    texts = [files("folkmoot.ledger").joinpath(f"{name}.json").read_text() for name in build.CONTRACTS]
    calls = [entry for text in texts for entry in json.loads(text)["abi"] if entry["type"] != "event"]
    rows = [entry.get(side, []) for entry in calls for side in ("inputs", "outputs")]
    return [abi._FINAL, *([_type(item) for item in row] for row in rows if row and row[0]["type"] != "bool")]


def values(name):
    """Values of a type, as eth_abi decodes them."""
    if name.endswith("[]"):
        return st.lists(values(name[:-2]), max_size=4).map(tuple)
    if name.endswith("]"):
        item, count = name[:-1].rsplit("[", 1)
        return st.tuples(*[values(item)] * int(count))
    if name.startswith("("):
        parts, depth, start = [], 0, 1
        for at, letter in enumerate(name):
            depth += (letter == "(") - (letter == ")")
            if (letter == "," and depth == 1) or depth == 0:
                parts.append(name[start:at])
                start = at + 1
        return st.tuples(*map(values, parts))
    if name == "address":
        return st.binary(min_size=20, max_size=20).map(to_checksum_address)
    if name.startswith("uint"):
        return st.integers(0, 2 ** int(name[4:]) - 1)
    if name == "string":
        return st.text(max_size=40)
    size = name.removeprefix("bytes")
    return st.binary(min_size=int(size), max_size=int(size)) if size else st.binary(max_size=70)


def rows(types):
    return types.flatmap(lambda names: st.tuples(st.just(names), st.tuples(*map(values, names))))


def checksummed(value):
    """eth_abi gives addresses in lower case."""
    if isinstance(value, tuple):
        return tuple(map(checksummed, value))
    is_address = isinstance(value, str) and value.startswith("0x") and len(value) == 42
    return to_checksum_address(value) if is_address else value


@settings(max_examples=150, deadline=None)
@given(rows(st.one_of(st.lists(TYPES, max_size=4), st.sampled_from(contract_types()))))
def test_values_become_the_bytes_eth_abi_makes_and_come_back(row):
    names, given_values = row
    encoded = encode(names, given_values)
    assert encoded == (eth_abi.encode(names, given_values) if names else b"")
    assert decode(names, encoded) == given_values


@settings(max_examples=300, deadline=None)
@given(rows(st.sampled_from(contract_types())), st.data())
def test_damaged_bytes_are_refused_or_read_as_eth_abi_reads_them(row, data):
    names, given_values = row
    raw = bytearray(encode(names, given_values))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.sampled_from([1, 1, 32]))] = data.draw(st.binary(max_size=2))
    try:
        found = decode(names, bytes(raw))
    except ValueError:
        return
    assert encode(names, found) == raw
    assert found == checksummed(eth_abi.decode(names, bytes(raw)))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("uint8", 256, "not a number of 8 bits"),
        ("uint256", -1, "not a number of 256 bits"),
        ("uint256", "1", "not a number"),
        ("bytes32", b"\x01" * 31, "31 bytes where 32 belong"),
        ("address", "0x1234", "not an address"),
        ("(uint256,uint256)", (1,), "shorter"),
        ("uint256[3]", (1, 2), "shorter"),
        ("bool", True, "none of the types"),
        ("uint257", 1, "none of the types"),
        ("bytes33", b"", "none of the types"),
        ("uint256[0]", (), "none of the types"),
    ],
)
def test_what_a_type_cannot_hold_is_refused(name, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        encode([name], [value])


def word(number):
    return number.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("uint256", b"\x01" * 31, "the data ends"),
        ("uint256", bytes(33), "1 bytes too many"),
        ("uint8", word(256), "more than 8 bits"),
        ("address", word(1 << 160), "not an address"),
        ("bytes1", b"\x01\x01" + bytes(30), "not filled up with zeros"),
        ("bytes", word(32) + word(1 << 60), "more than follow"),
        ("bytes", word(32) + word(1) + b"ab" + bytes(30), "not filled up with zeros"),
        ("bytes", word(0), "leads elsewhere"),
        ("string", word(32) + word(1) + b"\xff" + bytes(31), "utf-8"),
        ("uint256[]", word(32) + word(1 << 60), "more than follow"),
        # one long content that many pointers share would be many times as large in memory
        ("bytes[]", word(32) + word(2) + word(64) + word(64) + word(1) + b"a" + bytes(31), "leads elsewhere"),
    ],
)
def test_what_is_no_encoding_is_refused(name, data, complaint):
    with pytest.raises(ValueError, match=complaint):
        decode([name], data)
