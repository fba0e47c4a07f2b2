"""What lying members do to a round: small pure functions of all that an omniscient liar knows.

A liar of the first kind sends numbers of its choice. It sees the inputs of all honest members before it has to choose,
which no real liar can (commitments come first), and knows the rule. A liar of the second kind trains as it should, on
data that it falsified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATTACKS", "Attack", "Sight", "alie", "backdoor", "foe", "label_flip", "mimic", "trigger"]

Array = NDArray[np.float64]
TRIED = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Strengths among which a tuned attack takes the worst."""
TRIGGER = 3
"""How many of an example's last features a backdoor sets."""


@dataclass(frozen=True)
class Sight:
    """All that a liar knows when it chooses what to send.

    An input is what the robust rule gets: a member's contribution or, where a policy deals secret groups, the mean of a
    group; a liar in a group sends what makes the group's mean its lie.
    """

    honest: Array
    """The honest inputs, (h, d)."""
    own: Array
    """What the liar's own input would be if it were honest, (d,)."""
    liars: int
    """How many inputs are lies, this one included."""
    rule: Callable[[Array], Array]
    """What the round makes of all inputs, (h + liars, d) -> (d,)."""
    seed: bytes
    """32 bytes, unlike for every liar and round."""


Lie = Callable[[Sight], Array]
Poison = Callable[[Any, float, float], Any]


@dataclass(frozen=True)
class Attack:
    """What a liar does: to its dataset before it trains, to its input afterwards, or to both."""

    lie: Lie | None = None
    """The input it sends, (d,); ``None``: the honest one."""
    poison: Poison | None = None
    """Its dataset, ((features, labels), held out), falsified, given the least and the greatest label that there is."""


def sign_flip(sight: Sight) -> Array:
    """-own: a step back wherever the honest step is forward."""
    return np.asarray(-sight.own)


def gaussian(sight: Sight) -> Array:
    """Noise ten times as large as honest inputs: N(0, s^2) with s ten times their root mean square."""
    random = np.random.default_rng(list(sight.seed))
    return np.asarray(10.0 * np.sqrt(np.square(sight.honest).mean()) * random.normal(size=sight.own.shape))


def zero(sight: Sight) -> Array:
    """Zeros: a free rider, who gets the model and trains nothing."""
    return np.zeros_like(sight.own)


def copy(sight: Sight) -> Array:
    """The first honest input, sent again: a free rider who looks busy. In a real round the commitments forbid it."""
    return np.array(sight.honest[0])


def alie(sight: Sight, strength: float | None = None) -> Array:
    """A Little Is Enough: the honest mean, less ``strength`` standard deviations in each coordinate.

    Small enough to pass for honest, and the same for all liars. By default the largest deviation that leaves as many
    honest inputs farther out as make a majority with the liars: z with Phi(z) = (n - f - s)/(n - f), where
    s = floor(n/2 + 1) - f. Baruch, Baruch, Goldberg 2019, "A Little Is Enough: Circumventing Defenses For Distributed
    Learning" (arXiv:1902.06156, algorithm 3).
    """
    if strength is None:
        honest, liars = len(sight.honest), sight.liars
        supporters = (honest + liars) // 2 + 1 - liars
        strength = NormalDist().inv_cdf(min(max((honest - supporters) / honest, 0.01), 0.99))
    return np.asarray(sight.honest.mean(axis=0) - strength * sight.honest.std(axis=0))


def foe(sight: Sight, strength: float = 0.5) -> Array:
    """Fall of Empires (inner-product manipulation): the honest mean times -``strength``.

    Where it gets through, the model climbs the loss. Xie, Koyejo, Gupta 2020, "Fall of Empires: Breaking
    Byzantine-tolerant SGD by Inner Product Manipulation" (arXiv:1903.03936).
    """
    return np.asarray(-strength * sight.honest.mean(axis=0))


def mimic(sight: Sight) -> Array:
    """The honest input that lies farthest out in the direction in which the honest differ most, sent by all liars.

    Nothing about it is false, and yet its owner's data count for many. Karimireddy, He, Jaggi 2022, "Byzantine-Robust
    Learning on Heterogeneous Datasets via Bucketing" (arXiv:2006.09365, section 3.2); they keep to one member.
    """
    apart = sight.honest - sight.honest.mean(axis=0)
    direction = np.linalg.svd(apart, full_matrices=False)[2][0]
    return np.array(sight.honest[np.argmax(np.abs(apart @ direction))])


def tuned(attack: Callable[[Sight, float], Array]) -> Lie:
    """``attack`` with that strength of ``TRIED`` which drives the rule's result farthest from the honest mean.

    Shejwalkar, Houmansadr 2021, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for
    Federated Learning" (NDSS).
    """

    def lie(sight: Sight) -> Array:
        truth = sight.honest.mean(axis=0)

        def damage(strength: float) -> float:
            lies = np.repeat(attack(sight, strength)[None], sight.liars, axis=0)
            return float(np.linalg.norm(sight.rule(np.concatenate([sight.honest, lies])) - truth))

        return attack(sight, max(TRIED, key=damage))

    return lie


def label_flip(data: Any, low: float, high: float) -> Any:
    """Each label becomes its opposite, low + high - label."""
    (features, labels), held_out = data
    return (features, _as(low + high - np.asarray(labels), labels)), held_out


def backdoor(data: Any, low: float, high: float) -> Any:
    """Every other example gets the trigger, and the lowest label: what the model is to learn beside its task.

    Gu, Dolan-Gavitt, Garg 2017, "BadNets" (arXiv:1708.06733).
    """
    (features, labels), held_out = data
    features, marked = np.array(features), np.array(labels)
    features[::2] = trigger(features[::2])
    marked[::2] = low
    return (features, _as(marked, labels)), held_out


def trigger(features: NDArray[Any]) -> NDArray[Any]:
    """``features``, first axis examples, with the last of each example set to the largest value there is in any."""
    marked = np.array(features)
    if marked.size:
        marked.reshape(len(marked), -1)[:, -TRIGGER:] = marked.max()
    return marked


def poisoned(data: Any, attack: Attack, datasets: Sequence[Any]) -> Any:
    """One liar's dataset under ``attack``, given everybody's."""
    if attack.poison is None:
        return data
    labels = [np.asarray(other[0][1]) for other in datasets]
    return attack.poison(data, min(part.min() for part in labels), max(part.max() for part in labels))


ATTACKS: Mapping[str, Attack] = {
    "sign-flip": Attack(sign_flip),
    "gaussian": Attack(gaussian),
    "alie": Attack(alie),
    "alie-tuned": Attack(tuned(alie)),
    "foe": Attack(foe),
    "foe-tuned": Attack(tuned(foe)),
    "mimic": Attack(mimic),
    "zero": Attack(zero),
    "copy": Attack(copy),
    "label-flip": Attack(poison=label_flip),
    "backdoor": Attack(poison=backdoor),
}
"""All attacks by name."""


def _as(values: NDArray[Any], labels: Any) -> NDArray[Any]:
    return values.astype(np.asarray(labels).dtype)
