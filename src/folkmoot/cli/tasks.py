"""Verbs about tasks: propose one, read its code before agreeing, consent to it and withdraw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from folkmoot.cli.privacy import promises
from folkmoot.cli.rehearsing import NoRehearsalOption, NoSandboxOption, rehearsed, skipped, summary
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.records import TaskRecord
    from folkmoot.peer.home import Home
    from folkmoot.peer.rehearsal import Rehearsal
    from folkmoot.task.data_schema import DataSchema

__all__ = ["TaskArgument", "grant", "propose", "review", "revoke", "tasks"]

TaskArgument = Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)]


def propose(
    path: Annotated[Path, typer.Argument(help="The task file, or a folder with a task.py.", exists=True)],
    data: Annotated[
        Path | None,
        typer.Option(help="Data of yours to rehearse it on; without it, the sample that the task ships.", exists=True),
    ] = None,
    no_schema: Annotated[
        bool, typer.Option("--no-schema", help="Do not pin the columns of that data: any will do at the members.")
    ] = False,
    no_rehearsal: NoRehearsalOption = False,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Propose a task: its code is pinned by hash on the ledger, its policy binds the contract.

    It is rehearsed first, in the sandbox: two rounds on --data. What that data looks like, names of columns, types and
    shapes but no value, becomes part of the task, and every member's data is held against it. Then it runs on nobody's
    data before that member grants it.
    """
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import propose as put_on_ledger
    from folkmoot.peer.offering import with_schema

    peer = Home.open(home)
    report = _rehearsal(peer, path, data, rehearse=not no_rehearsal, sandbox=not no_sandbox)
    assert report.draft is not None
    record, task = put_on_ledger(peer, report.draft if no_schema else with_schema(report))
    alike, members = task.unscored, max(peer.moot().member_count(), record.start_members)
    promised = promises(task.policy, members, task.buffers)
    if json:
        told = _document(peer.moot(), record)
        notes = report.notes
        show_json({**told, "name": task.name, "promises": promised, "unscored": alike, "notes": notes})
        return
    print(f"task {record.id}: {task.name}, {record.training} rounds, bundle {record.bundle.hex()}")
    for sentence in (*([] if no_rehearsal else summary(report)), *_of_schema(task.schema, no_schema), *promised):
        print(sentence)
    if alike is not None:
        print(f"A bounty would go to all who take part alike: {alike}")
    print(f"It starts with {record.start_members} grants. {_how_to_grant(record.id)}")


def _rehearsal(peer: Home, path: Path, data: Path | None, *, rehearse: bool, sandbox: bool) -> Rehearsal:
    """The rehearsal of a task that is to be proposed, or what there is of one without it. Raises what it refuses."""
    from folkmoot.peer.offering import draft
    from folkmoot.peer.rehearsal import Rehearsal
    from folkmoot.peer.workbench import Workbench
    from folkmoot.task import make_bundle

    bundle = make_bundle(path)
    if rehearse:
        report = rehearsed(bundle, [] if data is None else [data], home=peer, sandbox=sandbox)
        report.check()
        return report
    with Workbench(bundle, peer, sandbox=sandbox) as bench:
        made = draft(bench)
    skipped(peer, "propose")
    return Rehearsal(draft=made)


def _of_schema(schema: DataSchema | None, unwanted: bool) -> Iterator[str]:
    """What members' data is held against, in a sentence."""
    if schema is not None:
        yield f"Every member's data must look like this: {schema.sentence()}"
    elif not unwanted:
        yield (
            "Nothing says what its data looks like, so columns in another order at a member would go unnoticed: propose"
            " it with --data FILE, or name them in the task (columns=...)"
        )


