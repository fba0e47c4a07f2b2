"""Verbs for who writes a task, before anything is founded: try it in one process, rehearse it with real peers here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from folkmoot.cli.demo import kept_folder, leaving_on_signals
from folkmoot.cli.show import JsonOption, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.cli.demo_peers import Peers
    from folkmoot.ledger.records import Final
    from folkmoot.peer.local import LocalMoot
    from folkmoot.task import State, Task

__all__ = ["rehearse", "try_"]

_LOOK_SECONDS = 0.1
_STALL_SECONDS = 120.0
"""Beyond a policy's own deadlines: without any progress for so long, the peers are given up."""

TaskFile = Annotated[Path, typer.Argument(help="The task file, or a folder with a task.py.", exists=True)]
DataFiles = Annotated[list[Path], typer.Argument(help="A member's data; one for each member.", exists=True)]


def try_(
    task: TaskFile,
    data: DataFiles,
    seed: Annotated[int, typer.Option(help="Decides all randomness of the training.")] = 0,
    json: JsonOption = False,
) -> None:
    """Train a task in this process: each member alone, all together, and all data in one place; show how good each is.

    Needs no moot, no network and no sandbox: it is your own code, run as you. Means are exact here, and members add no
    noise; folkmoot check shows whether peers could run it.
    """
    from folkmoot.task import load_task, make_bundle

    code = load_task(make_bundle(task))
    with _authored(code):
        found = _tried(code, {name: code.load(str(path.absolute())) for name, path in _named(data).items()}, seed)
    if json:
        show_json({"name": code.name, "rounds": code.policy.rounds, **found})
        return
    ways = [way for way in ("alone", "together", "pooled") if found["all"].get(way) or way == "alone"]
    columns = [(metric, way) for metric in sorted(code.metrics()) for way in ways]
    rows = [*found["data"], {"path": "all", **found["all"]}]
    print(f"{code.name}: held-out quality after {code.policy.rounds} rounds")
    show_table(
        ("data", *(f"{metric} {way}" for metric, way in columns)),
        ((row["path"], *((row[way] or {}).get(metric) for metric, way in columns)) for row in rows),
    )
    for note in found["notes"]:
        print(note)


def _tried(task: Task, datasets: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The quality of each way to train on each held-out part, and on all of them."""
    from folkmoot.errors import TaskError
    from folkmoot.learn import alone, held_out, pooled, together

    everyone = list(datasets.values())
    common: dict[str, State | None] = {"together": together(task, everyone, seed), "pooled": None}
    notes = []
    try:
        common["pooled"] = pooled(task, everyone, seed)
    except TaskError as error:
        notes.append(f"not pooled: {error}")

    def quality(states: Mapping[str, State | None], *held: Any) -> dict[str, Any]:
        return {way: state and held_out(task, state, *held) for way, state in states.items()}

    rows = [
        {"path": name, **quality({"alone": alone(task, own, seed), **common}, own)} for name, own in datasets.items()
    ]
    if not task.metrics():
        notes.append("the task has no metrics, by which its models could be compared: metrics={...}")
    return {"data": rows, "all": {"alone": None, **quality(common, *everyone)}, "notes": notes}


@contextmanager
def _authored(task: Task) -> Iterator[None]:
    """Have what the task's code raises told with the method that raised it, and its place."""
    from folkmoot.errors import FolkmootError
    from folkmoot.task import Watched, task_error

    watched = Watched(task)
    try:
        yield
    except FolkmootError:
        raise
    except Exception as error:
        raise task_error(f"failed in {watched.doing or 'its metrics'}", error) from error


def _named(data: Sequence[Path]) -> dict[str, Path]:
    """A name for each dataset: its file's, with a number where two have the same."""
    named: dict[str, Path] = {}
    for path in data:
        name, number = path.stem or path.name, 2
        while name in named:
            name, number = f"{path.stem}-{number}", number + 1
        named[name] = path
    return named


def rehearse(
    task: TaskFile,
    data: DataFiles,
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything in this new folder.", metavar="DIR", file_okay=False)
    ] = None,
) -> None:
    """Train a task with real peers on this machine, one for each dataset: all rounds, to the verified end.

    Founds a moot of its own, starts the peers as processes, proposes the task, grants it, and replays the history when
    all rounds are final. Nothing is sent anywhere else.
    """
    from folkmoot.cli.demo_peers import Peers
    from folkmoot.peer.local import LocalMoot

    named = _named([path.absolute() for path in data])
    with leaving_on_signals(), kept_folder(keep) as folder:
        records = _counted(task, named)
        moot = LocalMoot.found(folder, list(named), name="rehearsal")
        with Peers(moot.homes) as peers:
            for name in moot.homes:
                peers.start(name)
            id = moot.offer(task, named, records)
            moot.grant(id, list(named))
            for line in _Watch(moot, peers, id).lines():
                print(line, flush=True)
            _prove(moot, id)
        if keep:
            print(f"everything is in {folder}; look around: folkmoot log {id} --home {folder / next(iter(named))}")


