"""What the data of a task looks like: names, order and types of columns, shapes of arrays. Never a value of it.

The schema belongs to the task, in one of two ways. Its author declares ``columns``; or ``folkmoot propose --data``
reads it off the proposer's own data and pins it in the bundle as ``data-schema.json``. Either way its hash is consented
to, and every member's data is held against it before anything is trained on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from folkmoot.errors import TaskError
from folkmoot.task.bundle import pack_bundle, read_bundle
from folkmoot.task.datafile import header_of
from folkmoot.task.examples import Rows, parts_of

if TYPE_CHECKING:
    from folkmoot.task.protocol import Task

__all__ = [
    "SCHEMA_FILE",
    "Column",
    "Columns",
    "DataSchema",
    "Part",
    "columns_of",
    "declared",
    "kind_of",
    "part_of",
    "pinned",
    "read_schema",
    "schema_in",
    "schema_of",
]

Columns = Sequence[str] | Set[str] | Mapping[str, str | Collection[str] | None]
"""How the author of a task says what columns its data has: see ``declared``."""

SCHEMA_FILE = "data-schema.json"
_FORMAT = "folkmoot-data-schema-1"
_NAME = 200
"""Characters of a column's name that are kept."""
_NUMBER = ("float", "bfloat", "int32", "int64", "uint32", "uint64")
_TEXT = ("str", "bytes", "object", "utf8", "large_string")
_TIME = ("datetime", "time")


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column."""

    name: str
    type: str = ""
    """As NumPy or the table's library writes it, or ``number`` or ``text``; empty: any."""
    categories: tuple[str, ...] = ()
    """The values it may have besides none, if its author names them; empty: any. They are never read off the data."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One array or table that ``load`` gives."""

    place: str
    """``train features``, or ``data['pixels']``."""
    type: str = ""
    shape: tuple[int, ...] = ()
    """Of one example."""
    columns: tuple[Column, ...] = ()
    """Of a table, in order."""


class DataSchema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is expected of every member's data."""

    format: str = _FORMAT
    columns: tuple[Column, ...] = ()
    """Of the file, in order, where its first row names them; else of the features, where those are a table."""
    ordered: bool = True
    """Whether the order of ``columns`` counts, and others than these are refused."""
    header: bool = False
    """Whether a table of text must begin with the names of its columns."""
    parts: tuple[Part, ...] = ()

    def sentence(self) -> str:
        """All of it in a line, for people."""
        said = (
            [", ".join(map(_told, self.columns)) + ("" if self.ordered else " (in any order)")] if self.columns else []
        )
        return "; ".join(said + [f"{part.place}: {_looks(part)}" for part in self.parts]) or "as it likes"


def _told(column: Column) -> str:
    kind = "|".join(column.categories) or column.type
    return f"{column.name} ({kind})" if kind else column.name


def _looks(part: Part) -> str:
    if part.columns:
        return ", ".join(map(_told, part.columns))
    return f"{part.type} {part.shape}" if part.shape else part.type


def declared(task: Task) -> DataSchema | None:
    """What the author of a task says with its ``columns``: names in order; a set of names, whose order does not matter;
    or for each name its type (``"number"``, ``"text"``, ``"int64"``) or a list of its categories. Empty ``columns`` say
    that any will do.

    Raises ``TaskError`` where it is none of these.
    """
    said: object = getattr(task, "columns", None)
    if said is None:
        return None
    if not isinstance(said, Mapping | Sequence | Set) or isinstance(said, str):
        raise TaskError(f"`columns` is {said!r:.60}; give names in order, or a dict from each name to its type.")
    kinds = said if isinstance(said, Mapping) else dict.fromkeys(sorted(said) if isinstance(said, Set) else said)
    columns = tuple(_declared_column(name, kind) for name, kind in kinds.items())
    return DataSchema(columns=columns, ordered=not isinstance(said, Set) or isinstance(said, Mapping))


