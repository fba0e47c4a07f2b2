"""What noise costs in epsilon, and the noise that an epsilon asks for. Arithmetic by Google's dp-accounting.

Two mechanisms, both under *zero-out* adjacency: the data as it is, against the data where one unit (a whole member, or
one record) counts as zero and all else, the number of units included, stays. The noise multiplier z is the noise's
standard deviation in the sum, divided by the clip.

*Gaussian sums* (the unit ``member``): in each round h members on whose noise a sum can rely add discrete Gaussians of
z * clip / sqrt(h) each. Their sum is no discrete Gaussian, but concentrated differential privacy holds for it with
parameter 1 / z + tau sqrt(d) (Kairouz, Liu, Steinke 2021, arXiv:2102.06387, theorem 1); rounds add up, and
epsilon follows from Renyi divergences (Mironov 2017, arXiv:1702.07476; Canonne et al. 2020, proposition 12). That asks
for 8 to 10% more noise than one continuous Gaussian would; it is what is proven. No subsampling is counted: who takes
part is on the ledger.

*DP-SGD* (the unit ``record``): in each step every record enters a batch with the same secret, independent probability
(Poisson sampling), which makes it cheaper (Abadi et al. 2016, arXiv:1607.00133). That is counted with privacy loss
distributions, discretised upwards (Doroshenko et al. 2022, arXiv:2207.04380).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = [
    "SLACK",
    "calibrate_dpsgd",
    "calibrate_gaussian",
    "check_granularity",
    "dpsgd_epsilon",
    "gaussian_epsilon",
    "sum_divergence",
]

SLACK = 2.0**-20
"""How much 1 / z may grow because the sum of discrete Gaussians is none: always counted, and `check_granularity`
refuses noise that would need more."""

MEANINGLESS = 100.0
"""An epsilon above this is no promise: noise is never calibrated for more, and nothing finer is computed there."""

_ORDERS = [1.0 + 2.0 ** (k / 8) for k in range(-56, 161)]
"""Renyi orders from 1.01 to a million, 9% apart."""
_INTEGERS = [*range(2, 65), 80, 96, 128, 192, 256, 512, 1024]
"""Renyi orders for sampled mechanisms, for which dp-accounting's formula of real orders may not converge."""
_INTERVAL = 1e-3
"""Discretisation of privacy losses; ten times as fine, epsilon is 0 to 2% smaller and takes ten times as long."""
_THOUSANDTH = 1000
_MOST_NOISE = 1e9


def gaussian_epsilon(noise_multiplier: float, rounds: int, delta: float) -> float:
    """The epsilon of ``rounds`` sums with Gaussian noise, continuous or distributed discrete; ``inf`` without noise.

    Raises ``ValueError`` on a negative multiplier or number, or a delta outside 0 to 1.
    """
    _check(delta, noise_multiplier=noise_multiplier, rounds=rounds)
    if rounds == 0:
        return 0.0
    return _gaussian(noise_multiplier, rounds, delta) if noise_multiplier > 0.0 else math.inf


