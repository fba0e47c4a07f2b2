"""Blobs that go bad on a peer's disk, and that nobody asks for: the peer finds them and gets them anew."""

import shutil
from pathlib import Path

import rig

from folkmoot.peer import mending

NAMES = ["anna", "bert", "carl"]


def quick() -> None:
    mending.REST, mending.PACE, mending.FIRST_PAUSE = 0.1, 1 << 40, 0.1


def spoil(path: Path) -> None:
    """Change one byte in the middle, as a bad sector does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def holds(path: Path, data: bytes) -> bool:
    return path.exists() and path.read_bytes() == data


def test_blobs_of_past_rounds_that_went_bad_are_found_and_come_anew_from_the_others(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=3, start_members=3)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start(before=quick)
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.finish(task)
        moot.filled(task, *NAMES)
        store = moot.homes["anna"].store()
        (first, *_) = moot.finals(task)
        good = {name: store.get(name) for name in (first.model, first.inputs)}
        for name in good:
            spoil(store.path(name))
        for name, data in good.items():
            moot.until("the blob is mended", lambda name=name, data=data: holds(store.path(name), data))
        moot.until("nothing bad is left", lambda: not store.spoilt())
        moot.verify("anna")


def test_a_bad_blob_that_nobody_has_any_more_is_sought_until_somebody_has(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=2, start_members=3)
    with rig.moot(tmp_path / "moot", NAMES, start=False) as moot:
        moot.start(before=quick)
        task = moot.offer(source, rig.tiny_data(tmp_path, NAMES))
        moot.finish(task)
        moot.filled(task, *NAMES)
        name = moot.finals(task)[0].model
        paths = [moot.homes[member].store().path(name) for member in NAMES]
        shutil.copy(paths[2], tmp_path / "kept")
        paths[1].unlink()
        paths[2].unlink()
        spoil(paths[0])
        moot.until("anna misses it", lambda: any(r["event"] == "not mended" for r in moot.log("anna")))
        shutil.copy(tmp_path / "kept", paths[2])
        moot.until("it is back", lambda: holds(paths[0], (tmp_path / "kept").read_bytes()))
