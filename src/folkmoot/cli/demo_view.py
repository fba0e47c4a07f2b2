"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from folkmoot.cli.show import sparkline

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from folkmoot.peer.status import PeerStatus, TaskStatus

__all__ = ["Scene", "View"]


@dataclass
class Scene:
    """All that is to be seen at one moment."""

    rounds: int
    statuses: dict[str, PeerStatus | None]
    dead: str | None = None
    """The peer that is killed and not started again."""
    liar: str | None = None
    """The peer that lies."""
    notes: list[str] = field(default_factory=list)
    """What happened, in order: said once on a plain output, shown under the table on a terminal."""

    def task(self, name: str) -> TaskStatus | None:
        """The one task, as the peer ``name`` sees it."""
        status = self.statuses.get(name)
        return status.tasks[0] if status is not None and status.tasks else None

    @property
    def final(self) -> int:
        """How many rounds are final, as far as any living peer knows."""
        return max((self._finished(name) for name in self.statuses), default=0)

    @property
    def measured(self) -> bool:
        """Whether the final model was measured."""
        return any((task := self.task(name)) is not None and task.measured for name in self.statuses)

    @property
    def metrics(self) -> Mapping[str, list[tuple[int, float]]]:
        """The moot's metrics by round, from the peer that knows most."""
        known = [task.metrics for name in self.statuses if (task := self.task(name)) is not None]
        return max(known, key=lambda metrics: max(map(len, metrics.values()), default=0), default={})

    def _finished(self, name: str) -> int:
        task = self.task(name)
        return 0 if task is None else task.final


class View:
    """Shows scenes as they change. On a terminal all in one table; elsewhere a line for each final round and note.

    ``began`` is the moment, by ``time.monotonic``, from which seconds are counted.
    """

    def __init__(self, console: Console, began: float) -> None:
        self._console = console
        self._live = console.is_terminal
        self._round = 0
        self._measured = False
        self._said = 0
        self._began = began

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While scenes are shown; the last one stays on the screen."""
        if not self._live:
            yield
            return
        from rich.live import Live

        with Live(console=self._console, auto_refresh=False, redirect_stderr=False) as live:
            self._screen = live
            yield

    def show(self, scene: Scene) -> None:
        """Bring the output up to date."""
        if self._live:
            self._screen.update(_table(scene, self._elapsed()), refresh=True)
            return
        for note in scene.notes[self._said :]:
            self._line(note)
        self._said = len(scene.notes)
        if scene.final > self._round:
            self._round = scene.final
            self._line(f"round {self._round} of {scene.rounds} is final{_measured(scene)}")
        if scene.measured and not self._measured:
            self._measured = True
            self._line(f"the final model is measured: {_figures(scene)}")

    def _line(self, text: str) -> None:
        self._console.print(f"{self._elapsed():5.1f} s  {text}", markup=False, highlight=False, soft_wrap=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _measured(scene: Scene) -> str:
    """The newest metrics. Those of a round's model are summed with the contributions of the next round."""
    measured = max((points[-1][0] for points in scene.metrics.values() if points), default=None)
    return "" if measured is None else f"; after round {measured}: {_figures(scene)}"


def _figures(scene: Scene) -> str:
    return ", ".join(f"{name} {points[-1][1]:.4f}" for name, points in scene.metrics.items() if points)


def _table(scene: Scene, elapsed: float) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, expand=False)
    table.add_column("peer", min_width=12)
    table.add_column("phase", min_width=12)
    for column in ("round", "norm", "sent kB", "received kB"):
        table.add_column(column, justify="right", min_width=7)
    for name in scene.statuses:
        table.add_row(*_row(scene, name), style=_style(scene, name))
    heading = Text(f"round {min(scene.final + 1, scene.rounds)} of {scene.rounds}, {elapsed:.0f} s", style="bold")
    parts: list[RenderableType] = [heading, Text(), table, Text()]
    for metric, points in scene.metrics.items():
        if points:
            values = [value for _, value in points]
            parts.append(Text(f"{metric:<9} {values[-1]:8.4f}  {sparkline(values, 40)}"))
    parts += [Text(), *(Text(note, style="yellow") for note in scene.notes)]
    return Group(*parts)


def _style(scene: Scene, name: str) -> str:
    if name == scene.dead:
        return "bold red"
    return "magenta" if name == scene.liar else ""


def _row(scene: Scene, name: str) -> tuple[str, ...]:
    status, task = scene.statuses[name], scene.task(name)
    if name == scene.dead:
        return (name, "KILLED", "", "", "", "")
    if status is None:
        return (name, "starting", "", "", "", "")
    phase = status.state if task is None else task.phase
    return (
        name,
        phase,
        "" if task is None else str(task.round),
        "" if task is None or task.norm is None else f"{task.norm:.4f}",
        f"{status.bytes_sent / 1e3:.1f}",
        f"{status.bytes_received / 1e3:.1f}",
    )
