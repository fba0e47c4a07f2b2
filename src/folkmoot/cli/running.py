"""Verbs about the running peer: start it, and see what it does."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.documents import status_document
from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, ListenOption, show_json, sparkline

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from folkmoot.peer.home import Home
    from folkmoot.peer.status import PeerStatus, TaskStatus

__all__ = ["run", "status"]

_FULL_DISK = 1 << 20
"""Bytes; a peer on a disk with less cannot write much."""


def run(
    no_sandbox: Annotated[
        bool,
        typer.Option("--no-sandbox", help="Run the code of others as you, with all you can read. Goes on record."),
    ] = False,
    listen: ListenOption = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Run your peer until Ctrl-C: train what you granted, aggregate, store, answer the others.

    It prints a line for each round, for each wait that lasts, with the names of those it waits for, and for each error,
    once; folkmoot status shows it all at any time.
    """
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    if listen is not None:
        with peer.lock():
            peer.listen(listen)
    if no_sandbox:
        from folkmoot.peer.sandbox import VARIABLE

        os.environ[VARIABLE] = "none"
    from folkmoot.peer.daemon import run as run_daemon

    run_daemon(peer, lambda line: print(f"{clock(time.time())} {line}", flush=True))


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keep showing it until Ctrl-C.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what your peer is doing: its tasks, whom it reaches, and what is wrong."""
    from folkmoot.peer.home import Home
    from folkmoot.peer.status import read_status

    peer = Home.open(home)
    if json:
        show_json(_plain(read_status(peer)))
        return
    from rich.console import Console
    from rich.live import Live

    if not watch:
        Console().print(_page(peer, read_status(peer)))
        return
    with Live(refresh_per_second=4, auto_refresh=False) as live:
        while True:
            live.update(_page(peer, read_status(peer)), refresh=True)
            time.sleep(0.25)


def _page(home: Home, status: PeerStatus | None) -> Group:
    from rich.console import Group
    from rich.text import Text

    if status is None:
        return Group(f"{home.config.name} has never run; start it: folkmoot run")
    parts: list[RenderableType] = [Text(line) for line in _headlines(home, status)]
    if status.tasks:
        parts += [Text(), _tasks(status)]
        parts += [Text(line) for task in status.tasks for line in _said(task)]
    if status.peers:
        parts += [Text(), _peers(status)]
    if status.errors:
        parts.append(Text())
    parts += [Text(f"error since {clock(error.since)}: {error.text}") for error in status.errors]
    return Group(*parts)


def _headlines(home: Home, status: PeerStatus) -> Iterator[str]:
    """Whether the peer runs, as far as the file tells, and how old it is."""
    name, age = home.config.name, status.age
    if not status.alive:
        yield f"{name}: not running since {clock(status.time)}; what follows is how it was then"
        return
    if status.stale:
        yield f"{name}: process {status.pid} has not written its status for {age:.0f} s, since {clock(status.time)}"
        yield f"  {_why_stale(home)}"
    else:
        sent, received = status.bytes_sent / 1e6, status.bytes_received / 1e6
        traffic = f"{sent:.2f} MB sent, {received:.2f} MB received"
        yield f"{name}: {status.state}, process {status.pid}, {traffic}, {age:.1f} s ago"
    if status.addresses:
        yield f"  listens on UDP {', '.join(status.addresses)}"
    if status.sandbox == "none":
        yield "  the code of others runs without a sandbox here"


def _why_stale(home: Home) -> str:
    free = shutil.disk_usage(home.path).free
    if free < _FULL_DISK:
        return f"the disk of {home.path} is full ({free} bytes are free): free some space, and it goes on by itself"
    return "it is suspended or overloaded, or another process has its number by now; see the end of log.jsonl"


def _tasks(status: PeerStatus) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("task", "phase", "round", "norm", "metrics of the moot"):
        table.add_column(column)
    for task in status.tasks:
        latest = "  ".join(
            f"{escape(metric)} {points[-1][1]:.4g} {sparkline([value for _, value in points])}"
            for metric, points in task.metrics.items()
            if points
        )
        table.add_row(
            f"{task.task} {escape(task.name)}",
            task.phase,
            f"{task.round}/{task.rounds}"
            + (f" attempt {task.attempt + 1}" if task.attempt else "")
            + (", measured" if task.measured and task.metrics else ""),
            "" if task.norm is None else f"{task.norm:.4g}",
            latest,
        )
    return table


def _said(task: TaskStatus) -> Iterator[str]:
    """What is wrong with a task here, and what it waits for."""
    failure, waiting = task.failure, task.waiting
    if failure is not None:
        where = f" ({failure.where})" if failure.where and failure.where not in failure.text else ""
        yield f"  task {task.task} failed in {failure.step}{where} since {clock(failure.since)}: {failure.text}"
    if waiting is not None:
        yield f"  task {task.task} {waiting.text}, since {clock(waiting.since)}"


def _peers(status: PeerStatus) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("peer", "connected", "last contact", "last failure"):
        table.add_column(column)
    for peer in status.peers:
        failed = "" if peer.failed is None else f"{clock(peer.failed)} {peer.last_failure}"
        table.add_row(
            escape(peer.name),
            (peer.how or "yes") if peer.connected else "no",
            "never" if peer.last_contact is None else clock(peer.last_contact),
            escape(failed),
        )
    return table


def clock(moment: float) -> str:
    """A moment in local time: the hour alone where it was today."""
    then, now = time.localtime(moment), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)


def _plain(status: PeerStatus | None) -> object:
    if status is None:
        return None
    return {**status_document(status), "alive": status.alive, "age": round(status.age, 3), "stale": status.stale}
