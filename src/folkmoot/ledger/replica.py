"""One process's copy of the chain: it follows the ledger file, and appends to it.

Every block is checked before its transaction runs: its number, its time, its hash, the signature, the nonce. Reading
and appending are the same code, so what one process appends, all others accept.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from folkmoot.errors import ChainError, IntegrityError, LedgerRefused
from folkmoot.ledger.chainfile import BUSY_SECONDS, Block, ChainFile, genesis_hash, make_block, storage_errors
from folkmoot.ledger.evm import ZERO, Log, Machine, Outcome
from folkmoot.ledger.history import SPAN, History, Record
from folkmoot.ledger.transaction import GAS_LIMIT, Transaction, decode

__all__ = ["AHEAD_SECONDS", "FoundLog", "Replica"]

AHEAD_SECONDS = 15
"""How far a block's time may be ahead of the reader's clock. More is a lie, or a clock that is wrong: deadlines are
ledger time, so whoever could put it far ahead could close every phase. Blocks never go back in time."""

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_BATCH = 500
_DRAFTS = 3
"""How often a transaction is run on a block that turns out not to be the newest any more."""
_UNKNOWN = -1
"""Not a change counter: look again, whatever the counter says. It does not count what this process appended."""


_Draft = tuple[Block, Transaction, Outcome]
"""A block, and what it does."""


@dataclass(frozen=True, slots=True)
class FoundLog:
    """An event, and where it stands. One block holds one transaction, so ``index`` counts within both."""

    block: int
    index: int
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class Replica:
    """The chain in ``path`` as this process knows it. Its methods may be called from any thread, one at a time.

    A process that forks opens its own. Raises ChainError if there is no chain at ``path``, or it cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        trust_cache: bool = True,
        clock: Callable[[], float] = time.time,
    ):
        self.lock = threading.RLock()
        self.clock = clock
        self._file = ChainFile(path)
        self.meta = self._file.meta
        self._scratch = None if trust_cache else tempfile.TemporaryDirectory(prefix="folkmoot-")
        own = Path(self._scratch.name) if self._scratch else None
        self._cache = own or self._file.path.with_name(self._file.path.name + ".cache")
        self._waits = BUSY_SECONDS
        self._seen = _UNKNOWN
        self._torn = True
        try:
            self.head()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the ledger file."""
        self._file.close()
        if self._scratch:
            self._scratch.cleanup()

    def wait_at_most(self, seconds: float) -> None:
        """Wait so long for another process to append, and then raise ``ChainBusy``."""
        self._waits = seconds
        self._file.wait_at_most(seconds)

    @property
    def path(self) -> Path:
        """The ledger file."""
        return self._file.path

    @property
    def number(self) -> int:
        """The newest block this process has followed to."""
        return self._history.length

    @property
    def newest(self) -> Block:
        """The block this process has followed to."""
        return self._newest

    def head(self) -> int:
        """Follow what others appended; the newest block's number. Costs microseconds if nothing changed.

        Raises IntegrityError naming the block that does not follow from those before it.
        """
        with self.lock, storage_errors(self._file.path):
            seen = self._file.change_counter()
            if seen != self._seen:
                self._seen = _UNKNOWN
                self._follow()
                self._seen = seen
            return self.number

    def now(self) -> float:
        """Ledger time: this machine's clock, or the newest block's time if that is later."""
        return max(float(self._newest.timestamp), self.clock())

    def send(self, raw: bytes) -> bytes:
        """Append the transaction ``raw``; its hash. Once this returns, the block survives ``kill -9``.

        Raises LedgerRefused if it is malformed or for another chain, has a wrong nonce or does not succeed: then
        nothing is appended. Raises ChainError if the file cannot be written.
        """
        transaction = decode(raw, self.meta.chain_id)

        def draft() -> _Draft:
            number, parent = self.number + 1, self._newest
            block = make_block(parent.hash, number, max(parent.timestamp, int(self.clock())), raw)
            return block, transaction, self._machine.run(transaction, number, block.timestamp)

        self._append(draft, self._check_right)
        return transaction.hash

    def take(self, block: Block) -> bool:
        """Append a block that another process made; whether it was news.

        Raises IntegrityError if it does not follow from the newest block, or another one has its number.
        """

        def draft() -> _Draft | None:
            if block.number > self.number:
                return block, *self._checked(self._machine, self._newest, block)
            if self._file.block(block.number) != block:
                raise IntegrityError(f"block {block.number} is another one here")
            return None

        return self._append(draft, _no_objection)

    def _append(self, draft: Callable[[], _Draft | None], check: Callable[[], None]) -> bool:
        """Append what ``draft`` makes of the newest block, unless that is nothing; whether it was something.

        A block is drafted before the file is held, so that a process that is stopped while it computes holds up nobody;
        anew if another process was faster; and while the file is held if others always are. ``check`` raises where this
        process may not append; it is asked while the file is held, when the newest block here is the newest there is.
        """
        with self.lock:
            self._seen = _UNKNOWN
            for _ in range(_DRAFTS):
                with storage_errors(self._file.path):
                    self._follow()
                    drafted = draft()
                if drafted is None:
                    return False
                with self._file.appending():
                    if self._file.ends_with(self._newest):
                        check()
                        self._file.append(drafted[0])
                        break
            else:
                with self._file.appending():
                    self._follow()
                    drafted = draft()
                    if drafted is None:
                        return False
                    check()
                    self._file.append(drafted[0])
            self._adopt(*drafted)
            return True

    def check(self, raw: bytes) -> Transaction:
        """The transaction ``raw``, which could be the next block's. Raises LedgerRefused as ``send`` would."""
        transaction = decode(raw, self.meta.chain_id)
        with self.lock:
            self.head()
            self._machine.run(transaction, self.number + 1, int(self.now()))
        return transaction

    def view(self, sender: str, to: str | None, data: bytes, gas: int = GAS_LIMIT) -> tuple[bytes, int]:
        """What a call would return, and its gas, as the next block's transaction at ledger time now.

        Addresses are 0x and 40 hex digits; ``to`` None makes a contract. Raises Reverted with the contract's reason.
        """
        for address in (sender, to or ZERO):
            _check_address(address)
        with self.lock:
            self.head()
            return self._machine.view(sender, to, data, self.number + 1, int(self.now()), gas)

    def call(self, to: str, data: bytes) -> bytes:
        """What the contract at ``to`` returns for ``data``. Raises LedgerRefused with its reason."""
        return self.view(ZERO, to, data)[0]

    def account(self, address: str) -> tuple[int, bytes]:
        """Nonce and code at ``address`` (0x and 40 hex digits)."""
        _check_address(address)
        with self.lock:
            self.head()
            return self._machine.account(address)

    def storage(self, address: str, key: int) -> int:
        """The word in slot ``key`` of the contract at ``address``."""
        _check_address(address)
        with self.lock:
            self.head()
            return self._machine.storage(address, key)

    def block(self, number: int) -> Block | None:
        """Block ``number``, if this process has followed to it."""
        with self.lock, storage_errors(self._file.path):
            return self._file.block(number) if 0 <= number <= self.number else None

    def transaction(self, block: Block) -> Transaction:
        """The transaction in ``block``, which is not the genesis."""
        return decode(block.raw, self.meta.chain_id)

    def record(self, number: int) -> Record:
        """What block ``number`` (1 to ``self.number``) did."""
        with self.lock, storage_errors(self._file.path):
            return self._history.record(number) or self._relive(number)

    def find(self, wanted: bytes) -> int | None:
        """The number of the block that has this hash, or holds the transaction that has it."""
        if wanted == genesis_hash(self.meta):
            return 0
        with self.lock:
            self.head()
            return self._history.find(wanted)

    def logs(
        self,
        first: int,
        last: int,
        addresses: frozenset[bytes] | None = None,
        topics: tuple[frozenset[bytes] | None, ...] = (),
    ) -> Iterator[FoundLog]:
        """The events in blocks ``first`` to ``last``, of these addresses, whose topics fit place by place."""
        for number in range(max(first, 1), min(last, self.number) + 1):
            for index, log in enumerate(self.record(number).logs):
                if _fits(log, addresses, topics):
                    yield FoundLog(number, index, *log)

    def _check_right(self) -> None:
        """Raise ChainError where this process may not append of its own; asked while the file is held."""

    def _from_cache(self, segments: int | None) -> tuple[Machine, History]:
        """A machine and a history as of the newest sealed segment that holds, at most ``segments`` of them."""
        machine = Machine(self.meta.chain_id)
        history = History(self._cache, genesis_hash(self.meta))
        for state in history.adopt(self._seal_hashes(segments)):
            machine.restore(state.accounts, state.slots)
        return machine, history

    def _seal_hashes(self, segments: int | None) -> Iterator[bytes | None]:
        segment = 0
        while segments is None or segment < segments:
            segment += 1
            block = self._file.block(segment * SPAN)
            yield block.hash if block else None

    def _follow(self) -> None:
        """Check, run and adopt every block after the newest."""
        if self._torn:
            self._restore()
        while blocks := self._file.blocks(self.number + 1, _BATCH):
            for block in blocks:
                transaction, outcome = self._checked(self._machine, self._newest, block)
                self._adopt(block, transaction, outcome)

    def _checked(self, machine: Machine, parent: Block, block: Block) -> tuple[Transaction, Outcome]:
        """What ``block`` does after ``parent``. Raises IntegrityError if it does not follow."""
        number, timestamp = block.number, block.timestamp
        if block != make_block(parent.hash, number, timestamp, block.raw):
            raise IntegrityError(f"block {number}: hash does not follow from block {number - 1}")
        if timestamp < parent.timestamp:
            raise IntegrityError(f"block {number}: its time is before that of block {number - 1}")
        if timestamp > self.clock() + AHEAD_SECONDS:
            raise ChainError(
                f"block {number} claims a time {timestamp - self.clock():.0f} s ahead of this machine's clock;"
                " set the clock, or distrust who appended it"
            )
        try:
            transaction = decode(block.raw, self.meta.chain_id)
            return transaction, machine.run(transaction, number, timestamp)
        except LedgerRefused as error:
            raise IntegrityError(f"transaction {number} does not replay: {error}") from error

    def _adopt(self, block: Block, transaction: Transaction, outcome: Outcome) -> None:
        self._torn = True  # until all three are done: Ctrl-C may come in between
        self._machine.apply(outcome)
        self._history.add(block, transaction.hash, outcome)
        self._newest = block
        self._torn = False

    def _restore(self) -> None:
        """Start from what the cache holds, or from the genesis."""
        self._machine, self._history = self._from_cache(None)
        newest = self._file.block(self.number)
        if newest is None:
            raise IntegrityError(f"block {self.number} is missing")
        self._newest = newest
        self._torn = False

    def _relive(self, number: int) -> Record:
        """Run the segment of block ``number`` again, since its sealed records are gone; seal it anew."""
        segment = (number - 1) // SPAN
        machine, history = self._from_cache(segment)
        parent = self._file.block(history.length)
        wanted = None
        while history.length < (segment + 1) * SPAN:
            for block in self._file.blocks(history.length + 1, SPAN):
                if parent is None:
                    break
                transaction, outcome = self._checked(machine, parent, block)
                machine.apply(outcome)
                history.add(block, transaction.hash, outcome)
                parent = block
                if block.number == number:
                    wanted = Record(outcome.gas, outcome.created, outcome.logs)
        if wanted is None:
            raise IntegrityError(f"block {number} is missing")
        return wanted


def _no_objection() -> None:
    pass


def _check_address(address: str) -> None:
    """Refuse here what would be a panic inside the virtual machine."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r} is not an address: 0x and 40 hex digits")


def _fits(log: Log, addresses: frozenset[bytes] | None, topics: tuple[frozenset[bytes] | None, ...]) -> bool:
    address, own, _ = log
    if (addresses is not None and address not in addresses) or len(topics) > len(own):
        return False
    return all(wanted is None or topic in wanted for wanted, topic in zip(topics, own, strict=False))
