"""Effects as integers and bytes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.errors import IntegrityError
from folkmoot.reward import decode_effects, encode_effects
from folkmoot.reward.wire import LIMIT, STEP, units

VECTORS = st.lists(st.integers(-LIMIT, LIMIT), max_size=20)


@given(VECTORS)
def test_what_is_encoded_is_decoded(vector: list[int]) -> None:
    assert decode_effects(encode_effects(vector), len(vector)) == tuple(vector)


@given(st.binary(max_size=80), st.integers(0, 10))
def test_hostile_bytes_are_a_vector_within_the_limit_or_refused(data: bytes, groups: int) -> None:
    try:
        vector = decode_effects(data, groups)
    except IntegrityError:
        return
    assert encode_effects(vector) == data
    assert len(vector) == groups


@given(st.floats())
def test_any_effect_has_its_units(effect: float) -> None:
    found = units(effect)
    assert abs(found) <= LIMIT
    if abs(effect) < LIMIT * STEP:
        assert abs(found * STEP - effect) <= STEP / 2


def test_what_is_no_effect_is_not_sent() -> None:
    assert units(math.nan) == 0
    for vector in ([LIMIT + 1], [True], [0.5]):
        with pytest.raises(ValueError, match="integers of at most"):
            encode_effects(vector)  # type: ignore[arg-type]
