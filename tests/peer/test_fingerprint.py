"""A dataset is known again by its content, whatever changes it and however it lies on disk."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from folkmoot.errors import DataError
from folkmoot.peer.fingerprint import fingerprint_of, mark_of

SALT = bytes(16)


def folder(path: Path) -> Path:
    for name, content in (("a.csv", "1,2\n"), ("scans/b.csv", "3,4\n"), ("scans/c.csv", "")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return path


def swap(path: Path) -> None:
    (path / "a.csv").rename(path / "d.csv")


def move_a_byte(path: Path) -> None:
    (path / "a.csv").write_text("1,2\n3")
    (path / "scans" / "b.csv").write_text(",4\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is written": lambda path: (path / "a.csv").write_text("1,3\n"),
    "a file is added": lambda path: (path / "scans" / "d.csv").write_text(""),
    "a file is removed": lambda path: (path / "scans" / "c.csv").unlink(),
    "a file is renamed": swap,
    "a byte goes from one file to the next": move_a_byte,
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_in_a_folder_changes_mark_and_fingerprint(change: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "data")
    before = fingerprint_of(path, SALT)
    CHANGES[change](path)
    after = fingerprint_of(path, SALT)
    assert before[0] != after[0]
    assert before[1] != after[1] == mark_of(path)


def test_a_copy_elsewhere_has_the_same_fingerprint_under_the_same_salt_only(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one"), folder(tmp_path / "other")
    assert fingerprint_of(one, SALT)[0] == fingerprint_of(other, SALT)[0]
    assert fingerprint_of(one, SALT)[0] != fingerprint_of(one, bytes([1] * 16))[0]
    (tmp_path / "link").symlink_to(one / "a.csv")
    assert fingerprint_of(tmp_path / "link", SALT)[0] == fingerprint_of(one / "a.csv", SALT)[0]


def test_content_that_comes_under_the_times_of_the_old_is_noticed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1,2\n")
    found, before = path.stat(), mark_of(path)
    path.write_text("1,3\n")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert mark_of(path) != before


def test_what_is_no_file_is_no_dataset(tmp_path: Path) -> None:
    path = folder(tmp_path / "data")
    (path / "elsewhere").symlink_to(tmp_path)
    with pytest.raises(DataError, match="elsewhere is neither a file nor a folder of the dataset"):
        mark_of(path)
    (path / "elsewhere").unlink()
    os.mkfifo(path / "pipe")
    with pytest.raises(DataError, match="pipe is neither"):
        fingerprint_of(path, SALT)
    with pytest.raises(DataError, match=r"cannot read .*gone"):
        mark_of(tmp_path / "gone")
