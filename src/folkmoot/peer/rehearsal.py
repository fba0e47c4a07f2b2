"""A rehearsal: two rounds of a task on a member's own data, before anybody votes on it or consents to it.

It is no imitation. A worker in the sandbox is asked what a running peer asks of it in a round, in the same messages and
by the same plan, so that what would stop the moot stops here, at the member that it would have stopped. Nothing leaves
this machine, and nothing counts towards a privacy budget. Where there are fewer datasets than a round needs
contributions, each stands for several members.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from folkmoot.digest import Hash
from folkmoot.errors import FolkmootError, LocalError, TaskError
from folkmoot.peer.asks import (
    Export,
    Exported,
    Prepare,
    Prepared,
    Survey,
    Surveyed,
)
from folkmoot.peer.offering import Draft, draft_of
from folkmoot.peer.rehearsedround import RehearsedRound
from folkmoot.peer.workbench import Workbench
from folkmoot.task.bundle import TASK_FILE, read_bundle
from folkmoot.task.data_schema import pinned

__all__ = ["Refusal", "Rehearsal", "Step", "rehearse", "sample_of"]

ROUNDS = 2
"""Rounds of training: much of what fails does so in the second, from a state that was rounded, stored and read."""
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
            rounds.append(RehearsedRound(number, start, self._bench, report.members, policy))
            start = self._round(rounds[-1])
            if self._blank and number > policy.grouped:
                break  # from zeros on there is nothing more to be learnt
        self._step("export", lambda: self._export(start.state))
        self._step("the same again", lambda: self._again(genesis.state, rounds[policy.grouped]))

    def _round(self, round: RehearsedRound) -> Prepared:
        """One round; what the next one starts from."""
        number, report = round.number, self.report
        if self._blank:
            round.contribute_zeros()
        else:
            load = [("load", self._survey)] if number == 1 else []
            self._each([*load, (f"round {number}: contribute", round.contribute)])
        report.sizes.append(round.size)
        report.notes += round.notes
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

    def _again(self, genesis: Hash, first: RehearsedRound) -> None:
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
