"""What members sign: the digests are EIP-712's own, and only well-formed signatures count."""

from __future__ import annotations

from contextlib import suppress

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.errors import IntegrityError
from folkmoot.keccak import keccak
from folkmoot.ledger import statements
from folkmoot.ledger.statements import Domain

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TYPES = {
    "Voucher": [("applicant", "address")],
    "Commit": [("task", "uint256"), ("round", "uint256"), ("attempt", "uint256"), ("hash", "bytes32")],
    "Split": [("task", "uint256"), ("first", "uint256"), ("last", "uint256"), ("weights", "bytes32")],
    "Holding": [("task", "uint256"), ("round", "uint256"), ("attempt", "uint256"), ("contributors", "uint256")],
    "Model": [
        ("task", "uint256"),
        ("round", "uint256"),
        ("attempt", "uint256"),
        ("parent", "bytes32"),
        ("inputs", "bytes32"),
        ("aggregate", "bytes32"),
        ("model", "bytes32"),
        ("survivors", "uint256"),
    ],
    "Expulsion": [("task", "uint256"), ("member", "uint256"), ("evidence", "bytes32")],
    "Opening": [
        ("task", "uint256"),
        ("round", "uint256"),
        ("attempt", "uint256"),
        ("survivors", "uint256"),
        ("opened", "uint256"),
    ],
    "Seeds": [
        ("task", "uint256"),
        ("round", "uint256"),
        ("attempt", "uint256"),
        ("survivors", "uint256"),
        ("root", "bytes32"),
    ],
    "Reveal": [
        ("task", "uint256"),
        ("round", "uint256"),
        ("attempt", "uint256"),
        ("salt", "bytes32"),
        ("root", "bytes32"),
    ],
}
words = st.integers(0, 2**256 - 1)
hashes = st.binary(min_size=32, max_size=32)
accounts = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
domains = st.builds(Domain, st.integers(1, 2**64), accounts)
keys = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def oracle(domain: Domain, name: str, *values: object) -> bytes:
    """The digest as eth_account's general encoder makes it."""
    fields = [{"name": field, "type": kind} for field, kind in TYPES[name]]
    message = {field["name"]: value for field, value in zip(fields, values, strict=True)}
    where = {"name": "Folkmoot", "version": "1", "chainId": domain.chain_id, "verifyingContract": domain.contract}
    return bytes(_hash_eip191_message(encode_typed_data(where, {name: fields}, message)))


@settings(max_examples=20, deadline=None)
@given(domain=domains, numbers=st.tuples(words, words, words, words), blobs=st.tuples(*[hashes] * 4), who=accounts)
def test_digests_equal_those_of_a_general_eip_712_encoder(domain, numbers, blobs, who):
    assert statements.voucher_digest(domain, who) == oracle(domain, "Voucher", who)
    assert statements.holding_digest(domain, *numbers) == oracle(domain, "Holding", *numbers)
    committed = (*numbers[:3], blobs[0])
    assert statements.commit_digest(domain, *committed) == oracle(domain, "Commit", *committed)
    mixed = (*numbers[:3], *blobs, numbers[3])
    assert statements.model_digest(domain, *mixed) == oracle(domain, "Model", *mixed)
    weights = keccak(b"".join(number.to_bytes(32, "big") for number in numbers))
    assert statements.split_digest(domain, *numbers[:3], numbers) == oracle(domain, "Split", *numbers[:3], weights)
    expulsion = (*numbers[:2], blobs[0])
    assert statements.expulsion_digest(domain, *expulsion) == oracle(domain, "Expulsion", *expulsion)
    opened = (*numbers, numbers[0])
    assert statements.opening_digest(domain, *opened) == oracle(domain, "Opening", *opened)
    told = (*numbers, blobs[0])
    assert statements.seeds_digest(domain, *told) == oracle(domain, "Seeds", *told)
    shown = (*numbers[:3], *blobs[:2])
    assert statements.reveal_digest(domain, *shown) == oracle(domain, "Reveal", *shown)


@settings(max_examples=50, deadline=None)
@given(key=keys, digest=hashes)
def test_a_signature_names_its_signer_and_is_the_one_eth_account_makes(key, digest):
    signature = statements.sign(key, digest)
    assert signature == bytes(Account.unsafe_sign_hash(digest, key).signature)
    assert statements.recover(digest, signature) == statements.address_of(key) == Account.from_key(key).address


@settings(max_examples=30, deadline=None)
@given(key=keys, digest=hashes, at=st.integers(0, 64), flip=st.integers(1, 255))
def test_a_changed_signature_is_refused_or_names_another(key, digest, at, flip):
    signature = bytearray(statements.sign(key, digest))
    signature[at] ^= flip
    with suppress(IntegrityError):
        assert statements.recover(digest, bytes(signature)) != statements.address_of(key)


@pytest.mark.parametrize("signature", [b"", b"\1" * 64, b"\1" * 66, b"\0" * 64 + b"\x1b", b"\xff" * 64 + b"\x1b"])
def test_what_is_no_signature_is_refused(signature):
    with pytest.raises(IntegrityError):
        statements.recover(b"\7" * 32, signature)


def test_the_mirror_image_of_a_signature_is_refused():
    signature = statements.sign(b"\1" * 32, b"\7" * 32)
    mirrored = (ORDER - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(IntegrityError, match="malleable"):
        statements.recover(b"\7" * 32, signature[:32] + mirrored + bytes([55 - signature[64]]))


def test_a_hash_of_another_length_is_not_signed_for():
    with pytest.raises(ValueError, match="32 bytes"):
        statements.model_digest(Domain(1, "0x" + "11" * 20), 1, 1, 0, b"\1" * 31, b"", b"", b"", 1)
