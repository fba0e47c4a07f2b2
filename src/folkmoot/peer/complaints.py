"""What a running peer shows as wrong, each thing until it is over."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from folkmoot.errors import (
    ChainError,
    DataError,
    DiskError,
    FolkmootError,
    JournalError,
    LedgerRefused,
    LocalError,
    NetworkError,
    RemoteError,
    SandboxError,
    StoreError,
    TaskError,
)
from folkmoot.peer.status import Complaint, ErrorKind

__all__ = ["Complaints", "kind_of"]

SHOWN_SECONDS = 600.0
"""An error whose end nothing tells is shown for so long after it was said last."""
SHOWN = 8
_KINDS: tuple[tuple[type[BaseException], ErrorKind], ...] = (
    (JournalError, "journal"),
    (StoreError, "disk"),
    (DiskError, "disk"),
    (DataError, "data"),
    (SandboxError, "sandbox"),
    (TaskError, "task"),
    (ChainError, "ledger"),
    (LedgerRefused, "ledger"),
    (LocalError, "local"),
    (NetworkError, "network"),
    (RemoteError, "member"),
    (FolkmootError, "local"),
    (OSError, "disk"),
    (sqlite3.Error, "disk"),
)
"""The first class that fits says what an error is about."""


def kind_of(error: BaseException) -> ErrorKind:
    """What an error is about; what nobody meant to be raised is ``internal``."""
    return next((kind for sort, kind in _KINDS if isinstance(error, sort)), "internal")


class Complaints:
    """The errors that hold now. Each is ``about`` something: said again about the same thing it keeps its beginning,
    and takes the new words. ``news`` is called with each that begins, and with ``True`` when it is over."""

    def __init__(self, news: Callable[[Complaint, bool], None] = lambda complaint, over: None) -> None:
        self._news = news
        self._said: dict[str, Complaint] = {}

    def say(self, kind: ErrorKind, text: str, *, about: str = "", task: int | None = None) -> None:
        """Show an error; without ``about`` it is about what its words say."""
        now = time.time()
        before = self._said.pop(about or text, None)
        since = now if before is None else before.since
        said = self._said[about or text] = Complaint(kind=kind, text=text, since=since, last=now, task=task)
        if before is None:
            self._news(said, False)

    def settle(self, *about: str) -> None:
        """Show no more what was said about these things: it is over."""
        for each in about:
            if (said := self._said.pop(each, None)) is not None:
                self._news(said, True)

    def about(self, thing: str) -> Complaint | None:
        """What is wrong with a thing, if anything is."""
        return self._said.get(thing)

    def shown(self) -> list[Complaint]:
        """The errors to show, that which was said last at the end."""
        since = time.time() - SHOWN_SECONDS
        self._said = {about: said for about, said in self._said.items() if said.last >= since}
        return list(self._said.values())[-SHOWN:]
