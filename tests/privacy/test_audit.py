"""Attacks on the noise: a canary in or out, and what an attacker who knows all else can tell.

The attacker makes one number of what it sees, guesses *in* above a threshold, and is right or wrong so many times out
of so many. If the noise costs epsilon and delta, then P(guess in | in) <= exp(epsilon) P(guess in | out) + delta, so
the frequencies bound epsilon from below (Jagielski, Ullman, Oprea 2020, arXiv:2006.07709; Nasr et al. 2021,
arXiv:2101.04535), with 95% confidence by Clopper and Pearson's intervals. The threshold is chosen on one half of the
trials and tried on the other. The bound must stay below the claim. It must exceed it where the noise is taken out or
too little, or else the attack would prove nothing. Seeds are fixed.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

import folkmoot as fm
from folkmoot.privacy.accountant import gaussian_epsilon
from folkmoot.privacy.budget import Training, planned
from folkmoot.privacy.clipping import clipped, clipped_words
from folkmoot.privacy.noise import BitStream, gaussian_words

DELTA = 1e-5


def lower_bound(inside: np.ndarray, outside: np.ndarray) -> float:
    """The epsilon that an attack with these numbers proves, with 95% confidence; 0 if none."""
    half = len(inside) // 2
    thresholds = np.quantile(np.concatenate([inside[:half], outside[:half]]), np.linspace(0.0, 1.0, 400))
    tried = [_proved(inside[:half], outside[:half], threshold) for threshold in thresholds]
    return max(0.0, _proved(inside[half:], outside[half:], float(thresholds[int(np.argmax(tried))])))


def _proved(inside: np.ndarray, outside: np.ndarray, threshold: float) -> float:
    # Each of the two bounds fails with probability 0.025 at most.
    hits, alarms = (int((numbers >= threshold).sum()) for numbers in (inside, outside))
    hit_rate = stats.beta.ppf(0.025, hits, len(inside) - hits + 1) if hits else 0.0
    alarm_rate = stats.beta.ppf(0.975, alarms + 1, len(outside) - alarms) if alarms < len(outside) else 1.0
    return float(np.log((hit_rate - DELTA) / alarm_rate)) if hit_rate > DELTA else -np.inf


def test_the_bound_itself_is_right_about_known_noise() -> None:
    """Randomised response tells the truth three times of four: epsilon is log 3, and the bound comes near to it."""
    draw = np.random.default_rng(0)
    inside, outside = (draw.random(100_000) < rate for rate in (0.75, 0.25))
    assert np.log(3) - 0.05 < lower_bound(inside.astype(float), outside.astype(float)) < np.log(3)


HONEST, CLIP, VALUES = 4, 1.0, 8
STEPS, SIZES = (-12, -9), (5, 3)


def sums(multiplier: float, trials: int, canary: bool, share: float = HONEST**-0.5) -> np.ndarray:
    """Integer sums of the unit ``member``, (trials, values), as real numbers: clipped, quantised, each with noise.

    The canary's contribution is as long as the clip allows, on the diagonal; the other three are zero: the attacker
    would subtract what it knows.
    """
    steps, sizes = np.repeat(STEPS, SIZES), [size * trials for size in SIZES]
    arrays = clipped({"x": np.full(VALUES, 9.0 if canary else 0.0)}, CLIP)["x"]
    words = clipped_words(np.rint(arrays * 2.0**-steps).astype(np.int64), STEPS, SIZES, CLIP)
    total = np.tile(words, (trials, 1))
    for member in range(HONEST):
        seed = bytes([member, canary]) * 16
        noise = gaussian_words(multiplier * CLIP * share, STEPS, sizes, seed) if multiplier else np.zeros(sum(sizes))
        parts = np.split(noise, np.cumsum(sizes)[:-1])
        total = total + np.hstack([part.reshape(trials, -1) for part in parts]).astype(np.int64)
    return total * 2.0**steps


def attack_on_sums(trials: int, **noise: float) -> float:
    direction = np.full(VALUES, VALUES**-0.5)
    inside, outside = (sums(trials=trials, canary=canary, **noise) @ direction for canary in (True, False))  # type: ignore[arg-type]
    return lower_bound(inside, outside)


@pytest.mark.parametrize("multiplier", [0.8, 1.5, 4.0])
def test_noisy_sums_of_members_tell_no_more_than_is_claimed(multiplier: float) -> None:
    claimed = gaussian_epsilon(multiplier, 1, DELTA)
    found = attack_on_sums(40_000, multiplier=multiplier)
    print(f"sums, z = {multiplier}: claimed {claimed:.2f}, found {found:.2f}")
    assert 0.2 * claimed < found < claimed


def test_the_same_attack_breaks_sums_with_too_little_noise() -> None:
    """No noise at all; and the mistake of dividing it by the number of members, not by its root."""
    claimed = gaussian_epsilon(1.5, 1, DELTA)
    assert attack_on_sums(40_000, multiplier=0.0) > 2 * claimed
    assert attack_on_sums(40_000, multiplier=1.5, share=1 / HONEST) > 1.2 * claimed


def silent_but_one(batch_size: int | None, epsilon: float) -> tuple[fm.LogisticTask, fm.State, Training]:
    """A task and a state from which every record has the gradient zero, but for the canary's."""
    task = fm.LogisticTask(
        name="audit", load=lambda path: None, features=1, standardise=False, learning_rate=1e-6, local_epochs=2,
        batch_size=batch_size, policy=fm.Policy(rounds=1, epsilon=epsilon, privacy_unit="record", record_clip=1.0),
    )  # fmt: skip
    # The model is certain of class 1, and all but the canary are of class 1.
    state = fm.State({**task.init().arrays, "bias": np.full(1, 40.0)})
    return task, state, Training(8, batch_size, 2)


