"""The command itself: its verbs in one list, its options for all, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Annotated

import typer

from folkmoot.errors import DiskError, FolkmootError

__all__ = ["command", "main"]

_DEBUG = "--debug"

_PANELS: Mapping[str, Sequence[str]] = {
    "See it": ("demo.demo",),
    "Members": ("members.new", "members.join", "members.invite", "members.members", "members.sponsor"),
    "Keys": ("members.id_", "members.backup", "members.restore", "members.delegate"),
    "Writing a task": ("trying.try_", "rehearsing.check", "trying.rehearse"),
    "Data and tasks": (
        *(
            "tasks.propose",
            "governing.withdraw",
            "tasks.tasks",
            "tasks.review",
            "tasks.grant",
            "tasks.revoke",
            "privacy.privacy",
        ),
        "datasets.app=data",
    ),
    "Deciding together": (
        *("governing.motions", "governing.vote", "governing.enact", "governing.follow"),
        *("governing.mover=move", "hosting.app=host"),
    ),
    "Running": ("running.run", "running.status", "waiting.wait"),
    "What came of it": (
        *("history.log", "history.show", "history.verify", "audit.audit", "history.export", "history.unlearn"),
    ),
    "Rewards": ("rewards.app=rewards",),
}
"""Where each verb is, by the panel of ``--help`` that shows it; ``=name`` makes a group of verbs of what is there."""


def command(verb: str | None = None) -> typer.Typer:
    """The command with all its verbs; where ``verb`` is one of them, with that one alone: the rest is not imported."""
    app = typer.Typer(
        name="folkmoot",
        help="Train one model together, each keeping its own data, with no server in the middle.",
        epilog="First time here? Run: folkmoot demo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    places = [(panel, place) for panel, listed in _PANELS.items() for place in listed]
    for panel, place in [one for one in places if _name(one[1]) == verb] or places:
        where, _, _ = place.partition("=")
        module, _, attribute = where.partition(".")
        found = getattr(import_module(f"folkmoot.cli.{module}"), attribute)
        if "=" in place:
            app.add_typer(found, name=_name(place), rich_help_panel=panel)
        else:
            app.command(_name(place), rich_help_panel=panel)(found)
    return app


def _name(place: str) -> str:
    """What is typed for the verb that is at a place."""
    return place.rpartition("=")[2] if "=" in place else place.rpartition(".")[2].rstrip("_")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"folkmoot {version('folkmoot')}")
        raise typer.Exit


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
        command(next((word for word in words if not word.startswith("-")), None))(words, prog_name="folkmoot")
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
