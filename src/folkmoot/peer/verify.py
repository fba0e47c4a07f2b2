"""Replay a moot's whole history from ledger and blobs, as someone who took no part, trusting nobody.

Everything is recomputed: the chain from its first transaction, each signature of each quorum, each commit from its
salt, each sum from the contributions, each state from its parent. The first thing that does not hold is named.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folkmoot.digest import Hash, blob_hash
from folkmoot.errors import IntegrityError, LocalError, StoreError, TaskError
from folkmoot.ledger import Chain, Moot, open_chain, statements, verify_chain
from folkmoot.ledger.records import Final, Member, TaskRecord, members_of, quorum
from folkmoot.peer.identity import check_binding
from folkmoot.round import fixed
from folkmoot.round.commitment import commit_hash, contribution_root, decode_hashes, decode_inputs
from folkmoot.round.events import Reveal
from folkmoot.round.layout import Layout
from folkmoot.round.reduce import layout_of, next_state, sum_shards
from folkmoot.store import Store
from folkmoot.task import State, Task, load_task, read_state, state_bytes

__all__ = ["VerifyReport", "verify"]


@dataclass
class VerifyReport:
    """What held: ``rounds`` replayed over ``tasks`` tasks, and ``notes`` on what could be checked in part only."""

    moot: str = ""
    members: int = 0
    tasks: int = 0
    rounds: int = 0
    blocks: int | None = None
    models: dict[int, Hash] = field(default_factory=dict)
    """The last model of each task."""
    notes: list[str] = field(default_factory=list)


def verify(
    ledger: Path | str,
    contract: str | None,
    blobs: Sequence[Path],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Replay everything; ``ledger`` is an embedded chain's file or a JSON-RPC URL, ``blobs`` peers' store folders.

    Neither is changed. ``contract`` may be left out where the file holds one moot. ``progress`` is told task and round.
    Raises ``IntegrityError`` naming the first thing that does not hold, ``LocalError`` where something is missing.
    """
    report = VerifyReport()
    stores = [_store(path) for path in blobs]
    for store in stores:
        for problem in store.verify_all():
            raise IntegrityError(f"blob file {problem.path}: {problem.reason}")
    with _chain(ledger, report) as open_moot:
        moot = open_moot(contract)
        members = {m.index: m for m in moot.members()}
        report.moot, report.members = moot.name(), len(members)
        for member in members.values():
            if not check_binding(member):
                report.notes.append(f"member {member.name} has not bound its network key to its account")
        for record in moot.tasks():
            finals = moot.finals(record.id)
            if finals:
                _TaskReplay(moot, record, members, stores, report).run(finals, progress)
                report.tasks += 1
    return report


def _store(path: Path) -> Store:
    if (path / "blobs" / "blobs").is_dir():
        path = path / "blobs"  # the peer's home was named
    if not (path / "blobs").is_dir():
        raise LocalError(f"{path} is not a peer's store of blobs; name the folder 'blobs' of a peer's home")
    return Store(path)


@contextmanager
def _chain(ledger: Path | str, report: VerifyReport) -> Iterator[Callable[[str | None], Moot]]:
    if isinstance(ledger, str) and ledger.startswith(("http://", "https://")):
        yield lambda contract: Moot(open_chain(ledger), _given(contract))
        return
    path = Path(ledger)
    if not path.is_file():
        raise LocalError(f"there is no ledger file {path}")
    report.blocks = verify_chain(path).blocks
    with tempfile.TemporaryDirectory(prefix="folkmoot-verify-") as folder:
        copy = Path(folder) / "ledger.sqlite"
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        chain = open_chain(str(copy))
        yield lambda contract: Moot(chain, contract or _first_contract(chain))


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say which round it is about, when something in it does not hold."""
    try:
        yield
    except IntegrityError as error:
        raise error if str(error).startswith(where) else IntegrityError(f"{where}: {error}") from None
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from None


def _given(contract: str | None) -> str:
    if contract is None:
        raise LocalError("name the moot's contract with --contract: a public chain holds many")
    return contract


def _first_contract(chain: Chain) -> str:
    """The address of the contract that the chain's first transaction made."""
    first = chain.rpc("eth_getBlockByNumber", hex(1), False)
    receipt = first and chain.rpc("eth_getTransactionReceipt", first["transactions"][0])
    address = receipt and receipt["contractAddress"]
    if not address:
        raise LocalError("this ledger does not begin with a moot; name the contract with --contract")
    return str(address)


