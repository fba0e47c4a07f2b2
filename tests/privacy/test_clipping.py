import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.privacy.clipping import clipped, clipped_words, norm, square_of_norm

DRAW = np.random.default_rng(0)


def test_a_norm_is_over_all_arrays_together() -> None:
    assert norm({"a": np.full((2, 2), 2.0), "b": np.array([-3.0])}) == 5.0
    assert norm({}) == norm({"a": np.zeros((0, 3))}) == norm({"a": np.zeros(3)}) == 0.0


def test_a_norm_neither_overflows_nor_vanishes() -> None:
    assert norm({"a": np.array([3e300, 4e300])}) == pytest.approx(5e300)
    assert norm({"a": np.array([3e-300, 4e-300])}) == pytest.approx(5e-300)
    assert math.isnan(norm({"a": np.array([np.nan, 1.0])}))
    assert norm({"a": np.array([np.inf, 1.0])}) == math.inf


def test_a_norm_has_the_same_bits_however_the_arrays_are_laid_out() -> None:
    """NumPy adds in an order that depends on strides and on the processor; the golden value is of a fixed order."""
    array = DRAW.normal(size=(301, 203))
    size = norm({"a": array, "b": array[0]})
    assert size == norm({"b": array[0].copy(), "a": np.asfortranarray(array)})
    assert size == pytest.approx(math.sqrt(math.fsum((array**2).ravel()) + math.fsum(array[0] ** 2)), rel=1e-15)
    assert norm({"a": 1.0 / np.arange(1.0, 100_001.0)}).hex() == "0x1.4854ee203b869p+0"


@given(st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
def test_clipping_holds_the_cap_and_the_direction(cap: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    arrays = {"a": draw.normal(size=7) * draw.exponential(100), "b": draw.normal(size=(2, 3))}
    held = clipped(arrays, cap)
    assert norm(held) <= min(cap, norm(arrays)) * (1 + 1e-15)
    if norm(arrays) <= cap:
        assert held is arrays
    else:
        for name, array in arrays.items():
            np.testing.assert_allclose(held[name] * norm(arrays), array * cap, rtol=1e-12)


def test_what_is_not_finite_is_left_for_the_caller_to_refuse() -> None:
    arrays = {"a": np.array([np.nan, 1.0])}
    assert clipped(arrays, 1.0) is arrays
    assert np.isinf(clipped({"a": np.array([np.inf, 1.0])}, 1.0)["a"][0])


words_with_steps = st.lists(
    st.tuples(st.lists(st.integers(-(2**47), 2**47), max_size=20), st.integers(-60, 60)), min_size=1, max_size=4
)


def joined(parts: list[tuple[list[int], int]]) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    words = np.array([word for part, _ in parts for word in part], dtype=np.int64)
    return words, tuple(step for _, step in parts), tuple(len(part) for part, _ in parts)


@given(words_with_steps)
def test_the_square_of_an_integer_norm_is_exact(parts: list[tuple[list[int], int]]) -> None:
    due = sum((Fraction(word) ** 2 * Fraction(4) ** step for part, step in parts for word in part), Fraction(0))
    assert square_of_norm(*joined(parts)) == due


@given(words_with_steps, st.floats(1e-9, 1e30))
def test_integers_never_exceed_the_cap_and_only_move_towards_zero(
    parts: list[tuple[list[int], int]], cap: float
) -> None:
    words, steps, sizes = joined(parts)
    before = words.copy()
    held = clipped_words(words, steps, sizes, cap)
    assert square_of_norm(held, steps, sizes) <= Fraction(cap) ** 2
    assert (words == before).all()
    assert (np.abs(held) <= np.abs(words)).all()
    assert (held * np.sign(words) >= 0).all()
    if square_of_norm(words, steps, sizes) <= Fraction(cap) ** 2:
        assert held is words


@pytest.mark.parametrize("bits", [8, 16, 24, 48])
def test_rounding_a_clipped_vector_costs_few_words_one_step(bits: int) -> None:
    """Rounding to nearest is longer than the cap about half of the time; whole words are not lost to it."""
    over = 0
    for seed in range(16):
        draw = np.random.default_rng(seed)
        arrays = clipped({"a": draw.normal(size=3000), "b": draw.normal(size=200) / 16}, 1.0)
        steps, sizes = (2 - bits, -2 - bits), (3000, 200)
        scaled = np.concatenate([arrays["a"] * 2.0 ** -steps[0], arrays["b"] * 2.0 ** -steps[1]])
        words = np.rint(scaled).astype(np.int64)
        over += square_of_norm(words, steps, sizes) > 1
        held = clipped_words(words, steps, sizes, 1.0)
        assert square_of_norm(held, steps, sizes) <= 1
        moved = np.abs(held - words)
        assert moved.max() <= 1
        assert moved.sum() < 320
    assert over >= 2


def test_a_vector_far_above_the_cap_keeps_its_direction() -> None:
    words = (DRAW.normal(size=1000) * 2**40).astype(np.int64)
    held = clipped_words(words, (-30,), (1000,), 1.0)
    assert 0.999 < square_of_norm(held, (-30,), (1000,)) <= 1
    assert np.corrcoef(held, words)[0, 1] > 0.999999


def test_zeros_and_a_cap_below_one_step_are_held_too() -> None:
    assert clipped_words(np.array([1, -1, 0]), (0,), (3,), 0.5).tolist() == [0, 0, 0]
    assert clipped_words(np.zeros(0, dtype=np.int64), (), (), 0.5).tolist() == []
