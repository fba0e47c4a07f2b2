"""Whether the member's data is still what its cards say, and so what was consented to: looked at in every round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from folkmoot.errors import DataError
from folkmoot.ledger.records import Dataset
from folkmoot.peer.cards import held_against, read_card
from folkmoot.peer.fingerprint import mark_of
from folkmoot.peer.home import Home

__all__ = ["Custody", "Kept", "Unread"]

FRESH_SECONDS = 1.0
"""For so long a look at the data answers who asks again, unless it is about to be trained on."""
PROMPT_SECONDS = 0.5
"""A dataset that takes longer to be read whole is read in the background."""


class Kept(NamedTuple):
    """A dataset that is as its card says."""

    dataset: int
    path: str
    mark: bytes
    """What changes when the data may have; see ``fingerprint.mark_of``."""

    @property
    def version(self) -> str:
        """Who has read the data under another version reads it anew."""
        return self.mark.hex()


class Unread(DataError):
    """The data is being read to see whether it is what its card says; nobody need do anything."""


class Custody:
    """The datasets of one peer.

    A look compares sizes, times and inode numbers. Where these have changed, and the first time after each start, the
    data is read whole and its fingerprint taken.
    """

    def __init__(self, home: Home, place: Callable[[int], str | None]) -> None:
        """``place`` gives the path of a dataset, by its number, if it is known."""
        self._home = home
        self._place = place
        self._seen: dict[int, tuple[float, Kept]] = {}
        """When each dataset was last found to be as its card says, and what was found."""
        self._wrong: dict[int, tuple[str, bytes, DataError]] = {}
        """Path and mark of what was found to be something else, and what to raise for it: read whole but once."""
        self._reading: dict[int, asyncio.Task[Kept]] = {}

    async def look(self, dataset: Dataset, *, now: bool = False) -> Kept:
        """The dataset as it lies on this machine, and is what its card on the ledger says. ``now``: look at the disk,
        however fresh the last look is.

        Raises ``DataError`` saying what is wrong, ``Unread`` while that takes its time.
        """
        path = self._place(dataset.id)
        if path is None:
            raise DataError(
                f"{self._home.data_file} does not say where dataset {dataset.id} is:"
                f" folkmoot data relink {dataset.id} PATH"
            )
        at, seen = self._seen.get(dataset.id, (float("-inf"), None))
        if seen is not None and seen.path == path and not now and time.monotonic() < at + FRESH_SECONDS:
            return seen
        self._seen.pop(dataset.id, None)
        mark = await asyncio.to_thread(mark_of, Path(path))
        if seen is None or (seen.path, seen.mark) != (path, mark):
            seen = await self._read(dataset, path, mark)
        self._seen[dataset.id] = time.monotonic(), seen
        return seen

    async def settled(self, dataset: int) -> None:
        """Wait until a dataset that is being read has been."""
        reading = self._reading.get(dataset)
        if reading is not None:
            await asyncio.wait({reading})

    async def _read(self, dataset: Dataset, path: str, mark: bytes) -> Kept:
        wrong = self._wrong.get(dataset.id)
        if wrong is not None and wrong[:2] == (path, mark):
            raise wrong[2]
        reading = self._reading.get(dataset.id)
        if reading is None:
            reading = asyncio.create_task(self._fingerprint(dataset, path, mark))
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())  # told to who looks next
            self._reading[dataset.id] = reading
        await asyncio.wait({reading}, timeout=PROMPT_SECONDS)
        if not reading.done():
            raise Unread(f"dataset {dataset.id}, {path}, is being read to see whether it is what was consented to")
        if self._reading.get(dataset.id) is reading:  # another look, which waited too, may have been first
            del self._reading[dataset.id]
        kept = reading.result()
        # What was read may be another file by now than what was asked about.
        return kept if (kept.path, kept.mark) == (path, mark) else await self._read(dataset, path, mark)

    async def _fingerprint(self, dataset: Dataset, path: str, mark: bytes) -> Kept:
        try:
            card = await asyncio.to_thread(read_card, self._home, dataset)
            read = await asyncio.to_thread(held_against, card, dataset.id, Path(path))
        except DataError as error:
            self._wrong[dataset.id] = path, mark, error
            raise
        self._wrong.pop(dataset.id, None)
        return Kept(dataset.id, path, read)
