import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from loopback import MOST, Stranger, frame, nodes, stranger

from folkmoot.digest import CHUNK, blob_hash
from folkmoot.errors import NetworkError, StoreError
from folkmoot.network import BodyReader, Message, Reply, fetch, serve_blobs
from folkmoot.network.messages import BlobMessage, Chunks, GetBlob, GetChunks, Missing, Outline, Whole
from folkmoot.store import Manifest, Store

DATA = os.urandom(20 * CHUNK + 99)
NAME = blob_hash(DATA)
DECODER = msgspec.msgpack.Decoder(BlobMessage)
ROOMY = {"max_size": 1 << 30, "timeout": 30.0}


def holding(path: Path, data: bytes = DATA) -> Store:
    store = Store(path)
    store.put(data)
    return store


def counting(store: Store, asked: list[Message]) -> Callable[[bytes, Message, BodyReader], Awaitable[Reply | None]]:
    """A handler that notes what it was asked."""
    answer = serve_blobs(store)

    async def note(peer: bytes, message: Message, body: BodyReader) -> Reply | None:
        asked.append(message)
        return await answer(peer, message, body)

    return note


def lying(holder: Stranger, chunks: Callable[[GetChunks], bytes | None]) -> None:
    """Let ``holder`` tell the truth about the blob's outline, and answer for chunks as ``chunks`` says."""

    async def reply(request: bytes) -> bytes | None:
        asked = DECODER.decode(request[12:])
        if isinstance(asked, GetBlob):
            return frame(Outline(len(DATA)), Manifest.of(DATA).pack())
        assert isinstance(asked, GetChunks)
        body = chunks(asked)
        return None if body is None else frame(Chunks(), body)

    holder.answer(reply)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 4 * CHUNK, 4 * CHUNK + 1, 20 * CHUNK + 99])
def test_a_blob_comes_from_several_holders_whatever_its_size(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)

    async def run() -> None:
        async with nodes(4) as (asker, *holders):
            for index, holder in enumerate(holders):
                holder.serve(serve_blobs(holding(tmp_path / str(index), data)))
            store = Store(tmp_path / "mine")
            await fetch(asker, store, blob_hash(data), [holder.id for holder in holders], **ROOMY)
            assert store.get(blob_hash(data)) == data
            assert store.total() == size

    asyncio.run(run())


def test_a_small_blob_takes_one_round_trip_and_a_large_one_is_shared_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(3) as (asker, *holders):
            small = os.urandom(1000)
            asked: list[list[Message]] = [[], []]
            for index, holder in enumerate(holders):
                stock = holding(tmp_path / str(index))
                stock.put(small)
                holder.serve(counting(stock, asked[index]))
            store = Store(tmp_path / "mine")
            ids = [holder.id for holder in holders]
            await fetch(asker, store, blob_hash(small), ids, **ROOMY)
            assert asked[0] + asked[1] == [GetBlob(blob_hash(small))]
            await fetch(asker, store, NAME, ids, **ROOMY)
            assert all(any(isinstance(each, GetChunks) for each in by_holder) for by_holder in asked)
            await fetch(asker, store, NAME, [], max_size=0, timeout=0)

    asyncio.run(run())


def test_holders_that_lack_it_or_are_gone_do_not_matter_while_one_has_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(4) as (asker, empty, refusing, full):
            empty.serve(serve_blobs(Store(tmp_path / "empty")))
            full.serve(serve_blobs(holding(tmp_path / "full")))
            store = Store(tmp_path / "mine")
            nobody = os.urandom(32)
            await fetch(asker, store, NAME, [nobody, empty.id, refusing.id, asker.id, full.id], **ROOMY)
            assert store.get(NAME) == DATA

    asyncio.run(run())


def test_when_nobody_has_it_the_error_tells_what_each_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(3) as (asker, empty, refusing):
            empty.serve(serve_blobs(Store(tmp_path / "empty")))
            with pytest.raises(NetworkError, match=NAME.hex()) as caught:
                await fetch(asker, Store(tmp_path / "mine"), NAME, [empty.id, refusing.id], **ROOMY)
            said = str(caught.value)
            assert f"{empty.id.hex()[:10]}: does not have it" in said
            assert "GetBlob is not served here" in said
            with pytest.raises(NetworkError, match="nobody is known to hold it"):
                await fetch(asker, Store(tmp_path / "mine"), NAME, [asker.id], **ROOMY)

    asyncio.run(run())


