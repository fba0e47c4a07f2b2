"""Blobs whose bytes went bad on this disk: looked for slowly, all the time, and fetched anew from the other members.

A disk loses bytes without a word, and what nobody reads for a year is missed on the day it is asked for. So every blob
is read and checked again and again, at a pace that no disk feels. What is bad the store moves to ``corrupt/``, whoever
found it; what lies there and is in no other place is fetched, and goes once it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from folkmoot.digest import CHUNK, Hash
from folkmoot.errors import IntegrityError, NetworkError, StoreError
from folkmoot.peer.backfill import SHARD_LIMIT
from folkmoot.peer.context import PeerContext

__all__ = ["Mending"]

PACE = 2 << 20
"""Bytes a second that are read and checked: 10 GiB in an hour and a half."""
AT_ONCE = 4
"""Chunks that are checked without a pause."""
REST = 60.0
"""Seconds between two walks through all blobs, at least."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 3600.0
"""Seconds until a blob that nobody gave is sought again; doubles each time, up to the second."""


class Mending:
    """The care of one peer for its own store."""

    def __init__(self, peer: PeerContext) -> None:
        self._peer = peer
        self._walk: Iterator[float] = iter(())
        self._sought: dict[Hash, tuple[float, float]] = {}
        """For each bad blob that nobody gave yet: when it is sought again, and the pause after that."""

    async def step(self) -> float:
        """Check a little, or fetch what is bad; seconds until the next step."""
        for name in self._due():
            await self._fetch(name)
        pause = await asyncio.to_thread(next, self._walk, None)
        if pause is None:
            self._walk = self._check_all()
            return REST
        return pause

    def _check_all(self) -> Iterator[float]:
        """Check every blob, some chunks at a time; yields the seconds to wait before going on."""
        store = self._peer.store
        for name in store.hashes():
            try:
                chunks = -(-store.size(name) // CHUNK)
                for first in range(0, chunks, AT_ONCE):
                    yield len(store.chunks(name, first, min(AT_ONCE, chunks - first))) / PACE
            except IntegrityError as error:
                self._peer.log("bad blob", blob=name.hex(), error=str(error))
                yield 0.0
            except (StoreError, OSError):
                continue  # given up meanwhile

    def _due(self) -> list[Hash]:
        now, bad = time.monotonic(), set(self._peer.store.spoilt())
        self._sought = {name: when for name, when in self._sought.items() if name in bad}
        return [name for name in bad if name not in self._sought or self._sought[name][0] <= now]

    async def _fetch(self, name: Hash) -> None:
        try:
            await self._peer.fetch(name, SHARD_LIMIT)
        except (NetworkError, StoreError) as error:
            pause = self._sought[name][1] if name in self._sought else FIRST_PAUSE
            self._sought[name] = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE)
            self._peer.log("not mended", blob=name.hex(), error=str(error))
        else:
            self._peer.store.forget_spoilt(name)
            self._peer.log("mended", blob=name.hex())
