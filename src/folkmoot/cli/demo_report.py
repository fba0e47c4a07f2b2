"""What the demo ends with: who gained what, where the model is, and the proof."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from folkmoot.cli.demo_settings import Settings, task_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from folkmoot.peer.local import LocalMoot
    from folkmoot.task import State

__all__ = ["report"]

_SHOWN = {"auc": "AUC", "accuracy": "accuracy"}
_WAYS = ("alone", "together", "pooled")


def report(moot: LocalMoot, task: int, settings: Settings, console: Console, model: Path) -> None:
    """Print the table of held-out quality, write the model to ``model``, and replay the whole history.

    Raises what ``verify`` raises when anything does not hold.
    """
    from folkmoot.peer.offering import export
    from folkmoot.peer.verify import verify
    from folkmoot.task import read_state

    home = moot.homes[settings.names[-1]]
    final = export(home, task, model)
    state = read_state(home.store().get(final.model))
    console.print()
    console.print(_table(settings, moot.folder, state))
    console.print()
    _say(console, f"model: {model}, hash {final.model.hex()}")
    # The last peer had no data and saw every round from the ledger; whatever it lacks, the others' disks have.
    others = [other.blobs for name, other in moot.homes.items() if name != settings.names[-1]]
    proof = verify(Path(home.config.ledger), home.config.contract, [home.blobs, *others])
    _say(console, f"verified: {proof.rounds} rounds replayed, every hash holds")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(settings: Settings, folder: Path, together: State) -> Table:
    from rich.table import Table

    table = Table(title="held-out quality", title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("\nhospital", min_width=12)
    for metric in _SHOWN.values():
        for way in _WAYS:
            table.add_column(f"{metric}\n{way}", justify="right", style="bold" if way == "together" else "")
    for name, row in _rows(settings, folder, together):
        cells = [f"{row[way][metric]:.3f}" if way in row else "" for metric in _SHOWN for way in _WAYS]
        table.add_row(name, *cells)
    return table


def _rows(settings: Settings, folder: Path, together: State) -> list[tuple[str, dict[str, dict[str, float]]]]:
    """For each hospital, and all: the metrics of each way to train on its held-out patients."""
    from folkmoot.learn import alone, held_out, hospitals, pooled
    from folkmoot.task import load_task, make_bundle

    source = folder / "baselines.py"
    source.write_text(task_text(settings))
    task = load_task(make_bundle(source))
    files = hospitals()
    datasets = {name: task.load(str(files[name])) for name in settings.hospitals}
    best = pooled(task, list(datasets.values()))
    rows = []
    for name, data in datasets.items():
        ways = {"alone": alone(task, data), "together": together, "pooled": best}
        rows.append((name, {way: held_out(task, state, data) for way, state in ways.items()}))
    ways = {"together": together, "pooled": best}
    rows.append(("all", {way: held_out(task, state, *datasets.values()) for way, state in ways.items()}))
    return rows