def dpsgd_epsilon(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    """The epsilon of ``steps`` of DP-SGD whose batches hold each record with probability ``sampling_rate``.

    ``inf`` without noise. Raises ``ValueError`` as `gaussian_epsilon`, and on a rate outside 0 to 1.
    """
    _check(delta, noise_multiplier=noise_multiplier, steps=steps, sampling_rate=sampling_rate)
    if sampling_rate > 1.0:
        raise ValueError(f"sampling_rate is {sampling_rate}; a probability is at most 1")
    if steps == 0 or sampling_rate == 0.0:
        return 0.0
    return _dpsgd(noise_multiplier, sampling_rate, steps, delta) if noise_multiplier > 0.0 else math.inf


def calibrate_gaussian(epsilon: float, delta: float, rounds: int) -> float:
    """The smallest noise multiplier, in thousandths, with which ``rounds`` sums cost at most ``epsilon``.

    Raises ``ValueError`` where no noise below a billion times the clip is enough.
    """
    _check(delta, epsilon=epsilon, rounds=rounds)
    target = min(epsilon, MEANINGLESS)
    return _smallest(lambda z: gaussian_epsilon(z, rounds, delta) <= target, epsilon)


@lru_cache(maxsize=256)
def calibrate_dpsgd(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """The smallest noise multiplier, in thousandths, with which ``steps`` of DP-SGD cost at most ``epsilon``.

    Takes 0.1 to 1 second. Raises ``ValueError`` where no noise below a billion times the clip is enough.
    """
    _check(delta, epsilon=epsilon, sampling_rate=sampling_rate, steps=steps)
    target = min(epsilon, MEANINGLESS)
    # Renyi divergences are quick and never too small: they tell where to begin.
    enough = _smallest(lambda z: _renyi(_sampled(z, sampling_rate, steps), _INTEGERS, delta) <= target, epsilon)
    return _smallest(lambda z: dpsgd_epsilon(z, sampling_rate, steps, delta) <= target, epsilon, enough)


def sum_divergence(sigma: float, parts: int) -> float:
    """tau of Kairouz et al., theorem 1: a bound on how far the sum of ``parts`` discrete Gaussians of scale ``sigma``
    is from one of scale sqrt(parts) * sigma, as the largest logarithm of a ratio of probabilities."""
    return 10.0 * sum(math.exp(-2.0 * (math.pi * sigma) ** 2 * k / (k + 1)) for k in range(1, parts))


def check_granularity(sigma: int, honest: int, values: int, noise_multiplier: float) -> None:
    """Refuse noise so coarse that its sum is not as good as the accounting takes it to be.

    ``sigma`` is the smallest scale of one member's noise, in steps, ``honest`` how many add it, ``values`` the number
    of words. Raises ``ValueError`` with the arithmetic where tau * sqrt(values) exceeds `SLACK` / ``noise_multiplier``.
    """
    tau = sum_divergence(sigma, honest)
    if tau * math.sqrt(values) > SLACK / noise_multiplier:
        raise ValueError(
            f"a member's noise of {sigma} steps is too coarse: the sum of {honest} differs from Gaussian noise by"
            f" tau = {tau:.1e} in each of {values} values, and tau * sqrt({values}) = {tau * math.sqrt(values):.1e} is"
            f" more than 2**-20 / {noise_multiplier:g} = {SLACK / noise_multiplier:.1e}; choose more bits"
        )


def _gaussian(noise_multiplier: float, rounds: int, delta: float) -> float:
    accounting = _accounting()
    rho = 0.5 * ((1.0 + SLACK) / noise_multiplier) ** 2
    event = accounting.SelfComposedDpEvent(accounting.ZCDpEvent(rho), rounds)
    return _renyi(event, _ORDERS, delta)


def _dpsgd(noise_multiplier: float, sampling_rate: float, steps: int, delta: float) -> float:
    event = _sampled(noise_multiplier, sampling_rate, steps)
    bound = _renyi(event, _INTEGERS, delta)
    if bound > 4.0 * MEANINGLESS:
        return bound
    accountant = _accounting().pld.PLDAccountant(value_discretization_interval=_INTERVAL)
    accountant.compose(event)
    return min(bound, float(accountant.get_epsilon(delta)))


def _sampled(noise_multiplier: float, sampling_rate: float, steps: int) -> Any:
    accounting = _accounting()
    step = accounting.PoissonSampledDpEvent(sampling_rate, accounting.GaussianDpEvent(noise_multiplier))
    return accounting.SelfComposedDpEvent(step, steps)


def _renyi(event: Any, orders: list[float] | list[int], delta: float) -> float:
    accountant = _accounting().rdp.RdpAccountant(orders)
    accountant.compose(event)
    return float(accountant.get_epsilon(delta))


def _smallest(enough: Callable[[float], bool], epsilon: float, start: float = 1.0) -> float:
    """The smallest multiple of a thousandth that is ``enough``, which every larger one is too."""
    high = max(1, round(start * _THOUSANDTH))
    while not enough(high / _THOUSANDTH):
        high *= 2
        if high > _MOST_NOISE * _THOUSANDTH:
            raise ValueError(f"no noise gives an epsilon of {epsilon:g}; choose a larger one, or fewer rounds")
    # Down by eighths first: far below what is enough, epsilons are large and take long.
    low = high - -(-high // 8)
    while low and enough(low / _THOUSANDTH):
        high, low = low, low - -(-low // 8)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle / _THOUSANDTH) else (middle, high)
    return high / _THOUSANDTH


def _check(delta: float, **numbers: float) -> None:
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta is {delta}; it is a probability above 0 and below 1")
    for name, number in numbers.items():
        if not (math.isfinite(number) and number >= 0):
            raise ValueError(f"{name} is {number}; it must be a finite number from 0")
    if numbers.get("epsilon") == 0.0:
        raise ValueError("epsilon is 0; only data that is not used costs nothing")


def _accounting() -> Any:
    """dp-accounting, imported when first needed: it and SciPy take a second."""
    import dp_accounting  # type: ignore[import-untyped]
    import dp_accounting.pld  # type: ignore[import-untyped]
    import dp_accounting.rdp  # type: ignore[import-untyped]

    return dp_accounting
