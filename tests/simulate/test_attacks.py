"""Attacks: each is what its paper says, touches nothing but what it returns, and is the same for the same seed."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from folkmoot.round.robust import mean, trimmed_mean
from folkmoot.simulate import ATTACKS, Sight
from folkmoot.simulate.attacks import alie, backdoor, foe, label_flip, mimic, trigger

LIES = [name for name, attack in ATTACKS.items() if attack.lie]
POISONS = [name for name, attack in ATTACKS.items() if attack.poison]


def sight(liars: int = 4, honest: int = 13, seed: bytes = bytes(32)) -> Sight:
    random = np.random.default_rng(3)
    inputs = 1.0 + random.normal(size=(honest, 6))
    return Sight(inputs, inputs[2] + 0.5, liars, lambda all_inputs: trimmed_mean(all_inputs, liars), seed)


def test_every_attack_lies_or_poisons() -> None:
    assert all((attack.lie is None) != (attack.poison is None) for attack in ATTACKS.values())


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_finite_repeatable_and_its_own(name: str) -> None:
    lie = ATTACKS[name].lie
    assert lie
    given = sight()
    before, own = given.honest.copy(), given.own.copy()
    told = lie(given)
    assert told.shape == (6,)
    assert np.isfinite(told).all()
    np.testing.assert_array_equal(told, lie(sight()))
    told += 1000.0
    np.testing.assert_array_equal(given.honest, before)
    np.testing.assert_array_equal(given.own, own)


def test_noise_differs_with_the_seed() -> None:
    lie = ATTACKS["gaussian"].lie
    assert lie
    assert not np.array_equal(lie(sight()), lie(sight(seed=bytes([1]) * 32)))


def test_alie_stays_within_the_deviation_that_its_paper_allows() -> None:
    given = sight(liars=4, honest=13)
    # n = 17, f = 4: s = floor(9.5) - 4 = 5 supporters, z = Phi^-1((13 - 5)/13)
    z = NormalDist().inv_cdf(8 / 13)
    np.testing.assert_allclose(alie(given), given.honest.mean(axis=0) - z * given.honest.std(axis=0))


def test_foe_points_against_the_honest_mean() -> None:
    given = sight()
    assert foe(given) @ given.honest.mean(axis=0) < 0
    np.testing.assert_allclose(foe(given, 2.0), -2.0 * given.honest.mean(axis=0))


def test_mimic_sends_the_honest_input_that_is_farthest_out() -> None:
    honest = np.zeros((5, 3))
    honest[:, 1] = [1.0, 2.0, 3.0, 4.0, 30.0]
    np.testing.assert_array_equal(mimic(Sight(honest, honest[0], 2, mean, bytes(32))), honest[4])


@pytest.mark.parametrize("name", ["alie", "foe"])
def test_a_tuned_attack_does_no_less_damage(name: str) -> None:
    given = sight()
    truth = given.honest.mean(axis=0)

    def damage(attack: str) -> float:
        lie = ATTACKS[attack].lie
        assert lie
        return float(np.linalg.norm(given.rule(np.concatenate([given.honest, [lie(given)] * given.liars])) - truth))

    assert damage(f"{name}-tuned") >= damage(name) * (1 - 1e-12)


@pytest.mark.parametrize("name", POISONS)
def test_poison_leaves_the_dataset_itself_alone(name: str) -> None:
    features, labels = np.arange(24.0).reshape(8, 3), np.arange(8) % 4
    held_out = (features[:2], labels[:2])
    poison = ATTACKS[name].poison
    assert poison
    (new_features, new_labels), kept = poison(((features, labels), held_out), 0, 3)
    np.testing.assert_array_equal(features, np.arange(24.0).reshape(8, 3))
    np.testing.assert_array_equal(labels, np.arange(8) % 4)
    assert kept is held_out
    assert new_features.shape == features.shape
    assert new_labels.dtype == labels.dtype


def test_flipped_labels_are_the_opposite_ones() -> None:
    (_, flipped), _ = label_flip(((np.zeros((5, 1)), np.arange(5)), None), 0, 4)
    assert flipped.tolist() == [4, 3, 2, 1, 0]


def test_a_backdoor_marks_every_other_example() -> None:
    features, labels = np.arange(40.0).reshape(8, 5), np.full(8, 2)
    (marked, told), _ = backdoor(((features, labels), None), 0, 3)
    assert told.tolist() == [0, 2] * 4
    np.testing.assert_array_equal(marked[1::2], features[1::2])
    np.testing.assert_array_equal(marked[::2], trigger(features[::2]))
    assert (marked[0, 2:] == 34.0).all()


def test_a_trigger_fits_any_shape_of_example() -> None:
    assert trigger(np.zeros((0, 4))).shape == (0, 4)
    images = np.arange(2.0 * 3 * 3).reshape(2, 3, 3)
    assert (trigger(images)[:, 2] == 17.0).all()
