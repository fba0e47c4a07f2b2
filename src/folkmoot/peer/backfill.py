"""What a peer keeps: the blobs behind every final round, as far as its budget goes.

A peer that was away did not see the contributions of the rounds it missed. The ledger names each round's inputs record,
and that names every shard; so anything missing is fetched from whoever has it, and any one peer's
blobs are enough to replay the history.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from folkmoot.digest import Hash
from folkmoot.errors import FolkmootError, IntegrityError, NetworkError, StoreError
from folkmoot.ledger.records import Final
from folkmoot.peer.context import PeerContext
from folkmoot.round.commitment import MAX_RECORD, decode_hashes, reveals_in

__all__ = ["Backfill", "collect", "is_full", "round_blobs"]

SHARD_LIMIT = 1 << 32
"""Bytes of a shard that a peer will fetch to fill its history."""
TRIES = 8
"""How often a round's blobs are sought, at doubling intervals, before they count as gone everywhere."""
FULL, ROOMY = 0.9, 0.75
"""Shares of the budget: above the first blobs are given up until the second is reached."""
SPARE_SECONDS = 600.0


def round_blobs(peer: PeerContext, final: Final) -> Iterator[tuple[Hash, int]]:
    """The blobs behind a final round, each with the most bytes it may have: first the model, the inputs record and
    the aggregate record, then, once those two are here, the contributions, or the sums where there are several shards.

    Raises ``IntegrityError`` when a record is none.
    """
    yield final.model, SHARD_LIMIT
    yield final.inputs, MAX_RECORD
    yield final.aggregate, MAX_RECORD
    if not (peer.store.has(final.inputs) and peer.store.has(final.aggregate)):
        return
    sums = decode_hashes(peer.store.get(final.aggregate))
    reveals = reveals_in(peer.store.get(final.inputs)).values()
    if len(sums) > 1:
        # Each contribution lies in pieces on several disks, and one peer never has it whole; but its envelope all have.
        yield from ((name, SHARD_LIMIT) for name in sums)
        yield from ((name, SHARD_LIMIT) for reveal in reveals for name in reveal.shards[len(sums) :])
        return
    for reveal in reveals:
        yield from ((name, SHARD_LIMIT) for name in reveal.shards)


@dataclass
class _Gap:
    """A round whose blobs are not all here: how often they were sought, and when they will be again."""

    tries: int
    again: float


class Backfill:
    """Fetches what is missing behind the final rounds. The journal remembers how far that is done, so that what
    ``collect`` gave up is not fetched again after a restart."""

    def __init__(self, peer: PeerContext) -> None:
        self._peer = peer
        self._seen: dict[int, int] = {}
        self._gaps: dict[int, dict[int, _Gap]] = {}

    async def catch_up(self, task: int, finished: int) -> None:
        """Look at the rounds up to ``finished`` that became final since the last call, and those with gaps."""
        seen = self._seen.setdefault(task, self._peer.journal.filled(task))
        gaps = self._gaps.setdefault(task, {})
        now = time.monotonic()
        due = {round for round, gap in gaps.items() if gap.again <= now}
        if finished <= seen and not due:
            return
        finals = await self._peer.ledger(self._peer.moot.finals, task, min(due, default=seen + 1))
        for final in reversed(finals):  # where there is no room for all, the newest are worth most
            if final.round > seen or final.round in due:
                await self._fill(final, gaps, spare=final is not finals[-1])
                await asyncio.sleep(0)  # a long history must not hold the round under way up
        seen = self._seen[task] = max((seen, *(final.round for final in finals[-1:])))
        self._peer.journal.fill(task, min(gaps, default=seen + 1) - 1)

    async def _fill(self, final: Final, gaps: dict[int, _Gap], *, spare: bool) -> None:
        failure = await self._fetch(final, spare)
        if failure is None:
            gaps.pop(final.round, None)
            return
        gap = gaps.setdefault(final.round, _Gap(0, 0.0))
        gap.tries += 1
        gap.again = time.monotonic() + 2.0**gap.tries
        if gap.tries >= TRIES:
            del gaps[final.round]
            self._peer.log("gone", task=final.task, round=final.round, error=str(failure))

    async def _fetch(self, final: Final, spare: bool) -> FolkmootError | None:
        """Fetch what is missing behind one round, unless it can be spared and room is short; the last thing that went
        wrong, if any did."""
        failure: FolkmootError | None = None
        try:
            for name, limit in round_blobs(self._peer, final):
                if not self._peer.store.has(name):
                    if spare and self._crowded():
                        return None
                    try:
                        await self._peer.fetch(name, limit)
                    except NetworkError as error:
                        failure = error
        except (IntegrityError, StoreError) as error:
            failure = error
        return failure

    def _crowded(self) -> bool:
        """Whether what is fetched now would soon be given up again."""
        budget = self._peer.store.budget
        return budget is not None and self._peer.store.total() > budget * ROOMY


def is_full(peer: PeerContext) -> bool:
    """Whether it is time to make room: the store comes near its budget, the next round may not fit, or something did
    not."""
    store = peer.store
    if store.budget is None:
        return False
    return store.lacking > 0 or store.total() > min(store.budget * FULL, store.budget - _fresh(peer))


def _fresh(peer: PeerContext) -> int:
    """Bytes that the largest round under way may bring."""
    return max((room.fresh for room in peer.rooms.values()), default=0)


async def collect(peer: PeerContext, in_use: Iterable[Hash]) -> int:
    """Bring the store so far below its budget that the next round fits: what nobody needs goes first, then the
    contributions of the oldest rounds, then old states. Returns the bytes freed.

    Code, the state that each task continues from, the records that name inputs, and what is ``in_use`` stay.
    """
    budget = peer.store.budget
    if budget is None:
        return 0
    room, peer.store.lacking = max(_fresh(peer), peer.store.lacking), 0
    needed: set[Hash] = set(in_use)
    shards: list[Hash] = []
    states: list[Hash] = []
    for record in await peer.ledger(peer.moot.tasks):
        view = await peer.ledger(peer.moot.round_view, record.id)
        needed |= {record.bundle, record.genesis, view.parent}
        if record.barred:
            needed |= {e.evidence for e in await peer.ledger(peer.moot.expulsions, record.id)}
        for final in await peer.ledger(peer.moot.finals, record.id):
            needed |= {final.inputs, final.aggregate}
            states.append(final.model)
            shards += _behind(peer, final)
            await asyncio.sleep(0)
    expendable = [name for name in (*shards, *states) if name not in needed]
    freed = peer.store.collect(needed | set(expendable), spare_seconds=SPARE_SECONDS)
    over = peer.store.total() - min(budget * ROOMY, budget - room)
    for name in expendable:
        if over <= 0:
            break
        gone = peer.store.delete(name)
        over -= gone
        freed += gone
    if freed:
        peer.log("collected", bytes=freed)
    return freed


def _behind(peer: PeerContext, final: Final) -> list[Hash]:
    """The contributions and sums behind a round, as far as its records are here."""
    found: list[Hash] = []
    try:
        if peer.store.has(final.inputs):
            reveals = reveals_in(peer.store.get(final.inputs)).values()
            found += [shard for reveal in reveals for shard in reveal.shards]
        if peer.store.has(final.aggregate):
            sums = decode_hashes(peer.store.get(final.aggregate))
            found += sums if len(sums) > 1 else ()
    except (IntegrityError, StoreError) as error:
        peer.log("collect", task=final.task, round=final.round, error=str(error))
    return found
