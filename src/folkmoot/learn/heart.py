"""The UCI heart-disease data of four hospitals, shipped with the package.

Janosi, Steinbrunn, Pfisterer, Detrano (1988), doi 10.24432/C52P4X, CC BY 4.0; see ``ATTRIBUTION.md`` beside the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError
from folkmoot.learn.supervised import Array

__all__ = ["COLUMNS", "HEART_FEATURES", "clinics", "hospitals", "load_heart"]

COLUMNS = (
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
    *("slope", "ca", "thal", "num"),
)
"""The 14 columns of a ``processed.*.data`` file, in order."""

# Missing for most patients outside Cleveland (ca: 99%, thal: 54 to 92%, slope: 65% in Budapest, 51% in Long Beach);
# the FLamby benchmark (arXiv:2210.04620) drops the same three.
_DROPPED = ("slope", "ca", "thal")
# Codes without an order: one column for each code but the first.
_CODES = {"cp": (2, 3, 4), "restecg": (1, 2)}

HEART_FEATURES = 13
"""Columns of the features that `load_heart` gives."""


def hospitals() -> dict[str, Path]:
    """The four packaged files, by hospital: ``cleveland``, ``hungarian``, ``switzerland``, ``va``."""
    folder = Path(__file__).resolve().parent.parent / "data" / "heart_disease"
    return {name: folder / f"processed.{name}.data" for name in ("cleveland", "hungarian", "switzerland", "va")}


def clinics(hospital: Path, count: int, seed: int = 0) -> list[str]:
    """The text of ``count`` files that share out one hospital's patients, a line each, sick and healthy alike.

    Each patient is in one of them, and none has more than one of either kind over any other. Raises ``DataError`` as
    `load_heart` does.
    """
    healthy = _read(hospital)[:, COLUMNS.index("num")] == 0
    lines = [line for line in hospital.read_text("ascii").splitlines() if line.strip()]
    shuffle = np.random.Generator(np.random.PCG64(seed))
    order = np.concatenate([shuffle.permutation(np.flatnonzero(healthy == kind)) for kind in (False, True)])
    dealt = [np.sort(order[clinic::count]) for clinic in range(count)]
    return ["".join(f"{lines[patient]}\n" for patient in patients) for patients in dealt]


def load_heart(
    path: Path | str, seed: int = 0, complete: bool = False
) -> tuple[tuple[Array, NDArray[np.int64]], tuple[Array, NDArray[np.int64]]]:
    """One hospital's (train, test), each (features (patients, 13) float64, labels (patients,) int64).

    The columns ``slope``, ``ca`` and ``thal`` are dropped; chest pain and resting ECG, which are codes, become one
    column a code; ``?`` becomes NaN, or with ``complete`` the patient is left out. The label is 1 where the
    diagnosis is over 0. A third of each class, chosen by ``seed``, is held out.

    Raises ``DataError`` naming file, line and column of the first malformed cell.
    """
    raw = _read(Path(path))
    features, labels = _features(raw), (raw[:, COLUMNS.index("num")] > 0).astype(np.int64)
    if complete:
        whole = ~np.isnan(features).any(axis=1)
        features, labels = features[whole], labels[whole]
    test = _held_out(labels, seed)
    return (features[~test], labels[~test]), (features[test], labels[test])


def _read(path: Path) -> Array:
    """The whole table, (patients, 14), NaN for ``?``."""
    try:
        lines = path.read_text("ascii").splitlines()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: byte {error.start} is not ASCII.") from None
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(f"{path} holds no patient; a processed heart-disease file has a line for each.")
    return np.array(rows, dtype=np.float64)


def _row(path: Path, number: int, line: str) -> list[float]:
    cells = line.split(",")
    if len(cells) != len(COLUMNS):
        raise DataError(
            f"{path}, line {number}: {len(cells)} columns where {len(COLUMNS)} are due ({', '.join(COLUMNS)})."
        )
    return [_cell(path, number, at, cell.strip()) for at, cell in enumerate(cells)]


def _cell(path: Path, number: int, at: int, cell: str) -> float:
    if cell == "?" and COLUMNS[at] != "num":
        return float("nan")
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(
            f"{path}, line {number}, column {at + 1} ({COLUMNS[at]}): {cell[:40]!r} is not a number;"
            " write ? where a value is unknown."
        )
    return value


def _features(raw: Array) -> Array:
    columns: list[Array] = []
    for at, name in enumerate(COLUMNS[:-1]):
        value = raw[:, at]
        if name in _CODES:
            missing = np.isnan(value)
            columns += [np.where(missing, np.nan, value == code) for code in _CODES[name]]
        elif name not in _DROPPED:
            columns.append(value)
    return np.column_stack(columns)


def _held_out(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """True for a third of each class, rounded."""
    shuffle = np.random.Generator(np.random.PCG64(seed))
    test = np.zeros(len(labels), dtype=np.bool_)
    for label in (0, 1):
        where = shuffle.permutation(np.flatnonzero(labels == label))
        test[where[: round(len(where) / 3)]] = True
    return test