def _counted(path: Path, named: Mapping[str, Path]) -> dict[str, int]:
    """How many records each dataset has. Raises ``LocalError`` where they are too few for the task to start with."""
    from folkmoot.errors import LocalError
    from folkmoot.task import load_task, make_bundle
    from folkmoot.task.examples import count_examples

    code = load_task(make_bundle(path))
    start = code.policy.start
    if start > len(named):
        raise LocalError(
            f"the task starts with {start} grants (policy.start_members, or min_members), and there are {len(named)}"
            f" datasets; name {start} of them, or the same one several times"
        )
    with _authored(code):
        return {name: count_examples(code.load(str(data))) or 1 for name, data in named.items()}


def _prove(moot: LocalMoot, task: int) -> None:
    """Replay the whole history, and show what its rounds measured."""
    from folkmoot.peer.sandbox import trouble
    from folkmoot.peer.verify import verify

    homes = list(moot.homes.values())
    stores = [home.blobs for home in homes]
    report = verify(Path(homes[0].config.ledger), homes[0].config.contract, stores, sandbox=trouble() is None)
    measured: dict[int, dict[str, float]] = {}
    for round, metric, value in report.metrics.get(task, ()):
        measured.setdefault(round, {})[metric] = value
    names = sorted({metric for values in measured.values() for metric in values})
    if names:
        rows = ((round, *(values.get(name) for name in names)) for round, values in sorted(measured.items()))
        print("held-out quality of the moot's model:")
        show_table(("after round", *names), rows)
    print(f"model {report.models[task].hex()}")
    print(f"verified: {report.rounds} rounds replayed, every hash holds")


class _Watch:
    """The rounds of a task, as the ledger and the peers tell of them."""

    def __init__(self, moot: LocalMoot, peers: Peers, task: int) -> None:
        self._homes = moot.homes
        self._peers = peers
        self._task = task
        self._ledger = next(iter(moot.homes.values())).moot()
        self._record = terms = self._ledger.task(task)
        self._patience = _STALL_SECONDS + terms.train_seconds + terms.exchange_seconds + terms.final_seconds

    def lines(self) -> Iterator[str]:
        """A line for each final round, until all are. Raises ``LocalError`` with what the peers say where one of them
        ends, cannot do its part, or nothing moves any more."""
        told, since = 0, time.monotonic()
        while told < self._record.rounds:
            time.sleep(_LOOK_SECONDS)
            self._peers.check()
            for final in self._ledger.finals(self._task, told + 1):
                yield self._line(final)
                told, since = final.round, time.monotonic()
            self._complain(stalled=time.monotonic() - since > self._patience)

    def _line(self, final: Final) -> str:
        from folkmoot.ledger.records import members_of

        names = list(self._homes)
        counted = [names[member] for member in members_of(final.survivors)]
        without = [name for name in names if name not in counted]
        missing = f", without {', '.join(without)}" if without else ""
        training = self._record.training
        what = (
            f"round {final.round} of {training} is final" if final.round <= training else "the final model is measured"
        )
        return f"{what}: {len(counted)} contributions{missing}"

    def _complain(self, *, stalled: bool) -> None:
        from folkmoot.errors import LocalError

        failed = {}
        for name in self._homes:
            for task in status.tasks if (status := self._peers.status(name)) else ():
                if task.task == self._task and task.failure is not None:
                    failed[name] = task.failure.text
        if failed:
            raise LocalError("; ".join(f"{name}: {text}" for name, text in failed.items()))
        if stalled:
            said = "; ".join(f"{name}: {self._peers.last_words(name)}" for name in self._homes)
            raise LocalError(f"nothing has moved for {self._patience:.0f} s; {said}")
