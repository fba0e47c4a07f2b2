"""A rehearsal: two rounds of a task on a member's own data, before anybody votes on it or consents to it.

It is no imitation. A worker in the sandbox is asked what a running peer asks of it in a round, in the same messages and
by the same plan, so that what would stop the moot stops here, at the member that it would have stopped. Nothing leaves
this machine, and nothing counts towards a privacy budget. Where there are fewer datasets than a round needs
contributions, each stands for several members.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from folkmoot.digest import Hash
from folkmoot.errors import FolkmootError, LocalError, TaskError
from folkmoot.peer.asks import (
    Advance,
    Advanced,
    Contribute,
    Export,
    Exported,
    Made,
    Prepare,
    Prepared,
    Summed,
    SumUp,
    Survey,
    Surveyed,
)
from folkmoot.peer.offering import Draft, draft_of
from folkmoot.peer.workbench import COMPUTE_SECONDS, Workbench
from folkmoot.round.events import Row
from folkmoot.round.groups import NO_BEACON
from folkmoot.round.layout import Layout
from folkmoot.round.plan import Plan, make_plan
from folkmoot.task.bundle import TASK_FILE, read_bundle
from folkmoot.task.data_schema import pinned
from folkmoot.task.policy import Policy

__all__ = ["Refusal", "Rehearsal", "Step", "rehearse", "sample_of"]

ROUNDS = 2
"""Rounds of training: much of what fails does so in the second, from a state that was rounded, stored and read."""
_PATIENCE = 4.0
"""How many times ``train_seconds`` a training may take before it is ended: each attempt at a real round has twice the
time of the one before. At least a minute, whatever the policy says."""
_SAMPLE = "sample"
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """A step that went well."""

    name: str
    data: str | None
    """The name of the dataset that it was about."""
    seconds: float


@dataclass(frozen=True)
class Refusal:
    """A step that failed, and so would every round."""

    step: str
    data: str | None
    error: str
    trace: str = ""
    """The traceback from the first line of the task's code on."""


@dataclass
class Rehearsal:
    """What a rehearsal found."""

    datasets: tuple[str, ...] = ()
    """As they were named."""
    draft: Draft | None = None
    """The task, ready to be proposed; ``None`` where its code does not load, or makes no first state."""
    surveys: dict[str, Surveyed] = field(default_factory=dict)
    """What was found out of each dataset that could be loaded."""
    members: int = 0
    """Contributions in each of the rounds."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of one member's contribution on the wire, in each round."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the model after the first round of training."""
    steps: list[Step] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def seconds(self, step: str, data: str) -> float | None:
        """The longest that a step took on a dataset; ``None`` where it did not get so far."""
        return max((done.seconds for done in self.steps if (done.name, done.data) == (step, data)), default=None)

    def check(self) -> None:
        """Raise ``TaskError`` with the first refusal, if there is one."""
        for refusal in self.refusals:
            about = "" if refusal.data is None else f" on {refusal.data}"
            error = TaskError(f"the rehearsal{about} failed at {refusal.step}: {refusal.error}")
            if refusal.trace:
                error.add_note(refusal.trace)
            raise error


class _Stopped(Exception):
    """A step was refused; it is in the report."""


