"""Verbs about what came of a task: its rounds, the proof that they hold, the model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, short, show_json, show_table
from folkmoot.cli.tasks import TaskArgument

__all__ = ["export", "log", "verify"]


def log(task: TaskArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the final rounds of a task: who was in each, who signed, and the model it made."""
    from folkmoot.ledger.records import members_of
    from folkmoot.peer.home import Home

    moot = Home.open(home).moot()
    moot.task(task)
    finals = moot.finals(task)
    if json:
        show_json(finals)
        return
    names = {member.index: member.name for member in moot.members()}
    show_table(
        ("round", "attempt", "model", "made of", "signed by", "at"),
        (
            (
                final.round,
                final.attempt,
                short(final.model),
                ", ".join(names[i] for i in members_of(final.survivors)),
                f"{final.signers.bit_count()} of {final.members.bit_count()}",
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(final.time)),
            )
            for final in finals
        ),
    )


def verify(
    ledger: Annotated[
        str | None, typer.Option(help="File of the chain, or URL; without it, the ledger of --home.")
    ] = None,
    blobs: Annotated[
        list[Path] | None, typer.Option(help="A peer's blobs; may be given again. Without it, those of --home.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option(help="Address of the moot; needed when the chain holds several.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Replay the whole history from ledger and blobs, trusting nobody; exit 1 at the first thing that does not hold.

    Runs every task's public code (its updates) again, in this process: read it first (folkmoot review).
    """
    from folkmoot.peer.home import Home
    from folkmoot.peer.verify import verify as replay

    own = Home.open(home) if ledger is None or not blobs else None
    if ledger is None and own is not None:
        ledger, contract = own.ledger(), contract or own.config.contract
    folders = blobs or ([own.blobs] if own is not None else [])
    assert ledger is not None
    report = replay(ledger if "://" in ledger else Path(ledger), contract, folders)
    if json:
        show_json(report)
        return
    for note in report.notes:
        print(note)
    print(f"verified: {report.rounds} rounds replayed, every hash holds")


def export(
    task: TaskArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The safetensors file to write.", dir_okay=False)],
    round_: Annotated[
        int | None, typer.Option("--round", help="The round whose model is wanted.", show_default="the last", min=1)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write the model of a final round as a safetensors file."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.offering import export as write

    final = write(Home.open(home), task, out, round_)
    if json:
        show_json({"path": str(out), "round": final.round, "model": final.model})
    else:
        print(f"{out}: the model of round {final.round}, hash {final.model.hex()}")
