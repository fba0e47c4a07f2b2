"""Blobs over the network: answering for those we have, fetching those we need from several holders at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from folkmoot.digest import CHUNK, HASH_BYTES, Hash, blob_hash
from folkmoot.errors import IntegrityError, NetworkError, ProtocolError, RemoteError, StoreError
from folkmoot.network.messages import Chunks, GetBlob, GetChunks, Message, Missing, Outline, Whole
from folkmoot.network.node import Node
from folkmoot.network.ranges import Range, Ranges, spans
from folkmoot.network.streams import BodyReader, Reply, short
from folkmoot.store import Manifest, Partial, Store
from folkmoot.store.manifest import chunk_count

__all__ = ["fetch", "serve_blobs"]

SMALL = 4 * CHUNK
"""Bytes up to which a blob travels whole, in one round trip."""
_SPAN = 4
"""Chunks asked for at once."""
_PIPELINE = 2
"""Requests under way with one holder, so that its answer to one comes while the next travels."""
_LATE_SECONDS = 1.0
_SILENT_SECONDS = 15.0


def serve_blobs(store: Store) -> Callable[[bytes, Message, BodyReader], Awaitable[Reply | None]]:
    """A handler that answers blob messages from ``store``, and anything else with ``None``."""

    async def answer(peer: bytes, message: Message, body: BodyReader) -> Reply | None:
        if not isinstance(message, GetBlob | GetChunks):
            return None
        try:
            if isinstance(message, GetChunks):
                return Reply(Chunks(), store.chunks(message.hash, message.first, message.count))
            if store.size(message.hash) <= SMALL:
                return Reply(Whole(), store.get(message.hash))
            manifest = store.manifest(message.hash)
            return Reply(Outline(manifest.size), manifest.pack())
        except (StoreError, IntegrityError):
            # Bytes gone bad here are our fault, not the asker's; the store has moved them aside.
            return Reply(Missing())

    return answer


_under_way: WeakKeyDictionary[Node, dict[tuple[Path, Hash], asyncio.Task[None]]] = WeakKeyDictionary()


async def fetch(
    node: Node, store: Store, name: Hash, holders: Sequence[bytes], *, max_size: int, timeout: float
) -> None:
    """Bring the blob called ``name``, of at most ``max_size`` bytes, from ``holders`` (peer ids) into ``store``.

    Every chunk is checked as it comes; a holder that lacks the blob, lies or falls silent is dropped, what a slow
    one owes is also asked of another. What arrived stays on disk when the fetch fails, and the next one goes on
    from there. Fetches of one blob at the same time are one fetch.

    Raises ``NetworkError`` with each holder's answer if the blob could not be had within ``timeout`` seconds,
    ``StoreError`` if this store cannot take it.
    """
    running = _under_way.setdefault(node, {})
    key = (store.root, name)
    work = _Fetch(node, store, name, [holder for holder in holders if holder != node.id], max_size)
    try:
        async with asyncio.timeout(timeout):
            while not store.has(name):
                other = running.get(key)
                if other is not None:
                    await asyncio.wait([other])
                    continue
                task = asyncio.create_task(work.run())
                running[key] = task
                try:
                    await task
                finally:
                    del running[key]
    except TimeoutError as error:
        raise NetworkError(f"blob {name.hex()} did not come within {timeout:g} s; {work.report()}") from error


@dataclass
class _Fetch:
    """One blob on its way in, and what each holder had to say."""

    node: Node
    store: Store
    name: Hash
    holders: list[bytes]
    max_size: int
    answers: dict[bytes, str] = field(default_factory=dict)

    def report(self) -> str:
        """Each holder's answer in words."""
        if not self.holders:
            return "nobody is known to hold it"
        return "; ".join(f"{short(holder)}: {self.answers.get(holder, 'no answer yet')}" for holder in self.holders)

    async def run(self) -> None:
        manifest = await self._first_answer()
        if manifest is None:
            return
        with self.store.begin(self.name, manifest) as partial:
            await self._bring(partial)
            partial.finish()

    async def _first_answer(self) -> Manifest | None:
        """Ask one holder after another, not waiting long for any. The blob may come at once: then ``None``."""
        # Peers that need the same blob begin with different holders.
        start = (self.node.id[0] + self.name[0]) % max(1, len(self.holders))
        queue = self.holders[start:] + self.holders[:start]
        asking: set[asyncio.Task[Manifest | None]] = set()
        try:
            while queue or asking:
                if queue:
                    asking.add(asyncio.create_task(self._ask(queue.pop(0))))
                ready, asking = await asyncio.wait(
                    asking, timeout=_LATE_SECONDS if queue else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ready:
                    manifest = task.result()
                    if manifest is not None or self.store.has(self.name):
                        return manifest
        finally:
            await _stop(asking)
        raise NetworkError(f"blob {self.name.hex()} could not be had; {self.report()}")

    async def _ask(self, holder: bytes) -> Manifest | None:
        """The blob's manifest from ``holder``; ``None`` if it sent the blob itself, or nothing of use."""
        most = max(min(self.max_size, SMALL), HASH_BYTES * chunk_count(self.max_size))
        try:
            message, body = await self.node.request(holder, GetBlob(self.name), timeout=_SILENT_SECONDS, most=most)
            if isinstance(message, Whole):
                if len(body) > self.max_size or blob_hash(body) != self.name:
                    raise IntegrityError("sent other bytes")
                self.store.put(body)
                return None
            if isinstance(message, Outline):
                if message.size > self.max_size:
                    raise ProtocolError(f"says it has {message.size} bytes; the most allowed is {self.max_size}")
                return Manifest.unpack(self.name, message.size, body)
            self.answers[holder] = _declined(message)
        except RemoteError as error:
            self.answers[holder] = str(error)
        return None

    async def _bring(self, partial: Partial) -> None:
        loop = asyncio.get_running_loop()
        ranges = Ranges(spans(partial.missing(), _SPAN), _LATE_SECONDS)
        change = asyncio.Condition()
        dropped: set[bytes] = set()

        async def carry(holder: bytes) -> None:
            while holder not in dropped and not ranges.finished:
                taken = ranges.take(holder, loop.time())
                if taken is None:
                    await _changed(change, ranges.wait(loop.time()))
                    continue
                try:
                    await self._chunks(holder, taken, partial)
                    ranges.done(taken)
                except RemoteError as error:
                    self.answers[holder] = str(error)
                    dropped.add(holder)
                    ranges.give_back(taken, holder)
                async with change:
                    change.notify_all()

        carriers = {asyncio.create_task(carry(holder)) for holder in self.holders for _ in range(_PIPELINE)}
        try:
            while carriers and not ranges.finished:
                ready, carriers = await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
                for task in ready:
                    task.result()
        finally:
            await _stop(carriers)
        if not ranges.finished:
            raise NetworkError(
                f"blob {self.name.hex()}: {len(partial.missing())} of {len(partial.manifest.chunks)} chunks could not"
                f" be had; {self.report()}"
            )

    async def _chunks(self, holder: bytes, taken: Range, partial: Partial) -> None:
        message, body = await self.node.request(
            holder,
            GetChunks(self.name, taken.first, taken.count),
            timeout=_SILENT_SECONDS,
            most=taken.count * CHUNK,
        )
        if not isinstance(message, Chunks):
            raise NetworkError(_declined(message))
        view = memoryview(body)
        for index in range(taken.first, taken.first + taken.count):
            at = (index - taken.first) * CHUNK
            partial.write(index, view[at : at + CHUNK])


def _declined(message: Message) -> str:
    return "does not have it" if isinstance(message, Missing) else f"answered {type(message).__name__}"


async def _changed(change: asyncio.Condition, seconds: float | None) -> None:
    async with change:
        try:
            await asyncio.wait_for(change.wait(), seconds)
        except TimeoutError:
            return


async def _stop(
    tasks: set[asyncio.Task[object]] | set[asyncio.Task[None]] | set[asyncio.Task[Manifest | None]],
) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
