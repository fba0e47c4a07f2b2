"""The command itself: its verbs in one list, its options for all, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from folkmoot.cli import (
    audit,
    datasets,
    demo,
    governing,
    history,
    hosting,
    members,
    privacy,
    rehearsing,
    rewards,
    running,
    tasks,
    waiting,
)
from folkmoot.errors import DiskError, FolkmootError

__all__ = ["app", "main"]

_DEBUG = "--debug"

app = typer.Typer(
    name="folkmoot",
    help="Train one model together, each keeping its own data, with no server in the middle.",
    epilog="First time here? Run: folkmoot demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, list[Callable[..., None]]] = {
    "See it": [demo.demo],
    "Members": [members.new, members.join, members.invite, members.members, members.sponsor],
    "Keys": [members.id_, members.backup, members.restore, members.delegate],
    "Writing a task": [rehearsing.check],
    "Data and tasks": [
        tasks.propose,
        tasks.tasks,
        tasks.review,
        tasks.grant,
        tasks.revoke,
        privacy.privacy,
    ],
    "Deciding together": [governing.motions, governing.vote, governing.enact, governing.follow],
    "Running": [running.run, running.status, waiting.wait],
    "What came of it": [history.log, history.show, history.verify, audit.audit, history.export, history.unlearn],
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(_command.__name__.rstrip("_"), rich_help_panel=_panel)(_command)
    if _panel == "Data and tasks":
        app.add_typer(datasets.app, name="data", rich_help_panel=_panel)
    if _panel == "Deciding together":
        app.add_typer(governing.mover, name="move", rich_help_panel=_panel)
        app.add_typer(hosting.app, name="host", rich_help_panel=_panel)
app.add_typer(rewards.app, name="rewards", rich_help_panel="Rewards")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"folkmoot {version('folkmoot')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 if all went well, 1 on an error, 2 on wrong usage, 130 on Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = _DEBUG in words
    # The flag may stand anywhere, also behind the verb, where people add it when something went wrong.
    words = [_DEBUG] * debug + [word for word in words if word != _DEBUG]
    try:
        app(words, prog_name="folkmoot")
    except FolkmootError as error:
        if debug:
            raise
        _complain(str(error))
    except BrokenPipeError:
        # The reader of our output left (folkmoot log | head): not an error, and nothing left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except OSError as error:
        # What an operating system refuses is this machine's state, and no mistake of ours.
        if debug:
            raise
        _complain(str(DiskError.of(error)))
    except Exception as error:
        if debug:
            raise
        _complain(f"{type(error).__name__}: {error}; this is a bug, please report it with the output of --debug")


def _complain(message: str) -> None:
    print(f"folkmoot: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(1)
