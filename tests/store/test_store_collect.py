import os
from pathlib import Path

from folkmoot.digest import blob_hash
from folkmoot.store import Manifest, Store


def test_what_nobody_needs_is_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    needed, spendable, garbage = (store.put(bytes([each]) * 100) for each in range(3))
    assert store.collect([needed], [spendable]) == 100
    assert set(store.hashes()) == {needed, spendable}
    assert not store.has(garbage)


def test_over_the_budget_the_expendable_go_in_the_order_given(tmp_path: Path) -> None:
    roomy = Store(tmp_path)
    names = [roomy.put(bytes([each]) * 100) for each in range(6)]
    store = Store(tmp_path, budget=350)
    order = [names[4], names[1], names[5], names[0]]
    assert store.collect(names, order) == 300
    assert set(store.hashes()) == {names[0], names[2], names[3]}
    assert store.total() == 300


def test_what_is_needed_and_not_expendable_stays_even_over_the_budget(tmp_path: Path) -> None:
    names = [Store(tmp_path).put(bytes([each]) * 100) for each in range(3)]
    assert Store(tmp_path, budget=50).collect(names) == 0


def test_fresh_files_can_be_spared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, young = store.put(b"old"), store.put(b"young")
    os.utime(store.path(old), (0, 0))
    assert store.collect([], spare_seconds=3600) == 3
    assert list(store.hashes()) == [young]


def test_blobs_on_their_way_in_stay_and_forgotten_ones_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.begin(blob_hash(b"coming"), Manifest.of(b"coming")) as partial:
        store.begin(blob_hash(b"forgotten"), Manifest.of(b"forgotten")).close()
        assert store.collect([]) == len(b"forgotten")
        partial.write(0, b"coming")
        partial.finish()
    assert store.get(blob_hash(b"coming")) == b"coming"


def test_files_that_are_no_blobs_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    foreign = tmp_path / "blobs" / "notes.txt"
    foreign.write_text("mine")
    store.collect([])
    assert foreign.exists()


def test_bytes_gone_bad_are_thrown_away_once_not_needed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "corrupt" / blob_hash(b"x").hex()).write_bytes(b"y")
    assert store.collect([blob_hash(b"x")]) == 0
    assert store.collect([]) == 1
