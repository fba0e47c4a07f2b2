"""What an auditor has in hand: a ledger, and the blobs of one peer or of several. Neither is ever changed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from folkmoot.digest import Hash
from folkmoot.errors import ChainError, IntegrityError, LocalError, StoreError
from folkmoot.ledger import Chain, Moot, open_chain, verify_chain
from folkmoot.ledger.abi import MOOT
from folkmoot.ledger.chronicle import Entry, entries
from folkmoot.peer.register import Register
from folkmoot.store import Store

if TYPE_CHECKING:
    from folkmoot.peer.asks import Loaded
    from folkmoot.peer.home import Home
    from folkmoot.peer.workbench import Workbench

__all__ = ["Sources", "compare", "opened"]


@dataclass
class Sources:
    """One moot's ledger, checked as far as its kind allows, and stores of blobs."""

    moot: Moot
    stores: Sequence[Store] = ()
    blocks: int | None = None
    """How many blocks were replayed from the first transaction on; ``None`` where a node was asked instead."""
    upto: int | None = None
    """The last block that is looked at; ``None``: the newest."""
    home: Home | None = None
    """The peer whose limits hold for the code of tasks."""
    sandbox: bool = True
    """Whether that code runs in a sandbox, unless the peer's configuration or the environment says otherwise."""
    sandboxed: bool = True
    """Whether all of it did so far."""
    former: Sources | None = None
    """Those of the moot that this one continues, where they were given and ``forebear.check_former`` held."""
    _loaded: dict[Hash, Loaded] = field(default_factory=dict)

    @contextmanager
    def workbench(self, bundle: Hash, what: str) -> Iterator[Workbench]:
        """A worker with the code of a task loaded; ``what`` is as for ``get``."""
        from folkmoot.peer.workbench import Workbench

        code, record = self.get(bundle, what), self.sandboxed
        with Workbench(code, self.home, self.stores, sandbox=self.sandbox, record=record) as bench:
            self.sandboxed = self.sandboxed and bench.sandboxed
            self._loaded[bundle] = bench.load()
            yield bench

    def loaded(self, bundle: Hash, what: str) -> Loaded:
        """What the code of a task says of itself. A worker is started for it, once."""
        if bundle not in self._loaded:
            with self.workbench(bundle, what):
                pass
        return self._loaded[bundle]

    @cached_property
    def history(self) -> list[Entry]:
        """The moot's chronicle."""
        return entries(self.moot, self.upto)

    @cached_property
    def register(self) -> Register:
        """What stands after all of it. Raises ``IntegrityError`` naming the first thing that does not hold."""
        return Register.of(self.history)

    def unsigned_grants(self) -> Iterator[str]:
        """Hold each grant that a node tells of against the signature under its transaction; what could not be told.

        Raises ``IntegrityError`` naming a grant that its member did not sign. A chain that was replayed here needs none
        of this.
        """
        if self.moot.embedded:
            return
        for consent in self.register.consents:
            entry, name = consent.granted, self.register.name(consent.member)
            where = f"task {consent.task}: the grant of {name} (block {entry.block})"
            call = self.moot.signed_call(entry.transaction)
            if call.to != self.moot.address:
                yield f"{where} was given by way of another contract, whose signatures are not checked here"
            elif call.sender != consent.main or call.data[:164] != _granting(entry, consent.begun):
                raise IntegrityError(f"{where} is not what its member signed in {entry.transaction.hex()[:12]}")

    def find(self, name: Hash) -> Store | None:
        """The store that has a blob, if one has."""
        return next((store for store in self.stores if store.has(name)), None)

    def get(self, name: Hash, what: str) -> bytes:
        """A blob, checked. Raises ``LocalError`` saying ``what`` it is when no store has it."""
        store = self.find(name)
        if store is None:
            raise LocalError(f"{what} (blob {name.hex()}) is in none of the given stores; add another peer's --blobs")
        try:
            return store.get(name)
        except StoreError as error:
            raise IntegrityError(f"{what}: {error}") from None