def tasks(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the tasks of the moot, and how far each has come."""
    from folkmoot.ledger.documents import ledger_phase, names_of, task_document
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    names = {member.index: member.name for member in moot.members()}
    rows = [(task, moot.round_view(task.id)) for task in moot.tasks()]
    now = moot.now()
    failed = _failed_here(peer)
    if json:
        show_json([{**task_document(task, view, names, now), "failed_here": task.id in failed} for task, view in rows])
        return
    show_table(
        ("task", "proposed by", "phase", "round", "of", "granted by", "bundle"),
        (
            (
                task.id,
                names[task.proposer],
                ledger_phase(task, view, now) + (", failed here" if task.id in failed else ""),
                min(view.round, task.training),
                task.training,
                ", ".join(names_of(task.granted, names)),
                short(task.bundle),
            )
            for task, view in rows
        ),
    )
    if failed:
        print("What failed here, and since when: folkmoot status")
    me = moot.me()
    for task, view in rows:
        if me is not None and not task.granted >> me.index & 1 and ledger_phase(task, view, now) not in _OVER:
            print(_how_to_grant(task.id))


def review(
    task: TaskArgument,
    full: Annotated[bool, typer.Option("--full", help="All of it, whatever was reviewed before.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print the code that would run on your data, exactly as its hash on the ledger pins it.

    Where you have reviewed a version of it before, what differs from that one.
    """
    from folkmoot.peer import reviewing
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import bundle_of
    from folkmoot.task import read_bundle

    peer = Home.open(home)
    record = peer.moot().task(task)
    files = {k: v.decode(errors="replace") for k, v in read_bundle(bundle_of(peer, record)).items()}
    before = None if full else reviewing.closest(peer, record.bundle, files)
    if json:
        told = _document(peer.moot(), record)
        show_json({**told, "files": files, "reviewed_before": before and before[0]})
    else:
        print(
            f"# task {record.id}, bundle {record.bundle.hex()}, {record.standing.name.lower()}\n"
            f"# {record.training} rounds, at least {record.min_members} members in each, starts with"
            f" {record.start_members}"
        )
        if before is None:
            for name, content in files.items():
                print(f"\n# ---- {name} ----\n")
                _show_code(name, content)
        else:
            print(f"# compared with bundle {before[0].hex()}, which you reviewed before; all of it: --full\n")
            _show_code("changes.diff", reviewing.difference(before[1], files) or "nothing differs\n")
        print(f"# to let it train on a dataset of yours: folkmoot grant {task} DATASET")
    reviewing.remember(peer, record.bundle)


def grant(
    task: TaskArgument,
    dataset: Annotated[int, typer.Argument(help="Id of one of your datasets; see folkmoot data list.", min=1)],
    epsilon: Annotated[
        float | None,
        typer.Option(help="What the task may spend of the dataset's privacy; your peer sits out what exceeds it."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="When the consent ends by itself, local time.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    max_rounds: Annotated[
        int,
        typer.Option(
            help="For how many rounds it is, the one being made included; to measure the final model takes one more;"
            " 0: all.",
            min=0,
        ),
    ] = 0,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, also where the code was not read here.")
    ] = False,
    no_rehearsal: NoRehearsalOption = False,
    no_sandbox: NoSandboxOption = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Consent that one dataset of yours serves one task, until it ends or you revoke it.

    Read what would run on your data first: folkmoot review TASK. It is rehearsed on the dataset before you consent: two
    rounds in the sandbox, of which nothing leaves this machine. The consent counts as your vote to adopt the task, too,
    where that is still open.
    """
    from folkmoot.peer import governing
    from folkmoot.peer.datasets import check_granted
    from folkmoot.peer.home import Home
    from folkmoot.peer.reviewing import was_reviewed
    from folkmoot.peer.room import check_grant

    peer = Home.open(home)
    moot = peer.moot()
    record = moot.task(task)
    path = check_granted(peer, moot, dataset)
    if not was_reviewed(peer, record.bundle):
        _warn(task, yes)
    check_grant(peer, moot, record)
    if path is None:
        print("not rehearsed: your peer runs with daily keys, and the data is with it", file=sys.stderr)
    elif no_rehearsal:
        skipped(peer, f"grant {task} {dataset}")
    else:
        report = rehearsed(_code(peer, record), [path], home=peer, sandbox=not no_sandbox)
        report.check()
        print(*summary(report), sep="\n")
    ends = None if until is None else int(until.timestamp())
    moot.grant(task, dataset, epsilon, until=ends, rounds=max_rounds)
    motion, me = governing.adoption_of(moot, task), moot.me()
    if motion is not None and me is not None and not (motion.ayes | motion.noes) >> me.index & 1:
        motion = governing.vote(moot, motion.id)
    granted = moot.task(task).granted.bit_count()
    print(f"granted: dataset {dataset} serves task {task}, bundle {record.bundle.hex()}")
    if epsilon is not None:
        print(f"at most an epsilon of {epsilon:g}; see what is spent: folkmoot privacy {task}")
    if motion is not None and not motion.done:
        print(f"the moot has not adopted the task yet: {motion.ayes.bit_count()} of {moot.member_count()} are for it")
    if granted < record.start_members:
        print(f"{granted} of the {record.start_members} grants it starts with are there")


def revoke(task: TaskArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Withdraw your consent; your peer trains no further round of the task."""
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    moot.revoke(task)
    print(f"revoked: no dataset of yours serves task {task}")


def _code(peer: Home, record: TaskRecord) -> bytes:
    """The task's code, to be rehearsed."""
    from folkmoot.errors import LocalError
    from folkmoot.peer.offering import bundle_of

    try:
        return bundle_of(peer, record)
    except LocalError as error:
        raise LocalError(f"{error}; or consent without a rehearsal on your data: --no-rehearsal") from None


_OVER = ("done", "stopped")


def _failed_here(home: Home) -> set[int]:
    """The tasks of which the running peer cannot do its part."""
    from folkmoot.peer.status import read_status

    status = read_status(home)
    current = status is not None and status.alive and not status.stale
    return {task.task for task in status.tasks if task.phase == "failed"} if status is not None and current else set()


def _how_to_grant(task: int) -> str:
    return f"Next: folkmoot review {task} shows what would run on your data; folkmoot grant {task} DATASET lets it"


def _warn(task: int, yes: bool) -> None:
    """Before a consent to code that was not read here: ask a person, tell a script."""
    unread = f"you have not read this code here; folkmoot review {task} shows what would run on your data"
    if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"folkmoot: {unread}", file=sys.stderr)
    elif not typer.confirm(f"{unread[0].upper()}{unread[1:]}. Grant all the same?"):
        raise typer.Abort


def _document(moot: Moot, record: TaskRecord) -> dict[str, Any]:
    from folkmoot.ledger.documents import task_document

    names = {member.index: member.name for member in moot.members()}
    return task_document(record, moot.round_view(record.id), names, moot.now())


def _show_code(name: str, code: str) -> None:
    # What others wrote may hold escape sequences that hide lines on a terminal: show them as text.
    shown = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in code)
    if not sys.stdout.isatty():
        print(shown)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(shown, Syntax.guess_lexer(name, shown), line_numbers=True))
