"""One way to print what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Row", "print_rows"]


@dataclass(frozen=True)
class Row:
    """One figure: ``ratio`` is value over reference, ``bar`` what the ratio should not exceed (or fall below)."""

    name: str
    value: float
    unit: str
    reference: str
    ratio: float | None
    bar: float | None


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print the rows as a Markdown table."""
    print(f"\n### {title}\n\n| what | value | unit | against | ratio | bar |\n| --- | ---: | --- | --- | ---: | ---: |")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        bar = "" if row.bar is None else f"{row.bar:g}"
        print(f"| {row.name} | {row.value:,.4g} | {row.unit} | {row.reference} | {ratio} | {bar} |", flush=True)
