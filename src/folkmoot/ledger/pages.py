"""Reading a contract's lists, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["PAGE", "pages"]

PAGE = 32
"""Rows of a page, as the contracts have it."""
_Row = TypeVar("_Row")


def pages(start: int, page: Callable[[int], Sequence[_Row]]) -> Iterator[_Row]:
    """All rows from ``start`` on; ``page`` gives those of one page."""
    while rows := page(start):
        yield from rows
        if len(rows) < PAGE:
            return
        start += len(rows)
