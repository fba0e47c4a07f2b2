"""How a task goes at this peer: what its status shows, and what is said to whoever watches the peer run."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping

from folkmoot.errors import TaskError
from folkmoot.ledger.records import Final, TaskRecord
from folkmoot.peer.complaints import kind_of
from folkmoot.peer.status import Failure, Step, TaskPhase, TaskStatus, Waiting
from folkmoot.round import events as ev
from folkmoot.round.view import Phase, RoundView, members_of

__all__ = ["Progress", "in_words"]

POINTS = 1_000
"""Rounds of each metric that the status shows."""
WAIT_SECONDS = 3.0
"""A wait is said once it has lasted so long: every round waits for a moment."""
_NAMES_SHOWN = 5
_NAMED: Mapping[ev.WaitKind, str] = {
    "commits": "waits for {} to commit",
    "contributions": "waits for contributions from {}",
    "holdings": "waits for a quorum to hold the contributions: nothing heard from {}",
    "members": "{reason}; waits for {}",
    "seeds": "waits for mask seeds from {}, or for shares of them",
    "signatures": "waits for a quorum to sign the model: nothing heard from {}",
    "sums": "waits for sums from {}",
}
"""What is waited for, where it is known from whom."""


class Progress:
    """The status of one task, kept as it goes. ``say`` prints a line, ``log`` writes a record, ``name`` says what a
    member is called."""

    def __init__(
        self,
        record: TaskRecord,
        say: Callable[[str], None],
        log: Callable[..., None],
        name: Callable[[int], str],
    ) -> None:
        self.status = TaskStatus(task=record.id, rounds=record.training)
        self._record = record
        self._say = say
        self._log = log
        self._name = name
        self._phase: TaskPhase = "waiting"
        """What this peer does for the task, or would do if it could."""
        self._shown = (0, 0)
        """Round and attempt that the status is about."""
        self._said: tuple[object, ...] = ()
        """The last wait that was said."""
        self._told: int | None = None
        """The last round that was told of, or was final before this peer looked."""
        self._began = time.monotonic()
        self._took = 0.0
        """Seconds of the last rounds that became final."""

    # ---- the ledger --------------------------------------------------------------------------------------------

    def show(self, view: RoundView) -> None:
        """Show where the ledger has the task."""
        status, phase = self.status, self._phase
        status.final, status.measured = self._record.trained(view), self._record.measured(view)
        if view.phase is Phase.DONE or view.paused:
            status.failure = None
        if view.phase is Phase.DONE:
            status.waiting, phase = None, "done"
        elif view.phase is Phase.GATHERING:
            self.wait("grants", f"waits for the grants of {self._record.start_members} members")
            phase = "waiting"
        elif view.paused:
            self.wait("decision", "paused by a decision of the moot")
            phase = "paused"
        elif (view.round, view.attempt) != self._shown:
            status.waiting, phase = None, "measuring" if self._record.measures(view) else "waiting"
        if status.round == 0:
            self._began = time.monotonic()
        self._shown = (view.round, view.attempt)
        status.round, status.attempt = min(view.round, self._record.training), view.attempt
        self.enter(phase)

    def untold(self, finished: int) -> int | None:
        """The first round of which is to be told, now that ``finished`` rounds are final; ``None`` if of none."""
        before, self._told = self._told, finished
        if before != finished:
            self._took, self._began = time.monotonic() - self._began, time.monotonic()
        return None if before is None or finished <= before else before + 1

    def tell(self, finals: Iterable[Final]) -> None:
        """Say how rounds went: who took part, what the moot's metrics were, how long it took."""
        for final in finals:
            counted = [self._name(member) for member in members_of(final.survivors)]
            known = {name: points[-1] for name, points in self.status.metrics.items() if points}
            metrics = "".join(f", {name} {value:.4g} after round {at}" for name, (at, value) in known.items())
            trains = final.round <= self.status.rounds
            what = f"round {final.round} of {self.status.rounds} is final" if trains else "the final model is measured"
            self._line(f"{what}: {in_words(counted)}{metrics}, {self._took:.1f} s")
        if self.status.phase == "done":
            self._line(f"is done after {self.status.round} rounds")

    # ---- what this peer does -----------------------------------------------------------------------------------

    def enter(self, phase: TaskPhase | None) -> None:
        """Show what this peer does for the task; that it cannot do its part comes first."""
        self._phase = phase or self._phase
        self.status.phase = self._phase if self.status.failure is None else "failed"

    def take(self, wait: ev.Wait) -> None:
        """Show what the machine waits for."""
        if wait.kind == "failed":
            return  # what failed the status says already
        before = self.status.waiting
        self.wait(wait.kind, wait.reason, wait.members)
        if wait.kind == "members":
            self.enter("paused")
        if before is None or before.kind != wait.kind:
            self._log("waits", task=wait.key.task, round=wait.key.round, reason=wait.reason)

    def wait(self, kind: ev.WaitKind, reason: str, members: int = 0) -> None:
        """Show what is waited for, by name, and since when."""
        names = [self._name(member) for member in members_of(members)]
        text = _NAMED.get(kind, "{reason}").format(in_words(names), reason=reason) if names else reason
        before = self.status.waiting
        since = time.time() if before is None or before.kind != kind else before.since
        self.status.waiting = Waiting(kind=kind, text=text, since=since, members=names)

    def say_wait(self) -> None:
        """Say what is waited for, once, if that has lasted a while."""
        status, waiting = self.status, self.status.waiting
        if waiting is None or time.time() < waiting.since + WAIT_SECONDS:
            return
        wait = (status.round, status.attempt, waiting.kind)
        if wait != self._said:
            self._said = wait
            self._line(waiting.text)

    def measure(self, round: int, metrics: Mapping[str, float]) -> None:
        """Show the moot's metrics of the state after ``round``."""
        for name, value in metrics.items():
            series = self.status.metrics.setdefault(name, [])
            while series and series[-1][0] >= round:
                series.pop()
            series.append((round, value))
            del series[:-POINTS]

    # ---- failures ----------------------------------------------------------------------------------------------

    def fail(self, step: Step, error: Exception) -> str:
        """Show that a step of this peer's part failed, until the same step goes well; what is said of it."""
        before, kind, now, text = self.status.failure, kind_of(error), time.time(), str(error)
        trace = {}
        if kind == "internal":
            text = f"internal error, {type(error).__name__}: {error}; see the log, and please report it"
            trace = {"traceback": "".join(traceback.format_exception(error))}
        same_step = before is not None and before.step == step
        if before is None or not same_step or before.text != text:
            self._line(f"failed in {step}: {text}")
            self._log("failed", task=self.status.task, round=self.status.round, step=step, reason=text, **trace)
        since = before.since if before is not None and same_step else now
        where = error.where if isinstance(error, TaskError) else ""
        self.status.failure = Failure(
            kind=kind, step=step, text=text, since=since, last=now, round=self.status.round, where=where
        )
        self.enter(None)
        return text

    def succeed(self, step: Step) -> None:
        """A step went well: its failure is over. Who has trained for a round has opened it, too."""
        before = self.status.failure
        if before is not None and before.step in (step, "open" if step == "train" else step):
            self._line(f"{before.step} works again")
            self.drop()

    def drop(self, *steps: Step) -> None:
        """What failed is not asked of this peer any more; any step if none is named."""
        if self.status.failure is not None and (not steps or self.status.failure.step in steps):
            self.status.failure = None
            self.enter(None)

    def _line(self, what: str) -> None:
        status = self.status
        self._say(f"task {status.task}{f' {status.name}' if status.name else ''}: {what}")


def in_words(names: list[str]) -> str:
    """The names in words, the first few where there are many."""
    shown, left = names[:_NAMES_SHOWN], len(names) - _NAMES_SHOWN
    if left > 0:
        return f"{', '.join(shown)} and {left} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
