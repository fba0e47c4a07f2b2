"""What a peer keeps: the blobs behind every final round, as far as its budget goes.

A peer that was away did not see the contributions of the rounds it missed. The ledger names each round's inputs record,
and that names every shard; so anything missing is fetched from whoever has it, and any one peer's
blobs are enough to replay the history.
"""

from __future__ import annotations

from collections.abc import Iterator

from folkmoot.digest import Hash
from folkmoot.errors import NetworkError
from folkmoot.ledger.records import Final
from folkmoot.peer.context import PeerContext
from folkmoot.round.commitment import MAX_RECORD, decode_inputs

__all__ = ["backfill", "collect", "round_blobs"]

SHARD_LIMIT = 1 << 32
"""Bytes of a shard that a peer will fetch to fill its history."""


def round_blobs(peer: PeerContext, final: Final) -> Iterator[tuple[Hash, int]]:
    """The blobs behind a final round, each with the most bytes it may have: first the model, the inputs record and
    the aggregate record, then, once the inputs record is here, the shards."""
    yield final.model, SHARD_LIMIT
    yield final.inputs, MAX_RECORD
    yield final.aggregate, MAX_RECORD
    if peer.store.has(final.inputs):
        reveals = decode_inputs(peer.store.get(final.inputs))
        if all(len(reveal.shards) == 1 for reveal in reveals.values()):
            for reveal in reveals.values():
                yield reveal.shards[0], SHARD_LIMIT


async def backfill(peer: PeerContext, task: int) -> None:
    """Fetch what is missing behind the rounds of a task that became final since the last call.

    Rounds that were reduced in shards are kept as each member held them: one peer never has them whole.
    """
    seen = peer.filled.get(task, 0)
    for final in await peer.ledger(peer.moot.finals, task, seen + 1):
        for name, limit in round_blobs(peer, final):
            if not peer.store.has(name):
                try:
                    await peer.fetch(name, limit)
                except NetworkError as error:
                    peer.log("gone", task=task, round=final.round, blob=name.hex(), error=str(error))
        peer.filled[task] = final.round


async def collect(peer: PeerContext) -> None:
    """Bring the store back within its budget: the contributions of the oldest rounds go first, then old states.

    Code, the state that each task continues from, and the records that name inputs stay.
    """
    budget = peer.store.budget
    if budget is None or peer.store.total() <= budget * 0.9:
        return
    needed: set[Hash] = set()
    shards: list[Hash] = []
    states: list[Hash] = []
    for record in await peer.ledger(peer.moot.tasks):
        view = await peer.ledger(peer.moot.round_view, record.id)
        needed |= {record.bundle, record.genesis, view.parent}
        for final in await peer.ledger(peer.moot.finals, record.id):
            needed |= {final.inputs, final.aggregate}
            states.append(final.model)
            if peer.store.has(final.inputs):
                reveals = decode_inputs(peer.store.get(final.inputs)).values()
                shards += [shard for reveal in reveals for shard in reveal.shards]
    expendable = [name for name in (*shards, *states) if name not in needed]
    freed = peer.store.collect(needed | set(expendable), expendable, spare_seconds=600.0)
    peer.log("collected", bytes=freed)
