"""A peer's log: one JSON object a line, in one file that is set aside when it has grown large."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

import msgspec

from folkmoot.peer.durable import refusals
from folkmoot.round.view import number_of

__all__ = ["Log", "make_room"]

LOG_BYTES = 16 << 20
"""A log of this size is renamed to ``NAME.1``, in place of the one before, and a new one begun."""
_MEMBERS = frozenset(("collector", "contributor", "dealer", "member", "source", "with_member"))
"""Fields that callers fill with the index of a member."""


class Log:
    """The log at ``path``. Writing never raises: a full disk must not end the peer that complains about it.

    A log that was deleted, or set aside by a program that turns logs over, is begun anew with the next line.
    """

    def __init__(self, path: Path, *, most: int = LOG_BYTES) -> None:
        self._path = path
        self._most = most
        with refusals(path):
            self._file = self._opened()

    def _opened(self) -> FileIO:
        file = FileIO(self._path, "a")
        self._size = file.tell()
        return file

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def write(self, event: str, **fields: object) -> None:
        """One line: the time in Unix seconds, what happened, and the fields; members by number, from 1."""
        told = {name: number_of(value) for name, value in fields.items() if name in _MEMBERS and isinstance(value, int)}
        record: Mapping[str, object] = {"time": round(time.time(), 3), "event": event, **fields, **told}
        line = msgspec.json.encode(record, enc_hook=str) + b"\n"
        with contextlib.suppress(OSError, ValueError):
            if self._is_gone():
                self._file.close()
                self._file = self._opened()
            if self._size + len(line) > self._most:
                self._turn_over()
            self._size += self._file.write(line) or 0

    def _is_gone(self) -> bool:
        """Whether what is written goes to a file that nobody finds under the log's name any more."""
        if self._file.closed:
            return True  # opening it anew has failed
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return True
        mine = os.fstat(self._file.fileno())
        return (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino)

    def _turn_over(self) -> None:
        self._file.close()
        os.replace(self._path, f"{self._path}.1")
        self._file = self._opened()


def make_room(path: Path, *, most: int = LOG_BYTES) -> None:
    """Set a log aside that others write to, if it has grown large; they open it anew afterwards."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > most:
            os.replace(path, f"{path}.1")
