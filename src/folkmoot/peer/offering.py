"""What a member brings to a moot: datasets described (``peer.datasets``), tasks proposed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from folkmoot.errors import LocalError
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import PolicyTerms, Standing, TaskRecord, faults
from folkmoot.peer import governing
from folkmoot.peer.datasets import add_dataset, count_records
from folkmoot.peer.home import Home
from folkmoot.task.policy import Policy

if TYPE_CHECKING:
    from folkmoot.peer.asks import Loaded, Prepared
    from folkmoot.peer.rehearsal import Rehearsal
    from folkmoot.peer.workbench import Workbench
    from folkmoot.task.data_schema import DataSchema

__all__ = [
    "Draft",
    "add_dataset",
    "bundle_of",
    "check_deliverable",
    "count_records",
    "draft",
    "draft_here",
    "draft_of",
    "propose",
    "terms_of",
    "with_schema",
]


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
    schema: DataSchema | None = None
    """What it expects of members' data, where it says."""


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
    id = moot.propose(code, genesis, terms_of(task.policy))
    governing.move(moot, Kind.STEER, id, Standing.ADOPTED)
    return moot.task(id), task


def draft(bench: Workbench) -> Draft:
    """The draft of the task of ``bench``, whose worker loads it and makes its first state."""
    from folkmoot.peer.asks import Prepare, Prepared

    loaded = bench.load()
    return draft_of(bench, loaded, bench.ask(Prepare(None), Prepared))


def draft_of(bench: Workbench, loaded: Loaded, first: Prepared) -> Draft:
    """The draft of the task of ``bench``, from what its worker says of the code and of the first state."""
    state = bench.store.get(first.state)
    return Draft(bench.bundle, loaded.name, loaded.policy, state, loaded.unscored, first.buffers, loaded.schema)


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


def with_schema(report: Rehearsal) -> Draft:
    """The draft of a rehearsal, with what the data that it was rehearsed on looks like pinned in its bundle.

    A bundle that says so already stays as it is; so does one that was rehearsed without data.
    """
    from folkmoot.task import read_bundle
    from folkmoot.task.data_schema import SCHEMA_FILE, pinned

    draft = report.draft
    assert draft is not None
    surveyed = next(iter(report.surveys.values()), None)
    if surveyed is None or SCHEMA_FILE in read_bundle(draft.bundle):
        return draft
    return draft._replace(bundle=pinned(draft.bundle, surveyed.schema), schema=surveyed.schema)


def terms_of(policy: Policy) -> PolicyTerms:
    """What of a policy binds the contract."""
    return PolicyTerms(
        rounds=policy.rounds_on_ledger,
        min_members=policy.min_members,
        start=policy.start,
        train_seconds=policy.train_seconds,
        exchange_seconds=policy.exchange_seconds,
        final_seconds=policy.final_seconds,
        secret=policy.secret,
    )


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
    if policy.start > members:
        raise LocalError(
            f"the first round waits for the grants of {policy.start} members (start_members), and the moot has"
            f" {members} members or seats, so it would never open: admit {policy.start - members} more members first,"
            " or lower start_members"
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
