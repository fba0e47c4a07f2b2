"""Whether a task's ``load`` finds the columns of a table by their names, so that their order does not matter to it."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.task.datafile import cells_of, delimiter_of, header_of
from folkmoot.task.examples import parts_of

__all__ = ["finds_by_name"]

_LARGEST = 64 << 20
"""Bytes of a file of which a copy is made to try."""


def finds_by_name(load: Callable[[str], object], data: object, path: Path) -> bool:
    """Whether ``load`` gives the same ``data`` of a copy of the table at ``path`` in which each column stands one place
    on. ``False`` too where that cannot be tried: no names, one column, or a large file."""
    names = header_of(path)
    if len(names) < 2 or path.stat().st_size > _LARGEST:
        return False
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            with copy.open("w", encoding="utf-8", newline="") as file:
                moved = (row[-1:] + row[:-1] for _, row in cells_of(path))
                csv.writer(file, delimiter=delimiter_of(path)).writerows(moved)
            return _alike(data, load(str(copy)))
        except Exception:  # whatever the task's code makes of columns that it did not expect
            return False


def _alike(one: object, other: object) -> bool:
    """Whether two datasets are the same in all parts that are arrays, and there are some."""
    parts, others = dict(parts_of(one)), dict(parts_of(other))
    if parts.keys() != others.keys():
        return False
    return all(_same(np.asarray(part), np.asarray(others[place])) for place, part in parts.items())


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.array_equal(one, other, equal_nan=np.issubdtype(one.dtype, np.floating))
