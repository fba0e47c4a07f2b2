import os
from pathlib import Path

import pytest

from folkmoot.digest import CHUNK, blob_hash
from folkmoot.errors import IntegrityError, StoreError
from folkmoot.store import Manifest, Store

DATA = os.urandom(3 * CHUNK + 11)
NAME = blob_hash(DATA)
MANIFEST = Manifest.of(DATA)


def piece(index: int) -> bytes:
    return DATA[index * CHUNK : (index + 1) * CHUNK]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_chunks_in_any_order_become_a_blob_at_once(store: Store) -> None:
    with store.begin(NAME, MANIFEST) as partial:
        for index in (2, 0, 3):
            partial.write(index, piece(index))
        assert partial.missing() == [1]
        assert not store.has(NAME)
        with pytest.raises(StoreError, match="misses 1 chunk"):
            partial.finish()
        partial.write(1, memoryview(piece(1)))
        partial.finish(durable=True)
    assert store.get(NAME) == DATA
    assert not list((store.root / "partial").iterdir())


def test_an_empty_blob_needs_no_chunk(store: Store) -> None:
    with store.begin(blob_hash(b""), Manifest.of(b"")) as partial:
        assert partial.missing() == []
        partial.finish()
    assert store.get(blob_hash(b"")) == b""


def test_a_wrong_chunk_is_refused_and_stays_missing(store: Store) -> None:
    with store.begin(NAME, MANIFEST) as partial:
        for wrong in (piece(1), piece(0)[:-1], b"", piece(0) + b"\0"):
            with pytest.raises(IntegrityError, match=f"chunk 0 of blob {NAME.hex()}"):
                partial.write(0, wrong)
        with pytest.raises(IntegrityError, match="no chunk 4"):
            partial.write(4, b"")
        assert partial.missing() == [0, 1, 2, 3]


def test_it_is_taken_up_again_where_it_stopped(store: Store) -> None:
    with store.begin(NAME, MANIFEST) as partial:
        partial.write(2, piece(2))
    with Store(store.root).begin(NAME, MANIFEST) as partial:
        assert partial.missing() == [0, 1, 3]


def test_a_chunk_torn_on_disk_is_missing_again(store: Store) -> None:
    with store.begin(NAME, MANIFEST) as partial:
        partial.write(0, piece(0))
        partial.write(2, piece(2))
    with (store.root / "partial" / NAME.hex()).open("r+b") as file:
        file.seek(2 * CHUNK + 100)
        file.write(b"torn")
    with store.begin(NAME, MANIFEST) as partial:
        assert partial.missing() == [1, 2, 3]


def test_the_manifest_of_another_blob_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError, match=NAME.hex()):
        store.begin(NAME, Manifest.of(b"other"))


def test_two_at_once_finish_as_one(store: Store) -> None:
    first, second = store.begin(NAME, MANIFEST), Store(store.root).begin(NAME, MANIFEST)
    for index in range(4):
        first.write(index, piece(index))
        second.write(index, piece(index))
    first.finish()
    second.finish()
    assert store.get(NAME) == DATA


def test_a_partial_blob_counts_against_the_budget_in_full(tmp_path: Path) -> None:
    store = Store(tmp_path, budget=len(DATA) + 10)
    with store.begin(NAME, MANIFEST) as partial:
        assert store.total() == len(DATA)
        with pytest.raises(StoreError, match="budget"):
            store.put(b"x" * 11)
        store.put(b"x" * 10)
        for index in range(4):
            partial.write(index, piece(index))
        partial.finish()
    assert store.total() == len(DATA) + 10
    with pytest.raises(StoreError, match="budget"):
        store.begin(blob_hash(b"more"), Manifest.of(b"more"))


def test_an_abandoned_one_leaves_nothing(store: Store) -> None:
    partial = store.begin(NAME, MANIFEST)
    partial.write(0, piece(0))
    partial.abandon()
    assert store.total() == 0
    with pytest.raises(StoreError, match="closed"):
        partial.write(1, piece(1))
