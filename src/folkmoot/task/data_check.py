"""Whether a member's data is what its task expects: a difference is named by the column, or the part, that has it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from folkmoot.errors import DataError
from folkmoot.task.data_schema import Column, DataSchema, Part, columns_of, kind_of, part_of
from folkmoot.task.datafile import cells_of, header_of, is_missing, is_number
from folkmoot.task.examples import Rows, parts_of

__all__ = ["check_data", "check_file"]


def check_file(schema: DataSchema, path: str) -> None:
    """Raise ``DataError`` where the file at ``path``, as far as it can be read without the task's code, is not as
    ``schema`` says: the names of its columns, their order, and what the author says of the cells below them."""
    names = header_of(Path(path))
    if names:
        _check_columns(path, names, schema)
        _check_cells(Path(path), names, schema)
    elif schema.header:
        told = ", ".join(column.name for column in schema.columns)
        raise DataError(f"{path} does not begin with the names of its columns, as the task's data does: {told}")


def check_data(schema: DataSchema, data: object, path: str) -> None:
    """Raise ``DataError`` where what ``load`` gave of the file at ``path`` is not as ``schema`` says: names and types
    of columns, shapes and types of arrays."""
    tables = {place: value for place, value in parts_of(data) if isinstance(value, Rows)}
    features = next(iter(tables.values()), None)
    if features is not None and not header_of(Path(path)):
        found = columns_of(features)
        if found:
            _check_columns(path, [column.name for column in found], schema)
            _check_types(path, found, schema.columns)
            _check_categories(path, features, schema.columns)
    for part in schema.parts:
        _check_part(path, part, tables.get(part.place))


def _check_columns(path: str, found: Sequence[str], schema: DataSchema) -> None:
    """Compare names, and their order if that counts."""
    wanted = [column.name for column in schema.columns]
    if not wanted:
        return
    here, there = set(found), set(wanted)
    missing = [name for name in wanted if name not in here]
    if missing:
        raise DataError(f"{path} has no column {_listed(missing)}, which the task's data has{_also(found, there)}")
    if not schema.ordered:
        return
    extra = [name for name in found if name not in there]
    if extra:
        raise DataError(f"{path}: column {_listed(extra)} is here and not in the task's data; leave it out")
    for number, (mine, theirs) in enumerate(zip(found, wanted, strict=False), start=1):
        if mine != theirs:
            raise DataError(
                f"{path}: column {number} is {mine!r} here, {theirs!r} in the task; the task's order is"
                f" {', '.join(wanted)}"
            )
    if len(found) != len(wanted):
        raise DataError(f"{path} has {len(found)} columns, and the task's data {len(wanted)}: a name comes twice")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _also(found: Sequence[str], there: set[str]) -> str:
    unknown = [name for name in found if name not in there]
    return f"; it has {_listed(unknown)}, which the task's data has not" if unknown else ""


def _check_types(path: str, found: Sequence[Column], wanted: Sequence[Column]) -> None:
    types = {column.name: column.type for column in found}
    for column in wanted:
        mine = types.get(column.name, "")
        if column.type and mine and kind_of(mine) != kind_of(column.type):
            raise DataError(f"{path}: column {column.name!r} is {mine} here, {column.type} in the task")


def _check_categories(path: str, table: Any, wanted: Sequence[Column]) -> None:
    for column in wanted:
        if column.categories:
            _check_values(path, column, {str(value) for value in list(table[column.name])})


def _check_values(path: str, column: Column, values: Set[str]) -> None:
    strange = sorted(value for value in values if value not in column.categories and not is_missing(value))
    if strange:
        raise DataError(
            f"{path}: column {column.name!r} has {_listed(strange[:3])}; the task knows {_listed(column.categories)}"
        )


def _check_cells(path: Path, names: Sequence[str], schema: DataSchema) -> None:
    """Hold the cells of a table of text against what the author says of their columns."""
    places = {name: at for at, name in enumerate(names)}
    known = [(places[column.name], column) for column in schema.columns if column.type or column.categories]
    rows = cells_of(path)
    next(rows, None)
    for line, row in rows if known else ():
        for at, column in known:
            cell = row[at].strip() if at < len(row) else ""
            if is_missing(cell):
                continue
            if column.categories and cell not in column.categories:
                told = _listed(column.categories)
                raise DataError(f"{path}, line {line}: {column.name!r} is {cell[:40]!r}; the task knows {told}")
            if kind_of(column.type) == "number" and not is_number(cell):
                raise DataError(f"{path}, line {line}: {column.name!r} is {cell[:40]!r}, and in the task a number")


def _check_part(path: str, part: Part, value: Any) -> None:
    if value is None:
        raise DataError(f"{path} gives no {part.place}, which the task's data has; `load` must give the same parts")
    if part.columns:
        found = columns_of(value)
        names = [column.name for column in found]
        if not found:
            raise DataError(f"{path} gives {part.place} without names of columns, which the task's data has")
        _check_columns(f"{path}, {part.place}", names, DataSchema(columns=part.columns))
        _check_types(f"{path}, {part.place}", found, part.columns)
        return
    if not value.shape[0]:
        return  # nothing held out: there is no telling what it would look like
    mine = part_of(part.place, value)
    if mine is None or mine.columns:
        raise DataError(f"{path} gives {part.place} as a table, and the task's data is an array")
    if mine.shape != part.shape:
        raise DataError(f"{path}: an example of {part.place} has the shape {mine.shape} here, {part.shape} in the task")
    if kind_of(mine.type) != kind_of(part.type):
        raise DataError(f"{path}: {part.place} are {mine.type} here, {part.type} in the task")
