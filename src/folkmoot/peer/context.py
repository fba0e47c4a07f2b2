"""What a peer's sessions share: keys, members, ledger, store, network, log."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from blake3 import blake3

from folkmoot.digest import Hash
from folkmoot.errors import ChainBusy, IntegrityError, NetworkError
from folkmoot.ledger import Moot, statements
from folkmoot.ledger.records import Dataset, Grant, Member, called
from folkmoot.network import Node, fetch
from folkmoot.network.messages import Message
from folkmoot.peer.agreement import Agreement
from folkmoot.peer.cards import line_of
from folkmoot.peer.complaints import Complaints, kind_of
from folkmoot.peer.custody import Custody, Kept
from folkmoot.peer.home import Home
from folkmoot.peer.identity import Identity
from folkmoot.peer.journal import Journal
from folkmoot.peer.log import Log
from folkmoot.peer.room import Room
from folkmoot.peer.status import Complaint, ErrorKind
from folkmoot.round.commitment import contribution_root
from folkmoot.round.events import Key, Reveal, Statement
from folkmoot.round.machine import Timing
from folkmoot.round.masking import Masking, Place
from folkmoot.round.plan import Plan
from folkmoot.store import Store

__all__ = ["PeerContext", "Told"]

REQUEST_SECONDS = 20.0
SLOWEST_RATE = 64 << 10
"""Bytes a second; a request gets ``REQUEST_SECONDS`` and what its bodies take at this rate."""
FETCH_SECONDS = 300.0
BUSY_WAIT, BUSY_PAUSE, BUSY_SECONDS = 0.05, 0.2, 10.0
"""Seconds that the event loop waits for another process to append to the ledger file; until it tries again; until that
is an error."""
WRITERS = 4
"""Transactions of this peer that may wait for their blocks at the same time."""
_REPEAT_SECONDS = 60.0
"""An error that keeps coming is logged again after so long; the status shows it all the while."""
P = ParamSpec("P")
T = TypeVar("T")


class PeerContext:
    """The parts of a running peer. ``index`` is its bit in every bitmap."""

    def __init__(
        self,
        home: Home,
        moot: Moot,
        node: Node,
        index: int,
        log: Log,
        *,
        embedded: bool,
        hosted: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """``say`` prints a line for who watches this peer run."""
        self.home = home
        self.moot = moot
        self.node = node
        self.index = index
        self.identity: Identity = home.identity
        self.store: Store = home.store()
        self.journal = Journal(home.journal)
        self.rooms: dict[int, Room] = {}
        """What a round of each task needs of the store."""
        self.forgotten: set[Key] = set()
        """Commits of this member that the journal did not know when this peer started."""
        self.twin = ""
        """How it was seen that this identity runs elsewhere too; empty if it was not."""
        self.timing = Timing() if embedded else Timing(patience=6.0, stagger=6.0)
        self.look_pause = 0.0 if embedded else 0.5
        """Seconds between looks at the ledger that members' messages give cause to."""
        self.members: dict[int, Member] = {}
        """All there ever were; ``living`` says who belongs to the moot."""
        self.complaints = Complaints(self._announce)
        self.watched = say is not None
        """Whether anybody watches this peer run."""
        self._say = say
        self.log = log.write
        self._complained: dict[str, float] = {}
        self._data: tuple[int, dict[int, str]] | None = None
        self._datasets: dict[int, Dataset] = {}
        self._lines: dict[int, tuple[int, ...]] = {}
        self._custody = Custody(home, self.dataset_path)
        self._domain = moot.domain
        self.agreement = Agreement(moot, self.identity.exchange_secret)
        # A chain in the same process answers within a millisecond; a remote one must not hold the loop up, nor a
        # transaction that waits for its block those who read. A hosted one is read here and written elsewhere.
        self._reader = None if embedded else ThreadPoolExecutor(1, "ledger")
        self._writer = None if embedded and not hosted else ThreadPoolExecutor(WRITERS, "ledger-writer")
        self._block_time = 0.0

    def close(self) -> None:
        """Let go of files and threads."""
        self.journal.close()
        for thread in (self._reader, self._writer):
            if thread is not None:
                thread.shutdown(wait=False, cancel_futures=True)

    # ---- ledger ------------------------------------------------------------------------------------------------

    async def ledger(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read the ledger without holding up the event loop for longer than a moment."""
        if self._reader is None:
            return call(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._reader, lambda: call(*args, **kwargs))

    async def post(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write to the ledger, likewise; returns once it stands there."""
        if self._writer is None:
            return await _in_turn(lambda: call(*args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: call(*args, **kwargs))

    async def own_grant(self, task: int) -> Grant | None:
        """The live grant of this member for ``task``, if there is one: ``Moot.own_grant``."""
        return await self.ledger(self.moot.own_grant, task, self.index)

    def now(self) -> float:
        """Ledger time: the embedded chain's clock, or elsewhere the newest block's as of the last ``look``."""
        return self.moot.now() if self._reader is None else self._block_time

    async def look(self) -> int:
        """The number of the newest block."""
        head = await self.ledger(self.moot.head)
        if self._reader is not None:
            self._block_time = await self.ledger(self.moot.now)
        return head

    def _known(self, member: int) -> Member:
        if member not in self.members:
            raise NetworkError(f"{called(member)} is not known here yet")
        return self.members[member]

    @property
    def living(self) -> list[int]:
        """The members there are."""
        return [index for index, member in self.members.items() if member.living]

    def dataset_path(self, dataset: int) -> str | None:
        """Where a dataset of this member's lies on this machine, if it does. Read again when the file changed."""
        try:
            changed = self.home.data_file.stat().st_mtime_ns
        except OSError:
            return None
        if self._data is None or self._data[0] != changed:
            self._data = (changed, self.home.data())
        return self._data[1].get(dataset)

    async def kept(self, dataset: int, *, now: bool = False) -> Kept:
        """A dataset of this member's, which is on this machine and what was consented to: ``Custody.look``."""
        if dataset not in self._datasets:  # what stands on the ledger of a dataset stays as it is
            known = await self.ledger(self.moot.datasets)
            self._lines[dataset] = line_of(self.home, known, dataset)
            self._datasets[dataset] = next(described for described in known if described.id == dataset)
        return await self._custody.look(self._datasets[dataset], now=now)

    def line(self, dataset: int) -> tuple[int, ...]:
        """A dataset that was ``kept``, and those in whose place it has come: ``cards.line_of``."""
        return self._lines.get(dataset, (dataset,))

    async def read(self, dataset: int) -> None:
        """Wait until a dataset of which ``kept`` raised ``Unread`` has been read."""
        await self._custody.settled(dataset)

    def member_with(self, endpoint: bytes) -> int | None:
        """The member whose peer has this endpoint."""
        return next((m.index for m in self.members.values() if m.endpoint == endpoint), None)

    def sign_commit(self, key: Key, hash: Hash) -> bytes:
        """65 bytes: this member's signature under its commit, for somebody else to post it."""
        return self._sign(statements.commit_digest(self._domain, *key, hash))

    def check_commit(self, member: int, key: Key, hash: Hash, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, statements.commit_digest(self._domain, *key, hash), signature)

    def sign_holding(self, key: Key, contributors: int) -> bytes:
        """65 bytes: this member's signature that it holds these contributors' shards."""
        return self._sign(statements.holding_digest(self._domain, *key, contributors))

    def check_holding(self, member: int, key: Key, contributors: int, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, statements.holding_digest(self._domain, *key, contributors), signature)

    def sign_model(self, key: Key, statement: Statement) -> bytes:
        """65 bytes: this member's signature on the outcome of an attempt."""
        return self._sign(self._model_digest(key, statement))

    def sign_reveal(self, key: Key, reveal: Reveal) -> bytes:
        """65 bytes: this member's signature under what it shows."""
        return self._sign(self._reveal_digest(key, reveal))

    def check_reveal(self, member: int, key: Key, reveal: Reveal, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, self._reveal_digest(key, reveal), signature)

    def _reveal_digest(self, key: Key, reveal: Reveal) -> bytes:
        return statements.reveal_digest(self._domain, *key, reveal.salt, contribution_root(reveal.shards))

    def sign_seeds(self, key: Key, survivors: int, root: Hash) -> bytes:
        """65 bytes: this member's signature under mask seeds, whose hash is ``root``."""
        return self._sign(statements.seeds_digest(self._domain, *key, survivors, root))

    def check_seeds(self, member: int, key: Key, survivors: int, root: Hash, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, statements.seeds_digest(self._domain, *key, survivors, root), signature)

    def sign_opening(self, key: Key, survivors: int, opened: int) -> bytes:
        """65 bytes: this member's signature on whose masks it can take off."""
        return self._sign(statements.opening_digest(self._domain, *key, survivors, opened))

    def check_opening(self, member: int, key: Key, survivors: int, opened: int, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, statements.opening_digest(self._domain, *key, survivors, opened), signature)

    def sign_expulsion(self, task: int, member: int, evidence: Hash) -> bytes:
        """65 bytes: this member's signature that this evidence bars ``member`` from ``task``."""
        return self._sign(statements.expulsion_digest(self._domain, task, member, evidence))

    def check_expulsion(self, signer: int, task: int, member: int, evidence: Hash, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``signer`` signed that."""
        self._check(signer, statements.expulsion_digest(self._domain, task, member, evidence), signature)

    def check_model(self, member: int, key: Key, statement: Statement, signature: bytes) -> None:
        """Raise ``IntegrityError`` unless ``member`` signed that."""
        self._check(member, self._model_digest(key, statement), signature)

    def _model_digest(self, key: Key, s: Statement) -> bytes:
        return statements.model_digest(self._domain, *key, s.parent, s.inputs, s.aggregate, s.model, s.survivors)

    def _sign(self, digest: bytes) -> bytes:
        return statements.sign(bytes(self.identity.account.key), digest)

    def _check(self, member: int, digest: bytes, signature: bytes) -> None:
        if statements.recover(digest, signature) != self.members[member].address:
            raise IntegrityError(f"the signature is not {called(member)}'s")

    def training_seed(self, bundle: Hash, round: int) -> bytes:
        """32 bytes for a contribution's randomness: secret, this member's own, the same when a round is retried."""
        key = blake3(self.identity.seed, derive_key_context="folkmoot 2026 training seed v1").digest()
        return blake3(bundle + round.to_bytes(8, "big"), key=key).digest()

    def noise_seed(self, bundle: Hash, key: Key, parent: Hash) -> bytes:
        """32 bytes for the noise in one attempt's contribution: secret, this member's own, and no other attempt's."""
        secret = blake3(self.identity.seed, derive_key_context="folkmoot 2026 noise seed v1").digest()
        numbers = b"".join(number.to_bytes(8, "big") for number in key)
        place = f"{self._domain.chain_id} {self._domain.contract}".encode()
        return blake3(bundle + numbers + parent + place, key=secret).digest()

    def masking(self, key: Key, plan: Plan, parent: Hash, opened: int) -> Masking:
        """This member's side of the masks of an attempt that opened in the block ``opened``."""
        place = Place(self._domain.chain_id, self._domain.contract, key, parent)
        secret = None if self.agreement.is_newer(self.index, opened) else self.identity.mask_secret
        return Masking(self.index, place, plan, secret, lambda member: self.agreement.shared(member, opened))

    # ---- network -----------------------------------------------------------------------------------------------

    async def ask(self, member: int, message: Message, body: bytes = b"", *, limit: int = 0) -> tuple[Message, bytes]:
        """A member's answer, with its body of at most ``limit`` bytes. Raises ``NetworkError``, ``ProtocolError``."""
        timeout = REQUEST_SECONDS + (len(body) + limit) / SLOWEST_RATE
        return await self.node.request(self._known(member).endpoint, message, body=body, most=limit, timeout=timeout)

    async def tell(self, member: int, message: Message, body: bytes = b"") -> None:
        """Tell a member something; whether it took it is its business. Raises ``NetworkError``."""
        await self.ask(member, message, body)

    async def fetch(self, name: Hash, limit: int, sources: Sequence[int] | None = None) -> None:
        """Have a blob on disk, from ``sources`` or from whoever has it. Raises ``NetworkError``."""
        if self.store.has(name):
            return
        members = [m for m in (self.members if sources is None else sources) if m != self.index and m in self.members]
        holders = [self.members[m].endpoint for m in members]
        await fetch(self.node, self.store, name, holders, max_size=limit, timeout=FETCH_SECONDS)

    # ---- people ------------------------------------------------------------------------------------------------

    def complain(
        self,
        what: str | BaseException,
        *,
        kind: ErrorKind | None = None,
        about: str = "",
        task: int | None = None,
        **fields: object,
    ) -> None:
        """Show an error in the status until ``settle(about)``, or for a while, and log it."""
        error = what if isinstance(what, BaseException) else None
        message = str(what)
        kind = kind or ("local" if error is None else kind_of(error))
        self.complaints.say(kind, message, about=about, task=task)
        now = time.monotonic()
        if now >= self._complained.get(message, float("-inf")) + _REPEAT_SECONDS:
            self._complained = {text: at for text, at in self._complained.items() if now < at + _REPEAT_SECONDS}
            self._complained[message] = now
            self.log("error", message=message, kind=kind, **({} if task is None else {"task": task}), **fields)

    def recognise_twin(self, how: str) -> None:
        """This identity runs on another machine, too. Neither knows what the other tells, so this one takes part in no
        round until it is started again."""
        self.twin = how
        told = (
            f"the same identity runs on another machine, too: {how}. This peer takes part in no round any more; stop"
            " one of the two, and start the other again"
        )
        self.complain(told, kind="identity", about="twin")

    def may_tell(self, key: Key) -> bool:
        """Whether this peer may tell anything of the masks of an attempt: it knows what it has told of them."""
        return not self.twin and not self.journal.sits_out(key)

    def complains_about(self, about: str) -> bool:
        """Whether an error about this is shown now."""
        return self.complaints.about(about) is not None

    def settle(self, *about: str) -> None:
        """What was said about these things is over."""
        self.complaints.settle(*about)

    def mishap(self, error: BaseException, *, about: str = "", task: int | None = None, **fields: object) -> None:
        """Complain of an exception that nobody meant to happen, and log where it came from."""
        told = f"internal error, {type(error).__name__}: {error}; see the log, and please report it"
        trace = "".join(traceback.format_exception(error))
        self.complain(told, kind="internal", about=about, task=task, traceback=trace, **fields)

    def fault(self, error: Exception, *, about: str = "", task: int | None = None) -> None:
        """Complain of an exception, whether anybody meant it to be raised or not."""
        (self.mishap if kind_of(error) == "internal" else self.complain)(error, about=about, task=task)

    def _announce(self, complaint: Complaint, over: bool) -> None:
        self.say(f"over: {complaint.text}" if over else f"error: {complaint.text}")
        if over:
            self.log("over", message=complaint.text, kind=complaint.kind)

    def say(self, line: str) -> None:
        """Print a line for who watches this peer run."""
        if self._say is not None:
            self._say(line)

    def name(self, member: int) -> str:
        """What a member is called."""
        known = self.members.get(member)
        return f"member {member}" if known is None else known.name


async def _in_turn(call: Callable[[], T]) -> T:
    """What ``call`` gives once no other process holds the ledger file. The event loop, which answers the other members,
    never waits for long. Raises ``ChainBusy``, which names who holds it, when that goes on."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return call()
        except ChainBusy:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(BUSY_PAUSE)


class Told(logging.Handler):
    """Brings what the rooms below have to say, from warnings up, to the peer's log, and mistakes to its status."""

    def __init__(self, peer: PeerContext) -> None:
        super().__init__(logging.WARNING)
        self._peer = peer

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            self._peer.mishap(error, where=record.getMessage())
        else:
            self._peer.log("warning", message=record.getMessage())