def rehearse(
    bench: Workbench,
    datasets: Mapping[str, Path],
    *,
    start: Hash | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Rehearsal:
    """Rehearse the task of ``bench`` with a member for each of ``datasets``, which are told by their names here; with
    none, its public part on zeros.

    All data has to look like that of the first. ``start`` is the first state of a task that continues another one; by
    default ``init`` makes it. A dataset that fails is left out of what follows. ``progress`` is told the name of each
    step. Raises ``LocalError`` where there is no sandbox for the task.
    """
    course = _Course(bench, datasets, start, progress)
    with contextlib.suppress(_Stopped):
        course.run()
    return course.report


def sample_of(bundle: bytes, folder: Path) -> Path | None:
    """The sample that a task ships, written below ``folder``: a file of its bundle named ``sample`` with any ending, or
    a folder ``sample``; ``None`` where it ships none."""
    files = read_bundle(bundle)
    parts = {name: content for name, content in files.items() if name.split("/")[0].split(".")[0] == _SAMPLE}
    tops = sorted({name.split("/")[0] for name in parts} - {f"{_SAMPLE}.py"})
    if len(tops) > 1:
        raise TaskError(f"the task ships more than one sample: {', '.join(tops)}; leave one beside {TASK_FILE}")
    for name, content in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / tops[0] if tops else None


class _Course:
    """A rehearsal under way."""

    def __init__(
        self, bench: Workbench, datasets: Mapping[str, Path], start: Hash | None, progress: Callable[[str], None]
    ) -> None:
        self._bench = bench
        self._begin = Prepare(start)
        self._progress = progress
        self._data = {told: str(path.absolute()) for told, path in datasets.items()}
        """The datasets that are still in, by name."""
        self._shown = next(iter(self._data.values()), "")
        self._pinned = False
        self.report = Rehearsal(tuple(self._data))
        self._blank = not datasets

    def run(self) -> None:
        """All steps, up to one without which there is no going on."""
        report = self.report
        if self._data:
            self._bench.show(next(iter(self._data.values())))  # a start less: it sees the first dataset from the first
        loaded = self._step("loading the code", self._bench.load)
        policy = loaded.policy
        genesis = self._step("init", lambda: self._bench.ask(self._begin, Prepared))
        report.draft = draft_of(self._bench, loaded, genesis)
        report.members = min(256, max(policy.min_members, len(self._data)))
        rounds, start = [], genesis
        for number in range(1, ROUNDS + 1 + policy.grouped):
            rounds.append(_Round(number, start, self._bench, report, policy))
            start = self._round(rounds[-1])
            report.draft = report.draft._replace(buffers=tuple(buffer.name for buffer in start.layout.buffers))
            if self._blank and number > policy.grouped:
                break  # from zeros on there is nothing more to be learnt
        self._step("export", lambda: self._export(start.state))
        self._step("the same again", lambda: self._again(genesis.state, rounds[policy.grouped]))

    def _round(self, round: _Round) -> Prepared:
        """One round; what the next one starts from."""
        number, report = round.number, self.report
        if self._blank:
            round.contribute_zeros()
        else:
            load = [("load", self._survey)] if number == 1 else []
            self._each([*load, (f"round {number}: contribute", round.contribute)])
        report.sizes.append(round.size)
        self._step(f"round {number}: sum", round.sum)
        try:
            advanced = self._step(f"round {number}: update", round.advance)
        except _Stopped:
            if self._blank and report.refusals[-1].error.startswith("The task failed in update"):
                # zeros may be nothing that data gives: its own code may rightly refuse them
                report.notes.append(f"with zeros for contributions its update failed: {report.refusals.pop().error}")
            raise
        if not self._blank:
            report.metrics = advanced.metrics
            self._judge(advanced.metrics)
        return self._step(f"round {number}: store", lambda: self._bench.ask(Prepare(advanced.model), Prepared))

    def _judge(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            note = f"metric {name!r} is undefined on this data"
            if math.isnan(value) and note not in self.report.notes:
                self.report.notes.append(note)

    def _export(self, model: Hash) -> None:
        self._bench.ask(Export(model), Exported)

    def _again(self, genesis: Hash, first: _Round) -> None:
        """In a process of its own, as at every other member: the same first state, and the same second."""
        self._bench.load()
        if self._bench.ask(self._begin, Prepared).state != genesis:
            raise TaskError(_UNLIKE.format("init", "a first state"))
        first.sum()
        if first.advance().model != first.model:
            raise TaskError(_UNLIKE.format("update", "a next state"))

    def _survey(self, path: str) -> None:
        surveyed = self._bench.ask(Survey(path), Surveyed)
        self.report.surveys |= {told: surveyed for told, at in self._data.items() if at == path}

    def _hold_alike(self) -> None:
        """Have others' data look like the first that could be loaded, as where that is pinned with a proposal."""
        if not self._pinned and len(self.report.datasets) > 1 and self.report.surveys:
            first = next(iter(self.report.surveys.values()))
            self._bench.become(pinned(self._bench.bundle, first.schema))
            self._pinned = True

    def _each(self, steps: Sequence[tuple[str, Callable[[str], None]]]) -> None:
        """These steps on each dataset; one that fails is out."""
        datasets = list(self._data.items())
        # the dataset that was looked at last is shown still
        for told, path in datasets if datasets[0][1] == self._shown else reversed(datasets):
            try:
                self._hold_alike()
                self._shown = path
                self._bench.show(path)  # not counted: a worker starts anew for each dataset, a peer's does so once
                for name, call in steps:
                    self._step(name, partial(call, path), told)
            except _Stopped:
                del self._data[told]
        if not self._data:
            raise _Stopped

    def _step(self, name: str, call: Callable[[], T], data: str | None = None) -> T:
        self._progress(name if data is None else f"{name}, {data}")
        began = time.perf_counter()
        try:
            made = call()
        except FolkmootError as error:
            if type(error) is LocalError:
                raise
            told = "\n".join(getattr(error, "__notes__", ()))
            self.report.refusals.append(Refusal(name, data, self._words(error), told))
            raise _Stopped from None
        self.report.steps.append(Step(name, data, time.perf_counter() - began))
        return made

    def _words(self, error: FolkmootError) -> str:
        """The error's message; where the worker died, with the last that it printed."""
        printed = self._bench.printed() if "worker died" in str(error) else ""
        return f"{error}; it printed last: {printed}" if printed else str(error)


_UNLIKE = (
    "the task's {} gives {} of its own in every process, and members who do not make the same bytes agree on no model:"
    " seed its randomness, and let nothing follow from the time, from hash() or from the order of a set"
)


class _Round:
    """One round of members who have these datasets in turn."""

    def __init__(self, number: int, start: Prepared, bench: Workbench, report: Rehearsal, policy: Policy) -> None:
        self.number, self._start, self._bench, self._report = number, start, bench, report
        self.model = b""
        self.size = 0
        self._layout: Layout = start.layout
        self._policy = policy
        members = tuple(range(report.members))
        dealt = members if self._policy.secret else ()
        self._beacon = secrets.token_bytes(32) if self._policy.grouped and number > 1 else NO_BEACON
        self._plan: Plan = make_plan(members, start.state, 0, self._policy, dealt=dealt, beacon=self._beacon)
        everyone = (1 << len(members)) - 1
        self._rows = self._plan.rows(everyone, everyone)
        self._mask = secrets.token_bytes(16)
        self._made: dict[int, list[tuple[Hash, ...]]] = {size: [] for size in self._groups.values()}
        """For each size of a mask group, the shards of each dataset's contribution."""
        self._sums: tuple[Hash, ...] = ()

    @property
    def _groups(self) -> dict[int, int]:
        """The size of each member's mask group."""
        return {member: len(self._plan.group_of(member)) for row in self._rows for member in row}

    def contribute(self, path: str) -> None:
        """The contribution made of a dataset."""
        most = self._policy.train_seconds
        ask = Contribute(self._start.state, path, self.number, secrets.token_bytes(32), self._plan.shards, bytes(32))
        began = time.perf_counter()
        for size in self._made:  # trained once: the worker keeps what it masks
            noise = secrets.token_bytes(32)
            ask = replace(ask, noise=noise, group=size, masks=((1, self._mask),) if size else ())
            made = self._bench.ask(ask, Made, max(COMPUTE_SECONDS / 10, _PATIENCE * most))
            self._made[size].append(made.shards)
            self.size = sum(map(self._bench.store.size, made.shards))
        took = time.perf_counter() - began
        if took > most:
            self._report.notes.append(
                f"round {self.number}: training on {path} took {took:.1f} s, and commits close after"
                f" policy.train_seconds={most}: the others would go on without it"
            )

    def contribute_zeros(self) -> None:
        """A contribution of zeros, of one example."""
        import numpy as np

        from folkmoot.round import fixed, reduce

        layout, shards = self._layout, self._plan.shards
        side = np.zeros(layout.side, dtype=np.int64)
        side[0] = 1
        made = reduce.Made(np.zeros(layout.values, dtype=np.int64), side, 0.0)
        for size in self._made:
            packed = (
                reduce.mask_shards(made, layout, shards, size, ((1, self._mask),))
                if size
                else fixed.encode_shards(made.values, made.side, layout, shards)
            )
            self._made[size].append(tuple(map(self._bench.store.put, packed)))
            self.size = sum(map(len, packed))

    def sum(self) -> None:
        """The sums of all shards, over all rows."""
        groups, blobs = self._groups, {}
        for shard in range(self._plan.shards):
            blobs[shard] = tuple(
                tuple(self._made[groups[m]][m % len(self._made[groups[m]])][shard] for m in row) for row in self._rows
            )
        rows = tuple(
            Row(row, groups[row[0]], ((1, self._mask),) * len(row) if self._plan.secret else ()) for row in self._rows
        )
        ask = SumUp(self._start.state, self._plan.shards, blobs, rows)
        summed = self._bench.ask(ask, Summed).sums
        self._sums = tuple(summed[shard] for shard in range(self._plan.shards))

    def advance(self) -> Advanced:
        """The next state, and the metrics of the one before."""
        sizes = tuple(map(len, self._rows))
        ask = Advance(self._start.state, self._sums, sizes, 0, self._beacon)
        advanced = self._bench.ask(ask, Advanced)
        self.model = self.model or advanced.model
        return advanced
