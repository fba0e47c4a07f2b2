"""Robust rules: what they promise, what they refuse, and bits that must not move.

``golden/robust.json`` was made by ``python tests/round/test_robust.py``; make it anew only with a new format version.
"""

from __future__ import annotations

import doctest
import json
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError
from folkmoot.round import mixing, norms, robust
from folkmoot.round.robust import cap, robust_mean
from folkmoot.task.policy import MIXES, RULES

GOLDEN = Path(__file__).with_name("golden") / "robust.json"
Array = NDArray[np.float64]
BY_COORDINATE = ("mean", "median", "trimmed-mean")
IN_RANGE = ("median", "trimmed-mean")
PAIRS = [(rule, mix) for rule in RULES for mix in MIXES]
TIED = [("krum", "nearest-neighbours"), ("multi-krum", "nearest-neighbours")]
"""Mixing can leave inputs at the same distances up to rounding, and then the first one wins."""


def vectors(rows: int, columns: int) -> Array:
    """Rows that need no random numbers: multiples of 1/64 between -8 and 8."""
    at = np.arange(rows * columns, dtype=np.int64)
    return (((at * 7919 + (at * at) % 521 * 31) % 1024 - 512) / 64.0).reshape(rows, columns)


SIXTEENTHS = st.integers(-1600, 1600).map(lambda i: i / 16)
ROWS = st.integers(9, 13)
"""Enough for every rule after every mix and one liar."""


def inputs(rows: st.SearchStrategy[int] = ROWS) -> st.SearchStrategy[Array]:
    return st.tuples(rows, st.integers(1, 5)).flatmap(lambda shape: arrays(np.float64, shape, elements=SIXTEENTHS))


def unlike(data: Array) -> Array:
    """``data`` with no two rows as good as each other, so that nothing hangs on a tie."""
    return data + vectors(*data.shape) ** 3 / 7


def bits(array: Array) -> str:
    return np.ascontiguousarray(array, dtype="<f8").tobytes().hex()


# what each promises


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mix", MIXES)
def test_every_rule_and_mix_of_a_policy_exists(rule: str, mix: str) -> None:
    assert robust_mean(vectors(13, 3), rule, 2, mix=mix).shape == (3,)


@given(inputs(st.just(9)), arrays(np.float64, (4, 5), elements=st.floats(-1e30, 1e30)), st.permutations(range(9)))
def test_no_lie_moves_a_coordinate_out_of_the_honest_range(data: Array, lies: Array, order: list[int]) -> None:
    honest = data[:5]
    both = np.concatenate([honest, lies[:, : data.shape[1]]])[order]
    for rule in IN_RANGE:
        found = robust_mean(both, rule, 4)
        assert (found >= honest.min(axis=0) - 1e-9).all(), rule
        assert (found <= honest.max(axis=0) + 1e-9).all(), rule


@pytest.mark.parametrize(("rule", "mix"), [pair for pair in PAIRS if pair[0] != "mean"])
def test_no_rule_follows_far_lies(rule: str, mix: str) -> None:
    honest = vectors(15, 20)
    spread = np.sqrt(np.square(honest - honest.mean(axis=0)).sum(axis=1).mean())
    for size in (1e2, 1e6, 1e12):
        for lies in (np.full((3, 20), size), size * vectors(3, 20)):
            found = robust_mean(np.concatenate([honest, lies]), rule, 3, mix=mix)
            assert np.linalg.norm(found - honest.mean(axis=0)) < 2 * spread


@pytest.mark.parametrize(("rule", "mix"), [pair for pair in PAIRS if pair[1] != "buckets" and pair not in TIED])
@given(data=inputs(), random=st.randoms())
@settings(max_examples=25)
def test_the_order_of_inputs_does_not_matter(rule: str, mix: str, data: Array, random: Any) -> None:
    data = unlike(data)
    order = random.sample(range(len(data)), len(data))
    found = robust_mean(data[order], rule, 1, mix=mix)
    np.testing.assert_allclose(found, robust_mean(data, rule, 1, mix=mix), rtol=1e-9, atol=1e-9)


