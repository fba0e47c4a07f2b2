import pytest
import rlp
from eth_account import Account
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from small_chain import account

from folkmoot.errors import LedgerRefused
from folkmoot.ledger.transaction import GAS_LIMIT, RAW_LIMIT, decode, sign_1559, sign_legacy

CHAIN = 7
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def signed(**fields):
    """A type 2 transaction of the first account."""
    transaction = {
        "chainId": CHAIN,
        "nonce": 3,
        "to": "0x" + "22" * 20,
        "gas": 100_000,
        "maxFeePerGas": 5,
        "maxPriorityFeePerGas": 2,
        "value": 0,
        "data": b"\x01\x02",
    } | fields
    return bytes(account(0).sign_transaction(transaction).raw_transaction)


def legacy(**fields):
    fees = {"maxFeePerGas", "maxPriorityFeePerGas"}
    transaction = {"chainId": CHAIN, "nonce": 3, "to": "0x" + "22" * 20, "gas": 100_000, "gasPrice": 5, "value": 0}
    transaction |= fields
    return bytes(account(0).sign_transaction({k: v for k, v in transaction.items() if k not in fees}).raw_transaction)


@settings(max_examples=30, deadline=None)
@given(
    nonce=st.integers(0, 2**63),
    gas=st.integers(0, GAS_LIMIT),
    fee=st.integers(0, 2**128),
    data=st.binary(max_size=300),
    to=st.one_of(st.just(b""), st.binary(min_size=20, max_size=20)),
    old=st.booleans(),
)
def test_a_signed_transaction_reads_back_as_it_was_signed(nonce, gas, fee, data, to, old):
    to_text = to_checksum_address(to) if to else ""
    common = {"nonce": nonce, "gas": gas, "data": data, "to": to_text}
    raw = legacy(**common, gasPrice=fee) if old else signed(**common, maxFeePerGas=fee, maxPriorityFeePerGas=0)
    found = decode(raw, CHAIN)
    assert found.sender == account(0).address.lower()
    assert (found.nonce, found.gas, found.data, found.max_fee) == (nonce, gas, data, fee)
    assert found.to == (to_text.lower() or None)
    assert found.kind == (0 if old else 2)


@settings(max_examples=60, deadline=None)
@given(
    key=st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big")),
    chain_id=st.integers(1, 2**52),
    nonce=st.integers(0, 2**63),
    gas=st.integers(1, GAS_LIMIT),
    fees=st.tuples(st.integers(0, 2**64), st.integers(0, 2**64)).map(sorted),
    data=st.binary(max_size=300),
    to=st.one_of(st.none(), st.binary(min_size=20, max_size=20).map(to_checksum_address)),
)
def test_what_is_signed_here_is_what_eth_account_signs_to_the_byte(key, chain_id, nonce, gas, fees, data, to):
    priority, most = fees
    common = {"chainId": chain_id, "nonce": nonce, "gas": gas, "value": 0, "data": data} | ({"to": to} if to else {})
    old = Account.sign_transaction(common | {"gasPrice": most}, key).raw_transaction
    assert sign_legacy(key, chain_id, nonce, to, data, gas=gas, gas_price=most) == bytes(old)
    new = Account.sign_transaction(common | {"maxFeePerGas": most, "maxPriorityFeePerGas": priority}, key)
    fees = {"max_fee": most, "max_priority_fee": priority}
    assert sign_1559(key, chain_id, nonce, to, data, gas=gas, **fees) == bytes(new.raw_transaction)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b"", "is empty"),
        (b"\x01" + bytes(10), "type 1"),
        (b"\x02" + bytes(10), "not RLP"),
        (b"\x02\xc0", "12 fields"),
        (b"\xc9" + b"\x01" * 9, "no particular chain"),
        (signed(chainId=8), "signed for chain 8; this is chain 7"),
        (legacy(chainId=8), "signed for chain 8; this is chain 7"),
        (signed(value=1), "no coins"),
        (signed(gas=GAS_LIMIT + 1), "gas limit"),
        (signed(data=bytes(RAW_LIMIT)), "the limit is 131072"),
        (signed(accessList=[{"address": "0x" + "11" * 20, "storageKeys": []}]), "access lists"),
        (signed() + b"\x00", "not RLP"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw, complaint):
    with pytest.raises(LedgerRefused, match=complaint):
        decode(raw, CHAIN)


def rewritten(place, value):
    """The valid transaction with one field replaced, signature and all else kept."""
    fields = rlp.decode(signed()[1:])
    fields[place] = value
    return b"\x02" + rlp.encode(fields)


def test_a_second_encoding_of_a_valid_transaction_is_refused():
    fields = rlp.decode(signed()[1:])
    with pytest.raises(LedgerRefused, match="shortest form"):
        decode(rewritten(1, b"\x00" + fields[1]), CHAIN)
    upper = ORDER - int.from_bytes(fields[11], "big")
    with pytest.raises(LedgerRefused, match="upper half"):
        decode(rewritten(11, upper.to_bytes(32, "big")), CHAIN)
    with pytest.raises(LedgerRefused, match="parity"):
        decode(rewritten(9, b"\x02"), CHAIN)
    with pytest.raises(LedgerRefused, match="names no key"):
        decode(rewritten(10, b""), CHAIN)
    with pytest.raises(LedgerRefused, match="an address has 20"):
        decode(rewritten(5, b"\x01" * 19), CHAIN)
    with pytest.raises(LedgerRefused, match="field 7 of the transaction is a list"):
        decode(rewritten(7, []), CHAIN)
    with pytest.raises(LedgerRefused, match="field 8 of the transaction is a string"):
        decode(rewritten(8, b""), CHAIN)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 200), value=st.integers(0, 255), old=st.booleans())
def test_no_changed_byte_passes_for_the_same_signer(at, value, old):
    raw = bytearray(legacy() if old else signed())
    at %= len(raw)
    if raw[at] == value:
        return
    raw[at] = value
    try:
        found = decode(bytes(raw), CHAIN)
    except LedgerRefused:
        return
    assert found.sender != account(0).address.lower()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"\x02" + rlp.encode([tail] * 12))))
def test_hostile_bytes_are_refused_and_nothing_else(raw):
    with pytest.raises(LedgerRefused):
        decode(raw, CHAIN)
