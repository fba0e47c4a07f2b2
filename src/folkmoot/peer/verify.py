"""Replay a moot's whole history from ledger and blobs, as someone who took no part, trusting nobody.

Everything is recomputed: the chain from its first transaction, who was a member and whose grant was live at each
commit, each signature of each quorum, each commit from its salt, each sum from the contributions, each state from its
parent. The first thing that does not hold is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folkmoot.digest import Hash
from folkmoot.errors import IntegrityError, TaskError
from folkmoot.ledger import statements
from folkmoot.ledger.binding import check_binding
from folkmoot.ledger.records import Final, Member, TaskRecord, members_of, quorum
from folkmoot.peer import unlearn
from folkmoot.peer.asks import Advance, Advanced, Prepare, Prepared
from folkmoot.peer.facts import Accounts, LedgerFacts, check_expulsion
from folkmoot.peer.settlements import check_settlements
from folkmoot.peer.sources import Sources, opened
from folkmoot.peer.workbench import Workbench
from folkmoot.round import fixed
from folkmoot.round.commitment import (
    commit_hash,
    contribution_root,
    decode_hashes,
    decode_inputs,
    decode_masked_inputs,
    seat_of,
)
from folkmoot.round.envelope import Envelope
from folkmoot.round.events import Key, Reveal
from folkmoot.round.groups import NO_BEACON, released, sign
from folkmoot.round.layout import Layout, check_side
from folkmoot.round.masking import Place, context_of
from folkmoot.round.plan import Plan, make_plan
from folkmoot.round.reduce import sum_row
from folkmoot.task import Policy, read_state

__all__ = ["VerifyReport", "replay", "verify"]

_Masks = tuple[tuple[int, bytes], ...]
"""Sign and seed of each mask on a sum."""


@dataclass
class VerifyReport:
    """What held: ``rounds`` that train replayed over ``tasks`` tasks, besides how their last models were measured;
    ``notes`` on what could be checked in part only."""

    moot: str = ""
    members: int = 0
    tasks: int = 0
    rounds: int = 0
    blocks: int | None = None
    models: dict[int, Hash] = field(default_factory=dict)
    """The last model of each task."""
    expelled: int = 0
    """Members barred from a task, the evidence against them checked."""
    notes: list[str] = field(default_factory=list)
    entries: int = 0
    """Entries of the moot's chronicle, each possible after those before it."""
    consents: int = 0
    """Contributions counted, each committed to under a live grant."""
    settlements: int = 0
    """Payments out of bounties, each made anew from the scores that were shown."""
    without: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """For each task that continues another one, the members that none of its rounds counts."""
    metrics: dict[int, list[tuple[int, str, float]]] = field(default_factory=dict)
    """For each task what its rounds measured: round of the state that was measured, name, value."""


def verify(
    ledger: Path | str,
    contract: str | None,
    blobs: Sequence[Path],
    *,
    progress: Callable[[int, int], None] | None = None,
    sandbox: bool = True,
) -> VerifyReport:
    """Replay everything; ``ledger`` is an embedded chain's file or a node's URL, ``blobs`` peers' store folders.

    Neither is changed. ``contract`` may be left out where the file holds one moot. ``progress`` is told task and round.
    The code of tasks runs in a ``sandbox``, a worker for each task; where none can be made that is a ``LocalError``.
    Raises ``IntegrityError`` naming the first thing that does not hold, ``LocalError`` where something is missing.
    """
    with opened(ledger, contract, blobs, sandbox=sandbox) as sources:
        return replay(sources, progress=progress)