def test_a_lying_holder_is_dropped_and_named_and_its_part_comes_from_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, honest), stranger() as liar:
            lying(liar, lambda asked: os.urandom(asked.count * CHUNK))
            honest.serve(serve_blobs(holding(tmp_path / "honest")))
            asker.allow({honest.id: honest.addresses(), liar.id: [liar.address]})
            store = Store(tmp_path / "mine")
            await fetch(asker, store, NAME, [liar.id, honest.id], **ROOMY)
            assert store.get(NAME) == DATA
            asker.allow({liar.id: [liar.address]})
            with pytest.raises(NetworkError, match=rf"{liar.id.hex()[:10]}: chunk \d+ of blob"):
                await fetch(asker, Store(tmp_path / "other"), NAME, [liar.id], **ROOMY)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Whole(), b"other bytes"),
        (Outline(len(DATA)), bytes(32 * 21)),
        (Outline(len(DATA) + 1), Manifest.of(DATA).pack()),
        (Outline(len(DATA)), Manifest.of(DATA).pack()[:-32]),
        (Outline((1 << 30) + 1), b""),
        (Chunks(), b"unasked"),
        (Missing(), b""),
    ],
)
def test_a_holder_that_lies_about_the_whole_is_passed_over(tmp_path: Path, message: Message, body: bytes) -> None:
    async def run() -> None:
        async def reply(request: bytes) -> bytes:
            return frame(message, body)

        async with nodes(2) as (asker, honest), stranger() as liar:
            liar.answer(reply)
            honest.serve(serve_blobs(holding(tmp_path / "honest")))
            asker.allow({honest.id: honest.addresses(), liar.id: [liar.address]})
            store = Store(tmp_path / "mine")
            with pytest.raises(NetworkError, match=liar.id.hex()[:10]):
                await fetch(asker, store, NAME, [liar.id], **ROOMY)
            await fetch(asker, store, NAME, [liar.id, honest.id], **ROOMY)
            assert store.get(NAME) == DATA

    asyncio.run(run())


def test_a_holder_that_falls_silent_loses_its_part_to_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, honest), stranger() as silent:
            lying(silent, lambda asked: None)
            honest.serve(serve_blobs(holding(tmp_path / "honest")))
            asker.allow({honest.id: honest.addresses(), silent.id: [silent.address]})
            store = Store(tmp_path / "mine")
            await fetch(asker, store, NAME, [silent.id, honest.id], **ROOMY)
            assert store.get(NAME) == DATA

    asyncio.run(run())


def test_a_fetch_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, honest), stranger() as half:
            lying(half, lambda asked: DATA[: 4 * CHUNK] if asked.first == 0 else None)
            asker.allow({honest.id: honest.addresses(), half.id: [half.address]})
            store = Store(tmp_path / "mine")
            with pytest.raises(NetworkError, match="did not come within"):
                await fetch(asker, store, NAME, [half.id], max_size=1 << 30, timeout=0.5)
            assert not store.has(NAME)
            asked: list[Message] = []
            honest.serve(counting(holding(tmp_path / "honest"), asked))
            again = Store(tmp_path / "mine")
            await fetch(asker, again, NAME, [honest.id], **ROOMY)
            assert again.get(NAME) == DATA
            assert min(each.first for each in asked if isinstance(each, GetChunks)) == 4

    asyncio.run(run())


def test_fetches_of_one_blob_at_once_are_one_and_outlive_the_first_that_gives_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, holder):
            asked: list[Message] = []
            holder.serve(counting(holding(tmp_path / "holder"), asked))
            store = Store(tmp_path / "mine")
            await asyncio.gather(*(fetch(asker, store, NAME, [holder.id], **ROOMY) for _ in range(5)))
            assert store.get(NAME) == DATA
            assert asked.count(GetBlob(NAME)) == 1
            store.delete(NAME)
            first, second = (asyncio.create_task(fetch(asker, store, NAME, [holder.id], **ROOMY)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await second
            assert store.get(NAME) == DATA

    asyncio.run(run())


def test_a_blob_beyond_the_size_allowed_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, holder):
            stock = holding(tmp_path / "holder")
            small = stock.put(bytes(1000))
            holder.serve(serve_blobs(stock))
            store = Store(tmp_path / "mine")
            for name, most in ((NAME, len(DATA) - 1), (small, 999)):
                with pytest.raises(NetworkError, match="the most"):
                    await fetch(asker, store, name, [holder.id], max_size=most, timeout=20)
            assert store.total() == 0
            await fetch(asker, store, NAME, [holder.id], max_size=len(DATA), timeout=20)

    asyncio.run(run())


@pytest.mark.parametrize("data", [DATA, bytes(1000)])
def test_a_store_without_room_is_a_local_error_and_the_node_goes_on(tmp_path: Path, data: bytes) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, holder):
            holder.serve(serve_blobs(holding(tmp_path / "holder", data)))
            with pytest.raises(StoreError, match="budget"):
                await fetch(asker, Store(tmp_path / "mine", budget=500), blob_hash(data), [holder.id], **ROOMY)
            await fetch(asker, Store(tmp_path / "roomy", budget=MOST), blob_hash(data), [holder.id], **ROOMY)

    asyncio.run(run())


def test_a_holder_whose_own_copy_went_bad_says_that_it_lacks_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with nodes(2) as (asker, holder):
            stock = holding(tmp_path / "holder")
            stock.path(NAME).write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
            holder.serve(serve_blobs(Store(tmp_path / "holder")))
            with pytest.raises(NetworkError, match="does not have it"):
                await fetch(asker, Store(tmp_path / "mine"), NAME, [holder.id], **ROOMY)
            assert not stock.has(NAME)

    asyncio.run(run())
