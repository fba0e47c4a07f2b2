"""What a data file says of itself, without any task's code: the names of its columns, and how many records it has."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from folkmoot.errors import DataError

__all__ = ["cells_of", "delimiter_of", "header_of", "is_missing", "is_number", "records_in"]

_TABLES = (".csv", ".tsv", ".data", ".txt")
_DELIMITERS = ",;\t|"
_MISSING = frozenset(("", "?", "-", ".", "na", "n/a", "nan", "null", "none"))
_LOOK = 1 << 16
"""Bytes that tell whether a file is text, and what stands between its cells."""
_ROWS = 200
"""Rows that tell whether the first one is a header."""
_ASK = "say how many records it has with --records N, or have the task count them with --task"


def records_in(path: Path) -> int:
    """How many records a file has: rows of a table of text without its header, lines of JSON lines, the common first
    axis of NumPy arrays.

    Raises ``DataError`` where the file does not say: a folder, another format, rows or arrays of unlike length.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, whose records only its task can count; {_ASK}")
    count = _COUNTS.get(path.suffix.lower())
    if count is None:
        raise DataError(f"{path}: the records of a {path.suffix or 'nameless'} file cannot be counted; {_ASK}")
    try:
        return count(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def header_of(path: Path) -> tuple[str, ...]:
    """The names of the columns in the first row of a table of text; empty where there is no such row.

    A first row is a header when none of its cells is a number, is missing or comes twice, and in some column nothing
    but numbers follow: a row of data in words is never taken for names.
    """
    if path.suffix.lower() not in _TABLES or not path.is_file():
        return ()
    first, *rest = [row for _, row in islice(cells_of(path), _ROWS)] or [[]]
    names = tuple(cell.strip() for cell in first)
    if not rest or len(set(names)) < len(names) or any(is_number(name) or is_missing(name) for name in names):
        return ()
    columns = zip(*(row for row in rest if len(row) == len(names)), strict=True)
    return names if any(_numbers(column) for column in columns) else ()


def cells_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table of text that hold anything, each with the number of its last line; quoted line breaks belong
    to their cell. Raises ``DataError`` where the file is no text."""
    with path.open("rb") as raw:
        start = raw.read(_LOOK)
    if b"\0" in start:
        raise DataError(f"{path} is no text; {_ASK}")
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as text:
        rows = csv.reader(text, delimiter=_delimiter(start))
        try:
            yield from ((rows.line_num, row) for row in rows if any(map(str.strip, row)))
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}; {_ASK}") from None


def delimiter_of(path: Path) -> str:
    """What stands between the cells of a table of text: of ``,`` ``;`` tab and ``|`` the most frequent in the first
    line."""
    with path.open("rb") as raw:
        return _delimiter(raw.read(_LOOK))


def is_number(cell: str) -> bool:
    """Whether a cell is a number; NaN is a missing value."""
    try:
        return not math.isnan(float(cell))
    except ValueError:
        return False


def is_missing(cell: str) -> bool:
    """Whether a cell is empty or what people write for a value that is not known."""
    return cell.strip().lower() in _MISSING


def _delimiter(start: bytes) -> str:
    return max(_DELIMITERS, key=start.split(b"\n", 1)[0].decode(errors="replace").count)


def _numbers(column: Sequence[str]) -> bool:
    return any(map(is_number, column)) and all(is_number(cell) or is_missing(cell) for cell in column)


def _table_rows(path: Path) -> int:
    rows, width = 0, 0
    for line, row in cells_of(path):
        width = width or len(row)
        if len(row) != width:
            raise DataError(f"{path}, line {line}: {len(row)} cells where the first row has {width}; {_ASK}")
        rows += 1
    return rows - bool(header_of(path))


def _json_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _array_rows(path: Path) -> int:
    with path.open("rb") as file:
        return _common(path, {path.name: _shape(path, file)})


def _archive_rows(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {}
            for name in archive.namelist():
                with archive.open(name) as member:
                    shapes[name.removesuffix(".npy")] = _shape(path, member)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no NumPy archive: {error}; {_ASK}") from None
    return _common(path, shapes)


def _shape(path: Path, file: IO[bytes]) -> tuple[int, ...]:
    """The shape that the head of a ``.npy`` file tells; nothing behind the head is read."""
    from numpy.lib import format as form

    try:
        major, _ = form.read_magic(file)
        read = form.read_array_header_1_0 if major == 1 else form.read_array_header_2_0
        shape: tuple[int, ...] = read(file)[0]
    except ValueError as error:
        raise DataError(f"{path} is no file of NumPy's: {error}; {_ASK}") from None
    return shape


def _common(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    sizes = {name: shape[0] for name, shape in shapes.items() if shape}
    if len(set(sizes.values())) != 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "nothing with rows"
        raise DataError(f"{path} has arrays of unlike length ({told}); {_ASK}")
    return next(iter(sizes.values()))


_COUNTS: Mapping[str, Callable[[Path], int]] = {
    **dict.fromkeys(_TABLES, _table_rows),
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    ".npy": _array_rows,
    ".npz": _archive_rows,
}
