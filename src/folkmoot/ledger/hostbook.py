"""What a peer must not forget about who hosts its chain: ``hosting.sqlite`` in its home.

The appointment that holds, the file that holds the chain, the host's signatures, what it was caught at, whom this
member wants instead, and which statement of which term it has signed. Commands read it beside the daemon.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from folkmoot.errors import LedgerDiskError, refusal_of
from folkmoot.ledger.hosting import Appointment, Head

__all__ = ["Hostbook", "State", "Trouble"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (key INTEGER PRIMARY KEY CHECK (key = 0), value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS signed (number INTEGER PRIMARY KEY, term INTEGER NOT NULL, block BLOB NOT NULL,
    signature BLOB NOT NULL) WITHOUT ROWID;
"""
_BUSY_SECONDS = 10
LEDGER = "ledger.sqlite"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What the host of a term was caught at. Nothing it says is taken from then on."""

    term: int
    words: str
    """For people: who did what."""
    heads: tuple[Head, ...]
    """One signed block that does not hold, or two that contradict each other."""
    block: tuple[int, bytes] | None = None
    """Time and transaction of the one that does not hold."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """All but the signatures."""

    appointment: Appointment | None = None
    """``None`` while the founder hosts."""
    ledger: str = LEDGER
    """Name of the file that holds the chain; another one once blocks of a host were given up."""
    trouble: Trouble | None = None
    wish: bytes = b""
    """The endpoint that this member wants as host; empty if it wants no other."""
    held: bool = False
    """Whether the chain stands still here, for more than half of the members want another host."""
    voted: tuple[int, bytes] = (0, b"")
    """The highest term of which this member signed a statement, and its digest."""
    wishes: Mapping[int, bytes] = {}
    """What the other members want, as far as they said lately; for people."""


class Hostbook:
    """The book in the folder ``home`` of a chain founded by the host whose endpoint is ``founder`` (32 bytes).

    Its methods may be called from any thread. Raises ``ChainError`` when the disk refuses.
    """

    def __init__(self, home: Path, founder: bytes) -> None:
        self.home = home
        self.path = home / "hosting.sqlite"
        self.state = State()
        self._founder = founder
        self._lock = threading.RLock()
        self._seen = -1
        with self._errors():
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(
                self.path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.executescript(_SCHEMA)
        self.refresh()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def host(self) -> bytes:
        """The endpoint of who hosts the chain."""
        return self.state.appointment.endpoint if self.state.appointment else self._founder

    @property
    def term(self) -> int:
        """Counts the hosts; the founder's is 0."""
        return self.state.appointment.term if self.state.appointment else 0

    @property
    def floor(self) -> int:
        """The newest block that the members have fixed; only what came later can be given up."""
        return self.state.appointment.height if self.state.appointment else 0

    @property
    def ledger(self) -> Path:
        """The file that holds the chain."""
        return self.home / self.state.ledger

    def refresh(self) -> bool:
        """Take over what other processes have written; whether there was anything. Costs microseconds if not."""
        with self._lock, self._errors():
            seen = self._database.execute("PRAGMA data_version").fetchone()[0]
            if seen == self._seen:
                return False
            self._read()
            self._seen = seen
            return True

    def change(self, **changes: Any) -> None:
        """Put fields of the state on disk, to outlast a power cut too: a forgotten vote could be given twice."""
        with self._writing("FULL"):
            self._read()
            self.state = msgspec.structs.replace(self.state, **changes)
            value = msgspec.msgpack.encode(self.state)
            self._database.execute("INSERT OR REPLACE INTO state VALUES (0, ?)", (value,))

    def appoint(self, appointment: Appointment, ledger: str) -> None:
        """Let another host, and the file that its chain goes on in, hold from now on."""
        fulfilled = b"" if self.state.wish == appointment.endpoint else self.state.wish
        self.change(appointment=appointment, ledger=ledger, trouble=None, wish=fulfilled, held=False, wishes={})

    def keep(self, heads: Iterable[Head], *, anew: bool = False) -> None:
        """Keep what the host signed. Its first word on a number stays, until a host of a later term says its own; with
        ``anew`` the last one does."""
        rows = [(head.number, head.term, head.block, head.signature, anew) for head in heads]
        with self._writing("NORMAL"):
            self._database.executemany(
                "INSERT INTO signed VALUES (?1, ?2, ?3, ?4) ON CONFLICT (number) DO UPDATE SET term=excluded.term,"
                " block=excluded.block, signature=excluded.signature WHERE excluded.term > signed.term OR ?5",
                rows,
            )

    def head(self, number: int) -> Head | None:
        """What the host of this term is known to have signed as block ``number``."""
        with self._lock, self._errors():
            row = self._database.execute(
                "SELECT term, number, block, signature FROM signed WHERE number=? AND term=?", (number, self.term)
            ).fetchone()
        return None if row is None else Head(*row)

    def _read(self) -> None:
        row = self._database.execute("SELECT value FROM state").fetchone()
        if row is not None:
            self.state = msgspec.msgpack.decode(row[0], type=State)

    @contextmanager
    def _writing(self, synchronous: str) -> Iterator[None]:
        with self._lock, self._errors():
            self._database.execute(f"PRAGMA synchronous={synchronous}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            raise LedgerDiskError(f"{self.path} cannot be read or written: {error}; {refusal_of(error)}") from error
