"""What a daemon must not forget: its own contributions, the metrics it saw, how it scored others', how far its history
is complete, and what its administrator took upon himself.

One SQLite file; a record is on disk before anything that follows from it is told to anyone, and survives ``kill -9``
at any instruction. It is what keeps mask seeds from being told for two sets of survivors: ``peer.recall`` finds out
where it was lost, or is older than what this member has done since.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from folkmoot.digest import Hash
from folkmoot.errors import JournalError, refusal_of
from folkmoot.peer.home import Home
from folkmoot.round.events import Key, Reveal

__all__ = ["Astray", "Journal", "Override", "Source", "early_overrides", "overrides", "ratings", "strayed"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reveals (task INTEGER, round INTEGER, attempt INTEGER, parent BLOB, salt BLOB, shards BLOB,
    norm REAL, PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (task INTEGER, round INTEGER, attempt INTEGER, dataset INTEGER, line BLOB,
    PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (task INTEGER, round INTEGER, attempt INTEGER,
    PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sat_out (task INTEGER, round INTEGER, attempt INTEGER,
    PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS metrics (task INTEGER, round INTEGER, name TEXT, value REAL,
    PRIMARY KEY (task, round, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS released (task INTEGER, round INTEGER, attempt INTEGER, dataset INTEGER,
    PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opened (task INTEGER, round INTEGER, attempt INTEGER, survivors BLOB,
    PRIMARY KEY (task, round, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS filled (task INTEGER PRIMARY KEY, round INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (task INTEGER, round INTEGER, inputs BLOB, vector BLOB,
    PRIMARY KEY (task, round)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seals (task INTEGER, last INTEGER, salt BLOB, scores BLOB,
    PRIMARY KEY (task, last)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS merits (task INTEGER, last INTEGER, member INTEGER, score INTEGER,
    PRIMARY KEY (task, last, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS overrides (time REAL, what TEXT, how TEXT);
CREATE TABLE IF NOT EXISTS astray (time REAL, dataset INTEGER, task INTEGER, what TEXT);
"""
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_ROUNDS_KEPT = 16
"""This peer's contributions of older rounds than these are history: their salts stand in the rounds' input records."""


class Override(NamedTuple):
    """A safeguard that the administrator did without."""

    time: float
    """Unix seconds when a peer started so."""
    what: str
    """``"sandbox"``."""
    how: str
    """Where it was said: ``config.json``, or the command."""


class Source(NamedTuple):
    """The data that a contribution was made from."""

    dataset: int
    line: tuple[int, ...]
    """The numbers of the datasets whose place it has taken, and its own; see ``PeerContext.line``."""


class Astray(NamedTuple):
    """A look at granted data that found it to be something else than before."""

    time: float
    """Unix seconds."""
    dataset: int
    task: int
    """The task that it was granted to, and that this peer took no part in from then on."""
    what: str
    """``changed``, ``missing`` (or unreadable, or without its card), or ``as it was granted`` again."""


