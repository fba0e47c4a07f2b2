"""Which holder brings which chunks: a plain data structure, no I/O and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Range", "Ranges", "spans"]


@dataclass(frozen=True)
class Range:
    """``count`` chunks from ``first`` on."""

    first: int
    count: int


def spans(indices: Iterable[int], longest: int) -> list[Range]:
    """Ascending chunk indices as ranges of neighbours, at most ``longest`` each."""
    found: list[Range] = []
    for index in indices:
        last = found[-1] if found else None
        if last is not None and last.first + last.count == index and last.count < longest:
            found[-1] = Range(last.first, last.count + 1)
        else:
            found.append(Range(index, 1))
    return found


@dataclass
class _Flight:
    since: float
    holders: set[bytes] = field(default_factory=set)


class Ranges:
    """Ranges still to come. Each goes to one holder; one that is late is also given to an idle second one, and
    what a dropped holder had goes back. Times are seconds on the caller's clock."""

    def __init__(self, todo: Iterable[Range], patience: float):
        self._waiting = deque(todo)
        self._flying: dict[Range, _Flight] = {}
        self._patience = patience

    @property
    def finished(self) -> bool:
        """Whether every range has come."""
        return not self._waiting and not self._flying

    def take(self, holder: bytes, now: float) -> Range | None:
        """A range for ``holder`` to bring: the next one, or one that another holder is late with; ``None`` if there
        is none at the moment."""
        if self._waiting:
            chosen = self._waiting.popleft()
            self._flying[chosen] = _Flight(now, {holder})
            return chosen
        late = [
            (flight.since, chosen.first, chosen)
            for chosen, flight in self._flying.items()
            if len(flight.holders) == 1 and holder not in flight.holders and now - flight.since >= self._patience
        ]
        if not late:
            return None
        chosen = min(late)[2]
        self._flying[chosen].holders.add(holder)
        return chosen

    def wait(self, now: float) -> float | None:
        """Seconds until a range in flight becomes late; ``None`` if all are being brought twice."""
        alone = [flight.since for flight in self._flying.values() if len(flight.holders) == 1]
        return max(0.0, min(alone) + self._patience - now) if alone else None

    def done(self, brought: Range) -> None:
        """``brought`` has come, from whomever."""
        self._flying.pop(brought, None)

    def give_back(self, taken: Range, holder: bytes) -> None:
        """``holder`` will not bring ``taken``."""
        flight = self._flying.get(taken)
        if flight is None:
            return
        flight.holders.discard(holder)
        if not flight.holders:
            del self._flying[taken]
            self._waiting.appendleft(taken)
