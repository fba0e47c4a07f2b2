"""What is done with the inputs of a robust rule first: less spread among the honest, whatever the liars sent.

When members' data differ, their honest contributions lie far apart, and any rule that trusts the middle discards some
of them. Mixing replaces inputs by means of several, which lie closer together.
"""

from __future__ import annotations

import numpy as np
from blake3 import blake3

from folkmoot.round.norms import Array, squared_distances, tree_sum

__all__ = ["buckets", "nearest_neighbours"]

_CONTEXT = "folkmoot 2026 buckets v1"


def nearest_neighbours(vectors: Array, faults: int) -> Array:
    """Nearest-neighbour mixing (NNM): each input becomes the mean of the m - f inputs nearest to it, itself included.

    y_i = 1/(m - f) * sum of x_j over the m - f smallest ||x_i - x_j||, the lower j first where two are as near.

    A rule with coefficient kappa has at most 8 f/(m - f) * (kappa + 1) after it, which is the best possible order,
    where 2f < m: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2023, "Fixing by Mixing: A Recipe for
    Optimal Byzantine ML under Heterogeneity" (arXiv:2302.01772, algorithm 2).

    Shape (m, d), as ``vectors``.

    >>> nearest_neighbours(np.array([[0.0], [1.0], [2.0], [50.0]]), faults=1).ravel().tolist()
    [1.0, 1.0, 1.0, 17.666666666666668]
    """
    kept = len(vectors) - faults
    nearest = np.argsort(squared_distances(vectors), axis=1, kind="stable")[:, :kept]
    # In ascending order, so that inputs with the same neighbours get the same bits.
    return np.array([tree_sum(vectors[chosen]) for chosen in np.sort(nearest, axis=1)]) / float(kept)


def buckets(vectors: Array, seed: bytes) -> Array:
    """Bucketing: the inputs, shuffled, become means of two; an odd last one stays as it is.

    A liar can spoil one bucket only, so f liars among m inputs are at most f among ceil(m/2), and where a rule needs
    2f + 1 inputs, m >= 4f + 1 do. The variance of the honest halves. Karimireddy, He, Jaggi 2022, "Byzantine-Robust
    Learning on Heterogeneous Datasets via Bucketing" (arXiv:2006.09365, algorithm 1, s = 2).

    The order is that of BLAKE3(seed, place), 32 bytes of seed: public, and settled only after the contributions are.
    Shape (ceil(m/2), d).

    >>> buckets(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), bytes(32)).shape
    (3, 1)
    """

    def draw(place: int) -> bytes:
        return blake3(seed + place.to_bytes(4, "big"), derive_key_context=_CONTEXT).digest()

    shuffled = vectors[sorted(range(len(vectors)), key=draw)]
    pairs = len(vectors) // 2
    means = (shuffled[: 2 * pairs : 2] + shuffled[1 : 2 * pairs : 2]) / 2.0
    return np.concatenate([means, shuffled[2 * pairs :]])