class Journal:
    """The journal of one peer. Raises ``JournalError`` when the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.new = not path.exists()
        """Whether there was none before."""
        self._open()

    def _open(self) -> None:
        with self._errors():
            self._database = sqlite3.connect(self.path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_SCHEMA)
            self._file = self._place()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def secure(self) -> bool:
        """Whether the file is where it belongs. One that was deleted is written anew from the one that is still open.

        Raises ``JournalError`` where another file lies in its place.
        """
        place = self._place()
        if place is None:
            with self._errors(), closing(sqlite3.connect(self.path)) as anew:
                self._database.backup(anew)
            self._database.close()
            self._open()
            return False
        if place != self._file:
            raise JournalError(
                f"another file was put in the place of the journal {self.path} while this peer runs, which goes on with"
                " its own: stop the peer before you restore anything of its folder"
            )
        return True

    def _place(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith(_DAMAGE):
                raise JournalError(
                    f"the journal {self.path} is damaged ({error}): stop the peer, move journal.sqlite and what else is"
                    " named journal.sqlite-... aside, and start it again; it then sits out the secret rounds under way,"
                    " and counts what was spent of its datasets' privacy from the ledger"
                ) from None
            raise JournalError(f"the journal {self.path}: {error}; {refusal_of(error)}") from None

    def remember(self, key: Key, parent: Hash, reveal: Reveal, norm: float, source: Source) -> None:
        """Record this peer's contribution to an attempt, and what it was made from, before its commit is posted."""
        shards = msgspec.msgpack.encode(reveal.shards)
        self._execute("INSERT OR IGNORE INTO commits VALUES (?, ?, ?)", tuple(key))
        line = msgspec.msgpack.encode(source.line)
        self._execute("INSERT OR IGNORE INTO sources VALUES (?, ?, ?, ?, ?)", (*key, source.dataset, line))
        self._execute(
            "INSERT OR IGNORE INTO reveals VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, parent, reveal.salt, shards, norm)
        )
        for table in ("reveals", "sources"):
            self._execute(f"DELETE FROM {table} WHERE task=? AND round<?", (key.task, key.round - _ROUNDS_KEPT))

    def knows(self, key: Key) -> bool:
        """Whether this peer's contribution to the attempt was made, or counted as let go, under this journal."""
        where = "WHERE task=?1 AND round=?2 AND attempt=?3"
        tables = ("commits", "reveals", "released")
        query = " UNION ALL ".join(f"SELECT 1 FROM {table} {where}" for table in tables)
        return self._execute(query, tuple(key)).fetchone() is not None

    def sit_out(self, key: Key) -> None:
        """Record that nothing is contributed to this attempt, and no mask of it opened: this journal does not know what
        was told of it before."""
        self._execute("INSERT OR IGNORE INTO sat_out VALUES (?, ?, ?)", tuple(key))

    def sits_out(self, key: Key) -> bool:
        """Whether ``sit_out`` recorded that."""
        query = "SELECT 1 FROM sat_out WHERE task=? AND round=? AND attempt=?"
        return self._execute(query, tuple(key)).fetchone() is not None

    def own(self, key: Key) -> tuple[Reveal, float] | None:
        """This peer's contribution to this attempt, and its norm."""
        return self._one("SELECT salt, shards, norm FROM reveals WHERE task=? AND round=? AND attempt=?", tuple(key))

    def earlier(self, key: Key, parent: Hash, source: Source) -> tuple[Reveal, float] | None:
        """This peer's contribution to an earlier attempt at the same round, from the same parent and the same data."""
        return self._one(
            "SELECT salt, shards, norm FROM reveals JOIN sources USING (task, round, attempt)"
            " WHERE task=? AND round=? AND parent=? AND dataset=? AND line=? ORDER BY attempt DESC",
            (key.task, key.round, parent, source.dataset, msgspec.msgpack.encode(source.line)),
        )

    def made_from(self, key: Key) -> Source | None:
        """What this peer's contribution to the attempt was made from, where that is known."""
        query = "SELECT dataset, line FROM sources WHERE task=? AND round=? AND attempt=?"
        row = self._execute(query, tuple(key)).fetchone()
        return None if row is None else Source(row[0], msgspec.msgpack.decode(row[1], type=tuple[int, ...]))

    def release(self, key: Key, dataset: int) -> None:
        """Record, before it happens, that this peer's contribution to this attempt is let go: sent, be it masked, for
        others can open it without this peer from then on. ``dataset`` is what it was made from."""
        self._execute("INSERT OR IGNORE INTO released VALUES (?, ?, ?, ?)", (*key, dataset))

    def released(self, key: Key) -> bool:
        """Whether this peer's contribution to the attempt was let go."""
        row = self._execute("SELECT 1 FROM released WHERE task=? AND round=? AND attempt=?", tuple(key)).fetchone()
        return row is not None

    def opens(self, key: Key, survivors: int) -> bool:
        """Whether masks of this attempt may be opened for these survivors, so far as this peer has a say: they are the
        first it is asked with, or fewer of those. Remembered before it happens."""
        where = "WHERE task=? AND round=? AND attempt=?"
        self._execute("INSERT OR IGNORE INTO opened VALUES (?, ?, ?, ?)", (*key, bytes(32)))
        row = self._execute(f"SELECT survivors FROM opened {where}", tuple(key)).fetchone()
        before = int.from_bytes(row[0], "big")
        if before and survivors & ~before:
            return False
        if survivors:
            self._execute(f"UPDATE opened SET survivors=? {where}", (survivors.to_bytes(32, "big"), *key))
        return True

    def releases(
        self, task: int, datasets: Sequence[int], last: int, *, attempts: bool, but: tuple[int, int] = (0, 0)
    ) -> int:
        """How many contributions from ``datasets`` to ``task`` were let go up to round ``last``, not counting the one
        of round and attempt ``but``.

        With ``attempts`` each attempt at a round counts; without, those at one round let the same thing go.
        """
        among = f"task=? AND dataset IN ({', '.join('?' * len(datasets))})"
        query = (
            f"SELECT count(*) FROM released WHERE {among} AND round<=? AND (round, attempt) != (?, ?)"
            if attempts
            else f"SELECT count(DISTINCT round) FROM released WHERE {among} AND round<=? AND round != ?"
        )
        row = self._execute(query, (task, *datasets, last, *(but if attempts else but[:1]))).fetchone()
        return int(row[0])

    def measured(self, task: int, round: int, metrics: dict[str, float]) -> None:
        """Record the moot's metrics of the state after ``round``."""
        for name, value in metrics.items():
            self._execute("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?)", (task, round, name, value))

    def metrics(self, task: int, last: int = 1_000) -> Iterator[tuple[int, str, float]]:
        """The metrics of a task in its ``last`` rounds: round, name, value, ascending by round."""
        rows = self._execute(
            "SELECT round, name, value FROM metrics WHERE task=?1"
            " AND round > (SELECT max(round) FROM metrics WHERE task=?1) - ?2 ORDER BY round, name",
            (task, last),
        )
        # SQLite keeps no nan: an undefined metric is NULL.
        return ((round, name, float("nan") if value is None else value) for round, name, value in rows)

    def score(self, task: int, round: int, inputs: Hash, vector: bytes) -> None:
        """Record the effects (``reward.encode_effects``) of the groups of a round whose inputs are these."""
        self._execute("INSERT OR REPLACE INTO effects VALUES (?, ?, ?, ?)", (task, round, inputs, vector))

    def scored(self, task: int, first: int, last: int) -> dict[int, tuple[Hash, bytes]]:
        """For each round from ``first`` to ``last`` that was scored, its inputs and what ``score`` recorded."""
        query = "SELECT round, inputs, vector FROM effects WHERE task=? AND round BETWEEN ? AND ? ORDER BY round"
        return {round: (inputs, vector) for round, inputs, vector in self._execute(query, (task, first, last))}

    def seal(self, task: int, last: int, salt: bytes, scores: bytes) -> None:
        """Record, before it is sealed, what this peer will show as its scores up to round ``last``. The first word
        stays."""
        self._execute("INSERT OR IGNORE INTO seals VALUES (?, ?, ?, ?)", (task, last, salt, scores))

    def sealed(self, task: int, last: int) -> tuple[bytes, bytes] | None:
        """The salt and the scores that ``seal`` recorded."""
        row = self._execute("SELECT salt, scores FROM seals WHERE task=? AND last=?", (task, last)).fetchone()
        return None if row is None else (row[0], row[1])

    def rate(self, task: int, last: int, scores: dict[int, int]) -> None:
        """Record the score of each member that all members' words up to round ``last`` make."""
        for member, score in scores.items():
            self._execute("INSERT OR REPLACE INTO merits VALUES (?, ?, ?, ?)", (task, last, member, score))

    def fill(self, task: int, round: int) -> None:
        """Record that all that can be had behind the rounds up to ``round`` is here, or was and gave way to newer."""
        self._execute("INSERT OR REPLACE INTO filled VALUES (?, ?)", (task, round))

    def filled(self, task: int) -> int:
        """The round that ``fill`` recorded last; 0 at first."""
        row = self._execute("SELECT round FROM filled WHERE task=?", (task,)).fetchone()
        return 0 if row is None else int(row[0])

    def override(self, what: str, how: str) -> None:
        """Record that the peer runs from now on without the safeguard ``what``."""
        self._execute("INSERT INTO overrides VALUES (?, ?, ?)", (time.time(), what, how))

    def data_seen(self, dataset: int, task: int, what: str) -> None:
        """Record what was found of data that is granted to ``task``, unless that was found the last time too."""
        last = self._execute(
            "SELECT what FROM astray WHERE dataset=? AND task=? ORDER BY rowid DESC", (dataset, task)
        ).fetchone()
        if last is None or last[0] != what:
            self._execute("INSERT INTO astray VALUES (?, ?, ?, ?)", (time.time(), dataset, task, what))

    def _one(self, query: str, parameters: tuple[object, ...]) -> tuple[Reveal, float] | None:
        row = self._execute(query, parameters).fetchone()
        if row is None:
            return None
        salt, shards, norm = row
        return Reveal(salt, tuple(msgspec.msgpack.decode(shards, type=list[bytes]))), norm

    def _execute(self, query: str, parameters: tuple[object, ...]) -> sqlite3.Cursor:
        with self._errors():
            return self._database.execute(query, parameters)


