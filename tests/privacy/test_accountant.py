"""Epsilons against published ones, against closed formulas, and against each other."""

import math
import subprocess
import sys

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, get_epsilon_gaussian
from dp_accounting.rdp import RdpAccountant

from folkmoot.privacy.accountant import (
    SLACK,
    calibrate_dpsgd,
    calibrate_gaussian,
    check_granularity,
    dpsgd_epsilon,
    gaussian_epsilon,
    sum_divergence,
)


def test_dp_sgd_costs_what_abadi_et_al_published_and_less_with_a_tighter_conversion() -> None:
    """Abadi et al. 2016 (arXiv:1607.00133), section 3 and figure 2: q = 0.01, sigma = 4, delta = 1e-5, T = 10000 cost
    epsilon 1.26 by the moments accountant; their conversion is the minimum over orders of divergence + log(1 / delta) /
    (order - 1), with integer moments."""
    orders = list(range(2, 65))
    accountant = RdpAccountant(orders)
    accountant.compose(SelfComposedDpEvent(PoissonSampledDpEvent(0.01, GaussianDpEvent(4.0)), 10_000))
    moments = min(r + math.log(1e5) / (a - 1) for a, r in zip(orders, accountant._rdp, strict=True))
    assert moments == pytest.approx(1.26, abs=0.005)
    assert 0.90 < dpsgd_epsilon(4.0, 0.01, 10_000, 1e-5) < moments


def test_dp_sgd_costs_what_the_fourier_accountant_published() -> None:
    """Koskela, Jälkö, Honkela 2020 (arXiv:1906.03049): the README of their code gives delta = 4.2435e-6 at epsilon = 1,
    q = 0.01, sigma = 4 (its text says 1000 compositions; the number is that of the 10000 of the paper). An exact
    accountant, so ours may be above it by its discretisation only."""
    assert dpsgd_epsilon(4.0, 0.01, 10_000, 4.2435e-6) == pytest.approx(1.0, abs=0.015)
    assert dpsgd_epsilon(4.0, 0.01, 10_000, 4.2435e-6) >= 1.0


def test_the_gaussian_mechanism_costs_what_mironov_proved() -> None:
    """Mironov 2017 (arXiv:1702.07476), corollary 3 and proposition 3: order a costs a / (2 sigma^2) a round, rounds add
    up, and epsilon is at most that + log(1 / delta) / (a - 1), whose minimum is rho + 2 sqrt(rho log(1 / delta)) with
    rho = rounds / (2 sigma^2). Ours converts better (Canonne et al. 2020), never below the exact curve."""
    for sigma, rounds, delta in ((1.0, 1, 1e-5), (4.0, 10, 1e-6), (20.0, 400, 1e-5), (200.0, 10_000, 1e-9)):
        rho = rounds / (2 * sigma**2)
        mironov = rho + 2 * math.sqrt(rho * math.log(1 / delta))
        exact = get_epsilon_gaussian(sigma / math.sqrt(rounds), delta)
        assert exact < gaussian_epsilon(sigma, rounds, delta) < mironov
        assert gaussian_epsilon(sigma, rounds, delta) < 1.13 * exact


def test_rounds_compose_as_one_round_with_less_noise() -> None:
    assert gaussian_epsilon(30.0, 100, 1e-5) == pytest.approx(gaussian_epsilon(3.0, 1, 1e-5), rel=1e-9)


def test_full_batches_cost_as_much_as_an_unsampled_gaussian() -> None:
    assert dpsgd_epsilon(5.0, 1.0, 50, 1e-5) == pytest.approx(get_epsilon_gaussian(5.0 / math.sqrt(50), 1e-5), abs=0.01)


def discrete(sigma: float, reach: int) -> np.ndarray:
    n = np.arange(-reach, reach + 1)
    mass = np.exp(-(n.astype(float) ** 2) / (2 * sigma**2))
    return mass / mass.sum()


@pytest.mark.parametrize("sigma", [0.6, 0.7, 0.8, 0.9])
@pytest.mark.parametrize("parts", [2, 3, 5, 12])
def test_sums_of_discrete_gaussians_are_as_near_to_one_as_kairouz_et_al_proved(sigma: float, parts: int) -> None:
    """Kairouz, Liu, Steinke 2021 (arXiv:2102.06387), theorem 1: tau bounds the logarithm of the ratio of both
    distributions. Here that ratio is computed, at scales small enough for it to be seen."""
    one = discrete(sigma, 40)
    total = one
    for _ in range(parts - 1):
        total = np.convolve(total, one)
    reach = (len(total) - 1) // 2
    ideal = discrete(sigma * math.sqrt(parts), reach)
    near = slice(reach - round(4 * sigma * math.sqrt(parts)), reach + round(4 * sigma * math.sqrt(parts)) + 1)
    apart = np.abs(np.log(total[near] / ideal[near])).max()
    assert 1e-13 < apart <= sum_divergence(sigma, parts)


