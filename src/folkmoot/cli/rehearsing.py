"""The verb that rehearses a task by hand, and the rehearsals that other verbs begin with."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.peer.home import Home
    from folkmoot.peer.rehearsal import Rehearsal

__all__ = ["NoRehearsalOption", "NoSandboxOption", "check", "rehearsed", "skipped", "summary"]

NoSandboxOption = Annotated[
    bool,
    typer.Option("--no-sandbox", help="Run the task's code as you, with all you can read. Goes on record."),
]
NoRehearsalOption = Annotated[
    bool, typer.Option("--no-rehearsal", help="Do not try it on the data first. Goes on record.")
]
_TASK = "The task file, or a folder with a task.py."


def check(
    context: typer.Context,
    task: Annotated[Path, typer.Argument(help=_TASK, exists=True)],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A member's data; again for each member. Without it, the sample that the task ships."),
    ] = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Rehearse a task: two rounds on each member's data, in the sandbox, as peers will run it. Needs no moot.

    Says for each dataset whether it would train, how long that takes and how many bytes a contribution is; exit 1 if
    one would not. All data has to look like the first. Without data and sample only the public part is tried, on zeros.
    """
    from folkmoot.peer.home import Home
    from folkmoot.task import make_bundle

    peer = Home.open(home) if Home(home).config_file.exists() else None
    report = rehearsed(make_bundle(task), data or (), home=peer, sandbox=not no_sandbox)
    if json:
        show_json(_plain(report))
    else:
        _show(report, debug=bool(context.find_root().params.get("debug")))
    if report.refusals:
        raise typer.Exit(1)


def rehearsed(bundle: bytes, data: Sequence[Path], *, home: Home | None = None, sandbox: bool = True) -> Rehearsal:
    """The rehearsal of a task on ``data``, or else on the sample that it ships, as the peer ``home`` would run it."""
    from folkmoot.peer.rehearsal import rehearse, sample_of
    from folkmoot.peer.workbench import Workbench
    from folkmoot.task import read_bundle
    from folkmoot.task.pin import pin_of

    pin, sources = pin_of(read_bundle(bundle)), [] if home is None else [home.store()]
    with Workbench(bundle, home, sources, sandbox=sandbox) as bench, _progress() as progress:
        named = {str(path): path for path in data}
        if not named and (sample := sample_of(bundle, bench.folder / "sample")) is not None:
            named = {"the task's sample": sample}
        return rehearse(bench, named, start=None if pin is None else pin.state, progress=progress)


def skipped(home: Home, verb: str) -> None:
    """Put on record, and tell, that a rehearsal was left out."""
    from folkmoot.peer.ownbook import record_override

    record_override(home, "rehearsal", f"{verb} --no-rehearsal")
    print("not rehearsed, as --no-rehearsal says: what fails will fail in the moot", file=sys.stderr)


def summary(report: Rehearsal) -> Iterator[str]:
    """What there is to be said of a rehearsal that went well, in a few lines."""
    size = f"a contribution is {max(report.sizes):,} bytes" if report.sizes else ""
    for path in report.datasets:
        yield f"rehearsed on {path}: training took {_seconds(_training(report, path))} a round, {size}"
    if not report.datasets:
        yield f"rehearsed without data, on zeros: its public part only; {size}"
    yield from report.notes


def _show(report: Rehearsal, *, debug: bool) -> None:
    refused = {refusal.data: refusal for refusal in report.refusals if refusal.data is not None}
    sizes = [f"{size:,} bytes" for size in report.sizes]
    if report.datasets:
        show_table(
            ("data", "records", "load", "training", "contribution", ""),
            (
                (
                    path,
                    _records(report, path),
                    _seconds(report.seconds("load", path)),
                    _seconds(_training(report, path)),
                    sizes[-1] if sizes and path not in refused else "",
                    f"refused at {refused[path].step}" if path in refused else "ok",
                )
                for path in report.datasets
            ),
        )
    for refusal in report.refusals:
        print(f"{refusal.data or 'the task'}, at {refusal.step}: {refusal.error}")
        if debug and refusal.trace:
            print(refusal.trace)
    if not report.refusals:
        for line in report.notes if report.datasets else summary(report):
            print(line)


def _plain(report: Rehearsal) -> dict[str, object]:
    refused = {
        refusal.data: {"step": refusal.step, "error": refusal.error, "traceback": refusal.trace or None}
        for refusal in report.refusals
    }
    rows = [
        {
            "path": path,
            "records": _records(report, path),
            "load_seconds": report.seconds("load", path),
            "training_seconds": _training(report, path),
            "refused": refused.get(path),
        }
        for path in report.datasets
    ]
    return {
        "ok": not report.refusals,
        "name": report.draft.name if report.draft else None,
        "contributions": report.members,
        "bytes": report.sizes,
        "metrics": report.metrics,
        "data": rows,
        "refused": refused.get(None),
        "notes": report.notes,
    }


def _records(report: Rehearsal, path: str) -> int | None:
    return report.surveys[path].examples if path in report.surveys else None


def _training(report: Rehearsal, path: str) -> float | None:
    """The longest training on a dataset, in seconds, if none failed."""
    took = [step.seconds for step in report.steps if step.data == path and step.name.endswith("contribute")]
    refused = any(refusal.data == path for refusal in report.refusals)
    return None if refused else max(took, default=None)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What shows the step that a rehearsal is at, while somebody looks."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("rehearsing") as status:
        yield lambda step: status.update(escape(f"rehearsing: {step}"))