def overrides(home: Home) -> list[Override]:
    """When the peer of ``home``, or a command there, did without a safeguard, oldest first. Writes nothing.

    Raises ``JournalError`` when the journal, or what was recorded before there was one, cannot be read.
    """
    rows = _read(home, "overrides", "SELECT time, what, how FROM overrides ORDER BY time")
    return [*early_overrides(home), *(Override(*row) for row in rows)]


def early_overrides(home: Home) -> list[Override]:
    """Those recorded before there was a journal. Raises as ``overrides``."""
    path = home.early_overrides
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Override]) if path.exists() else []
    except (OSError, msgspec.MsgspecError) as error:
        raise JournalError(f"cannot read {path}, where overrides of safeguards are recorded: {error}") from None


def strayed(home: Home) -> list[Astray]:
    """When the peer of ``home`` found granted data to be something else, or to be back, oldest first. Writes nothing,
    and raises as ``overrides``."""
    return [
        Astray(*row) for row in _read(home, "astray", "SELECT time, dataset, task, what FROM astray ORDER BY rowid")
    ]


def ratings(home: Home, task: int) -> dict[int, dict[int, int]]:
    """For the last round of each season of a task, the scores that the peer of ``home`` made of all members' words, by
    member. Writes nothing, and raises as ``overrides``."""
    found: dict[int, dict[int, int]] = {}
    query = "SELECT last, member, score FROM merits WHERE task=? ORDER BY last, member"
    for last, member, score in _read(home, "merits", query, task):
        found.setdefault(last, {})[member] = score
    return found


def _read(home: Home, table: str, query: str, *parameters: object) -> list[Any]:
    if not home.journal.exists():
        return []
    try:
        database = sqlite3.connect(f"{home.journal.absolute().as_uri()}?mode=ro", uri=True)
        try:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name=?", (table,)).fetchone():
                return []  # of an earlier version
            return database.execute(query, parameters).fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise JournalError(f"cannot read the journal {home.journal}: {error}; {refusal_of(error)}") from None
