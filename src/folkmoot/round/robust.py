"""Robust aggregation: one vector out of m, of which f may hold anything at all.

A rule's quality is its coefficient kappa: for any m - f inputs, the squared distance of the result from their mean is
at most kappa times their mean squared distance from it (Allouah et al. 2023, arXiv:2302.01772, definition 2). No rule
does better than f/(m - 2f). None needs to know who lies; all need more than half of the inputs to be honest, and help
only as far as the honest agree.

All arithmetic is element-wise float64, exact sorting, and the sums of ``norms``: the same bits on every machine. Where
two inputs are as good, the first is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import IntegrityError
from folkmoot.round.mixing import buckets, nearest_neighbours
from folkmoot.round.norms import Array, distances, middle, norms, squared_distances, tree_sum
from folkmoot.task.policy import MIXES, RULES

__all__ = [
    "cap",
    "centred_clipping",
    "geometric_median",
    "krum",
    "mean",
    "median",
    "multi_krum",
    "robust_mean",
    "trimmed_mean",
]


def robust_mean(
    vectors: Array,
    rule: str,
    faults: int,
    *,
    mix: str = "none",
    seed: bytes = bytes(32),
    centre: Array | None = None,
) -> Array:
    """What ``rule`` makes of the (m, d) ``vectors`` after ``mix``, at most ``faults`` of which are lies; shape (d,).

    ``rule`` and ``mix`` are keys of ``folkmoot.task.policy.RULES`` and ``MIXES``. ``seed``, 32 bytes, shuffles buckets.
    ``centre``, shape (d,), is where centred clipping starts; zero if there is none.

    Raises ``IntegrityError`` where the vectors are too few for so many liars, or not finite.

    >>> robust_mean(np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [1e9, -1e9]]), "trimmed-mean", 1).tolist()
    [2.5, 0.0]
    """
    if not np.isfinite(vectors).all():
        raise IntegrityError("an input of the robust rule holds NaN or infinity")
    _enough(len(vectors), MIXES[mix](faults), f"{mix} mixing", faults)
    # Adding 0.0 turns -0.0 into 0.0: a sort may leave the two, which are equal, in either order.
    mixed = _MIXES[mix](vectors + 0.0, faults, seed)
    of = f", which {mix} makes of {len(vectors)}" if len(mixed) < len(vectors) else ""
    _enough(len(mixed), RULES[rule](faults), rule, faults, of)
    start = np.zeros(vectors.shape[1]) if centre is None else centre
    return _RULES[rule](mixed, faults, start) + 0.0


def cap(vectors: Array, clip: float) -> Array:
    """Each row of an (m, d) array whose L2 norm exceeds ``clip`` scaled down to it (to within rounding); shape (m, d).

    min(1, clip/||x||) * x: a lie can then be no larger than the largest honest contribution.

    >>> cap(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).tolist()
    [[0.6000000000000001, 0.8], [0.3, 0.4]]
    """
    return vectors * _shrink(norms(vectors), clip)[:, None]


def mean(vectors: Array) -> Array:
    """1/m * sum of x_i: the best there is among the honest, and the prey of a single liar (f = 0).

    >>> mean(np.array([[1.0], [2.0], [6.0]])).tolist()
    [3.0]
    """
    return tree_sum(vectors) / float(len(vectors))


def median(vectors: Array) -> Array:
    """Coordinate-wise median; of an even number, the mean of the middle two.

    2f < m. Each coordinate lies within the honest range. Yin, Chen, Ramchandran, Bartlett 2018, "Byzantine-Robust
    Distributed Learning: Towards Optimal Statistical Rates" (arXiv:1803.01498, definition 1).

    >>> median(np.array([[1.0, 5.0], [2.0, 6.0], [900.0, -900.0]])).tolist()
    [2.0, 5.0]
    """
    return middle(vectors)


def trimmed_mean(vectors: Array, faults: int) -> Array:
    """Coordinate-wise mean without the f largest and the f smallest.

    1/(m - 2f) * sum of the sorted x_(f+1) ... x_(m-f). 2f < m. Each coordinate lies within the honest range; kappa is
    f/(m - 2f), the best there can be, up to a constant. Yin et al. 2018 (arXiv:1803.01498, definition 2).

    >>> trimmed_mean(np.array([[1.0], [2.0], [4.0], [-900.0], [900.0]]), faults=1).tolist()
    [2.3333333333333335]
    """
    return mean(np.sort(vectors, axis=0)[faults : len(vectors) - faults])


def krum(vectors: Array, faults: int) -> Array:
    """The one input that lies closest to its neighbours.

    x_i with the least sum of ||x_i - x_j||^2 over the m - f nearest x_j, itself included. 2f + 2 < m. Blanchard,
    El Mhamdi, Guerraoui, Stainer 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", who
    sum over one neighbour fewer; the count here is that of Allouah et al. 2023 (arXiv:2302.01772).

    >>> krum(np.array([[1.0], [2.0], [4.0], [5.0], [900.0]]), faults=1).tolist()
    [2.0]
    """
    return np.array(vectors[_by_krum(vectors, faults)[0]])


def multi_krum(vectors: Array, faults: int) -> Array:
    """The mean of the m - f inputs with Krum's best scores.

    2f + 2 < m. Less is thrown away than by Krum, which learns from a single member a round. Blanchard et al. 2017,
    section 5.

    >>> multi_krum(np.array([[1.0], [2.0], [4.0], [5.0], [900.0]]), faults=1).tolist()
    [3.0]
    """
    return mean(vectors[np.sort(_by_krum(vectors, faults)[: len(vectors) - faults])])


def geometric_median(
    vectors: Array, *, iterations: int = 8, smoothing: float | None = None, start: Array | None = None
) -> Array:
    """The point with the least sum of distances to all inputs, by the smoothed Weiszfeld algorithm.

    y <- sum of x_i/d_i over sum of 1/d_i, where d_i = max(smoothing, ||x_i - y||), ``iterations`` times. 2f < m: to
    move it far, half of the inputs must. Pillutla, Kakade, Harchaoui 2022, "Robust Aggregation for Federated Learning"
    (arXiv:1912.13445, algorithm 2).

    It starts from the coordinate-wise median, which no minority moves far, so that few iterations do. ``smoothing`` is
    a millionth of the median distance from there unless given, so that the result does not depend on the inputs' unit.

    >>> geometric_median(np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0], [900.0, 0.0]])).round(2).tolist()
    [0.56, 0.0]
    """
    point = middle(vectors) if start is None else start
    apart = distances(vectors, point)
    floor = float(middle(apart)) * 1e-6 if smoothing is None else smoothing
    if floor == 0.0:
        # More than half of the inputs are this very point, which makes it the geometric median.
        return point
    for _ in range(iterations):
        pull = 1.0 / np.maximum(apart, floor)
        point = tree_sum(vectors * pull[:, None]) / tree_sum(pull)
        apart = distances(vectors, point)
    return point


def centred_clipping(
    vectors: Array, centre: Array | None = None, *, iterations: int = 5, radius: float | None = None
) -> Array:
    """From a centre, the mean of steps towards the inputs, each no longer than a radius.

    v <- v + 1/m * sum of (x_i - v) * min(1, radius/||x_i - v||), ``iterations`` times. 2f < m. Karimireddy, He, Jaggi
    2021, "Learning from History for Byzantine Robust Optimization" (arXiv:2012.10333, algorithm 2).

    They leave the radius to be tuned. Here it is, for each step, the median distance of the inputs from where the step
    begins: half of them come through whole, the unit does not matter, and f liars of 2f + 1 or more can make it no
    larger than the distance of the farthest honest input. ``centre`` is where it begins; zero if there is none.

    >>> centred_clipping(np.array([[1.0], [2.0], [3.0], [900.0]])).round(2).tolist()
    [2.47]
    """
    point = np.zeros(vectors.shape[1]) if centre is None else centre
    for _ in range(iterations):
        steps = vectors - point
        lengths = norms(steps)
        limit = float(middle(lengths)) if radius is None else radius
        point = point + mean(steps * _shrink(lengths, limit)[:, None])
    return point


_RULES: Mapping[str, Callable[[Array, int, Array], Array]] = {
    "mean": lambda x, f, start: mean(x),
    "median": lambda x, f, start: median(x),
    "trimmed-mean": lambda x, f, start: trimmed_mean(x, f),
    "geometric-median": lambda x, f, start: geometric_median(x),
    "centred-clipping": lambda x, f, start: centred_clipping(x, start),
    "krum": lambda x, f, start: krum(x, f),
    "multi-krum": lambda x, f, start: multi_krum(x, f),
}
_MIXES: Mapping[str, Callable[[Array, int, bytes], Array]] = {
    "none": lambda x, f, seed: x,
    "nearest-neighbours": lambda x, f, seed: nearest_neighbours(x, f),
    "buckets": lambda x, f, seed: buckets(x, seed),
}


def _by_krum(vectors: Array, faults: int) -> NDArray[np.intp]:
    """Indices, best score first."""
    near = np.sort(squared_distances(vectors), axis=1)[:, : len(vectors) - faults]
    return np.argsort(tree_sum(near.T), kind="stable")


def _shrink(lengths: Array, limit: float) -> Array:
    """min(1, limit/length) of each."""
    return np.where(lengths > limit, limit / np.where(lengths > limit, lengths, 1.0), 1.0)


def _enough(inputs: int, needed: int, what: str, faults: int, of: str = "") -> None:
    if inputs < needed:
        raise IntegrityError(f"{what} withstands {faults} liars among {needed} inputs or more; here are {inputs}{of}")