def test_in_the_setting_of_kairouz_et_al_the_difference_is_nothing() -> None:
    """Their EMNIST experiments sum 100 clients of a million parameters; noise of a few steps each is enough."""
    assert sum_divergence(3.0, 100) * math.sqrt(2**20) < 1e-30
    check_granularity(2, 100, 2**20, 10.0)
    with pytest.raises(ValueError, match=r"1 steps is too coarse.*tau = 5.5e-04 in each of 1048576 values.*more bits"):
        check_granularity(1, 100, 2**20, 10.0)


def test_what_check_granularity_lets_pass_is_what_the_accountant_counts() -> None:
    """Theorem 1 composes 1 / z + tau sqrt(d); the accountant counts (1 + SLACK) / z."""
    for sigma in (1, 2, 3):
        for honest, values, z in ((2, 10, 0.5), (7, 1000, 50.0), (256, 10**8, 1e4)):
            slack = sum_divergence(sigma, honest) * math.sqrt(values)
            if 1 / z + slack <= (1 + SLACK) / z:
                check_granularity(sigma, honest, values, z)
            else:
                with pytest.raises(ValueError, match="too coarse"):
                    check_granularity(sigma, honest, values, z)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("rounds", [1, 20, 1000])
def test_calibrated_sums_cost_at_most_epsilon_and_a_thousandth_less_noise_would_not(
    epsilon: float, rounds: int
) -> None:
    z = calibrate_gaussian(epsilon, 1e-5, rounds)
    assert round(z, 3) == z
    assert gaussian_epsilon(z, rounds, 1e-5) <= epsilon < gaussian_epsilon(z - 0.001, rounds, 1e-5)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(0.5, 0.02, 300), (2.0, 0.1, 200), (8.0, 1.0, 20)])
def test_calibrated_training_costs_at_most_epsilon_and_little_less_noise_would_not(
    epsilon: float, rate: float, steps: int
) -> None:
    z = calibrate_dpsgd(epsilon, 1e-5, rate, steps)
    assert round(z, 3) == z
    assert dpsgd_epsilon(z, rate, steps, 1e-5) <= epsilon < dpsgd_epsilon(z - 0.001, rate, steps, 1e-5)


def test_more_noise_fewer_rounds_smaller_batches_and_a_larger_delta_cost_less() -> None:
    base = dpsgd_epsilon(1.5, 0.1, 100, 1e-5)
    assert dpsgd_epsilon(1.6, 0.1, 100, 1e-5) < base
    assert dpsgd_epsilon(1.5, 0.1, 99, 1e-5) < base
    assert dpsgd_epsilon(1.5, 0.09, 100, 1e-5) < base
    assert dpsgd_epsilon(1.5, 0.1, 100, 2e-5) < base
    assert dpsgd_epsilon(1.5, 0.1, 100, 1e-5) < dpsgd_epsilon(1.5, 1.0, 100, 1e-5)
    sums = gaussian_epsilon(10.0, 20, 1e-5)
    assert gaussian_epsilon(11.0, 20, 1e-5) < sums
    assert gaussian_epsilon(10.0, 19, 1e-5) < sums
    assert gaussian_epsilon(10.0, 20, 1e-4) < sums


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    assert gaussian_epsilon(1.0, 0, 1e-5) == dpsgd_epsilon(1.0, 0.1, 0, 1e-5) == dpsgd_epsilon(1.0, 0.0, 5, 1e-5) == 0.0
    assert gaussian_epsilon(0.0, 1, 1e-5) == dpsgd_epsilon(0.0, 0.1, 1, 1e-5) == math.inf


def test_an_epsilon_that_promises_nothing_still_gets_some_noise() -> None:
    assert calibrate_gaussian(1e9, 1e-5, 10) == calibrate_gaussian(100.0, 1e-5, 10) > 0.1
    assert dpsgd_epsilon(0.05, 0.5, 10, 1e-5) > 400


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_epsilon(-1.0, 1, 1e-5), "noise_multiplier is -1"),
        (lambda: gaussian_epsilon(math.nan, 1, 1e-5), "noise_multiplier is nan"),
        (lambda: gaussian_epsilon(1.0, -1, 1e-5), "rounds is -1"),
        (lambda: gaussian_epsilon(1.0, 1, 0.0), "delta is 0"),
        (lambda: dpsgd_epsilon(1.0, 1.5, 1, 1e-5), "sampling_rate is 1.5"),
        (lambda: calibrate_gaussian(0.0, 1e-5, 1), "epsilon is 0"),
        (lambda: calibrate_gaussian(1e-12, 1e-300, 10**6), "no noise gives an epsilon of 1e-12"),
        (lambda: calibrate_dpsgd(math.inf, 1e-5, 0.1, 1), "epsilon is inf"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("room", "heavy"), [("privacy.budget", "numpy scipy dp_accounting"), ("learn", "scipy dp_accounting opacus")]
)
def test_the_accounting_library_is_not_imported_before_it_is_asked(room: str, heavy: str) -> None:
    code = f"import folkmoot.{room}, sys; print(set({heavy.split()!r}) & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
