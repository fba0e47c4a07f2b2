"""Examples as people have them (tables, sparse matrices, lists) as arrays of numbers, and where they are no numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError

__all__ = ["array_of", "column_names", "not_finite"]

_SHOWN = 3
_LONGEST = 40


def array_of(what: str, values: Any) -> NDArray[Any]:
    """``values`` as one array of numbers or truth values, examples first: of tables (pandas, polars), sparse matrices,
    tensors and lists; a missing value of a table is NaN.

    ``what`` they are, "features" or "labels", is for the error. Raises ``DataError`` where they are something else,
    with the column.
    """
    if isinstance(values, Mapping):
        keys = ", ".join(map(repr, list(values)[:_SHOWN]))
        raise DataError(
            f"The {what} are a dict ({keys}, ...); `load` must give one array, examples first: join its parts with"
            " np.column_stack, and take them apart again in the model."
        )
    if hasattr(values, "toarray"):
        values = values.toarray()
    if hasattr(values, "detach"):
        values = values.detach()
        values = values.double() if str(values.dtype) == "torch.bfloat16" else values  # which NumPy has not
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"The {what} are not one array of numbers: {error}.") from None
    if array.dtype.kind == "O" and hasattr(values, "to_numpy"):
        array = _nullable(values, array)
    if array.dtype.kind not in "biufc":
        raise DataError(_no_numbers(what, array, column_names(values)))
    return array


def column_names(values: Any) -> tuple[str, ...]:
    """The names of a table's columns; none for anything else."""
    return tuple(map(str, values.columns)) if hasattr(values, "columns") and hasattr(values, "to_numpy") else ()


def not_finite(values: NDArray[Any], columns: Sequence[str] = ()) -> str | None:
    """The first value that is NaN or infinite, as "column 3 ('age') of example 17 is nan"; ``None`` where all are
    finite. Examples and columns count from 0."""
    if values.dtype.kind not in "fc" or np.isfinite(values).all():
        return None
    example, *place = (int(at) for at in np.argwhere(~np.isfinite(values))[0])
    value = values[(example, *place)]
    if not place:
        return f"the value of example {example} is {value}"
    if len(place) == 1:
        name = f" ({columns[place[0]]!r})" if len(columns) == values.shape[1] else ""
        return f"column {place[0]}{name} of example {example} is {value}"
    return f"element {tuple(place)} of example {example} is {value}"


def _nullable(table: Any, array: NDArray[Any]) -> NDArray[Any]:
    """A table whose columns are of several types, or may lack values, as float64; ``array`` if it is no such table."""
    try:
        return np.asarray(table.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        return array


def _no_numbers(what: str, array: NDArray[Any], columns: Sequence[str]) -> str:
    """What stands where numbers are due, and what to do."""
    flat = array.reshape(len(array), -1)
    for column in range(flat.shape[1]):
        strange = [value for value in flat[:, column] if not isinstance(value, int | float | np.number)]
        if strange:
            break
    else:
        return f"The {what} are {array.dtype}; numbers are due."
    where = f"column {column}" if array.ndim > 1 else ""
    where += f" ({columns[column]!r})" if len(columns) == flat.shape[1] else ""
    seen = list(dict.fromkeys(str(value)[:_LONGEST] for value in strange))[:_SHOWN]
    told = f"The {what} hold {', '.join(map(repr, seen))}{f' in {where}' if where else ''}"
    if not all(isinstance(value, str) for value in strange):
        return f"{told} ({type(strange[0]).__name__}); `load` must give numbers, all examples of one shape."
    if what == "labels":
        numbers = ", ".join(f"{name!r}: {number}" for number, name in enumerate(sorted(seen)))
        return f"{told}; number the classes in `load`, alike at every member: {{{numbers}}}[label]."
    return f"{told}; make numbers of them in `load`, alike at every member: a column of 0 and 1 for each category."
