"""Examples as people have them (tables, sparse matrices, lists) as arrays of numbers, and where they are no numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError

__all__ = ["array_of", "column_names", "not_finite", "pairs_of", "pool", "size_of"]

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


def pairs_of(data: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """``data`` as (train, test), each (features, labels) of as many examples.

    Raises ``TaskError`` where it is something else, such as a list of members' data.
    """
    try:
        (features, labels), (test_features, test_labels) = data
        for values in (features, test_features):
            if isinstance(values, Mapping):
                array_of("features", values)  # says so: its length would be that of its keys
        sizes = [size_of(part) for part in (features, labels, test_features, test_labels)]
    except (TypeError, ValueError):
        raise TaskError("it is no (train, test), each (features, labels)") from None
    if sizes[0] != sizes[1] or sizes[2] != sizes[3]:
        raise TaskError(
            f"it has {sizes[0]} training features for {sizes[1]} labels, {sizes[2]} for {sizes[3]} held out"
        )
    return (features, labels), (test_features, test_labels)


def size_of(part: Any) -> int:
    """How many examples these features or labels are."""
    return int(part.shape[0]) if hasattr(part, "shape") else len(part)  # a sparse matrix has no length


def pool(datasets: Sequence[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The datasets, each ((features, labels), (features, labels)), joined example by example.

    Raises ``TaskError`` if they are something else, or tables whose columns differ.
    """
    pairs = []
    for number, data in enumerate(datasets):
        try:
            pairs.append(pairs_of(data))
        except TaskError as error:
            raise TaskError(
                f"dataset {number} cannot be pooled: {error}. A task on other data says with pool(datasets) how its"
                " own are joined."
            ) from None
    if not pairs:
        raise TaskError("there is no dataset to pool")
    names = [column_names(data[0][0]) for data in pairs]
    for number, columns in enumerate(names):
        if columns != names[0]:
            raise TaskError(f"dataset {number} has the columns {list(columns)}, and the first has {list(names[0])}")
    try:
        (features, labels), (test_features, test_labels) = (
            (np.concatenate([array_of("features", data[part][0]) for data in pairs]),
             np.concatenate([array_of("labels", data[part][1]) for data in pairs]))
            for part in (0, 1)
        )  # fmt: skip
    except ValueError as error:
        raise TaskError(f"these datasets cannot be pooled, their examples are not alike: {error}") from None
    return (features, labels), (test_features, test_labels)


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
