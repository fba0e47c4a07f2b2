"""What a member brings to a moot: datasets described, tasks proposed."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from folkmoot.digest import blob_hash
from folkmoot.errors import DataError, LocalError
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Dataset, Standing, TaskRecord, faults
from folkmoot.peer import governing
from folkmoot.peer.durable import folder_at, replace
from folkmoot.peer.home import Home
from folkmoot.task.policy import Policy

if TYPE_CHECKING:
    from folkmoot.peer.workbench import Workbench

__all__ = [
    "Card",
    "Draft",
    "add_dataset",
    "bundle_of",
    "check_deliverable",
    "count_records",
    "draft",
    "draft_here",
    "propose",
]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a dataset whose hash is on the ledger. Its owner shows it to whom it likes.

    ``salt`` keeps the hash from being guessed back to a description.
    """

    description: str
    records: int
    salt: str


class Draft(NamedTuple):
    """A task that is ready to be proposed."""

    bundle: bytes
    name: str
    policy: Policy
    genesis: bytes
    """Its first state, as the blob."""
    unscored: str | None
    """Why a bounty cannot tell contributions to it apart, where it cannot."""
    buffers: tuple[str, ...] = ()
    """Names of the arrays that training counts or averages, and no step of an optimiser moves."""


def add_dataset(
    home: Home,
    path: Path,
    records: int,
    description: str = "",
    *,
    schema: Path | None = None,
    terms: Path | None = None,
) -> Dataset:
    """Describe the dataset at ``path`` on the ledger, and remember in ``home`` where it lies.

    The ledger gets the number of records as given, and hashes: of the card, of what the records look like (the file
    ``schema``) and of what its owner asks for (the file ``terms``). What is behind them is kept in ``home/cards``.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; name the dataset's file or folder")
    card = msgspec.json.encode(Card(description=description, records=records, salt=secrets.token_hex(16)))
    folder = home.path / "cards"
    folder_at(folder)
    digest = blob_hash(card)
    replace(folder / f"{digest.hex()}.json", card, mode=0o600)
    moot = home.moot()
    hashes = {"schema": _kept(folder, schema), "conditions": _kept(folder, terms)}
    id = moot.describe(digest, records, **hashes)
    home.add_data(id, path)
    return moot.dataset(id)


def _kept(folder: Path, file: Path | None) -> bytes:
    """The hash of a file of which a copy is kept beside the cards; zeros for none."""
    if file is None:
        return bytes(32)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    digest = blob_hash(content)
    replace(folder / f"{digest.hex()}{file.suffix}", content, mode=0o600)
    return digest


def count_records(path: Path) -> int:
    """The number of lines with something in them, rounded to two digits so that it tells little.

    Raises ``DataError`` for a folder or an unreadable file: there a person has to say the number.
    """
    try:
        with path.open("rb") as file:
            lines = sum(1 for line in file if line.strip())
    except OSError as error:
        raise DataError(f"cannot count the records of {path} ({error.strerror}); give --records N") from None
    digits = max(0, len(str(lines)) - 2)
    step: int = 10**digits
    return (lines + step // 2) // step * step


def propose(home: Home, task: Path | Draft) -> tuple[TaskRecord, Draft]:
    """Put a task on the ledger, and to the vote; its bundle and first state into the store. The record, and the draft.

    ``task`` is its file or folder, whose code then runs in the sandbox, or a draft that is made already. Raises
    ``TaskError`` when the code fails, and ``LocalError`` when the moot cannot deliver what its policy promises.
    """
    if isinstance(task, Path):
        from folkmoot.peer.workbench import Workbench
        from folkmoot.task import make_bundle

        with Workbench(make_bundle(task), home) as bench:
            task = draft(bench)
    store, moot = home.store(), home.moot()
    check_deliverable(task.policy, max(moot.member_count(), moot.about().seats))
    code = store.put(task.bundle, durable=True)
    genesis = store.put(task.genesis, durable=True)
    id = moot.propose(code, genesis, task.policy)
    governing.move(moot, Kind.STEER, id, Standing.ADOPTED)
    return moot.task(id), task


def draft(bench: Workbench) -> Draft:
    """The draft of the task of ``bench``, whose worker loads it and makes its first state."""
    from folkmoot.peer.asks import Prepare, Prepared

    loaded = bench.load()
    prepared = bench.ask(Prepare(None), Prepared)
    buffers = tuple(buffer.name for buffer in prepared.layout.buffers)
    return Draft(bench.bundle, loaded.name, loaded.policy, bench.store.get(prepared.state), loaded.unscored, buffers)


def draft_here(path: Path) -> Draft:
    """The draft of the task at ``path``, whose code runs in this process: for code of one's own, which is trusted."""
    from folkmoot.reward.effects import unscored
    from folkmoot.task import authored, load_task, make_bundle, state_bytes
    from folkmoot.task.protocol import buffers_of

    bundle = make_bundle(path)
    task = load_task(bundle)
    with authored("failed in init"):
        first = task.init()
        buffers = tuple(sorted(buffers_of(task, first)))
    return Draft(bundle, task.name, task.policy, state_bytes(first), unscored(task), buffers)


def check_deliverable(policy: Policy, members: int) -> None:
    """Raise ``LocalError``, with the arithmetic, where a moot of so many members, or seats while some are free, cannot
    deliver what a policy promises.

    What no moot can deliver the policy itself refuses.
    """
    if policy.min_members > members:
        raise LocalError(
            f"the policy needs {policy.min_members} contributions in each round, and the moot has {members} members or"
            " seats"
        )
    if policy.faults > faults(members):
        raise LocalError(
            f"the policy is to withstand {policy.faults} liars; a moot of {members} agrees on anything only while at"
            f" most (n - 1) / 3 = {faults(members)} of them lie. {3 * policy.faults + 1} members would do"
        )


def bundle_of(home: Home, task: TaskRecord) -> bytes:
    """The task's code, from the store. Raises ``LocalError`` saying how to get it when it is not there."""
    store = home.store()
    if not store.has(task.bundle):
        raise LocalError(
            f"the code of task {task.id} is not here yet; a running peer fetches it from the others: "
            "start it (folkmoot run), wait a moment and try again"
        )
    return store.get(task.bundle)
