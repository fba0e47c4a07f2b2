"""How commands print: a table or a few lines for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["DEFAULT_HOME", "HomeOption", "JsonOption", "ListenOption", "short", "show_json", "show_table", "sparkline"]

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="FOLKMOOT_HOME", help="The peer's folder.", file_okay=False, resolve_path=True),
]
"""The option that every command about one peer has."""

ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="IP:PORT",
        help="Where your peer listens, from now on (UDP); 0.0.0.0:4100 for all addresses of this machine.",
        show_default=False,
    ),
]
"""The option of the commands that fix where a peer listens."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

DEFAULT_HOME = Path("~/.folkmoot").expanduser()

_LONG = 1_000
_BARS = "▁▂▃▄▅▆▇█"


def show_json(value: object) -> None:
    """Print ``value`` as one JSON document: dataclasses and structs as objects, bytes as hex."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(_plain(value))).decode())


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under their column names; numbers are right-aligned."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        for column, value in zip(table.columns, row, strict=True):
            if isinstance(value, int | float):
                column.justify = "right"
        table.add_row(*(_text(value) for value in row))
    # Into a file or a pipe a row stays on one line, however long.
    Console(width=None if sys.stdout.isatty() else _LONG).print(table)


def short(digest: bytes) -> str:
    """The first 12 hex digits, enough to tell hashes apart by eye."""
    return digest.hex()[:12]


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """The last ``width`` values as a line of small bars."""
    shown = values[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in shown)


def _text(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(value.hex() if isinstance(value, bytes) else "" if value is None else str(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
