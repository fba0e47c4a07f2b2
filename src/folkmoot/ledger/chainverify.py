"""Checking a copy of the ledger file, every byte of it, with no cache and no trust in who wrote it.

Three things must hold: every block follows from the one before; every transaction replays from the genesis; and a
new file made from the same rows has the same bytes, so there is no byte that no row accounts for. SQLite lays out
pages by the order of insertion, and one commit per block also gives its change counter, so nothing is exempt: the
SQLite release in the header (bytes 96 to 99) must be the one that the table ``writers`` names.

A copy taken while a process has the chain open may come with a ``-wal`` file. What a writer killed in the middle of
a transaction leaves at the end of that file looks like damage to its last frame, so damage there counts as a
transaction that was never made. ``copy_chain`` makes copies without a WAL, for which nothing is exempt.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from folkmoot.errors import ChainError, IntegrityError
from folkmoot.ledger.chainfile import (
    PAGE,
    Block,
    ChainFile,
    Meta,
    genesis_hash,
    make_block,
    storage_errors,
    write_genesis,
)
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.wal import check_wal

__all__ = ["ChainReport", "copy_chain", "verify_chain"]

_BATCH = 500
_PIECE = 1 << 20
_RELEASE = slice(96, 100)
"""Where the header says which SQLite release last wrote it."""
_HEADER = 100
_VARYING = (range(24, 32), range(92, 100))
"""Change counter, size in pages; the counter again, SQLite release: the fields that differ between ledger files."""


@dataclass(frozen=True)
class ChainReport:
    """What ``verify_chain`` found to hold."""

    chain_id: int
    blocks: int
    """Blocks after the genesis; as many transactions."""
    head: bytes
    """32 bytes: hash of the newest block."""
    time: int
    """Its timestamp, in seconds since 1970."""


def copy_chain(path: str | os.PathLike[str], destination: str | os.PathLike[str]) -> None:
    """Copy the ledger file at ``path``, which others may be using, to one file that holds everything.

    Raises ChainError if ``destination`` exists, or either file cannot be used.
    """
    source, target = Path(path), Path(destination)
    if target.exists():
        raise ChainError(f"{target} exists already; choose another path for the copy")
    with closing(ChainFile(source)) as file:
        while True:
            file.fold()
            with file.appending():  # nobody else appends while we copy
                wal = Path(f"{source}-wal")
                if not wal.exists() or wal.stat().st_size == 0:
                    with storage_errors(target):
                        shutil.copyfile(source, target)
                    return


def verify_chain(path: str | os.PathLike[str]) -> ChainReport:
    """Check every byte of the ledger file at ``path``, with the ``-wal`` file beside it if there is one.

    The file is read, never changed. Raises IntegrityError naming the first place that does not hold, ChainError if
    there is no file or it cannot be read.
    """
    source = Path(path)
    if not source.is_file():
        raise ChainError(f"there is no ledger file at {source}")
    with tempfile.TemporaryDirectory(prefix="folkmoot-") as folder, storage_errors(source):
        original, working = Path(folder) / "original", Path(folder) / "working"
        wal = Path(f"{source}-wal")
        shutil.copyfile(source, original)
        shutil.copyfile(source, working)
        if wal.exists() and wal.stat().st_size:
            shutil.copyfile(wal, f"{working}-wal")
            check_wal(Path(f"{working}-wal").read_bytes())
            original = working  # once the WAL is folded in
        _check_header(original, Path(folder) / "empty", sized=original != working)
        return _verify(original, working, Path(folder) / "again")


def _check_header(original: Path, empty: Path, *, sized: bool) -> None:
    """Compare what all ledger files' headers have in common, since SQLite would not say which byte it minds."""
    write_genesis(empty, Meta(1, 0))
    with original.open("rb") as ours, empty.open("rb") as theirs:
        found, wanted = ours.read(_HEADER), theirs.read(_HEADER)
    for at, (ours_at, theirs_at) in enumerate(zip(found, wanted, strict=False)):
        if ours_at != theirs_at and not any(at in field for field in _VARYING):
            raise IntegrityError(
                f"byte {at} of the ledger file is {ours_at:#04x}; in every ledger it is {theirs_at:#04x}"
            )
    claimed, size = int.from_bytes(found[28:32], "big") * PAGE, original.stat().st_size
    if len(found) < _HEADER or (sized and claimed != size):
        raise IntegrityError(f"bytes 28 to 31 of the ledger file claim {claimed} bytes; it has {size}")


