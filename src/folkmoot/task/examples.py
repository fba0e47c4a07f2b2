"""The parts of a dataset as a task's ``load`` gives it, each under a name, and how many examples they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeGuard, runtime_checkable

__all__ = ["PAIRS", "Rows", "count_examples", "parts_of"]

PAIRS = (("train features", "train labels"), ("held-out features", "held-out labels"))
"""The parts of the (train, test) that ready-made tasks load, each (features, labels)."""


@runtime_checkable
class Rows(Protocol):
    """An array, a tensor, a sparse matrix or a table: its first axis are examples."""

    @property
    def shape(self) -> Any:
        """Its size along each axis, examples first."""
        ...


def parts_of(data: object) -> Iterator[tuple[str, object]]:
    """Every part of a dataset with its place: the four of a (train, test), else ``data[0]['pixels']`` and its like.

    Tuples and dicts are looked into. A list is one part: its items are examples.
    """
    if _is_pairs(data):
        for names, pair in zip(PAIRS, data, strict=True):
            yield from zip(names, pair, strict=True)
    else:
        yield from _below("data", data)


def count_examples(data: object) -> int | None:
    """How many examples a dataset has: those to train on and those held out together; ``None`` where its parts do not
    say, for want of any, or because they are of unlike length."""
    if _is_pairs(data):
        counts = [count_examples(labels) for _, labels in data]
        return None if None in counts else sum(filter(None, counts))
    sizes = {size for _, part in parts_of(data) if (size := _length(part)) is not None}
    return sizes.pop() if len(sizes) == 1 else None


def _is_pairs(data: object) -> TypeGuard[tuple[tuple[object, object], tuple[object, object]]]:
    """Whether this is (train, test), each (features, labels). A list is not: its items may be anything."""
    return isinstance(data, tuple) and len(data) == 2 and all(isinstance(p, tuple) and len(p) == 2 for p in data)


def _below(place: str, data: object) -> Iterator[tuple[str, object]]:
    if isinstance(data, Mapping):
        for key, part in data.items():
            yield from _below(f"{place}[{key!r:.60}]", part)
    elif isinstance(data, tuple):
        for at, part in enumerate(data):
            yield from _below(f"{place}[{at}]", part)
    else:
        yield place, data


def _length(part: object) -> int | None:
    if isinstance(part, Rows):
        return int(part.shape[0]) if len(part.shape) else None
    return len(part) if isinstance(part, list) else None
