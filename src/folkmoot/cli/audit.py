"""The verb that answers an auditor: who trained on what under which consent, and what was refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from folkmoot.cli.history import BlobsOption, ContractOption, FormerOption, LedgerOption, sources_of
from folkmoot.cli.rehearsing import NoSandboxOption
from folkmoot.cli.show import DEFAULT_HOME, HomeOption

if TYPE_CHECKING:
    from folkmoot.peer.audit import Report
    from folkmoot.peer.sources import Sources
    from folkmoot.peer.verify import VerifyReport

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
    former: FormerOption = None,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Report who trained on what under which consent, when and to which effect, and what was refused and why.

    Each line names the ledger entry that proves it. Rounds are replayed from the blobs, which runs every task's public
    code in the sandbox, as folkmoot verify does; with --ledger and without --blobs nothing is replayed, and no effects
    are told. Where the moot continues another one, --former puts the report on that one in; without it, the report says
    that it does not cover it. docs/compliance.md says which duties it answers.
    """
    if check is not None:
        _check(check, ledger, blobs, contract, home, former, sandbox=not no_sandbox)
        return
    report = _report(task, ledger, blobs, contract, home, former, sandbox=not no_sandbox)
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
    former: str | None,
    *,
    sandbox: bool,
) -> Report:
    from folkmoot.peer.audit import audit as make
    from folkmoot.peer.verify import replay

    with sources_of(home, ledger, contract, blobs, sandbox=sandbox, former=former) as sources:
        replayed = replay(sources) if sources.stores else None
        before = None
        if sources.former is not None:
            before = make(sources.former, replayed=replay(sources.former) if sources.stores else None)
        return make(sources, task, replayed=replayed, own=_own(ledger, home), former=before)


def _own(ledger: str | None, home: Path) -> dict[str, Any] | None:
    """What the peer's own folder adds, where the report is on its own moot."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.ownbook import own_record

    return own_record(Home.open(home)) if ledger is None else None


def _check(
    file: Path,
    ledger: str | None,
    blobs: list[Path] | None,
    contract: str | None,
    home: Path,
    former: str | None,
    *,
    sandbox: bool,
) -> None:
    from folkmoot.errors import LocalError
    from folkmoot.peer.audit import check as compare
    from folkmoot.peer.audit import former_report, read_report
    from folkmoot.peer.verify import replay

    report = read_report(file)
    before, upto = former_report(report), report["as_of"]["block"]
    if before is None and former is not None:
        raise LocalError(f"{file} has no report on the moot before, which --former would be compared with")
    former_upto = None if before is None else before["as_of"]["block"]

    def again(told: Report, of: Sources) -> VerifyReport | None:
        return replay(of) if of.stores and told.get("replay") is not None else None

    with sources_of(
        home, ledger, contract, blobs, upto, sandbox=sandbox, former=former, former_upto=former_upto
    ) as sources:
        earlier = None if before is None or sources.former is None else again(before, sources.former)
        notes = compare(report, sources, replayed=again(report, sources), former_replayed=earlier)
    for note in notes:
        print(note)
    print(f"holds: every line of {file} is as the ledger has it, up to block {report['as_of']['block']}")


def _summary(report: Report) -> None:
    _tell(report)
    continues = report["continues"]
    if continues is not None:
        for said in continues["taken_over"] or ():
            print(said)
        if continues["report"] is None:
            print(f"not covered: {continues['not_covered']}; see --former")
        else:
            print("\nThe moot before:")
            _tell(continues["report"])
    print("Next: folkmoot audit --html FILE --json FILE")


def _tell(report: Report) -> None:
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


def _write(path: Path, content: bytes) -> None:
    from folkmoot.errors import LocalError
    from folkmoot.peer.durable import replace

    try:
        replace(path, content)
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}") from None
    print(f"{path}: {len(content)} bytes")