def _granting(entry: Entry, begun: int) -> bytes:
    """The call that makes this entry while round ``begun`` is being made: task, dataset, limit, until, and for how many
    rounds."""
    fields = [entry[name] for name in ("task", "dataset", "limit", "until")]
    rounds = entry["last"] - max(begun, 1) + 1 if entry["last"] else 0
    return MOOT.call("grant", *fields, rounds)[:164] if rounds > 0 or not entry["last"] else b""


@contextmanager
def opened(
    ledger: Path | str,
    contract: str | None,
    blobs: Sequence[Path] = (),
    upto: int | None = None,
    *,
    home: Home | None = None,
    sandbox: bool = True,
) -> Iterator[Sources]:
    """Ledger and blobs, opened for reading. An embedded chain's file is replayed from its first transaction, every byte
    of it accounted for, and looked at in a copy.

    ``ledger`` is such a file, or the URL of a node; ``contract`` may be left out where the file holds one moot. Raises
    ``IntegrityError`` naming the place where the file does not hold, ``LocalError`` when something is not there, and
    ``ChainError`` when the contracts are not those of this version.
    """
    stores = [_store(path) for path in blobs]
    with _chain(ledger) as (chain, blocks):
        moot = Moot(chain, contract or _first_contract(chain, ledger))
        moot.check_code()
        yield Sources(moot, stores, blocks, upto, home, sandbox)


def compare(sources: Sources, url: str) -> int:
    """Hold the history against what another node tells; the number of entries that both have.

    Raises ``IntegrityError`` naming the first entry in which they differ.
    """
    other = Moot(open_chain(url), sources.moot.address)
    if other.chain_id != sources.moot.chain_id:
        raise IntegrityError(f"{url} is chain {other.chain_id}, and the ledger is chain {sources.moot.chain_id}")
    last = min(sources.moot.head(), other.head(), *([] if sources.upto is None else [sources.upto]))
    ours = [entry for entry in sources.history if entry.block <= last]
    theirs = entries(other, last)
    for one, two in zip(ours, theirs, strict=False):
        if one != two:
            raise IntegrityError(
                f"block {min(one.block, two.block)}: the ledger has {one.kind} where {url} has {two.kind}"
                if one.kind != two.kind
                else f"block {one.block}: {one.kind} differs from what {url} has"
            )
    if len(ours) != len(theirs):
        extra = (ours if len(ours) > len(theirs) else theirs)[min(len(ours), len(theirs))]
        who = "the ledger" if len(ours) > len(theirs) else url
        raise IntegrityError(f"block {extra.block}: only {who} has {extra.kind}")
    return len(ours)


def _store(path: Path) -> Store:
    if (path / "blobs" / "blobs").is_dir():
        path = path / "blobs"  # the peer's home was named
    if not (path / "blobs").is_dir():
        raise LocalError(f"{path} is not a peer's store of blobs; name the folder 'blobs' of a peer's home")
    return Store(path)


@contextmanager
def _chain(ledger: Path | str) -> Iterator[tuple[Chain, int | None]]:
    if isinstance(ledger, str) and "://" in ledger:
        yield open_chain(ledger), None
        return
    path = Path(ledger)
    if not path.is_file():
        raise LocalError(f"there is no ledger file {path}")
    blocks = verify_chain(path).blocks
    with tempfile.TemporaryDirectory(prefix="folkmoot-verify-") as folder:
        copy = Path(folder) / "ledger.sqlite"
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        yield open_chain(str(copy)), blocks


def _first_contract(chain: Chain, ledger: Path | str) -> str:
    """The address of the contract that the chain's first transaction made."""
    if not chain.embedded:
        raise LocalError("name the moot's contract with --contract: a public chain holds many")
    first = chain.rpc("eth_getBlockByNumber", hex(1), False)
    receipt = first and chain.rpc("eth_getTransactionReceipt", first["transactions"][0])
    address = receipt and receipt["contractAddress"]
    if not address:
        raise ChainError("this ledger does not begin with a moot; name the contract with --contract")
    return str(address)
