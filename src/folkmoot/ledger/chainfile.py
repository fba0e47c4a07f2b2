"""The ledger file: one SQLite database that only ever grows.

It holds one row that says which chain this is, and one row for each block, which is one signed transaction. Nothing
in it is updated or deleted, so the same rows put into a new file give the same bytes (``chainverify`` uses that).

The file is in WAL mode with ``synchronous=NORMAL``: a process killed at any instruction loses nothing that was
acknowledged and corrupts nothing. A power cut corrupts nothing either, but may take the last moments' blocks
away, for all processes alike. ``FULL`` would keep those for one fsync per transaction: 1 to 10 ms on many disks.

The table ``writers`` has a row wherever the SQLite release that appends changed. SQLite writes its release into the
file's header; with these rows even those four bytes can be checked.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from folkmoot.errors import ChainBusy, ChainError, IntegrityError, LedgerDiskError, refusal_of
from folkmoot.keccak import keccak
from folkmoot.ledger.holders import writer_of

__all__ = ["BUSY_SECONDS", "Block", "ChainFile", "Meta", "create_chain", "genesis_hash", "make_block", "write_genesis"]

_APPLICATION = 0x466F6C6B
"""The application id in the header: "Folk"."""
_VERSION = 1
SCHEMA = (
    "CREATE TABLE meta (chain_id INTEGER NOT NULL, genesis_time INTEGER NOT NULL, hash BLOB NOT NULL) STRICT",
    "CREATE TABLE writers (block INTEGER PRIMARY KEY, sqlite INTEGER NOT NULL, hash BLOB NOT NULL) STRICT",
    "CREATE TABLE blocks (number INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL,"
    " raw BLOB NOT NULL, hash BLOB NOT NULL) STRICT",
)
PAGE = 4096
BUSY_SECONDS = 10.0
"""For so long another process may append before a call gives up; appending takes less than a millisecond."""
_CHAIN_IDS = 2**50
"""Random chain ids stay below 2**52, the bound of JavaScript wallets."""


@dataclass(frozen=True, slots=True)
class Meta:
    """Which chain a file holds."""

    chain_id: int
    genesis_time: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Block:
    """One transaction in its place. Block 0 is the genesis: no transaction, ``raw`` empty."""

    number: int
    timestamp: int
    """Seconds since 1970."""
    raw: bytes
    hash: bytes
    """32 bytes: keccak256 of the parent's hash, number and timestamp (8 bytes each, big-endian), and ``raw``."""


def genesis_hash(meta: Meta) -> bytes:
    """The hash of block 0, and so the name of the chain."""
    return keccak(b"folkmoot chain v1" + struct.pack(">QQ", meta.chain_id, meta.genesis_time))


def make_block(parent: bytes, number: int, timestamp: int, raw: bytes) -> Block:
    """Block ``number`` after the block whose hash is ``parent``."""
    return Block(number, timestamp, raw, keccak(parent + struct.pack(">QQ", number, timestamp) + raw))


def writer_hash(block: int, sqlite: int) -> bytes:
    """What a row of ``writers`` checks itself with."""
    return keccak(b"folkmoot chain writer" + struct.pack(">QQ", block, sqlite))


def create_chain(path: str | os.PathLike[str], *, chain_id: int | None = None, genesis_time: int) -> int:
    """Make a new ledger file at ``path`` and return its chain id, random unless given.

    ``genesis_time`` is in seconds since 1970. Raises ChainError if something is at ``path`` or it cannot be written.
    """
    chain_id = secrets.randbelow(_CHAIN_IDS) + _CHAIN_IDS if chain_id is None else chain_id
    if not 0 < chain_id < 2**63 or not 0 <= genesis_time < 2**63:
        raise ChainError(f"chain id {chain_id} and genesis time {genesis_time} must be positive and below 2**63")
    target = Path(path)
    if target.exists():
        raise ChainError(f"{target} exists already; a chain is never written over: choose another path")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    with storage_errors(target):
        try:
            write_genesis(draft, Meta(chain_id, genesis_time))
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            os.link(draft, target)  # unlike a rename, refuses if another process was first
        except FileExistsError:
            raise ChainError(f"{target} was made by another process just now; open it instead") from None
        finally:
            draft.unlink(missing_ok=True)
    return chain_id


