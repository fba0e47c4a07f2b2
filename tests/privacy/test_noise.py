"""The sampler against the exact distribution. Seeds are fixed: a test that passes always passes."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from folkmoot.privacy import noise
from folkmoot.privacy.noise import MAX_SIGMA, discrete_gaussian, gaussian_words, sigma_in_steps, whole_thresholds

SEED = bytes(range(32))


def exact(sigma: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The integers within ``reach`` and their probabilities."""
    n = np.arange(-reach, reach + 1)
    mass = np.exp(-(n.astype(float) ** 2) / (2 * sigma**2))
    return n, mass / mass.sum()


def p_value(samples: np.ndarray, sigma: int) -> float:
    """Chi-squared of the samples against the exact distribution; what is expected less than 10 times is pooled."""
    n, mass = exact(sigma, 12 * sigma)
    counts = np.array([(samples == value).sum() for value in n]) if sigma < 50 else np.bincount(samples + 12 * sigma)
    expected = mass * len(samples)
    counts = np.pad(counts, (0, len(n) - len(counts)))
    rare = expected < 10
    observed = np.append(counts[~rare], counts[rare].sum())
    due = np.append(expected[~rare], expected[rare].sum())
    return float(stats.chisquare(observed, due * observed.sum() / due.sum()).pvalue)


@pytest.mark.parametrize("sigma", [1, 2, 3, 7, 16, 100])
def test_every_integer_comes_as_often_as_it_should(sigma: int) -> None:
    samples = discrete_gaussian(sigma, 300_000, SEED)
    assert len(samples) == 300_000
    assert p_value(samples, sigma) > 0.001


def test_the_same_test_notices_a_rounded_continuous_gaussian() -> None:
    rounded = np.rint(np.random.default_rng(0).normal(scale=1.0, size=300_000)).astype(np.int64)
    assert p_value(rounded, 1) < 1e-6


@pytest.mark.parametrize("sigma", [1, 5, 1 << 16, (1 << 30) - 1, 1 << 30, (1 << 32) + 1, MAX_SIGMA])
def test_moments_are_those_of_the_distribution(sigma: int) -> None:
    count = 200_000
    scaled = discrete_gaussian(sigma, count, SEED) / sigma
    assert abs(scaled.mean()) < 4 / math.sqrt(count)
    # The variance of a discrete Gaussian is a little below sigma squared (Canonne et al., corollary 9): 1e-7 at 1.
    assert scaled.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / count))
    assert (scaled**4).mean() == pytest.approx(3.0, abs=4 * math.sqrt(96 / count))


@pytest.mark.parametrize("sigma", [1 << 20, (1 << 30) + 12_345])
def test_at_large_scales_samples_are_normal_and_their_last_digits_uniform(sigma: int) -> None:
    samples = discrete_gaussian(sigma, 100_000, SEED)
    assert stats.kstest(samples / sigma, "norm").pvalue > 0.001
    assert stats.chisquare(np.bincount(samples & 63)).pvalue > 0.001


def test_plus_and_minus_are_alike_for_every_size() -> None:
    samples = discrete_gaussian(3, 400_000, SEED)
    for size in range(1, 9):
        plus, minus = int((samples == size).sum()), int((samples == -size).sum())
        assert stats.binomtest(plus, plus + minus).pvalue > 0.001


def test_samples_do_not_depend_on_their_neighbours() -> None:
    samples = discrete_gaussian(1 << 20, 200_000, SEED).astype(float)
    centred = samples / samples.std()
    for lag in (1, 2, 7, 1 << 14):
        assert abs((centred[:-lag] * centred[lag:]).mean()) < 4 / math.sqrt(len(centred))


def test_the_same_seed_gives_the_same_noise_and_another_seed_other_noise() -> None:
    one = discrete_gaussian(1 << 20, 1000, SEED)
    assert (one == discrete_gaussian(1 << 20, 1000, SEED)).all()
    other = discrete_gaussian(1 << 20, 1000, bytes(32))
    assert (one == other).sum() < 10


def test_golden_noise() -> None:
    """A member that starts again in the middle of a round must come to the same noise: a change breaks that."""
    assert discrete_gaussian(2, 12, SEED).tolist() == GOLDEN_2
    assert discrete_gaussian((1 << 30) + 1, 4, SEED).tolist() == GOLDEN_30
    assert gaussian_words(0.1, (-10, -20), (3, 2), SEED).tolist() == GOLDEN_WORDS


GOLDEN_2 = [0, -1, -1, 0, 2, -4, 3, -1, -4, 2, -1, 1]
GOLDEN_30 = [-59382225, -590795877, -705808561, 286539692]
GOLDEN_WORDS = [-13, -10, -3, -12176, -84561]


def test_each_array_gets_noise_of_its_own_step() -> None:
    words = gaussian_words(0.75, (-16, -4, 3), (50_000, 50_000, 50_000), SEED)
    fine, coarse, beyond = words.reshape(3, -1)
    assert fine.std() * 2.0**-16 == pytest.approx(0.75, rel=0.02)
    assert coarse.std() * 2.0**-4 == pytest.approx(0.75, rel=0.02)
    # A step of 8 cannot carry less noise than one step: the scale is rounded up.
    assert beyond.std() * 2.0**3 == pytest.approx(8.0, rel=0.02)


@given(st.floats(1e-12, 1e12), st.integers(-60, 60))
def test_a_scale_in_steps_is_never_less_than_was_asked_for(std: float, exponent: int) -> None:
    if std * 2.0**-exponent > 2.0**48:
        with pytest.raises(ValueError, match=r"2\*\*48"):
            sigma_in_steps(std, exponent)
    else:
        sigma = sigma_in_steps(std, exponent)
        assert sigma - 1 < std * 2.0**-exponent <= sigma


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: discrete_gaussian(0, 1, SEED), "sigma is 0 steps; 1 to"),
        (lambda: discrete_gaussian(MAX_SIGMA + 1, 1, SEED), "can be drawn exactly"),
        (lambda: discrete_gaussian(1, 1, b"short"), "5 bytes; 32 are due"),
        (lambda: sigma_in_steps(float("inf"), 0), "finite"),
        (lambda: sigma_in_steps(0.0, 0), "above 0"),
        (lambda: sigma_in_steps(1e308, -200), "coarser step"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


def test_nothing_is_drawn_where_nothing_is_due() -> None:
    assert discrete_gaussian(3, 0, SEED).tolist() == gaussian_words(1.0, (), (), SEED).tolist() == []


@pytest.mark.parametrize("bits", [64, 128, 192])
def test_the_thresholds_are_exact_to_their_last_bit(bits: int) -> None:
    with localcontext() as context:
        context.prec = 300
        weights = [(-Decimal(k * k) / 2).exp() for k in range(60)]
        total = sum(weights)
        for k, threshold in enumerate(whole_thresholds(bits)):
            assert threshold == int(sum(weights[: k + 1]) / total * 2**bits)


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(-2, 2), st.binary(min_size=8, max_size=8))
def test_a_tie_of_64_bits_is_settled_by_the_next(k: int, beside: int, following: bytes) -> None:
    table = whole_thresholds(64)
    word = min(max(table[min(k, len(table) - 1)] + beside, 0), (1 << 64) - 1)
    stream = noise.BitStream(SEED)
    served = iter([following])
    stream._bytes = lambda count: next(served, bytes(count))  # type: ignore[method-assign]
    real = (word << 64 | int.from_bytes(following, "little")) << 64
    assert stream._settled(word) == sum(threshold < real for threshold in whole_thresholds(192))
