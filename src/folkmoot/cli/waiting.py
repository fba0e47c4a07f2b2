"""The verb for scripts: wait until a task, or one of its rounds, is done, and say by the exit code how it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from folkmoot.cli.show import DEFAULT_HOME, HomeOption, JsonOption, show_json

if TYPE_CHECKING:
    from folkmoot.ledger import Moot
    from folkmoot.ledger.documents import Document
    from folkmoot.peer.home import Home

__all__ = ["FAILED", "TIMED_OUT", "wait"]

FAILED, TIMED_OUT = 3, 4
"""Exit codes. 0 is done; 1 and 2 are, as of every verb, an error and wrong usage."""
_LOOK_SECONDS = 0.25
_LOOK_AT_NODE_SECONDS = 2.0


def wait(
    task: Annotated[int, typer.Argument(help="Id of the task; see folkmoot tasks.", min=1)],
    round_: Annotated[
        int | None, typer.Option("--round", help="Wait for this round only.", show_default="the last", min=1)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Give up after so many seconds.", show_default="never", min=0)
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Wait until a task is done and its model measured, for scripts.

    Exits with 0 once it is, or the round is final; with 3 when it was stopped before that, or your own peer cannot
    do its part of it; with 4 when the time is up; with 1 on an error.
    """
    from folkmoot.errors import LocalError
    from folkmoot.peer.home import Home

    peer = Home.open(home)
    moot = peer.moot()
    rounds = moot.task(task).training
    if round_ is not None and round_ > rounds:
        raise LocalError(f"task {task} has {rounds} rounds, and no round {round_}")
    code, why, told = _watch(peer, moot, task, round_, timeout)
    if json:
        show_json({**told, "reason": why or None, "exit_code": code})
    else:
        print(
            why or (f"round {round_} of task {task} is final" if round_ else f"task {task} is done, its model measured")
        )
    if code:
        raise typer.Exit(code)


def _watch(peer: Home, moot: Moot, task: int, round: int | None, timeout: float | None) -> tuple[int, str, Document]:
    """Look again and again, until ``round`` is final or without one the task is done: the exit code, why it is not 0,
    and the task as it stands then."""
    give_up = None if timeout is None else time.monotonic() + timeout
    pause = _LOOK_AT_NODE_SECONDS if "://" in peer.config.ledger else _LOOK_SECONDS
    while True:
        told = _look(moot, task)
        if told["phase"] == "done" or (round is not None and told["final"] >= round):
            return 0, "", told
        if told["phase"] == "stopped":
            return FAILED, f"the members stopped task {task} after round {told['final']}", told
        if (failure := _failure(peer, task)) is not None:
            return FAILED, f"this peer cannot do its part of task {task}: {failure}", told
        left = pause if give_up is None else min(pause, give_up - time.monotonic())
        if left <= 0:
            where = f"its phase is {told['phase']}, its round {told['round']} of {told['rounds']}"
            return TIMED_OUT, f"task {task} is not so far after {timeout:g} s: {where}", told
        time.sleep(left)


def _look(moot: Moot, task: int) -> Document:
    from folkmoot.ledger.documents import task_document

    names = {member.index: member.name for member in moot.members()}
    return task_document(moot.task(task), moot.round_view(task), names, moot.now())


def _failure(peer: Home, task: int) -> str | None:
    """Why this member's peer cannot do its part, as it says itself while it runs."""
    from folkmoot.peer.status import read_status

    status = read_status(peer)
    for mine in status.tasks if status else ():
        if mine.task == task and mine.phase == "failed" and status is not None and status.alive and not status.stale:
            return mine.reason
    return None
