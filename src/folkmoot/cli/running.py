"""Verbs about the running peer: start it, and see what it does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json, sparkline

if TYPE_CHECKING:
    from rich.table import Table

    from folkmoot.peer.status import PeerStatus

__all__ = ["run", "status"]


def run(
    no_sandbox: Annotated[
        bool,
        typer.Option("--no-sandbox", help="Run the code of others as you, with all you can read. Goes on record."),
    ] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Run your peer until Ctrl-C: train what you granted, aggregate, store, answer the others."""
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    if no_sandbox:
        from folkmoot.peer.sandbox import VARIABLE

        os.environ[VARIABLE] = "none"
    from folkmoot.peer.daemon import run as run_daemon

    run_daemon(peer)


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what your peer is doing."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.status import read_status

    peer = Home.open(home)
    if json:
        show_json(_plain(read_status(peer)))
        return
    from rich.console import Console
    from rich.live import Live

    if not watch:
        Console().print(_table(peer.config.name, read_status(peer)))
        return
    with Live(refresh_per_second=4, auto_refresh=False) as live:
        while True:
            live.update(_table(peer.config.name, read_status(peer)), refresh=True)
            time.sleep(0.25)


def _table(name: str, status: PeerStatus | None) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=_headline(name, status), title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in ("task", "phase", "round", "norm", "metrics of the moot", ""):
        table.add_column(column)
    for task in status.tasks if status else ():
        latest = "  ".join(
            f"{escape(metric)} {points[-1][1]:.4g} {sparkline([value for _, value in points])}"
            for metric, points in task.metrics.items()
            if points
        )
        table.add_row(
            f"{task.task} {escape(task.name)}",
            task.phase,
            f"{task.round}/{task.rounds}" + (f" attempt {task.attempt + 1}" if task.attempt else ""),
            "" if task.norm is None else f"{task.norm:.4g}",
            latest,
            escape(task.reason),
        )
    notes = [escape(error) for error in status.errors] if status else []
    if status is not None and status.sandbox == "none" and _alive(status.pid):
        notes.insert(0, "the code of others runs without a sandbox here")
    table.caption = "".join(f"{note}\n" for note in notes) or None
    return table


def _headline(name: str, status: PeerStatus | None) -> str:
    if status is None:
        return f"{name}: has never run; start it: folkmoot run"
    if not _alive(status.pid):
        return f"{name}: not running since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(status.time))}"
    sent, received = status.bytes_sent / 1e6, status.bytes_received / 1e6
    return f"{name}: {status.state}, process {status.pid}, {sent:.2f} MB sent, {received:.2f} MB received"


def _plain(status: PeerStatus | None) -> object:
    import msgspec

    return None if status is None else {**msgspec.to_builtins(status), "alive": _alive(status.pid)}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
