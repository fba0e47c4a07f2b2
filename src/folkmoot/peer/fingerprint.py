"""What a dataset is known again by: a keyed hash of its content, and a mark that changes when the content may have.

The key comes from the salt of the dataset's card, so that nobody who sees the hash can tell whether two members have
the same file, or try out what it may hold.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from folkmoot.errors import DataError

__all__ = ["fingerprint_of", "mark_of"]

_CONTEXT = "folkmoot 2026 dataset fingerprint v1"
_BLOCK = 1 << 20


def mark_of(path: Path) -> bytes:
    """32 bytes that change when a file, or a file below a folder, is written, replaced, added, renamed or removed.

    They come from sizes, times and inode numbers, so that looking costs microseconds a file. Raises ``DataError`` where
    ``path`` is missing, or there is something else than files and folders.
    """
    hasher = blake3()
    for name, _, found in _files(path):
        numbers = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
        hasher.update(repr((name, numbers)).encode("utf-8", "surrogateescape"))
    return hasher.digest()


def fingerprint_of(path: Path, salt: bytes) -> tuple[bytes, bytes]:
    """32 bytes of BLAKE3 over names and content of a file, or of all files below a folder, under ``salt``; and the mark
    of what was read.

    A symbolic link counts as what it leads to. Raises ``DataError`` as ``mark_of`` does, and where the data was written
    while it was read.
    """
    hasher = blake3(blake3(salt, derive_key_context=_CONTEXT).digest())
    before = mark_of(path)
    for name, file, found in _files(path):
        told = name.encode("utf-8", "surrogateescape")
        hasher.update(struct.pack("<QQ", len(told), found.st_size) + told)
        try:
            with file.open("rb", buffering=0) as content:
                while block := content.read(_BLOCK):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from None
    if mark_of(path) != before:
        raise DataError(f"{path} was written to while it was read; data that is in use is no dataset, take a copy")
    return hasher.digest(), before


def _files(path: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Every file of a dataset, with its name in it, in an order that is the same everywhere."""
    found = _stat(path)
    if stat.S_ISDIR(found.st_mode):
        yield from _below(path, "")
    elif stat.S_ISREG(found.st_mode):
        yield "", path, found
    else:
        raise DataError(f"{path} is neither a file nor a folder; a dataset is one or the other")


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, Path, os.stat_result]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from None
    for name in names:
        path = folder / name
        found = _stat(path)
        if stat.S_ISREG(found.st_mode):
            yield prefix + name, path, found
        elif stat.S_ISDIR(found.st_mode) and not path.is_symlink():
            yield from _below(path, f"{prefix}{name}/")
        else:
            raise DataError(
                f"{path} is neither a file nor a folder of the dataset; put what it stands for there itself"
            )


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
