"""Fixed point: what is summed equals the weighted mean to within a step, and no bytes can overflow it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.round import fixed
from folkmoot.round.fixed import Layout, make_layout
from folkmoot.task.protocol import Contribution

# No test is timed: a noisy machine is not an error in arithmetic.
untimed = settings(deadline=None, max_examples=50)

WIDTHS = [8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64]
BITS = [8, 16, 24, 32, 40, 48]
SCHEMA = {"b": (3,), "w": (2, 5), "scalar": (), "none": (0, 4)}
METRICS = {"auc": 4, "loss": 2}


def narrow(bits: int = 16, exponent: int = -8) -> Layout:
    return make_layout(SCHEMA, dict.fromkeys(SCHEMA, exponent), METRICS, bits)


def contribution(seed: int, weight: int, scale: float = 1.0) -> Contribution:
    rng = np.random.default_rng(seed)
    return Contribution({name: rng.normal(scale=scale, size=shape) for name, shape in SCHEMA.items()}, weight)


def words_of(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-(2**45), 2**45, count) for name, count in METRICS.items()}


def travel(contributions: list[Contribution], layout: Layout, shards: int):  # type: ignore[no-untyped-def]
    """Every step a round takes: quantise, pack, receive, sum, pack the sum, receive it, divide."""
    packed = []
    for i, each in enumerate(contributions):
        packed.append(fixed.encode_shards(*fixed.quantise(each, words_of(i), layout), layout, shards))
        assert tuple(len(p) for p in packed[-1]) == layout.shard_bytes(shards)
        fixed.check_side(packed[-1][0], layout, shards)
    sums = []
    for s in range(shards):
        total = sum(fixed.decode_shard(p[s], s, layout, shards) for p in packed)
        blob = fixed.encode_sum(total[None], s, layout, shards, [len(packed)])
        assert len(blob) == fixed.sum_bytes(s, layout, shards, [len(packed)])
        sums.append(fixed.decode_sum(blob, s, layout, shards, [len(packed)]))
        assert np.array_equal(sums[-1], total[None])
    values, side = fixed.split_side(sums, layout, shards)
    return values[0], side[0]


@untimed
@given(st.data(), st.sampled_from(WIDTHS))
def test_whatever_fits_a_width_is_packed_to_it_and_back(data: st.DataObject, width: int) -> None:
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    numbers = data.draw(st.lists(st.integers(low, high), max_size=40))
    packed = fixed.pack(np.array(numbers, dtype=np.int64), width)
    assert len(packed) == fixed.packed_bytes(len(numbers), width) == math.ceil(len(numbers) * width / 8)
    assert fixed.unpack(packed, len(numbers), width).tolist() == numbers
    assert fixed.unpack(memoryview(packed), len(numbers), width).dtype == np.int64


@untimed
@given(st.binary(max_size=60), st.integers(0, 20), st.sampled_from(WIDTHS))
def test_any_bytes_unpack_to_words_within_the_width_or_are_refused(data: bytes, count: int, width: int) -> None:
    if len(data) != fixed.packed_bytes(count, width):
        with pytest.raises(IntegrityError, match="are due"):
            fixed.unpack(data, count, width)
        return
    words = fixed.unpack(data, count, width)
    assert len(words) == count
    assert all(-(1 << (width - 1)) <= int(w) < 1 << (width - 1) for w in words)


@pytest.mark.parametrize("shards", [1, 2, 3, 10, 16])
@pytest.mark.parametrize("bits", BITS)
@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6))
def test_the_round_forms_the_weighted_mean_to_within_a_step(bits: int, shards: int, weights: list[int]) -> None:
    exponent = 12 - bits
    layout = narrow(bits, exponent)
    parts = [contribution(i, w, scale=0.1 if bits > 8 else 0.001) for i, w in enumerate(weights)]
    values, side = travel(parts, layout, shards)
    result = fixed.aggregate(values, side, layout, len(parts))
    metrics = fixed.metric_words(side, layout)
    assert result.weight == sum(weights)
    assert result.members == len(parts)
    for name, shape in SCHEMA.items():
        mean = sum(p.arrays[name] * p.weight for p in parts) / sum(weights)
        assert result.arrays[name].shape == shape
        assert result.arrays[name].dtype == np.float64
        # Each contribution is at most half a step off before the division by the summed weight.
        bound = 0.5 * 2.0**exponent * len(parts) / sum(weights)
        assert np.all(np.abs(result.arrays[name] - mean) <= bound * (1 + 1e-9) + 1e-12)
    for name in METRICS:
        assert np.array_equal(metrics[name], sum(words_of(i)[name] for i in range(len(parts))))


@pytest.mark.parametrize("bits", [8, 16, 24, 32, 40, 48])
def test_a_contribution_takes_as_many_bytes_as_its_bits_and_a_few_words_beside(bits: int) -> None:
    layout = make_layout({"w": (1000,)}, {"w": -8}, {"auc": 4}, bits)
    assert sum(layout.shard_bytes(1)) == 1000 * bits // 8 + 6 * (1 + 1 + 4)
    assert sum(layout.shard_bytes(10)) == sum(layout.shard_bytes(1))


@untimed
@given(npst.arrays(np.float64, 4, elements=st.floats(-1e30, 1e30)), st.sampled_from(BITS))
def test_values_beyond_the_width_saturate_and_never_wrap(array: np.ndarray, bits: int) -> None:
    layout = make_layout({"w": (4,)}, {"w": 0}, {}, bits)
    values, side = fixed.quantise(Contribution({"w": array}, 1), {}, layout)
    limit = (1 << (bits - 1)) - 1
    assert np.all(np.abs(values) <= limit)
    assert np.all((np.sign(values) == np.sign(array)) | (np.abs(array) <= 0.5))
    assert np.all(values[array >= limit] == limit)
    assert int(side[1]) in (-1, 0, fixed.GROW, 2 * fixed.GROW)


def test_the_largest_words_of_256_members_sum_without_overflow() -> None:
    layout = make_layout({"w": (3,)}, {}, {"m": 1}, 16)
    assert layout.bits == 48
    lowest = b"\x00\x00\x00\x00\x00\x80"
    highest = b"\xff\xff\xff\xff\xff\x7f"
    side = fixed.pack(np.array([1 << 40, 64, (1 << 46) - 1]), 48)
    for word, value in ((lowest, -(1 << 47)), (highest, (1 << 47) - 1)):
        shard = word * 3 + side
        fixed.check_side(shard, layout, 1)
        total = np.zeros(6, dtype=np.int64)
        for _ in range(fixed.MAX_MEMBERS):
            total += fixed.decode_shard(shard, 0, layout, 1)
        assert total[:3].tolist() == [256 * value] * 3
        (again,) = fixed.decode_sum(fixed.encode_sum(total[None], 0, layout, 1, [256]), 0, layout, 1, [256])
        assert np.array_equal(again, total)


@untimed
@given(st.integers(1, 256), st.sampled_from(BITS))
def test_the_width_of_a_sum_holds_every_sum_of_words(members: int, bits: int) -> None:
    width = fixed.sum_width(bits, members)
    assert width <= 64
    assert width % 4 == 0 if width <= 32 else width % 8 == 0
    assert members * (1 << (bits - 1)) <= 1 << (width - 1)


def test_the_first_round_is_wide_and_the_next_has_the_policys_width() -> None:
    first = make_layout(SCHEMA, {}, METRICS, 16)
    assert (first.bits, set(first.exponents)) == (48, {fixed.WIDE_EXPONENT})
    parts = [contribution(i, 100 + i, scale=10.0) for i in range(5)]
    _, side = travel(parts, first, 3)
    second = make_layout(SCHEMA, fixed.next_exponents(side, first, 5), METRICS, 16)
    assert second.bits == second.target_bits == 16
    values, _ = fixed.quantise(parts[0], {}, second)
    # The votes leave the peak in the upper half of the range or just above it, with the headroom to spare.
    peak = int(np.abs(values[: second.sizes[0]]).max())
    assert 1 << 11 <= peak < (1 << 15) - 1


def test_an_array_without_a_step_makes_the_round_wide_for_all() -> None:
    layout = make_layout(SCHEMA, {"b": 3, "w": 4}, METRICS, 24)
    assert (layout.bits, layout.wide) == (48, True)
    assert set(layout.exponents) == {fixed.WIDE_EXPONENT}


@pytest.mark.parametrize("bits", BITS)
def test_steps_follow_values_that_grow_or_shrink(bits: int) -> None:
    schema = {"w": (8,)}
    exponents: dict[str, int] = {}
    for scale in [1.0, 1e3, 1e3, 1e3, 1e3, 1e3, 1e-3, *[1e-3] * 30]:
        layout = make_layout(schema, exponents, {}, bits)
        values, side = fixed.quantise(Contribution({"w": np.linspace(-scale, scale, 8)}, 10), {}, layout)
        exponents = fixed.next_exponents(side, layout, 1)
    limit = (1 << (bits - 1)) - 1
    spare = 2 + layout.headroom
    assert limit >> spare <= int(np.abs(values).max()) <= limit


@untimed
@given(st.lists(st.sampled_from([fixed.SHRINK, fixed.KEEP, fixed.GROW, 2 * fixed.GROW]), min_size=1, max_size=256))
def test_one_member_whose_values_do_not_fit_makes_the_step_grow_and_only_all_together_shrink_it(
    votes: list[int],
) -> None:
    layout = make_layout({"w": (1,)}, {"w": 5}, {}, 16)
    moved = fixed.next_exponents(np.array([9, sum(votes)]), layout, len(votes))["w"] - 5
    growing = sum(vote // fixed.GROW for vote in votes if vote > 0)
    assert moved == (min(growing, 2) if growing else -1 if set(votes) == {fixed.SHRINK} else 0)


def test_an_outlier_among_many_is_clipped_for_some_rounds_only() -> None:
    exponents: dict[str, int] = {}
    for _ in range(12):
        layout = make_layout({"w": (4,)}, exponents, {}, 16)
        sides = []
        for scale in [1.0] * 9 + [300.0]:
            values, side = fixed.quantise(Contribution({"w": np.full(4, scale)}, 1), {}, layout)
            sides.append(side)
        exponents = fixed.next_exponents(np.sum(sides, axis=0), layout, 10)
    assert values.max() < (1 << 15) - 1, "the last member, the outlier, is no longer clipped"


def test_steps_stay_within_what_float64_can_say() -> None:
    layout = make_layout({"w": (1,)}, {"w": 200}, {}, 16)
    assert fixed.next_exponents(np.array([1, 2]), layout, 1) == {"w": 200}
    layout = make_layout({"w": (1,)}, {"w": -200}, {}, 16)
    assert fixed.next_exponents(np.array([1, -2]), layout, 1) == {"w": -200}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_named_and_nothing_is_made(bad: float) -> None:
    part = contribution(0, 5)
    part.arrays["w"][1, 2] = bad
    with pytest.raises(TaskError, match=r"'w' holds NaN or infinity"):
        fixed.quantise(part, {}, narrow())


@pytest.mark.parametrize("weight", [0, -1, (1 << 40) + 1, 2.0, True, None, "3"])
def test_a_weight_that_is_no_count_of_examples_is_refused(weight: object) -> None:
    with pytest.raises(TaskError, match="weight"):
        fixed.quantise(Contribution(contribution(0, 1).arrays, weight), {}, narrow())  # type: ignore[arg-type]


def test_numpy_integers_serve_as_weights() -> None:
    _, side = fixed.quantise(Contribution(contribution(0, 1).arrays, np.int32(7)), {}, narrow())  # type: ignore[arg-type]
    assert side[0] == 7


def test_arrays_that_do_not_fit_the_schema_are_named() -> None:
    part = contribution(0, 5)
    with pytest.raises(TaskError, match=r"'w' has shape \(5, 2\); the schema says \(2, 5\)"):
        fixed.quantise(Contribution({**part.arrays, "w": part.arrays["w"].T}, 5), {}, narrow())
    with pytest.raises(TaskError, match="extra"):
        fixed.quantise(Contribution({**part.arrays, "extra": np.zeros(1)}, 5), {}, narrow())
    with pytest.raises(TaskError, match="the schema has"):
        fixed.quantise(Contribution({"w": part.arrays["w"]}, 5), {}, narrow())


@pytest.mark.parametrize("array", [np.array(["a"] * 10), np.zeros(10, dtype=complex), [[1.0], [2.0, 3.0]]])
def test_arrays_that_are_not_real_numbers_are_named(array: object) -> None:
    arrays = {**contribution(0, 5).arrays, "w": array}
    with pytest.raises(TaskError, match="'w'"):
        fixed.quantise(Contribution(arrays, 5), {}, narrow())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words", [[0] * 3, [1 << 46, 0, 0, 0], [-(1 << 46), 0, 0, 0], [-(1 << 63), 0, 0, 0], [0.5] * 4]
)
def test_metric_words_out_of_bounds_are_named(words: list[int]) -> None:
    with pytest.raises(TaskError, match="'auc'"):
        fixed.quantise(contribution(0, 5), {"auc": np.array(words)}, narrow())


def test_metrics_a_member_lacks_count_as_zero() -> None:
    _, side = fixed.quantise(contribution(0, 5), {}, narrow())
    assert side[-6:].tolist() == [0] * 6


@pytest.mark.parametrize(
    ("place", "word", "what"),
    [(0, 0, "weight"), (0, (1 << 40) + 1, "weight"), (1, 3, "vote"), (4, -3, "vote"), (-1, 1 << 46, "metric")],
)
def test_hostile_side_words_are_named(place: int, word: int, what: str) -> None:
    layout = narrow()
    values, side = fixed.quantise(contribution(0, 5), {}, layout)
    side[place] = word
    shards = fixed.encode_shards(values, side, layout, 4)
    with pytest.raises(IntegrityError, match=what):
        fixed.check_side(shards[0], layout, 4)


@untimed
@given(st.binary(min_size=1, max_size=200))
def test_hostile_shard_bytes_are_refused_or_stay_within_bounds(data: bytes) -> None:
    layout = narrow()
    for shard in range(3):
        try:
            words = fixed.decode_shard(data, shard, layout, 3)
            if shard == 0:
                fixed.check_side(data, layout, 3)
        except IntegrityError:
            continue
        assert np.abs(words[: layout.shard_values(3)[shard]]).max(initial=0) <= 1 << (layout.bits - 1)


@untimed
@given(st.binary(min_size=1, max_size=300), st.integers(1, 256))
def test_hostile_sums_are_refused_or_decoded(data: bytes, members: int) -> None:
    layout = narrow()
    try:
        fixed.decode_sum(data, 1, layout, 3, [members])
    except IntegrityError as error:
        assert "are due" in str(error)  # noqa: PT017


def test_an_aggregate_cannot_be_written_to() -> None:
    layout = narrow()
    values, side = travel([contribution(0, 5)], layout, 1)
    result = fixed.aggregate(values, side, layout, 1)
    with pytest.raises(ValueError, match="read-only"):
        result.arrays["w"][0, 0] = 1.0  # type: ignore[index]


def buffered(exponent: int | None = -8) -> Layout:
    """An array under a cap, and two buffers beside it."""
    known = {} if exponent is None else {"mean": exponent, "seen": exponent}
    schema = {"w": (3,), "mean": (4,), "seen": ()}
    return make_layout(schema, known, METRICS, 16, cap=1.0, weighted=False, buffers={"mean", "seen"})


def with_buffers(scale: float) -> Contribution:
    arrays = {"w": np.array([0.5, -0.5, 0.25]), "mean": scale * np.arange(4.0), "seen": np.array(scale)}
    return Contribution(arrays, 7)


def test_buffers_keep_values_that_the_cap_on_weights_has_no_room_for() -> None:
    layout = buffered()
    values, side = travel([with_buffers(1e6), with_buffers(3e6)], layout, 3)
    arrays = fixed.aggregate(values, side, layout, 2).arrays
    np.testing.assert_allclose(arrays["mean"], 2e6 / 7 * np.arange(4.0), rtol=1e-9)  # weights of 7 each
    np.testing.assert_allclose(arrays["w"], np.array([0.5, -0.5, 0.25]) / 7, atol=1e-4)
    assert arrays["seen"].shape == ()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4, 1e12])
def test_the_step_of_a_buffer_settles_where_its_values_have_room(scale: float) -> None:
    exponent: dict[str, int] | None = None
    for _ in range(20):
        layout = buffered(None if exponent is None else exponent["mean"])
        _, side = fixed.quantise(with_buffers(scale), {}, layout)
        exponent = fixed.next_exponents(side, layout, 1)
    assert exponent is not None
    assert "w" not in exponent, "the cap fixes the step of the weights"
    peak = 3 * scale / 2.0 ** exponent["mean"]
    assert 2.0**37 < peak < 2.0**41


@pytest.mark.parametrize(
    ("place", "word", "what"), [(1, 3, "vote"), (2, -3, "vote"), (3, 1 << 46, "buffer"), (6, -(1 << 46) - 1, "buffer")]
)
def test_hostile_words_of_buffers_are_named(place: int, word: int, what: str) -> None:
    layout = buffered()
    values, side = fixed.quantise(with_buffers(1.0), {}, layout)
    fixed.check_side(fixed.encode_shards(values, side, layout, 4)[0], layout, 4)
    side[place] = word
    with pytest.raises(IntegrityError, match=what):
        fixed.check_side(fixed.encode_shards(values, side, layout, 4)[0], layout, 4)


def test_a_sum_of_buffers_that_no_members_can_have_counts_as_the_nearest_they_can() -> None:
    layout = buffered()
    _, side = travel([with_buffers(1.0)] * 3, layout, 1)
    side[3:] = 1 << 60  # as a liar under masks may leave it
    means = fixed.buffer_means(side[None], layout, [3], [3])
    assert float(np.abs(means).max()) == ((1 << 46) - 1) * 2.0**-8


def test_a_liars_votes_in_its_group_move_the_step_of_a_buffer_no_more_than_an_honest_row_wants() -> None:
    layout = buffered()
    _, honest = fixed.quantise(with_buffers(1e8), {}, layout)
    rows = np.stack([3 * honest, 3 * honest, 3 * honest])
    rows[0, 1:3] = 1 << 50
    assert fixed.robust_exponents(rows, layout, 1, [3, 3, 3]) == fixed.next_exponents(honest, layout, 1)
    new = buffered(None)
    _, asked = fixed.quantise(with_buffers(1e12), {}, new)
    sums = np.stack([3 * asked, 3 * asked, -(1 << 50) * np.ones_like(asked)])
    assert fixed.robust_exponents(sums, new, 1, [3, 3, 3]) == fixed.next_exponents(asked, new, 1)
