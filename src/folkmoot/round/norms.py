"""Sums, norms and distances whose bits are the same on every machine.

``np.sum``, ``np.dot`` and ``np.linalg.norm`` add in an order that depends on the width of the processor's vector unit,
and floating-point addition is not associative. Here every sum adds halves element by element, so that its order
follows from the length alone. IEEE 754 rounds +, -, *, / and sqrt alike everywhere; as each is a loop of NumPy's own,
no compiler fuses two of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "distances", "middle", "norms", "squared_distances", "tree_sum"]

Array = NDArray[np.float64]

BLOCK = 4096
"""Columns that a norm sums before it goes on to the next: few enough for a cache. Part of the arithmetic, for another
number would round differently."""


def tree_sum(values: Array) -> Array:
    """The sum over the first axis: the second half is added to the first until one entry is left.

    Zero where there is nothing to add.

    >>> tree_sum(np.arange(10.0).reshape(5, 2)).tolist()
    [20.0, 25.0]
    >>> float(tree_sum(np.array([1e16, 1.0, -1e16, 1.0])))
    2.0
    """
    rest = values if len(values) else np.zeros((1, *values.shape[1:]))
    while len(rest) > 1:
        half = len(rest) // 2
        added = rest[:half] + rest[half : 2 * half]
        if len(rest) % 2:
            added[0] += rest[-1]
        rest = added
    return np.array(rest[0])


def norms(rows: Array) -> Array:
    """The L2 norm of each row of an (m, d) array, shape (m,).

    >>> norms(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    return np.sqrt(tree_sum(np.array([_row_sums(block * block) for block in _blocks(rows)]).reshape(-1, len(rows))))


def distances(rows: Array, point: Array) -> Array:
    """The L2 distance of each row of an (m, d) array from ``point`` of shape (d,), shape (m,).

    >>> distances(np.array([[3.0, 5.0], [0.0, 1.0]]), np.array([0.0, 1.0])).tolist()
    [5.0, 0.0]
    """
    return norms(rows - point)


def squared_distances(rows: Array) -> Array:
    """The squared L2 distance of each row of an (m, d) array from each other, shape (m, m), symmetric to the bit.

    >>> squared_distances(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.0, 25.0], [25.0, 0.0]]
    """
    tables = []
    for block in _blocks(rows):
        table = np.zeros((len(rows), len(rows)))
        for i in range(len(rows) - 1):
            apart = block[i + 1 :] - block[i]
            table[i, i + 1 :] = _row_sums(apart * apart)
        tables.append(table)
    above = tree_sum(np.array(tables).reshape(-1, len(rows), len(rows)))
    return above + above.T


def middle(values: Array) -> Array:
    """The median over the first axis; of an even number, the mean of the middle two.

    >>> middle(np.array([[9.0, 1.0], [1.0, 2.0], [2.0, 3.0], [4.0, 5.0]])).tolist()
    [3.0, 2.5]
    """
    ordered = np.sort(values, axis=0)
    half = len(ordered) // 2
    return np.array(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def _blocks(rows: Array) -> Iterator[Array]:
    return (rows[:, at : at + BLOCK] for at in range(0, rows.shape[1], BLOCK))


def _row_sums(block: Array) -> Array:
    return tree_sum(block.T)