def write_genesis(path: Path, meta: Meta, sqlite: int = 0) -> None:
    """Write a ledger file without blocks, made by SQLite release ``sqlite`` (our own unless given)."""
    release = sqlite or _release()
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in (
            "synchronous=OFF",  # the file has no name of its own yet; create_chain makes it last
            f"page_size={PAGE}",
            "encoding='UTF-8'",
            "auto_vacuum=NONE",
            f"application_id={_APPLICATION}",
            f"user_version={_VERSION}",
            "journal_mode=WAL",
        ):
            database.execute(f"PRAGMA {pragma}")
        database.execute("BEGIN IMMEDIATE")
        for table in SCHEMA:
            database.execute(table)
        row = (meta.chain_id, meta.genesis_time, genesis_hash(meta))
        database.execute("INSERT INTO meta VALUES (?, ?, ?)", row)
        database.execute("INSERT INTO writers VALUES (0, ?, ?)", (release, writer_hash(0, release)))
        database.execute("COMMIT")
    finally:
        database.close()


class ChainFile:
    """An open ledger file. Raises ChainError if there is none, or it is not one of ours.

    Rows are only checked for their shape here; ``replica`` checks what they say. ``keep=False`` is for a scratch file
    that need not survive a power cut.
    """

    def __init__(self, path: str | os.PathLike[str], *, keep: bool = True):
        self.path = Path(path)
        self._synchronous = "NORMAL" if keep else "OFF"
        if not self.path.is_file():
            raise ChainError(f"there is no ledger file at {self.path}")
        with storage_errors(self.path):
            self._database = self._open()
        try:
            with storage_errors(self.path):
                self.meta = self._read_meta()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file; the last process to do so folds the WAL into it."""
        self._database.close()

    def wait_at_most(self, seconds: float) -> None:
        """Wait so long for another process to append, and then raise ``ChainBusy``."""
        self._database.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")

    def flush_each(self) -> None:
        """Have each block outlast a power cut from now on, for an fsync each: others have been told of it."""
        self._database.execute("PRAGMA synchronous=FULL")

    def change_counter(self) -> int:
        """A number that differs from the last one seen whenever another connection has appended since."""
        value: int = self._database.execute("PRAGMA data_version").fetchone()[0]
        return value

    def blocks(self, first: int, count: int) -> list[Block]:
        """Up to ``count`` blocks from ``first`` on. Raises IntegrityError for a row that is no block."""
        rows = self._database.execute(
            "SELECT number, timestamp, raw, hash FROM blocks WHERE number >= ? ORDER BY number LIMIT ?",
            (first, count),
        ).fetchall()
        return [_as_block(row, first + i) for i, row in enumerate(rows)]

    def block(self, number: int) -> Block | None:
        """Block ``number``, or None if there is none yet."""
        if number == 0:
            return Block(0, self.meta.genesis_time, b"", genesis_hash(self.meta))
        row = self._database.execute(
            "SELECT number, timestamp, raw, hash FROM blocks WHERE number = ?", (number,)
        ).fetchone()
        return _as_block(row, number) if row else None

    def ends_with(self, block: Block) -> bool:
        """Whether ``block`` is the newest one. Only inside ``appending`` does that stay so."""
        row = self._database.execute("SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1").fetchone()
        return (block.number, block.hash) == (row or (0, genesis_hash(self.meta)))

    def writers(self) -> dict[int, int]:
        """Block to the SQLite release (as 3_040_001) that appended from there on."""
        rows = self._database.execute("SELECT block, sqlite, hash FROM writers ORDER BY block").fetchall()
        for block, release, claimed in rows:
            if not _whole(block, release) or claimed != writer_hash(block, release):
                raise IntegrityError(f"the row for block {block!r} in table writers does not match its hash")
        return {block: release for block, release, _ in rows}

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Hold the right to append. What was appended inside is kept if the body ends without an exception."""
        with storage_errors(self.path):
            # SQLite counts changes from the header it last read, and does not read its own. Dropping the page cache
            # makes it read again, so that the count is the same whichever processes appended.
            self._database.execute("PRAGMA shrink_memory")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def append(self, block: Block, sqlite: int = 0) -> None:
        """Add ``block``; only inside ``appending``. ``sqlite`` is the release to note, our own unless given."""
        release = sqlite or _release()
        if self._last_writer() != release:
            row = (block.number, release, writer_hash(block.number, release))
            self._database.execute("INSERT INTO writers VALUES (?, ?, ?)", row)
        row_of = (block.number, block.timestamp, block.raw, block.hash)
        self._database.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", row_of)

    def pages(self) -> int:
        """Pages the file has."""
        value: int = self._database.execute("PRAGMA page_count").fetchone()[0]
        return value

    def fold(self) -> None:
        """Move the WAL's content into the file itself."""
        with storage_errors(self.path):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _open(self) -> sqlite3.Connection:
        uri = f"{self.path.resolve().as_uri()}?mode=rw"
        database = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
        for pragma in (f"synchronous={self._synchronous}", "trusted_schema=OFF", "cell_size_check=ON"):
            database.execute(f"PRAGMA {pragma}")
        return database

    def _read_meta(self) -> Meta:
        database, path = self._database, self.path
        if database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise ChainError(f"{path} is a SQLite file, but not a Folkmoot ledger")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            raise ChainError(f"{path} has ledger format {version}; this release reads format {_VERSION}")
        schema = tuple(row[0] for row in database.execute("SELECT sql FROM sqlite_schema ORDER BY rowid"))
        if schema != SCHEMA:
            raise ChainError(f"{path} does not have the tables of a ledger file")
        rows = database.execute("SELECT chain_id, genesis_time, hash FROM meta").fetchall()
        if len(rows) != 1 or not _whole(*rows[0][:2]):
            raise ChainError(f"{path} does not say which chain it holds")
        meta = Meta(*rows[0][:2])
        if rows[0][2] != genesis_hash(meta):
            raise ChainError(f"{path} says chain {meta.chain_id}, but its genesis hash does not follow from that")
        return meta

    def _last_writer(self) -> int:
        row = self._database.execute("SELECT sqlite FROM writers ORDER BY block DESC LIMIT 1").fetchone()
        return row[0] if row else 0


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk complain of into a LedgerDiskError that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        message = str(error)
        if "full" in message:
            raise LedgerDiskError(
                f"{path}: the disk is full; nothing was appended. Free space and send again"
            ) from error
        if "locked" in message or "busy" in message:
            raise ChainBusy(f"nothing was appended to {path}, for it is held by {writer_of(path)}") from error
        raise LedgerDiskError(f"{path} cannot be used as a ledger file: {message}; {refusal_of(error)}") from error
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        raise LedgerDiskError(f"{path}: {refusal_of(error)}") from error


def _release() -> int:
    major, minor, patch = sqlite3.sqlite_version_info
    return major * 1_000_000 + minor * 1_000 + patch


def _whole(*values: object) -> bool:
    return all(isinstance(value, int) and 0 <= value < 2**63 for value in values)


def _as_block(row: tuple[object, ...], number: int) -> Block:
    found, timestamp, raw, claimed = row
    if found != number:
        raise IntegrityError(f"block {number} is missing: the next row is block {found!r}")
    if not _whole(timestamp) or not isinstance(raw, bytes) or not isinstance(claimed, bytes) or len(claimed) != 32:
        raise IntegrityError(f"block {number}: its row is not a block")
    assert isinstance(timestamp, int)
    return Block(number, timestamp, raw, claimed)
