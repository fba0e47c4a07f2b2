"""Verbs about tasks: propose one, read its code before agreeing, consent to it and withdraw."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from folkmoot.cli.privacy import promises
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table

__all__ = ["TaskArgument", "grant", "propose", "review", "revoke", "tasks"]

TaskArgument = Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)]


def propose(
    path: Annotated[Path, typer.Argument(help="The task file, or a folder with a task.py.", exists=True)],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Propose a task: its code is pinned by hash on the ledger, its policy binds the contract.

    It runs on nobody's data before that member grants it.
    """
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import propose as put_on_ledger

    peer = Home.open(home)
    record, task = put_on_ledger(peer, path)
    promised = promises(task.policy, max(peer.moot().member_count(), record.start_members))
    if json:
        show_json({**dataclasses.asdict(record), "promises": promised})
        return
    print(f"task {record.id}: {task.name}, {record.rounds} rounds, bundle {record.bundle.hex()}")
    for sentence in promised:
        print(sentence)
    print(f"It starts with {record.start_members} grants. Next: folkmoot grant {record.id} DATASET")


def tasks(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the tasks of the moot, and how far each has come."""
    from folkmoot.ledger.records import members_of
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    names = {member.index: member.name for member in moot.members()}
    rows = [(task, moot.round_view(task.id)) for task in moot.tasks()]
    if json:
        show_json([{"task": task, "round": view} for task, view in rows])
        return
    show_table(
        ("task", "proposed by", "phase", "round", "of", "granted by", "bundle"),
        (
            (
                task.id,
                names[task.proposer],
                view.phase.name.lower(),
                view.round,
                task.rounds,
                ", ".join(names[i] for i in members_of(task.granted)),
                short(task.bundle),
            )
            for task, view in rows
        ),
    )


def review(task: TaskArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Print the code that would run on your data, exactly as its hash on the ledger pins it."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import bundle_of
    from folkmoot.task import read_bundle

    peer = Home.open(home)
    record = peer.moot().task(task)
    files = read_bundle(bundle_of(peer, record))
    if json:
        show_json({"task": record, "files": {k: v.decode(errors="replace") for k, v in files.items()}})
        return
    print(
        f"# task {record.id}, bundle {record.bundle.hex()}\n"
        f"# {record.rounds} rounds, at least {record.min_members} members in each, starts with {record.start_members}"
    )
    for name, content in files.items():
        print(f"\n# ---- {name} ----\n")
        _show_code(name, content.decode(errors="replace"))


def grant(
    task: TaskArgument,
    dataset: Annotated[int, typer.Argument(help="Id of one of your datasets; see folkmoot data list.", min=1)],
    epsilon: Annotated[
        float | None,
        typer.Option(help="What the task may spend of the dataset's privacy; your peer sits out what exceeds it."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Consent that one dataset of yours serves one task, until you revoke it."""
    from folkmoot.errors import LocalError
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    record = moot.task(task)
    if dataset not in peer.data():
        raise LocalError(f"dataset {dataset} is not one that this home knows; see: folkmoot data list")
    moot.grant(task, dataset, epsilon)
    granted = moot.task(task).granted.bit_count()
    print(f"granted: dataset {dataset} serves task {task}, bundle {record.bundle.hex()}")
    if epsilon is not None:
        print(f"at most an epsilon of {epsilon:g}; see what is spent: folkmoot privacy {task}")
    if granted < record.start_members:
        print(f"{granted} of the {record.start_members} grants it starts with are there")


def revoke(task: TaskArgument, home: HomeOption = DEFAULT_HOME) -> None:
    """Withdraw your consent; your peer trains no further round of the task."""
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    moot.revoke(task)
    print(f"revoked: no dataset of yours serves task {task}")


def _show_code(name: str, code: str) -> None:
    # What others wrote may hold escape sequences that hide lines on a terminal: show them as text.
    shown = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in code)
    if not sys.stdout.isatty():
        print(shown)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(shown, Syntax.guess_lexer(name, shown), line_numbers=True))
