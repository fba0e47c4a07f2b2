"""What the demo ends with: who gained what, where the model is, what was opened, and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from folkmoot.cli.demo_quality import quality, ways
from folkmoot.cli.demo_secrecy import opened
from folkmoot.cli.demo_settings import ATTACKS, Settings
from folkmoot.cli.demo_task import task_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from folkmoot.peer.local import LocalMoot

__all__ = ["report"]

_SHOWN = {"auc": "AUC", "accuracy": "accuracy"}
_TABLE_WIDTH = 80
"""Columns that the table takes at least; narrower terminals wrap its lines."""


def report(moot: LocalMoot, task: int, settings: Settings, console: Console, model: Path) -> None:
    """Print the table of held-out quality, write the model to ``model``, and replay the whole history.

    Raises what ``verify`` raises when anything does not hold.
    """
    from folkmoot.peer.export import export
    from folkmoot.peer.sandbox import trouble
    from folkmoot.peer.verify import verify
    from folkmoot.task import load_task, make_bundle, read_state

    home = moot.homes[settings.witness]
    final = export(home, task, model)
    source = moot.folder / "baselines.py"
    source.write_text(task_text(settings))
    trained = load_task(make_bundle(source))
    console.print()
    state = read_state(home.store().get(final.model))
    console.print(_table(quality(moot, settings, trained, state), settings), width=max(_TABLE_WIDTH, console.width))
    console.print()
    _say(console, f"model: {model}, hash {final.model.hex()}")
    # The witness saw every round from the ledger; whatever it lacks, the others' disks have.
    others = [other.blobs for name, other in moot.homes.items() if name != settings.witness]
    # the demo's task is our own: as with the peers, where there is no sandbox it runs without
    stores = [home.blobs, *others]
    proof = verify(Path(home.config.ledger), home.config.contract, stores, sandbox=trouble() is None)
    lines = opened(moot, task, trained.policy).lines() if settings.private else ()
    for line in (*_liar(moot, task, settings), *lines):
        _say(console, line)
    _say(console, f"verified: {proof.rounds} rounds replayed, every hash holds")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(rows: Sequence[tuple[str, Mapping[str, Mapping[str, float]]]], settings: Settings) -> Table:
    from rich.table import Table

    shown = ways(settings)
    table = Table(title="held-out quality", title_justify="left", box=None, header_style="bold", pad_edge=False)
    # that four ways fit eighty columns
    table.collapse_padding = len(shown) > 3
    table.add_column("\nhospital", min_width=11)
    for metric in _SHOWN.values():
        for way in shown:
            heading = f"{metric if way == shown[0] else ''}\n{way}"
            table.add_column(heading, justify="right", style="bold" if way == "together" else "")
    for name, row in rows:
        cells = [f"{row[way][metric]:.3f}" if way in row else "" for metric in _SHOWN for way in shown]
        table.add_row(name, *cells)
    return table


def _liar(moot: LocalMoot, task: int, settings: Settings) -> list[str]:
    """Who lied, how often by the ledger, and what the table's column of it is."""
    if settings.attack is None or settings.liar is None:
        return []
    member = list(moot.homes).index(settings.liar)
    finals = moot.homes[settings.witness].moot().finals(task)
    told = sum(final.survivors >> member & 1 for final in finals[settings.grouped : settings.all_rounds])
    return [
        f"liar: {settings.liar} {ATTACKS[settings.attack]}; this went into {told} of {settings.rounds} rounds",
        "undefended: the same liar among the same members, and the plain mean of what they send; computed here",
    ]