def _verify(original: Path, working: Path, again: Path) -> ChainReport:
    """Check ``original``; SQLite gets to see only ``working``, the same bytes."""
    try:
        file = ChainFile(working)
    except (ChainError, UnicodeDecodeError) as error:
        place = _damage(working) or " (in its first pages, which say what it holds)"
        raise IntegrityError(_told(error, working) + place) from error
    try:
        with closing(file):
            file.fold()
            release = _rebuild(file, again)
        _compare(original, again, release)
        with closing(Replica(working, trust_cache=False)) as replica:
            head = replica.newest
            return ChainReport(replica.meta.chain_id, head.number, head.hash, head.timestamp)
    except (ChainError, sqlite3.Error, UnicodeDecodeError) as error:
        raise IntegrityError(_told(error, working) + _damage(working)) from error


def _told(error: Exception, working: Path) -> str:
    return str(error).replace(str(working), "the ledger file")


def _damage(path: Path) -> str:
    """Where SQLite itself finds the file damaged, if it does."""
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError), closing(sqlite3.connect(path)) as database:
        found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        return f" ({' '.join(found.split())})" if "page" in found else ""
    return ""


def _rebuild(file: ChainFile, again: Path) -> int:
    """Put the rows of ``file`` into a new file, one commit each; the SQLite release its header must name."""
    writers = file.writers()
    release = writers.pop(0, None)
    if release is None:
        raise IntegrityError("table writers does not say who made the file")
    write_genesis(again, file.meta, release)
    in_header, parent, number, pages = release, genesis_hash(file.meta), 0, 0
    with closing(ChainFile(again, keep=False)) as rebuilt:
        while blocks := _readable(file, number + 1):
            for block in blocks:
                if block.hash != make_block(parent, block.number, block.timestamp, block.raw).hash:
                    raise IntegrityError(f"block {block.number}: hash does not follow from block {number}")
                release = writers.pop(block.number, release)
                with rebuilt.appending():
                    rebuilt.append(block, release)
                if rebuilt.pages() != pages:  # only then did SQLite write the header
                    in_header, pages = release, rebuilt.pages()
                parent, number = block.hash, block.number
        if writers:
            raise IntegrityError(f"table writers has a row for block {min(writers)}, which does not exist")
        rebuilt.fold()
    return in_header


def _readable(file: ChainFile, first: int) -> list[Block]:
    """Blocks from ``first`` on. Raises IntegrityError naming the block at which SQLite finds the file damaged."""
    for count in (_BATCH, 1):
        try:
            return file.blocks(first, count)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            reason = error
    raise IntegrityError(f"block {first} cannot be read: {reason}{_damage(file.path)}") from reason


def _compare(copy: Path, again: Path, release: int) -> None:
    """Raise IntegrityError at the first byte of ``copy`` that ``again`` does not have."""
    with copy.open("rb") as ours, again.open("rb") as theirs:
        at = 0
        while True:
            found, wanted = bytearray(ours.read(_PIECE)), bytearray(theirs.read(_PIECE))
            if at == 0:
                wanted[_RELEASE] = struct.pack(">I", release)
            if found != wanted:
                place = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), None)
                if place is None:
                    raise IntegrityError(
                        f"the ledger file has {copy.stat().st_size} bytes; its rows account for {again.stat().st_size}"
                    )
                raise IntegrityError(
                    f"byte {at + place} of the ledger file is {found[place]:#04x}; its rows give {wanted[place]:#04x}"
                )
            if not found:
                return
            at += len(found)
