"""What the demo is made with: how many peers and rounds, who is who, the task they grant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from folkmoot.errors import TaskError

__all__ = ["HOSPITALS", "Settings", "task_text"]

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")

_CALM_SECONDS = 60
"""Deadlines when nobody is killed: no machine is so slow that a round would go on without a hospital, which
would make another model."""
_KILL_SECONDS = 3
"""Deadlines when somebody is, beyond the pause: how long the others wait for the dead one, once."""

_PAUSE = """
# A round of this task takes milliseconds: over before one has seen who was killed and who came back.
import time

_contribute = task.contribute


def _unhurried(state, data, context):
    time.sleep({seconds})
    return _contribute(state, data, context)


task.contribute = _unhurried
"""


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    peers: int
    rounds: int
    kill: bool
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the peers: up to four hospitals, and at least one that only helps."""
        helpers = self.peers - len(self.hospitals)
        return self.hospitals + tuple("helper" if i == 0 else f"helper{i + 1}" for i in range(helpers))

    def pause(self, start_seconds: float) -> float:
        """Seconds that a hospital takes its time in each round.

        Where one is killed, the rounds that are left when it is started again must not be over before it is back,
        on a machine where peers take ``start_seconds`` to start; nor should all of them take over 40 seconds.
        """
        if not self.kill:
            return 0.0
        # Half-way one is killed, one round is made without it, and it has to be back when the last one opens.
        left = max(1, self.rounds - self.half - 2)
        return round(min(40 / self.rounds, max(0.1, (1.5 * start_seconds + 1.0) / left)), 2)

    @property
    def half(self) -> int:
        """The final round after which one is killed."""
        return self.rounds // 2

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names of the peers that have data."""
        return HOSPITALS[: min(len(HOSPITALS), self.peers - 1)]


def task_text(settings: Settings, pause: float = 0.0) -> str:
    """The packaged heart task with the demo's numbers put in; a hospital pauses for so many seconds a round."""
    from importlib.resources import files

    text = files("folkmoot").joinpath("data/tasks/heart.py").read_text("utf-8")
    count = len(settings.hospitals)
    seconds = _KILL_SECONDS + math.ceil(pause) if settings.kill else _CALM_SECONDS
    numbers = {
        "rounds": settings.rounds,
        "min_members": max(1, count - 1) if settings.kill else count,
        "start_members": count,
        "train_seconds": seconds,
        "exchange_seconds": seconds,
        "final_seconds": seconds,
        "seed": settings.seed,
    }
    for name, value in numbers.items():
        text, found = re.subn(rf"\b{name}=\d+", f"{name}={value}", text)
        if found != 1:
            raise TaskError(f"the packaged heart task sets {name} {found} times; this installation is damaged")
    return text + (_PAUSE.format(seconds=pause) if pause else "")
