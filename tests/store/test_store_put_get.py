import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.digest import CHUNK, blob_hash, chunk_hashes
from folkmoot.errors import IntegrityError, StoreError
from folkmoot.store import Manifest, Store
from folkmoot.store.manifest import chunk_count


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_what_is_put_comes_back_under_its_name(store: Store, size: int) -> None:
    data = os.urandom(size)
    name = store.put(data)
    assert name == blob_hash(data)
    assert store.has(name)
    assert store.size(name) == size
    assert store.get(name) == data
    assert store.manifest(name) == Manifest.of(data)
    assert list(store.hashes()) == [name]
    assert store.path(name).parent.name == name.hex()[:2]


def test_put_twice_keeps_one_copy_and_leaves_no_draft(store: Store) -> None:
    assert store.put(b"same") == store.put(bytearray(b"same"), durable=True)
    assert store.total() == 4
    assert not list((store.root / "tmp").iterdir())


def test_an_absent_blob_is_named_with_what_to_do(store: Store) -> None:
    name = blob_hash(b"never put")
    for ask in (store.get, store.size, store.manifest):
        with pytest.raises(StoreError, match=rf"no blob {name.hex()}.*fetch it"):
            ask(name)
    assert not store.has(name)


def test_a_corrupt_blob_is_moved_aside_so_that_it_can_be_put_again(store: Store) -> None:
    data = os.urandom(CHUNK + 5)
    name = store.put(data)
    store.path(name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=name.hex()):
        store.get(name)
    assert not store.has(name)
    assert (store.root / "corrupt" / name.hex()).exists()
    assert store.put(data) == name
    assert store.get(name) == data


def test_chunks_read_a_checked_part_of_a_blob(store: Store) -> None:
    data = os.urandom(3 * CHUNK + 7)
    name = store.put(data)
    assert store.chunks(name, 1, 3) == data[CHUNK:]
    assert store.chunks(name, 0, 1) == data[:CHUNK]
    for first, count in ((3, 2), (4, 1), (-1, 1), (0, 0)):
        with pytest.raises(StoreError, match="has 4 chunks"):
            store.chunks(name, first, count)
    spoilt = bytearray(data)
    spoilt[2 * CHUNK] ^= 1
    store.path(name).write_bytes(spoilt)
    assert store.chunks(name, 0, 2) == data[: 2 * CHUNK]
    with pytest.raises(IntegrityError):
        store.chunks(name, 2, 1)
    assert not store.has(name)


def test_the_manifest_of_a_corrupt_file_is_refused_when_not_in_memory(store: Store) -> None:
    name = store.put(os.urandom(CHUNK * 2))
    store.path(name).write_bytes(b"other")
    with pytest.raises(IntegrityError):
        Store(store.root).manifest(name)


def test_another_store_object_on_the_same_directory_sees_a_blob_at_once(store: Store) -> None:
    other = Store(store.root, budget=1000)
    assert other.total() == 0
    name = store.put(b"x" * 100)
    assert other.has(name)
    assert other.total() == 100
    store.delete(name)
    assert other.total() == 0
    assert not other.has(name)


def test_many_threads_put_the_same_and_different_blobs(store: Store) -> None:
    blobs = [bytes([index % 8]) * 50_000 for index in range(64)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(store.put, blobs))
    assert len(set(names)) == 8
    assert store.total() == 8 * 50_000
    assert not list(store.verify_all())
    assert not list((store.root / "tmp").iterdir())


