"""Files that are whole or not there: written aside, forced to disk, then put in place in one step.

What the operating system refuses is a ``DiskError`` that names the path and the cure.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folkmoot.errors import DiskError

__all__ = ["folder_at", "refusals", "replace", "write_once"]


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the body about ``path`` into a ``DiskError``; but that a file exists is for the caller."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise DiskError.of(error, path) from error


def folder_at(path: Path) -> Path:
    """The folder at ``path``, made for its owner alone if it is not there. Raises ``DiskError``."""
    with refusals(path):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def write_once(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make a new file durably. Raises ``FileExistsError`` when there is one, ``DiskError`` on failure."""
    with refusals(path):
        aside = _write_aside(path, data, mode, durable=True)
        try:
            os.link(aside, path)  # unlike a rename, a link never replaces
        finally:
            aside.unlink()
        _sync_folder(path.parent)


def replace(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put ``data`` in the place of a file's old content; readers see the old or the new, never a part.

    ``durable=False`` leaves out the wait for the disk, for a file that one process rewrites many times a second;
    it always writes aside under the same name, so that kills leave no litter. Raises ``DiskError``.
    """
    with refusals(path):
        aside = _write_aside(path, data, mode, durable)
        try:
            os.replace(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(path.parent)


def _write_aside(path: Path, data: bytes, mode: int, durable: bool) -> Path:
    mark, once = (f".{secrets.token_hex(6)}", os.O_EXCL) if durable else ("", os.O_TRUNC)
    aside = path.with_name(f".{path.name}{mark}.part")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | once, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return aside


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
