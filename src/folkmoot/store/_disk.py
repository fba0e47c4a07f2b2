"""The few file operations of the store, with the operating system's refusals in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from folkmoot.errors import StoreError, refusal_of

__all__ = ["sync_directory", "translated", "write_at", "write_file"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def translated(doing: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the body into a ``StoreError`` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(f"disk full while {doing} {path}; free some space, nothing was changed") from error
        raise StoreError(f"{doing} {path} failed: {refusal_of(error)}") from error


def write_file(path: Path, data: bytes | bytearray | memoryview, *, durable: bool) -> None:
    """Make the new file ``path``, readable by its owner alone. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_at(descriptor, data, 0)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``: one ``pwrite`` may take less than it was given."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def sync_directory(path: Path) -> None:
    """Make the renames in a directory survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