class _TaskReplay:
    """The replay of one task's rounds."""

    def __init__(
        self,
        moot: Moot,
        record: TaskRecord,
        members: dict[int, Member],
        stores: Sequence[Store],
        report: VerifyReport,
    ) -> None:
        self._domain = statements.Domain(moot.chain_id, moot.address)
        self._record = record
        self._members = members
        self._stores = stores
        self._report = report

    def run(self, finals: Sequence[Final], progress: Callable[[int, int], None] | None) -> None:
        task = load_task(self._get(self._record.bundle, f"the code of task {self._record.id}"))
        state = task.init()
        if (name := blob_hash(state_bytes(state))) != self._record.genesis:
            raise IntegrityError(f"task {self._record.id}: its code makes another first state than the ledger says")
        for number, final in enumerate(finals, start=1):
            where = f"task {self._record.id}, round {number}"
            if final.round != number or final.parent != name:
                raise IntegrityError(f"{where}: it does not follow from the round before")
            self._check_signatures(final, where)
            reveals = self._open_commits(final, where)
            state, name = self._replay(task, state, final, reveals, where)
            self._report.rounds += 1
            if progress:
                progress(self._record.id, number)
        self._report.models[self._record.id] = name

    def _check_signatures(self, final: Final, where: str) -> None:
        digest = statements.model_digest(
            self._domain,
            final.task,
            final.round,
            final.attempt,
            final.parent,
            final.inputs,
            final.aggregate,
            final.model,
            final.survivors,
        )
        signers = members_of(final.signers)
        known = final.members.bit_length() <= len(self._members) and not final.survivors & ~final.members
        if len(signers) < quorum(final.members.bit_count()) or final.signers & ~final.members or not known:
            raise IntegrityError(f"{where}: {len(signers)} signatures are no quorum of its members")
        if len(signers) != len(final.signatures) or final.survivors.bit_count() != len(final.commits):
            raise IntegrityError(f"{where}: its signatures or commits are not as many as its members")
        for member, signature in zip(signers, final.signatures, strict=True):
            if statements.recover(digest, signature) != self._members[member].address:
                raise IntegrityError(f"{where}: the signature of {self._members[member].name} does not hold")

    def _open_commits(self, final: Final, where: str) -> dict[int, Reveal]:
        record = self._get(final.inputs, f"{where}: the record of its inputs")
        with _named(where):
            reveals = decode_inputs(record)
        survivors = members_of(final.survivors)
        if tuple(reveals) != survivors:
            raise IntegrityError(f"{where}: the record of its inputs names other members than the survivors")
        for member, commit in zip(survivors, final.commits, strict=True):
            reveal = reveals[member]
            address = bytes.fromhex(self._members[member].address[2:])
            root = contribution_root(reveal.shards)
            if commit_hash(reveal.salt, address, final.task, final.round, final.attempt, root) != commit:
                raise IntegrityError(
                    f"{where}: the contribution of {self._members[member].name} is not what it committed"
                )
        return reveals

    def _replay(
        self, task: Task, state: State, final: Final, reveals: dict[int, Reveal], where: str
    ) -> tuple[State, Hash]:
        layout = layout_of(task, state)
        record = self._get(final.aggregate, f"{where}: the record of its aggregate")
        with _named(where):
            recorded = decode_hashes(record)
        for member, reveal in reveals.items():
            if (cut := len(reveal.shards)) != len(recorded):
                owner = self._members[member].name
                raise IntegrityError(
                    f"{where}: its aggregate has {len(recorded)} shards, the contribution of {owner} {cut}"
                )
        sums = []
        for shard, name in enumerate(recorded):
            with _named(where):
                total = self._sum(shard, len(recorded), layout, reveals, name, where)
            packed = fixed.encode_sum(total, shard, layout, len(recorded), len(reveals))
            if blob_hash(packed) != name:
                raise IntegrityError(f"{where}: the contributions do not add up to its aggregate (shard {shard})")
            sums.append(total)
        with _named(where):
            new, _ = next_state(task, state, layout, sums, len(reveals))
        data = state_bytes(new)
        if blob_hash(data) != final.model:
            raise IntegrityError(f"{where}: its aggregate does not lead to its model")
        if self._find(final.model) is not None:
            read_state(self._get(final.model, f"{where}: its model"))
        return new, final.model

    def _sum(
        self, shard: int, shards: int, layout: Layout, reveals: dict[int, Reveal], name: Hash, where: str
    ) -> NDArray[np.int64]:
        blobs = [reveal.shards[shard] for reveal in reveals.values()]
        if shards > 1 and not all(self._find(blob) for blob in blobs) and self._find(name):
            note = f"{where}: shard {shard} was taken from its sum; its contributions are on other members' disks"
            self._report.notes.append(note)
            return fixed.decode_sum(self._get(name, where), shard, layout, shards, len(reveals))
        owners = (self._members[m].name for m in reveals)
        contents = (
            self._get(blob, f"{where}: the contribution of {owner}") for blob, owner in zip(blobs, owners, strict=True)
        )
        return sum_shards(contents, shard, layout, shards)

    def _find(self, name: Hash) -> Store | None:
        return next((store for store in self._stores if store.has(name)), None)

    def _get(self, name: Hash, what: str) -> bytes:
        store = self._find(name)
        if store is None:
            raise LocalError(f"{what} (blob {name.hex()}) is in none of the given stores; add another peer's --blobs")
        try:
            return store.get(name)
        except StoreError as error:
            raise IntegrityError(f"{what}: {error}") from None
