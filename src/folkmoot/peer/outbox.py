"""Transactions that a command has signed and the running peer brings to the host: the folder ``outbox`` of a home.

Two endpoints of one key would get in each other's way, so a command does not go on the network while the peer runs.
It leaves a file, and finds the block in the copy of the chain that both read, or what the host said against it. While
no peer runs it goes there itself (``folkmoot.peer.visit``).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from folkmoot.errors import ChainError, DiskError, FolkmootError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger.evm import Reverted
from folkmoot.ledger.hostbook import Hostbook
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.ledger.hosting import HostUrl
from folkmoot.ledger.transaction import RAW_LIMIT
from folkmoot.peer.durable import folder_at, refusals, replace

__all__ = ["Bring", "Outbox", "open_copy"]

Bring = Callable[[HostedReplica, bytes], bool]
"""Brings a transaction to the host where no peer runs; ``False`` where another process has the home just now."""

CARRY_SECONDS = 60.0
"""How long a transaction may take to stand in a block before whoever sent it is told so."""
_POLL = 0.002
_RUNNING_POLL = 0.25
_SETTLED = 1_000_000_000
"""Nanoseconds for which a folder is looked at again: its time may be as coarse as a tick of the kernel's."""


class _Refusal(msgspec.Struct, frozen=True):
    """Why a transaction was not taken."""

    reason: str
    refused: bool
    """By the contract, or for what it is; else it could not be brought to the host."""
    reverted: bool


class Outbox:
    """The outbox in the folder of a home."""

    def __init__(self, home: Path, bring: Bring | None = None) -> None:
        """``bring`` is for a command whose peer does not run."""
        self._bring = bring
        self.folder = home / "outbox"
        self._lock_file = home / "outbox.lock"
        self._seen = 0

    # ---- a command's side --------------------------------------------------------------------------------------

    def carry(self, copy: HostedReplica, raw: bytes) -> None:
        """See ``raw`` into a block of ``copy``: by way of the running peer, or without one directly. Raises as
        ``folkmoot.ledger.hosted.Carry`` does."""
        deadline = time.monotonic() + CARRY_SECONDS
        while not self.peer_runs():
            if self._bring is None:
                raise ChainError("only a running peer reaches the host of the chain from here: folkmoot run")
            if self._bring(copy, raw):
                return
            if time.monotonic() > deadline:
                raise ChainError("another command of this home has been at the host for long; try again")
            time.sleep(_RUNNING_POLL)
        self._leave(copy, raw)

    def _leave(self, copy: HostedReplica, raw: bytes) -> None:
        name = keccak(raw)
        file, answer = self._file(name, "raw"), self._file(name, "refused")
        folder_at(self.folder)
        answer.unlink(missing_ok=True)
        replace(file, raw, mode=0o600, durable=False)
        try:
            self._wait(copy, name, answer)
        finally:
            file.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)

    def _wait(self, copy: HostedReplica, name: bytes, answer: Path) -> None:
        deadline = time.monotonic() + CARRY_SECONDS
        look_again, head = time.monotonic() + _RUNNING_POLL, -1
        while True:
            refusal = _read(answer)
            if copy.head() != head:
                head = copy.number
                if copy.find(name) is not None:
                    return
            if refusal is not None:
                raise refusal
            now = time.monotonic()
            if now >= deadline:
                raise ChainError(
                    f"the transaction is in no block after {CARRY_SECONDS:.0f} s; it may still come: look before you"
                    " repeat it, and see folkmoot host show"
                )
            if now >= look_again:
                look_again = now + _RUNNING_POLL
                if not self.peer_runs():
                    raise ChainError("your peer stopped before the transaction was in a block: folkmoot run, and look")
            time.sleep(_POLL)

    def peer_runs(self) -> bool:
        """Whether a peer of this home is at work."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    # ---- the peer's side ---------------------------------------------------------------------------------------

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Show commands that a peer runs. What was left long ago is dropped: who left it was told that it failed."""
        with refusals(self._lock_file):
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # the peer holds the home already: only a look can be in its way
            for left in self.folder.glob("*"):
                with suppress(OSError):
                    if left.stat().st_mtime < time.time() - CARRY_SECONDS:
                        left.unlink()
            yield
        finally:
            os.close(descriptor)

    def waiting(self) -> list[bytes]:
        """The transactions that lie here, if any came or went since the last look; that costs microseconds if not."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            return []
        if changed == self._seen and changed < time.time_ns() - _SETTLED:
            return []
        self._seen = changed
        found = []
        for path in sorted(self.folder.glob("*.raw")):
            with suppress(OSError):
                raw = path.read_bytes()
                if len(raw) <= RAW_LIMIT:
                    found.append(raw)
        return found

    def wanted(self, raw: bytes) -> bool:
        """Whether whoever left it still waits."""
        return self._file(keccak(raw), "raw").exists()

    def answered(self, raw: bytes) -> bool:
        """Whether whoever left it has not read yet why it is not taken."""
        return self.wanted(raw) and self._file(keccak(raw), "refused").exists()

    def refuse(self, raw: bytes, error: FolkmootError) -> None:
        """Tell whoever left ``raw`` why it is not taken."""
        if self.wanted(raw):
            refusal = _Refusal(str(error), isinstance(error, LedgerRefused), isinstance(error, Reverted))
            with suppress(DiskError):
                replace(self._file(keccak(raw), "refused"), msgspec.json.encode(refusal), durable=False)

    def _file(self, name: bytes, ending: str) -> Path:
        return self.folder / f"{name.hex()}.{ending}"


def open_copy(home: Path, url: str, me: bytes, bring: Bring | None = None) -> HostedReplica:
    """The copy in this folder of the chain that was founded at ``url``, for the member whose endpoint is ``me``.

    What it sends goes by way of the outbox, or of ``bring``. Raises ``ChainError`` where there is no copy yet.
    """
    outbox = Outbox(home, bring)

    def carry(raw: bytes) -> None:
        outbox.carry(copy, raw)

    copy = HostedReplica(Hostbook(home, HostUrl.parse(url).endpoint), me, carry)
    return copy


def _read(answer: Path) -> FolkmootError | None:
    try:
        refusal = msgspec.json.decode(answer.read_bytes(), type=_Refusal)
    except (OSError, msgspec.DecodeError):
        return None
    if refusal.reverted:
        return Reverted(refusal.reason)
    return LedgerRefused(refusal.reason) if refusal.refused else ChainError(refusal.reason)
