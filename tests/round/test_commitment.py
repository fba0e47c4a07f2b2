"""A commit binds one member to one contribution to one attempt, and the record of the inputs opens every commit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folkmoot.errors import IntegrityError
from folkmoot.round.commitment import (
    commit_hash,
    contribution_root,
    decode_hashes,
    decode_inputs,
    encode_hashes,
    encode_inputs,
    seat_of,
)
from folkmoot.round.events import Reveal

untimed = settings(deadline=None, max_examples=50)
hashes = st.binary(min_size=32, max_size=32)
reveals = st.builds(Reveal, hashes, st.lists(hashes, min_size=1, max_size=4).map(tuple))

SALT, SEAT, ROOT = b"\x01" * 32, b"\x02" * 20, b"\x03" * 32


def test_a_commit_is_bound_to_salt_member_task_round_attempt_and_contribution() -> None:
    base = (SALT, SEAT, 1, 2, 3, ROOT)
    others: list[tuple[object, ...]] = [
        (b"\x09" * 32, *base[1:]),
        (SALT, b"\x09" * 20, 1, 2, 3, ROOT),
        (SALT, SEAT, 9, 2, 3, ROOT),
        (SALT, SEAT, 1, 9, 3, ROOT),
        (SALT, SEAT, 1, 2, 9, ROOT),
        (SALT, SEAT, 1, 2, 3, b"\x09" * 32),
        (SALT, SEAT, 2, 1, 3, ROOT),
    ]
    made = {commit_hash(*base), *(commit_hash(*other) for other in others)}  # type: ignore[arg-type]
    assert len(made) == 1 + len(others)
    assert all(len(each) == 32 for each in made)


@pytest.mark.parametrize(
    ("salt", "seat", "root"), [(SALT[1:], SEAT, ROOT), (SALT, SEAT + b"\0", ROOT), (SALT, SEAT, b"")]
)
def test_parts_of_another_length_make_no_commit(salt: bytes, seat: bytes, root: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes of salt"):
        commit_hash(salt, seat, 1, 1, 0, root)


def test_every_member_has_a_seat_of_its_own() -> None:
    assert len({seat_of(member) for member in range(256)}) == 256
    assert {len(seat_of(member)) for member in range(256)} == {20}


def test_the_order_of_shards_is_part_of_a_contribution() -> None:
    assert contribution_root([SALT, ROOT]) != contribution_root([ROOT, SALT])


@untimed
@given(st.dictionaries(st.integers(0, 255), reveals, max_size=6))
def test_inputs_are_recorded_and_read_back(inputs: dict[int, Reveal]) -> None:
    record = encode_inputs(inputs)
    assert decode_inputs(record) == inputs
    assert encode_inputs(dict(reversed(inputs.items()))) == record


@untimed
@given(st.binary(max_size=80))
def test_bytes_that_are_no_inputs_are_refused_and_no_two_records_say_the_same(data: bytes) -> None:
    try:
        assert encode_inputs(decode_inputs(data)) == data
    except IntegrityError as error:
        assert "not the record of a round's inputs" in str(error)  # noqa: PT017


def test_inputs_with_a_truncated_hash_are_refused() -> None:
    with pytest.raises(IntegrityError):
        decode_inputs(encode_inputs({0: Reveal(SALT, (ROOT[:31],))}))


@untimed
@given(st.lists(hashes, min_size=1, max_size=10))
def test_hashes_of_sums_are_recorded_and_read_back(sums: list[bytes]) -> None:
    assert decode_hashes(encode_hashes(sums)) == tuple(sums)


@pytest.mark.parametrize("data", [b"", b"\0" * 31, b"\0" * 33, b"\0" * 32 * 257])
def test_bytes_that_are_no_hashes_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="not the record of an aggregate"):
        decode_hashes(data)