@given(data=inputs(), random=st.randoms())
@settings(max_examples=25)
def test_the_order_of_inputs_changes_no_bit_of_median_and_trimmed_mean(data: Array, random: Any) -> None:
    order = random.sample(range(len(data)), len(data))
    for rule in IN_RANGE:
        assert bits(robust_mean(data[order], rule, 1)) == bits(robust_mean(data, rule, 1))


@pytest.mark.parametrize(("rule", "mix"), [pair for pair in PAIRS if pair[0] != "centred-clipping"])
@given(data=inputs(), by=st.integers(-1000, 1000))
@settings(max_examples=25)
def test_moving_all_inputs_moves_the_result_alike(rule: str, mix: str, data: Array, by: int) -> None:
    data = unlike(data)
    found = robust_mean(data + by, rule, 1, mix=mix)
    np.testing.assert_allclose(found, robust_mean(data, rule, 1, mix=mix) + by, rtol=1e-9, atol=1e-9)


@given(inputs(), st.integers(-1000, 1000))
@settings(max_examples=25)
def test_centred_clipping_moves_with_its_centre(data: Array, by: int) -> None:
    zero = np.zeros(data.shape[1])
    found = robust_mean(data + by, "centred-clipping", 1, centre=zero + by)
    np.testing.assert_allclose(found, robust_mean(data, "centred-clipping", 1) + by, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("rule", "mix"), PAIRS)
@given(data=inputs(), power=st.integers(-60, 60))
@settings(max_examples=25)
def test_the_unit_of_the_inputs_does_not_matter(rule: str, mix: str, data: Array, power: int) -> None:
    found = robust_mean(data * 2.0**power, rule, 1, mix=mix)
    assert bits(found) == bits(robust_mean(data, rule, 1, mix=mix) * 2.0**power)


@pytest.mark.parametrize(("rule", "mix"), PAIRS)
def test_where_all_agree_nothing_is_changed(rule: str, mix: str) -> None:
    one = vectors(1, 40)
    found = robust_mean(np.repeat(one, 13, axis=0), rule, 2, mix=mix)
    np.testing.assert_allclose(found, one[0], rtol=1e-12, atol=1e-12)


@given(inputs(), st.floats(1e-3, 1e3))
def test_capped_vectors_are_no_longer_than_the_cap_and_point_where_they_did(data: Array, clip: float) -> None:
    capped = cap(data, clip)
    before, after = np.linalg.norm(data, axis=1), np.linalg.norm(capped, axis=1)
    assert (after <= clip * (1 + 1e-12)).all()
    np.testing.assert_allclose(after, np.minimum(before, clip))
    np.testing.assert_allclose(capped * before[:, None], data * after[:, None], rtol=1e-9, atol=1e-9)
    small = before < clip * (1 - 1e-12)
    assert bits(capped[small]) == bits(data[small])


# what is refused


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mix", MIXES)
def test_too_few_inputs_are_refused_with_the_arithmetic(rule: str, mix: str) -> None:
    enough = next(m for m in range(1, 40) if _fits(m, rule, mix))
    assert robust_mean(vectors(enough, 2), rule, 2, mix=mix).shape == (2,)
    with pytest.raises(IntegrityError, match=r"2 liars among \d+ inputs or more; here are \d+"):
        robust_mean(vectors(enough, 2)[1:], rule, 2, mix=mix)


