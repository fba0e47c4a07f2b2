import pytest
from eth_account import Account
from eth_hash.auto import keccak as oracle
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.errors import LocalError
from folkmoot.keccak import keccak
from folkmoot.ledger import Signer
from folkmoot.ledger.address import checksum_address


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big")))
def test_a_signer_has_the_address_eth_account_gives_its_key(key):
    assert Signer(key).address == Account.from_key(key).address


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\x01" * 33])
def test_bytes_that_are_no_private_key_are_refused(key):
    with pytest.raises(LocalError, match="32 bytes"):
        Signer(key)


def test_a_signer_never_shows_its_key():
    assert "07" * 32 not in repr(Signer(b"\x07" * 32))


@given(st.binary(min_size=20, max_size=20))
def test_addresses_are_checksummed_as_eip_55_says(raw):
    assert checksum_address(raw) == checksum_address("0x" + raw.hex().upper()) == to_checksum_address(raw)


@pytest.mark.parametrize("address", ["", "0x", "0x" + "12" * 19, "0x" + "zz" * 20, "0x" + "12 " * 20, b"\x01" * 21])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="not an address"):
        checksum_address(address)


@given(st.binary(max_size=300))
def test_keccak_is_ethereums(data):
    assert keccak(data) == oracle(data)
