import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.privacy.budget import Training, planned
from folkmoot.privacy.dpsgd import LATTICE, MARGIN, PrivateSteps, clip_factors
from folkmoot.task.policy import Policy

POLICY = Policy(rounds=4, epsilon=2.0, privacy_unit="record", record_clip=0.5)
SEED = bytes(range(32))
X = np.random.default_rng(0).normal(size=(50, 3))


def steps_of(records: int = 50, batch_size: int | None = 10, epochs: int = 1, inputs=(X,), seed: bytes = SEED):  # type: ignore[no-untyped-def]
    return PrivateSteps(POLICY, Training(records, batch_size, epochs), seed, inputs)


def test_every_record_enters_batches_at_random_and_by_itself() -> None:
    batches = list(steps_of(epochs=400))
    assert len(batches) == 2000
    present = np.zeros((2000, 50))
    for row, batch in zip(present, batches, strict=True):
        assert (np.diff(batch) > 0).all()
        row[batch] = 1.0
    often = present.mean(axis=0)
    assert np.abs(often - 0.2).max() < 4 * (0.2 * 0.8 / 2000) ** 0.5
    together = np.corrcoef(present.T) - np.eye(50)
    assert np.abs(together).max() < 5 / 2000**0.5
    # Sizes vary as those of 50 independent coins: a shuffled epoch's would all be 10.
    assert present.sum(axis=1).var() == pytest.approx(50 * 0.2 * 0.8, rel=0.15)


def test_without_a_batch_size_every_batch_is_all_records() -> None:
    assert [list(batch) for batch in steps_of(records=3, batch_size=None, epochs=2)] == [[0, 1, 2], [0, 1, 2]]


def test_the_noise_is_what_was_planned_and_a_thousandth_more() -> None:
    steps = steps_of()
    due = planned(POLICY, steps.training).std * (1 + MARGIN)
    sums = steps.mean(np.zeros(200_000)) * steps.training.batch
    assert sums.std() == pytest.approx(due, rel=0.01)


def test_no_float_shows_through_the_noise() -> None:
    """Results lie on the lattice, and what is below its step makes no difference."""
    total = np.array([0.1, 0.1 + 1e-17, 1 / 3])
    step = 0.5 * 2.0**-LATTICE / 10
    one, other = steps_of().mean(total), steps_of().mean(total + 1e-11)
    assert (np.rint(one / step) * step == one).all()
    assert (one == other).all()


def test_batches_and_noise_follow_from_seed_and_inputs() -> None:
    def course(**changed):  # type: ignore[no-untyped-def]
        steps = steps_of(**changed)
        return [(batch.tolist(), steps.mean(np.zeros(3)).tolist()) for batch in steps]

    base = course()
    assert course(inputs=(X.copy(),)) == base
    nearly = X.copy()
    nearly[49, 2] = np.nextafter(nearly[49, 2], 9.0)
    for other in (course(seed=bytes(32)), course(inputs=(nearly,)), course(inputs=(X, X[:1])), course(inputs=())):
        assert all(noise != same for (_, noise), (_, same) in zip(other, base, strict=True))


def test_noise_is_never_used_twice() -> None:
    steps = steps_of()
    drawn = np.concatenate([steps.mean(np.zeros(size)) for size in (3, 5000, 1, 4095, 2)])
    assert len(np.unique(drawn)) == len(drawn)


@given(st.lists(st.floats(0, 1e300), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_no_gradient_is_longer_than_the_clip(norms: list[float], clip: float) -> None:
    factors = clip_factors(np.array(norms), clip)
    assert (factors * norms <= clip * (1 + 1e-15)).all()
    assert (factors[np.array(norms) <= clip] == 1.0).all()


def test_a_gradient_that_is_not_finite_counts_as_nothing() -> None:
    assert clip_factors(np.array([np.nan, np.inf, 0.5, 2.0]), 1.0).tolist() == [0.0, 0.0, 1.0, 0.5]