def replay(sources: Sources, *, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """As ``verify``, of what is open already."""
    for store in sources.stores:
        for problem in store.verify_all():
            raise IntegrityError(f"blob file {problem.path}: {problem.reason}")
    moot, register = sources.moot, sources.register
    members = {m.index: m for m in moot.members()}
    report = VerifyReport(moot.name(), len(members), blocks=sources.blocks, entries=len(sources.history))
    for member in members.values():
        if not check_binding(member):
            report.notes.append(f"member {member.name} has not bound its network key to its account")
    report.notes += sources.unsigned_grants()
    for record in moot.tasks():
        course = register.tasks.get(record.id)
        if course is None and sources.upto is not None:
            continue  # it came later
        if course is None or (course.proposed["bundle"], course.proposed["genesis"]) != (record.bundle, record.genesis):
            raise IntegrityError(f"task {record.id}: its code or first state is not what its proposal says")
        finals = [final for final in moot.finals(record.id) if (record.id, final.round) in register.counted]
        task = _TaskReplay(sources, record, members, report)
        if finals:
            task.run(finals, progress)
            report.tasks += 1
        task.check_expulsions()
    report.settlements = check_settlements(sources)
    if not sources.sandboxed:
        report.notes.append("the code of the tasks ran without a sandbox")
    return report


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say which round it is about, when something in it does not hold."""
    try:
        yield
    except IntegrityError as error:
        raise error if str(error).startswith(where) else IntegrityError(f"{where}: {error}") from None
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from None


@dataclass(frozen=True)
class _Round:
    """One final round, and what its commits opened to."""

    bench: Workbench
    policy: Policy
    final: Final
    reveals: dict[int, Reveal]
    seeds: dict[int, dict[int, bytes]]
    """The mask seeds that were released of each survivor, by target."""
    beacon: Hash
    where: str

    @cached_property
    def plan(self) -> Plan:
        """The plan of its attempt."""
        final, members = self.final, members_of(self.final.members)
        dealt = members_of(final.dealt)
        return make_plan(members, final.parent, final.attempt, self.policy, dealt=dealt, beacon=self.beacon)


class _TaskReplay:
    """The replay of one task's rounds."""

    def __init__(self, sources: Sources, record: TaskRecord, members: dict[int, Member], report: VerifyReport) -> None:
        self._sources = sources
        self._get, self._find = sources.get, sources.find
        self._moot = moot = sources.moot
        self._domain = moot.domain
        self._plans: dict[Key, tuple[Place, Plan]] = {}
        self._record = record
        self._members = members
        self._accounts = Accounts(sources.history)
        self._commits = {(Key(c.task, c.round, c.attempt), c.member): c.hash for c in moot.commits_log(record.id)}
        self._report = report
        self._without = 0

    def run(self, finals: Sequence[Final], progress: Callable[[int, int], None] | None) -> None:
        what = f"the code of task {self._record.id}"
        with self._sources.workbench(self._record.bundle, what) as bench:
            policy = self._sources.loaded(self._record.bundle, what).policy
            self._start(bench)
            self._report.models[self._record.id] = self._rounds(bench, policy, finals, progress)

    def _rounds(
        self,
        bench: Workbench,
        policy: Policy,
        finals: Sequence[Final],
        progress: Callable[[int, int], None] | None,
    ) -> Hash:
        """Replay the rounds one after another; the last model."""
        name, beacon = self._record.genesis, NO_BEACON
        for number, final in enumerate(finals, start=1):
            where = f"task {self._record.id}, round {number}"
            if final.round != number or final.parent != name:
                raise IntegrityError(f"{where}: it does not follow from the round before")
            self._check_signatures(final, where)
            self._check_counted(final, where)
            reveals, seeds = self._open_commits(policy, final, where)
            round = _Round(bench, policy, final, reveals, seeds, beacon, where)
            key = Key(final.task, final.round, final.attempt)
            self._plans[key] = Place(self._domain.chain_id, self._domain.contract, key, final.parent), round.plan
            name = self._replay(round)
            beacon = final.inputs
            self._report.rounds += not policy.measures(final.round)
            if progress:
                progress(self._record.id, number)
        return name

    def _start(self, bench: Workbench) -> None:
        """Check the state that the task starts from: what its code makes, or a model of the task that it continues."""
        number = self._record.id
        try:
            pin = unlearn.check_start(self._moot, self._record, bench.bundle)
        except TaskError as error:
            raise IntegrityError(f"task {number}: {error}") from None
        if pin is not None:
            self._without = pin.excluded
            self._report.without[number] = tuple(self._members[m].name for m in pin.without if m in self._members)
            read_state(self._get(pin.state, f"the model that task {number} starts from"))
        elif bench.ask(Prepare(None), Prepared).state != self._record.genesis:
            raise IntegrityError(f"task {number}: its code makes another first state than the ledger says")

    def _check_counted(self, final: Final, where: str) -> None:
        for member in members_of(final.survivors & self._without):
            raise IntegrityError(f"{where}: {self._members[member].name} is among its survivors; it was to be left out")
        counted = self._sources.register.counted[final.task, final.round]
        if tuple(counted) != members_of(final.survivors):
            raise IntegrityError(f"{where}: its survivors are not those of its entry on the ledger")
        self._report.consents += len(counted)

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
        if len(signers) != len(final.signatures):
            raise IntegrityError(f"{where}: its signatures are not as many as its signers")
        for member, signature in zip(signers, final.signatures, strict=True):
            if statements.recover(digest, signature) not in self._accounts.at(member, final.block):
                raise IntegrityError(f"{where}: the signature of {self._members[member].name} does not hold")

    def _open_commits(
        self, policy: Policy, final: Final, where: str
    ) -> tuple[dict[int, Reveal], dict[int, dict[int, bytes]]]:
        record = self._get(final.inputs, f"{where}: the record of its inputs")
        with _named(where):
            reveals, seeds = decode_masked_inputs(record) if policy.secret else (decode_inputs(record), {})
        survivors = members_of(final.survivors)
        if tuple(reveals) != survivors:
            raise IntegrityError(f"{where}: the record of its inputs names other members than the survivors")
        key = Key(final.task, final.round, final.attempt)
        for member in survivors:
            reveal = reveals[member]
            root = contribution_root(reveal.shards)
            if commit_hash(reveal.salt, seat_of(member), *key, root) != self._commits.get((key, member)):
                raise IntegrityError(
                    f"{where}: the contribution of {self._members[member].name} is not what it committed"
                )
        return reveals, seeds

    def _replay(self, round: _Round) -> Hash:
        """The model that a round leads to. Contributions are summed here; what the task's code makes of the sums, its
        worker says."""
        bench, final, where, plan = round.bench, round.final, round.where, round.plan
        with _named(where):
            layout = bench.ask(Prepare(final.parent), Prepared).layout
        record = self._get(final.aggregate, f"{where}: the record of its aggregate")
        with _named(where):
            recorded = decode_hashes(record)
        if len(recorded) != plan.shards:
            raise IntegrityError(f"{where}: its aggregate has {len(recorded)} shards, and {plan.shards} are due")
        for member, reveal in round.reveals.items():
            if len(reveal.shards) != plan.pieces:
                owner, cut = self._members[member].name, len(reveal.shards)
                raise IntegrityError(f"{where}: the contribution of {owner} has {cut} pieces, {plan.pieces} are due")
        rows = plan.rows(final.survivors, final.first_survivors)
        if len(rows) < plan.needed(len(rows)):
            raise IntegrityError(f"{where}: {len(rows)} sums were opened, and its rule needs {plan.needed(len(rows))}")
        if len(plan.groups) == 1 and final.survivors.bit_count() < round.policy.min_members:
            raise IntegrityError(f"{where}: its sum is over fewer members than its policy allows")
        masks = self._masks(round, rows) if plan.secret else [()] * len(rows)
        sizes = [len(row) for row in rows]
        for shard, name in enumerate(recorded):
            with _named(where):
                total = self._sum(shard, layout, round, masks, name)
            if bench.store.put(fixed.encode_sum(total, shard, layout, plan.shards, sizes)) != name:
                raise IntegrityError(f"{where}: the contributions do not add up to its aggregate (shard {shard})")
        ask = Advance(final.parent, tuple(recorded), tuple(sizes), plan.lost(len(rows)), round.beacon)
        with _named(where):
            advanced = bench.ask(ask, Advanced)
        if advanced.model != final.model:
            raise IntegrityError(f"{where}: its aggregate does not lead to its model")
        for name in (final.parent, *recorded):
            bench.forget(name)
        measured = self._report.metrics.setdefault(final.task, [])
        measured += [(final.round - 1, name, value) for name, value in sorted(advanced.metrics.items())]
        if self._find(final.model) is not None:
            read_state(self._get(final.model, f"{where}: its model"))
        return final.model

    def _masks(self, round: _Round, rows: Sequence[Sequence[int]]) -> list[_Masks]:
        """For each row the masks that its released seeds make, each seed checked against its maker's envelope."""
        where = round.where
        place, plan = self._plans[Key(round.final.task, round.final.round, round.final.attempt)]
        found = []
        for row in rows:
            masks = []
            for dealer in row:
                owner, near, told = self._members[dealer].name, plan.neighbours[dealer], round.seeds.get(dealer, {})
                sealed = self._get(round.reveals[dealer].shards[plan.shards], f"{where}: the envelope of {owner}")
                envelope = Envelope.parse(sealed, context_of(place, plan, dealer), dealer, near)
                due = released(dealer, near, row)
                if set(told) != set(due) or not all(envelope.check_seed(target, told[target]) for target in due):
                    raise IntegrityError(f"{where}: the mask seeds of {owner} are not what it committed to")
                masks += [(sign(dealer, target), told[target]) for target in sorted(due)]
            found.append(tuple(masks))
        if set(round.seeds) - {m for row in rows for m in row}:
            raise IntegrityError(f"{where}: its record opens masks of members that were not summed")
        return found

    def _sum(self, shard: int, layout: Layout, round: _Round, masks: Sequence[_Masks], name: Hash) -> NDArray[np.int64]:
        plan, where = round.plan, round.where
        rows = plan.rows(round.final.survivors, round.final.first_survivors)
        blobs = [[round.reveals[m].shards[shard] for m in row] for row in rows]
        if plan.shards > 1 and not all(self._find(blob) for row in blobs for blob in row) and self._find(name):
            note = f"{where}: shard {shard} was taken from its sum; its contributions are on other members' disks"
            self._report.notes.append(note)
            return fixed.decode_sum(self._get(name, where), shard, layout, plan.shards, [len(row) for row in rows])
        total = []
        for row, seeds in zip(rows, masks, strict=True):
            owners = (self._members[m].name for m in row)
            contents = [
                self._get(round.reveals[m].shards[shard], f"{where}: the contribution of {owner}")
                for m, owner in zip(row, owners, strict=True)
            ]
            if shard == 0 and not plan.secret:
                for blob in contents:
                    check_side(blob, layout, plan.shards)
            group = len(plan.group_of(row[0])) if plan.secret else 0
            total.append(sum_row(contents, shard, layout, plan.shards, group, seeds))
        return np.stack(total)

    def check_expulsions(self) -> None:
        """Hold the evidence against each member that was barred from the task against the ledger."""
        facts = LedgerFacts(self._domain, self._members, self._accounts, self._commits, self._plans)
        for expulsion in self._moot.expulsions(self._record.id):
            where = f"task {expulsion.task}, the expulsion of {self._members[expulsion.member].name}"
            with _named(where):
                if not check_expulsion(expulsion, facts, self._get(expulsion.evidence, f"{where}: the evidence")):
                    note = f"{where}: its attempt came to nothing, so the evidence cannot be checked"
                    self._report.notes.append(note)
            self._report.expelled += 1