def schema_in(bundle: bytes, task: Task) -> DataSchema | None:
    """What is expected of a task's data: as it is pinned in the bundle, else as the author declares it; ``None`` where
    nobody says. Raises ``TaskError`` where it is malformed."""
    text = read_bundle(bundle).get(SCHEMA_FILE)
    return declared(task) if text is None else read_schema(text)


def read_schema(text: bytes) -> DataSchema:
    """The schema in a ``data-schema.json``. Raises ``TaskError``."""
    try:
        schema = msgspec.json.decode(text, type=DataSchema)
    except msgspec.MsgspecError as error:
        raise TaskError(f"The task's {SCHEMA_FILE} is malformed: {error}.") from None
    if schema.format != _FORMAT:
        raise TaskError(f"The task's {SCHEMA_FILE} has the format {schema.format!r:.40}; this version reads {_FORMAT}.")
    return schema


def pinned(bundle: bytes, schema: DataSchema) -> bytes:
    """The bundle with ``schema`` in it."""
    text = msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
    return pack_bundle({**read_bundle(bundle), SCHEMA_FILE: text})


def schema_of(data: object, path: str, declared: DataSchema | None = None) -> DataSchema:
    """What the file at ``path`` says, and what ``load`` gave of it: names, types and shapes, and no value.

    What the author has ``declared`` of the columns stands as it is. Else the file's are listed, but not where ``load``
    gives a table: that names its own, whatever their order in the file.
    """
    parts = tuple(part for place, value in parts_of(data) if (part := part_of(place, value)) is not None)
    names = header_of(Path(path))
    if declared is not None:
        return msgspec.structs.replace(declared, header=bool(names and declared.columns), parts=parts)
    named = () if any(part.columns for part in parts) else names
    return DataSchema(columns=tuple(Column(name=name[:_NAME]) for name in named), header=bool(named), parts=parts)


def part_of(place: str, value: object) -> Part | None:
    """What stands at ``place`` of a dataset, if that is an array or a table with a first axis."""
    if not isinstance(value, Rows) or not len(value.shape):
        return None
    columns = columns_of(value)
    if columns:
        return Part(place=place, columns=columns)
    return Part(place=place, type=_type(getattr(value, "dtype", "")), shape=tuple(int(n) for n in value.shape[1:]))


def columns_of(value: Any) -> tuple[Column, ...]:
    """The columns of a table (of pandas, polars and their like) or of a structured array; none for a plain array."""
    if hasattr(value, "columns") and hasattr(value, "dtypes"):
        pairs = zip(list(value.columns), list(value.dtypes), strict=True)
        return tuple(Column(name=str(name)[:_NAME], type=_type(dtype)) for name, dtype in pairs)
    fields = getattr(getattr(value, "dtype", None), "fields", None) or {}
    return tuple(Column(name=name[:_NAME], type=_type(field[0])) for name, field in fields.items())


def _type(dtype: object) -> str:
    """The name of a type. How long its longest text is, and which categories occur, is no business of others."""
    name = str(getattr(dtype, "name", None) or dtype).removeprefix("torch.").lower()
    word = name.split("(")[0].split("[")[0]
    return "text" if kind_of(word) == "text" else word


def kind_of(type: str) -> str:
    """What two columns must have in common. Whole and real numbers count as alike, for a missing value makes the one
    out of the other, and so do widths; bytes, as of images, do not: they are on another scale."""
    for kind, starts in (("number", _NUMBER), ("text", _TEXT), ("time", _TIME)):
        if type == kind or type.startswith(starts):
            return kind
    return type


def _declared_column(name: object, kind: object) -> Column:
    if not isinstance(name, str) or not name:
        raise TaskError(f"`columns` names a column {name!r:.60}; names are text.")
    if kind is None or isinstance(kind, str):
        return Column(name=name, type=kind or "")
    if isinstance(kind, Sequence | Set) and kind:
        return Column(name=name, categories=tuple(sorted(map(str, kind))))
    raise TaskError(f"`columns` says {kind!r:.60} of {name!r}; give its type, like 'number', or a list of categories.")