def attack_on_training(batch_size: int | None, epsilon: float, trials: int) -> tuple[float, float]:
    """(claimed, found) for one round of DP-SGD of the logistic task: the canary's label is 0, or as all others'."""
    task, state, training = silent_but_one(batch_size, epsilon)
    x = np.zeros((8, 1))
    x[0] = 100.0
    numbers = {}
    for canary in (True, False):
        y = np.ones(8)
        y[0] = 1.0 - canary
        found = []
        for trial in range(trials):
            seed = trial.to_bytes(16, "big") * 2
            contribution = task.contribute(state, ((x, y), (x, y)), fm.Context(1, seed))
            found.append(-contribution.arrays["weights"][0])
        numbers[canary] = np.array(found)
    claimed = planned(task.policy, training)
    assert claimed.epsilon <= epsilon
    return claimed.epsilon, lower_bound(numbers[True], numbers[False])


@pytest.mark.parametrize(("batch_size", "epsilon"), [(None, 4.0), (4, 4.0)])
def test_private_training_tells_no_more_of_a_record_than_is_claimed(batch_size: int | None, epsilon: float) -> None:
    claimed, found = attack_on_training(batch_size, epsilon, trials=1000)
    print(f"training, batches of {batch_size}: claimed {claimed:.2f}, found {found:.2f}")
    assert 0.1 * claimed < found < claimed


def test_the_same_attack_breaks_training_with_too_little_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the noise, and none."""
    whole = BitStream.gaussian

    def thinned(part: int) -> Callable[[BitStream, int, int], np.ndarray]:
        return lambda stream, sigma, count: whole(stream, sigma, count) // part

    for part in (10, 1 << 40):
        monkeypatch.setattr(BitStream, "gaussian", thinned(part))
        claimed, found = attack_on_training(None, 1.0, trials=400)
        print(f"training, 1/{part} of the noise: claimed {claimed:.2f}, found {found:.2f}")
        assert found > 2 * claimed


@pytest.mark.long
@pytest.mark.parametrize("multiplier", [0.5, 0.8, 1.5, 4.0, 10.0])
def test_noisy_sums_tell_no_more_than_is_claimed_in_a_million_trials(multiplier: float) -> None:
    claimed, found = gaussian_epsilon(multiplier, 1, DELTA), attack_on_sums(1_000_000, multiplier=multiplier)
    print(f"sums, z = {multiplier}: claimed {claimed:.2f}, found {found:.2f}")
    assert 0.4 * claimed < found < claimed


@pytest.mark.long
@pytest.mark.parametrize(("batch_size", "epsilon"), [(None, 0.5), (None, 2.0), (None, 6.0), (4, 2.0), (2, 6.0)])
def test_private_training_tells_no_more_than_is_claimed_in_many_trials(batch_size: int | None, epsilon: float) -> None:
    claimed, found = attack_on_training(batch_size, epsilon, trials=40_000)
    print(f"training, batches of {batch_size}: claimed {claimed:.2f}, found {found:.2f}")
    assert 0.2 * claimed < found < claimed