def test_a_put_over_the_budget_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, budget=1000)
    kept = store.put(b"a" * 900)
    with pytest.raises(StoreError, match="900 of 1000"):
        store.put(b"b" * 101)
    assert list(store.hashes()) == [kept]
    assert store.put(b"a" * 900) == kept
    store.put(b"c" * 100)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 256 KiB."""
    where = tmp_path / "small"
    where.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", where], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small file system to be had: {made.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


def test_a_full_disk_is_said_so_and_nothing_half_written_stays(small_disk: Path) -> None:
    store = Store(small_disk)
    kept = store.put(os.urandom(100_000))
    with pytest.raises(StoreError, match="disk full"):
        store.put(os.urandom(200_000))
    assert list(store.hashes()) == [kept]
    assert not list((small_disk / "tmp").iterdir())
    data = os.urandom(300_000)
    with store.begin(blob_hash(data), Manifest.of(data)) as partial:
        with pytest.raises(StoreError, match="disk full"):
            partial.write(0, data[:CHUNK])
        assert partial.missing() == [0, 1]
    store.collect([])
    store.put(os.urandom(100_000))


def test_a_file_size_limit_reads_as_a_full_disk_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The same refusal by the kernel, for machines where no file system can be mounted."""
    program = """
import resource, signal, sys
from pathlib import Path
from folkmoot.errors import StoreError
from folkmoot.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store = Store(Path(sys.argv[1]))
kept = store.put(bytes(90_000))
try:
    store.put(bytes(200_000))
except StoreError as error:
    assert "disk full" in str(error), error
    assert list(store.hashes()) == [kept]
    assert not list((store.root / "tmp").iterdir())
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True)
    assert done.stdout.strip() == "refused", done.stderr


def test_verify_finds_wrong_bytes_and_foreign_files_and_nothing_else(store: Store) -> None:
    good, bad = store.put(b"good"), store.put(b"bad")
    assert not list(store.verify_all())
    store.path(bad).write_bytes(b"bad!")
    (store.root / "blobs" / "notes.txt").write_text("hello")
    (store.root / "readme").write_text("hello")
    misplaced = store.root / "blobs" / "zz"
    misplaced.mkdir()
    (misplaced / good.hex()).write_bytes(b"good")
    found = {problem.path.relative_to(store.root).as_posix(): problem.reason for problem in store.verify_all()}
    assert set(found) == {
        f"blobs/{bad.hex()[:2]}/{bad.hex()}",
        "blobs/notes.txt",
        "readme",
        f"blobs/zz/{good.hex()}",
    }
    assert "not what its name says" in found[f"blobs/{bad.hex()[:2]}/{bad.hex()}"]
    assert set(store.hashes()) == {good, bad}


def test_drafts_of_a_writer_that_died_long_ago_are_swept_away(store: Store) -> None:
    old, young = store.root / "tmp" / "old", store.root / "tmp" / "young"
    old.write_bytes(b"x")
    young.write_bytes(b"y")
    os.utime(old, (0, 0))
    Store(store.root)
    assert not old.exists()
    assert young.exists()


def test_a_name_of_the_wrong_length_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="32 bytes"):
        store.has(b"short")


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_a_manifest_survives_packing_and_fits_only_its_own_blob(data: bytes, flip: int) -> None:
    manifest = Manifest.of(data)
    name = blob_hash(data)
    assert manifest.name == name
    assert Manifest.unpack(name, len(data), manifest.pack()) == manifest
    with pytest.raises(IntegrityError):
        Manifest.unpack(name, len(data) + flip, manifest.pack())
    with pytest.raises(IntegrityError):
        Manifest.unpack(name, len(data), manifest.pack() + b"\0")
    with pytest.raises(IntegrityError):
        Manifest.unpack(blob_hash(data + b"\0"), len(data), manifest.pack())


@given(st.integers(0, 10 * CHUNK))
def test_chunk_lengths_add_up_to_the_size(size: int) -> None:
    manifest = Manifest(size, (b"\0" * 32,) * chunk_count(size))
    lengths = [manifest.length(index) for index in range(len(manifest.chunks))]
    assert sum(lengths) == size
    assert all(length == CHUNK for length in lengths[:-1])
    assert all(0 < length <= CHUNK for length in lengths)
    with pytest.raises(IndexError):
        manifest.length(len(lengths))


def test_a_file_is_outlined_as_its_bytes_are(tmp_path: Path) -> None:
    data = os.urandom(2 * CHUNK + 3)
    (tmp_path / "file").write_bytes(data)
    assert Manifest.of_file(tmp_path / "file") == Manifest(len(data), tuple(chunk_hashes(data)))
