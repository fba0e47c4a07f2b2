"""Shares: the library's own, enough of them give the secret, and one too few give nothing."""

from __future__ import annotations

from random import Random

import pytest
from Crypto.Protocol import SecretSharing
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.round.shamir import combine, split

untimed = settings(deadline=None, max_examples=40)
holders = st.lists(st.integers(0, 511), min_size=1, max_size=12, unique=True)


def coefficients(seed: int, count: int) -> bytes:
    return Random(seed).randbytes(16 * count)


def library_share(parts: list[bytes], holder: int) -> bytes:
    """What pycryptodome's split computes of these coefficients, the secret last."""
    x, share = SecretSharing._Element(holder + 1), SecretSharing._Element(0)
    for part in parts:
        share = x * share + SecretSharing._Element(part)
    return share.encode()


@untimed
@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=5), holders, st.data())
def test_each_share_is_the_librarys_and_any_threshold_of_them_gives_the_secret(
    secrets: list[bytes], all_holders: list[int], data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, len(all_holders)))
    random = coefficients(data.draw(st.integers(0, 99)), (threshold - 1) * len(secrets))
    rows = split(secrets, all_holders, threshold, random)
    for place, secret in enumerate(secrets):
        parts = [random[at : at + 16] for at in range(16 * place, len(random), 16 * len(secrets))]
        for holder, row in zip(all_holders, rows, strict=True):
            assert row[place] == library_share([*parts, secret], holder)
        some = data.draw(st.permutations(all_holders))[:threshold]
        assert combine({holder: rows[all_holders.index(holder)][place] for holder in some}) == secret


@pytest.mark.parametrize("holder", [0, 1, 127, 255, 256, 510, 511])
def test_high_powers_of_large_indices_stay_in_their_lane(holder: int) -> None:
    """Coefficients of ones only: what grows out of a lane would change the one above it."""
    ones = b"\xff" * 16
    (row,) = split([ones, bytes(16), ones], [holder], 70, ones * 3 * 69)
    assert row[0] == row[2] == library_share([ones] * 70, holder)
    assert row[1] == library_share([ones] * 69 + [bytes(16)], holder)


@untimed
@given(st.integers(2, 9), st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_with_one_share_too_few_every_secret_is_as_likely(threshold: int, secret: bytes, other: bytes) -> None:
    """Whatever the secret, exactly one value of the missing share gives it: the last share and the secret differ by a
    factor that the others do not know of."""
    rows = split([secret], range(threshold), threshold, coefficients(7, threshold - 1))
    known = {holder: rows[holder][0] for holder in range(threshold - 1)}
    last = int.from_bytes(rows[-1][0])
    change = int.from_bytes(combine({**{h: bytes(16) for h in known}, threshold - 1: (1).to_bytes(16)}))
    wanted = SecretSharing._Element(int.from_bytes(secret) ^ int.from_bytes(other))
    step = int(wanted * SecretSharing._Element(change).inverse())
    assert combine({**known, threshold - 1: (last ^ step).to_bytes(16)}) == other


@untimed
@given(st.dictionaries(st.integers(0, 511), st.binary(min_size=16, max_size=16), min_size=1, max_size=80))
def test_any_shares_give_what_the_library_makes_of_them(shares: dict[int, bytes]) -> None:
    """Shares of a secret or not, few or many, of small indices or large."""
    given_to_library = [(holder + 1, share) for holder, share in shares.items()]
    assert combine(shares) == SecretSharing.Shamir.combine(given_to_library, ssss=False)


def test_shares_that_the_library_split_are_combined_and_the_order_they_come_in_is_nothing() -> None:
    secret = bytes(range(16))
    split_by_library = {x - 1: share for x, share in SecretSharing.Shamir.split(33, 48, secret, ssss=False)}
    for chosen in (list(split_by_library)[:33], list(split_by_library)[:14:-1]):
        assert combine({holder: split_by_library[holder] for holder in chosen}) == secret


def test_lengths_that_do_not_fit_are_refused() -> None:
    for secrets, random in (([bytes(15)], bytes(16)), ([bytes(16)], bytes(15)), ([bytes(16)], bytes(32))):
        with pytest.raises(ValueError, match="splitting 1 secrets takes 1 coefficients"):
            split(secrets, [0, 1], 2, random)
    with pytest.raises(ValueError, match="a share has 16 bytes"):
        combine({0: bytes(16), 1: bytes(15)})