def _fits(inputs: int, rule: str, mix: str) -> bool:
    mixed = -(-inputs // 2) if mix == "buckets" else inputs
    return inputs >= MIXES[mix](2) and mixed >= RULES[rule](2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    data = vectors(5, 3)
    data[2, 1] = value
    with pytest.raises(IntegrityError, match="NaN or infinity"):
        robust_mean(data, "median", 1)


# the same bits everywhere


@pytest.mark.parametrize("rule", BY_COORDINATE)
@given(data=inputs(), cut=st.integers(0, 5))
@settings(max_examples=25)
def test_a_rule_by_coordinate_may_be_computed_in_pieces(rule: str, data: Array, cut: int) -> None:
    pieces = [robust_mean(data[:, :cut], rule, 1), robust_mean(data[:, cut:], rule, 1)]
    assert bits(np.concatenate(pieces)) == bits(robust_mean(data, rule, 1))


@pytest.mark.parametrize(("rule", "mix"), PAIRS)
def test_the_layout_in_memory_changes_no_bit(rule: str, mix: str) -> None:
    data = vectors(13, 5000)
    found = bits(robust_mean(data, rule, 2, mix=mix))
    padded = np.zeros((26, 5003))
    padded[::2, 3:] = data
    for other in (np.asfortranarray(data), padded[::2, 3:], np.ascontiguousarray(data[:, ::-1])[:, ::-1]):
        assert bits(robust_mean(other, rule, 2, mix=mix)) == found


@pytest.mark.parametrize("rule", RULES)
def test_minus_zero_does_not_get_through(rule: str) -> None:
    data = np.where(np.arange(35).reshape(7, 5) % 2, 0.0, -0.0)
    assert bits(robust_mean(data, rule, 1)) == bits(np.zeros(5))


def test_equally_good_inputs_are_chosen_by_their_place() -> None:
    data = np.array([[5.0], [0.0], [1.0], [5.0], [4.0], [0.0], [9.0]])
    assert robust_mean(data, "krum", 1).tolist() == robust_mean(data[:, ::-1], "krum", 1).tolist()
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5]])[[4, 3, 0, 1, 2]]
    corners = square[1:]
    assert robust_mean(np.concatenate([corners, corners]), "krum", 1).tolist() == corners[0].tolist()


@given(arrays(np.float64, st.tuples(st.integers(0, 40), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)))
def test_tree_sum_is_a_sum(data: Array) -> None:
    exact = [float(sum(map(Fraction, column), Fraction())) for column in data.T.tolist()]
    np.testing.assert_allclose(norms.tree_sum(data), exact, rtol=1e-12, atol=1e-8)


def test_norms_and_distances_are_numpys_to_rounding() -> None:
    data = vectors(6, 3 * norms.BLOCK + 7)
    np.testing.assert_allclose(norms.norms(data), np.linalg.norm(data, axis=1), rtol=1e-13)
    np.testing.assert_allclose(norms.distances(data, data[2]), np.linalg.norm(data - data[2], axis=1), rtol=1e-13)
    squares = np.square(data[:, None] - data[None]).sum(axis=2)
    found = norms.squared_distances(data)
    np.testing.assert_allclose(found, squares, rtol=1e-13)
    assert bits(found) == bits(found.T)


def test_buckets_are_another_deal_under_another_seed() -> None:
    data = vectors(9, 2)
    first, again, other = (mixing.buckets(data, seed) for seed in (bytes(32), bytes(32), bytes([1]) * 32))
    assert bits(first) == bits(again) != bits(other)
    np.testing.assert_allclose((first[:4].sum(axis=0) * 2 + first[4]) / 9, data.mean(axis=0))


def golden() -> dict[str, str]:
    """Every rule after every mix, and the cap, over more columns than a block has."""
    made = {}
    data = vectors(13, 5000) / 3.0
    seed = bytes(range(32))
    for rule, mix in PAIRS:
        found = robust_mean(data, rule, 2, mix=mix, seed=seed)
        made[f"{rule} after {mix}"] = _digest(found)
    made["centred-clipping from a centre"] = _digest(robust_mean(data, "centred-clipping", 2, centre=data[0] / 2))
    made["cap"] = _digest(cap(data, 150.0).reshape(-1))
    return made


def _digest(found: Array) -> str:
    """The first two values, and all of them as words, added and xored."""
    words = np.ascontiguousarray(found, dtype="<f8").view("<u8")
    return f"{bits(found[:2])} {int(np.bitwise_xor.reduce(words)):016x} {int(words.sum(dtype=np.uint64)):016x}"


def test_bits_have_not_moved() -> None:
    wanted = json.loads(GOLDEN.read_text())
    made = golden()
    assert wanted.keys() == made.keys()
    for name, value in wanted.items():
        assert made[name] == value, f"{name} moved"


@pytest.mark.parametrize("module", [norms, mixing, robust])
def test_examples_in_docstrings(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
