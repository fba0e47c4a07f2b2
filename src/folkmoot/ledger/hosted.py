"""A peer's copy of a hosted chain: the embedded chain, of which one member's peer says what comes next.

Every copy replays every transaction, so the host gives the order and nothing else. What a copy may append is what the
host signed; only the host's own copy takes transactions itself. The other copies hand theirs to ``carry``, which
brings them to the host and returns when their block is here.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from folkmoot.errors import ChainError, IntegrityError
from folkmoot.ledger.chainfile import ChainFile, create_chain, storage_errors
from folkmoot.ledger.history import SPAN
from folkmoot.ledger.hostbook import Hostbook
from folkmoot.ledger.hosting import Appointment
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.transaction import decode

__all__ = ["Carry", "HostedReplica", "cut"]

Carry = Callable[[bytes], None]
"""Brings a raw transaction to the host, and returns once its block is in this peer's copy.

Raises ``LedgerRefused`` with the contract's reason, ``ChainError`` when the host does not answer or is not trusted."""


class HostedReplica(Replica):
    """The copy that ``book`` names, of the member whose endpoint is ``me``.

    It follows the book to another file when blocks of a former host are given up, in every process that has it open.
    """

    def __init__(self, book: Hostbook, me: bytes, carry: Carry, *, clock: Callable[[], float] = time.time) -> None:
        self.book = book
        self.me = me
        self.carry = carry
        self.appended: Callable[[], None] = _nobody
        """Called after each block that this process has appended, in whatever thread."""
        super().__init__(book.ledger, clock=clock)
        if self.hosting:
            self._file.flush_each()

    @property
    def hosting(self) -> bool:
        """Whether this member hosts the chain."""
        return self.book.host == self.me

    def head(self) -> int:
        """As ``Replica.head``, of the file that the book names by now."""
        with self.lock:
            if self.book.refresh():
                self._turn()
            return super().head()

    def send(self, raw: bytes) -> bytes:
        """As ``Replica.send``; where another member hosts the chain, by way of that host."""
        self.head()
        if self.hosting:
            return self.append(raw)
        # the host has newer blocks, perhaps: what would be refused here may hold there
        name = decode(raw, self.meta.chain_id).hash
        self.carry(raw)
        if self.find(name) is None:
            raise ChainError("the transaction is in no block yet; look before you repeat it")
        return name

    def append(self, raw: bytes) -> bytes:
        """As ``Replica.send``, for the host only: raises ChainError where this member is not."""
        sent = super().send(raw)
        self.appended()
        return sent

    def install(self, appointment: Appointment, ledger: Path) -> None:
        """Let ``appointment`` hold, and go on with the file ``ledger``, which is complete up to its block."""
        with self.lock:
            with self._file.appending():  # nobody of this home appends to the old file meanwhile
                self.book.appoint(appointment, ledger.name)
            self._turn()

    def _check_right(self) -> None:
        self.book.refresh()
        if not self.hosting:
            raise ChainError("another member hosts the chain by now; send again")
        if self.book.ledger != self._file.path:
            raise ChainError("the chain goes on in another file by now; send again")
        if self.book.state.trouble is not None:
            raise ChainError(self.book.state.trouble.words)
        if self.book.state.held:
            raise ChainError("the moot is moving to another host; send again in a while")
        if self.book.head(self.number + 1) is not None:
            raise ChainError(f"this host has signed a block {self.number + 1} that is not here; the others may have it")

    def _turn(self) -> None:
        """Use the file that the book names; start over if it is another one."""
        if self.book.ledger != self._file.path:
            file = ChainFile(self.book.ledger)
            file.wait_at_most(self._waits)
            self._file.close()
            self._file = file
            self._cache = file.path.with_name(file.path.name + ".cache")
            self._seen, self._torn = -1, True
        if self.hosting:
            self._file.flush_each()


def cut(copy: Replica, height: int, target: Path) -> None:
    """Write the blocks of ``copy`` up to ``height`` to the new ledger file ``target``, over what was left half done."""
    with storage_errors(target):
        for stale in (target, *(Path(f"{target}{end}") for end in ("-wal", "-shm"))):
            stale.unlink(missing_ok=True)
        create_chain(target, chain_id=copy.meta.chain_id, genesis_time=copy.meta.genesis_time)
        with closing(ChainFile(target, keep=False)) as file:
            for number in range(1, height + 1):
                block = copy.block(number)
                if block is None:
                    raise IntegrityError(f"block {number} is missing")
                with file.appending():
                    file.append(block)
            file.fold()
        with target.open("rb+") as whole:
            os.fsync(whole.fileno())
        # what the whole segments of these blocks did need not be computed again
        caches = [path.with_name(path.name + ".cache") for path in (copy.path, target)]
        shutil.rmtree(caches[1], ignore_errors=True)
        for sealed in sorted(caches[0].glob("*")) if height >= SPAN else ():
            if sealed.name[:8].isdigit() and int(sealed.name[:8]) < height // SPAN:
                caches[1].mkdir(exist_ok=True)
                with suppress(OSError):
                    shutil.copyfile(sealed, caches[1] / sealed.name)


def _nobody() -> None:
    pass
