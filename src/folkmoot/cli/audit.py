"""The verb that answers an auditor: who trained on what under which consent, and what was refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from folkmoot.cli.history import BlobsOption, ContractOption, LedgerOption, sources_of
from folkmoot.cli.rehearsing import NoSandboxOption
from folkmoot.cli.show import DEFAULT_HOME, HomeOption

if TYPE_CHECKING:
    from folkmoot.peer.audit import Report

__all__ = ["audit"]


def audit(
    task: Annotated[int | None, typer.Argument(help="Id of a task; all without it.", min=1)] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page for people.", dir_okay=False)] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write canonical JSON with a digest.", dir_okay=False)
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="A report in JSON: make it again from the ledger and compare.", dir_okay=False),
    ] = None,
    ledger: LedgerOption = None,
    blobs: BlobsOption = None,
    contract: ContractOption = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Report who trained on what under which consent, when and to which effect, and what was refused and why.

    Each line names the ledger entry that proves it. Rounds are replayed from the blobs, which runs every task's public
    code in the sandbox, as folkmoot verify does; with --ledger and without --blobs nothing is replayed, and no effects
    are told. docs/compliance.md says which duties it answers.
    """
    if check is not None:
        _check(check, ledger, blobs, contract, home, sandbox=not no_sandbox)
        return
    report = _report(task, ledger, blobs, contract, home, sandbox=not no_sandbox)
    if html is None and json is None:
        _summary(report)
    if json is not None:
        from folkmoot.peer.audit import canonical

        _write(json, canonical(report))
    if html is not None:
        from folkmoot.cli.audit_page import page

        _write(html, page(report).encode())


def _report(
    task: int | None,
    ledger: str | None,
    blobs: list[Path] | None,
    contract: str | None,
    home: Path,
    *,
    sandbox: bool,
) -> Report:
    from folkmoot.peer.audit import audit as make
    from folkmoot.peer.verify import replay

    with sources_of(home, ledger, contract, blobs, sandbox=sandbox) as sources:
        replayed = replay(sources) if sources.stores else None
        return make(sources, task, replayed=replayed, own=_own(ledger, home))


def _own(ledger: str | None, home: Path) -> dict[str, Any] | None:
    """What the peer's own folder adds, where the report is on its own moot."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.ownbook import own_record

    return own_record(Home.open(home)) if ledger is None else None


def _check(
    file: Path, ledger: str | None, blobs: list[Path] | None, contract: str | None, home: Path, *, sandbox: bool
) -> None:
    from folkmoot.peer.audit import check as compare
    from folkmoot.peer.audit import read_report
    from folkmoot.peer.verify import replay

    report = read_report(file)
    with sources_of(home, ledger, contract, blobs, report["as_of"]["block"], sandbox=sandbox) as sources:
        replayed = replay(sources) if sources.stores and report.get("replay") is not None else None
        notes = compare(report, sources, replayed=replayed)
    for note in notes:
        print(note)
    print(f"holds: every line of {file} is as the ledger has it, up to block {report['as_of']['block']}")


def _summary(report: Report) -> None:
    from folkmoot.peer.overview import overview

    print(f"{report['moot']['name']}, as of block {report['as_of']['block']}, digest {report['digest']}")
    for task in overview(report):
        who = ", ".join(f"{name} {rounds}" for name, rounds in task["trained_by"].items()) or "nobody yet"
        print(f"task {task['task']}: {task['standing']}, {task['round']} of {task['rounds']} rounds are final")
        print(f"  trained by, in rounds: {who}")
        if task["model"]:
            print(f"  from {task['first']} to {task['last']}, model {task['model'][:12]}")
        if task["quality"]:
            values = ", ".join(f"{name} {value:.4g}" for name, value in task["quality"].items() if value is not None)
            print(f"  after round {task['measured_after']}: {values}")
        for refusal in task["refused"]:
            print(f"  refused: {refusal['what']} ({refusal['why']})")
    replay = report["replay"]
    print("nothing was replayed" if replay is None else f"{replay['rounds']} rounds were replayed, every hash holds")
    print("Next: folkmoot audit --html FILE --json FILE")


def _write(path: Path, content: bytes) -> None:
    from folkmoot.errors import LocalError
    from folkmoot.peer.durable import replace

    try:
        replace(path, content)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
    print(f"{path}: {len(content)} bytes")
