import os
from contextlib import suppress
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.hdaccount.mnemonic import Mnemonic
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.records import Member
from folkmoot.peer.identity import Identity

SEED = bytes(range(32))
seeds = st.binary(min_size=32, max_size=32)


def as_member(identity: Identity, **changes: object) -> Member:
    fields: dict[str, object] = {
        "index": 0,
        "address": identity.account.address,
        "name": "cleveland",
        "endpoint": identity.endpoint,
        "exchange": identity.exchange,
        "binding": identity.binding(),
        "addresses": (),
    }
    return Member(**(fields | changes))  # type: ignore[arg-type]


def test_a_seed_always_gives_the_same_keys() -> None:
    # Golden: a change here would cost every member its seat.
    identity = Identity(SEED)
    assert identity.account.address == "0x8A550cFb3a4c36BE12db8FB5a1896910139AE79F"
    assert identity.endpoint.hex() == "acfaaa91bf4aacd154d70e5c84521e458709ac9b49bd348b95a7761232963e3c"
    assert identity.exchange.hex() == "c43238b26979f8838521a2e91cc79216ca4704a1cd715a3db57cd7125134382f"
    assert identity.binding().hex() == (
        "c4497d0d6c0cb9393f531dc569cdaa140896b95d8dea98a6f4dbb72183dd4e99"
        "f9482cafcfcc93c3fef90028c0bc96ef589cc1593cc31407bbbf3e7d3110410c"
    )
    assert identity.words().startswith("abandon amount liar amount expire adjust cage candy arch gather drum bullet")


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_three_keys_of_a_seed_have_nothing_in_common(seed: bytes) -> None:
    identity = Identity(seed)
    secrets = {bytes(identity.account.key), identity.endpoint_secret, identity.exchange_secret, seed}
    assert len(secrets) == 4
    assert all(len(secret) == 32 for secret in secrets)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_words_restore_the_identity_and_are_plain_bip39(seed: bytes) -> None:
    identity = Identity(seed)
    assert Mnemonic().is_mnemonic_valid(identity.words())
    assert Identity.from_words(identity.words()) == identity
    assert Identity.from_words("  " + identity.words().upper().replace(" ", "\n ")) == identity
    assert Identity.from_words(identity.words().split()) == identity


def test_swapped_words_are_noticed() -> None:
    words = Identity(SEED).words().split()
    words[3], words[7] = words[7], words[3]
    with pytest.raises(LocalError, match="checksum is wrong"):
        Identity.from_words(words)


def test_a_mistyped_word_is_named_with_the_likely_one() -> None:
    words = Identity(SEED).words().split()
    words[2] = "liarr"
    with pytest.raises(LocalError, match=r"word 3 of the backup, 'liarr', .* did you mean 'liar'\?"):
        Identity.from_words(words)


def test_a_missing_word_is_said_by_count() -> None:
    with pytest.raises(LocalError, match="24 words, these are 23"):
        Identity.from_words(Identity(SEED).words().rsplit(" ", 1)[0])


def test_the_file_is_private_and_brings_the_identity_back(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    old = os.umask(0)
    try:
        Identity(SEED).save(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Identity.load(path) == Identity(SEED)
    assert [entry.name for entry in tmp_path.iterdir()] == ["identity.json"]


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    Identity(SEED).save(path)
    with pytest.raises(LocalError, match="exists and is not overwritten"):
        Identity.create().save(path)
    assert Identity.load(path) == Identity(SEED)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o660])
def test_a_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.json"
    Identity(SEED).save(path)
    path.chmod(mode)
    with pytest.raises(LocalError, match=f"chmod 600 {path}"):
        Identity.load(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_never_gives_another_identity(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("home") / "identity.json"
    Identity(SEED).save(path)
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw[: data.draw(st.integers(at + 1, len(raw)))])
    with suppress(IntegrityError):
        assert Identity.load(path) == Identity(SEED)  # white space or the case of a digit changed


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    Identity(SEED).save(path)
    path.write_bytes(path.read_bytes().replace(SEED.hex().encode(), SEED[::-1].hex().encode()))
    with pytest.raises(IntegrityError, match=r"checksum does not fit its seed.*folkmoot restore"):
        Identity.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="nowhere: No such file"):
        Identity.load(tmp_path / "nowhere")


def test_the_binding_holds_for_the_member_it_was_made_for_and_no_other() -> None:
    identity, other = Identity(SEED), Identity(bytes(32))
    assert check_binding(as_member(identity))
    assert not check_binding(as_member(identity, address=other.account.address))
    assert not check_binding(as_member(identity, endpoint=other.endpoint))
    assert not check_binding(as_member(identity, exchange=other.exchange))
    assert not check_binding(as_member(identity, binding=other.binding()))


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": b""},
        {"endpoint": b"\xff" * 32},
        {"binding": b""},
        {"address": "0x12"},
        {"exchange": b"x"},
        {"address": "no"},
    ],
)
def test_a_malformed_binding_is_false_and_not_an_error(changes: dict[str, object]) -> None:
    assert not check_binding(as_member(Identity(SEED), **changes))


def test_neither_repr_nor_traceback_shows_the_seed() -> None:
    identity = Identity(SEED)
    assert SEED.hex() not in repr(identity)
    assert repr(SEED) not in repr(identity)


def test_the_account_signs_for_its_address() -> None:
    identity = Identity(SEED)
    assert Account.from_key(identity.account.key).address == identity.account.address
