"""The task that the demo's members grant, a packaged one with the demo's numbers put in, and the files it reads."""

from __future__ import annotations

import math
import re
from pathlib import Path

from folkmoot.cli.demo_settings import Settings
from folkmoot.errors import TaskError

__all__ = ["data_files", "pause", "task_text"]

_CALM_SECONDS = 60
"""Deadlines when nobody is killed: no machine is so slow that a round would go on without a member, which
would make another model."""
_KILL_SECONDS = 3
"""Deadlines when somebody is, beyond the pause: how long the others wait for the dead one, once."""
_USUAL = 5
"""With more peers than this the start of all at once says little of how long one takes by itself."""

_PAUSE = """
# A round of this task takes milliseconds: over before one has seen who was killed and who came back.
import time

_contribute = task.contribute


def _unhurried(state, data, context):
    time.sleep({seconds})
    return _contribute(state, data, context)


task.contribute = _unhurried
"""


def pause(settings: Settings, start_seconds: float) -> float:
    """Seconds that a member takes its time in each round.

    Where one is killed, the rounds that are left when it is started again must not be over before it is back,
    on a machine where all peers take ``start_seconds`` to start; nor should all of them take over 40 seconds.
    """
    if not settings.kill:
        return 0.0
    # Half-way one is killed, one round is made without it, and it has to be back when the last one opens.
    left = max(1, settings.rounds - settings.half - 2)
    start = start_seconds * min(1.0, _USUAL / settings.peers)
    return round(min(40 / settings.rounds, max(0.1, (1.5 * start + 1.0) / left)), 2)


def task_text(settings: Settings, pause: float = 0.0) -> str:
    """The packaged task that is the one for these settings; a member pauses for so many seconds a round."""
    from importlib.resources import files

    name = "heart_guarded" if settings.attack else "heart"
    text = files("folkmoot").joinpath(f"data/tasks/{name}.py").read_text("utf-8")
    count = len(settings.learners)
    seconds = _KILL_SECONDS + math.ceil(pause) if settings.kill else _CALM_SECONDS
    numbers = {
        "rounds": settings.all_rounds,
        "min_members": max(1, count - 1) if settings.kill else count,
        "start_members": count,
        "train_seconds": seconds,
        "exchange_seconds": seconds,
        "final_seconds": seconds,
        "seed": settings.seed,
    }
    for name, value in numbers.items():
        text = _put(text, rf"\b{name}=\d+", f"{name}={value}")
    if settings.private:
        text = _put(text, r"fm\.Policy\(", 'fm.Policy(\n        secrecy="sums",')
    return text + (_PAUSE.format(seconds=pause) if pause else "")


def _put(text: str, pattern: str, value: str) -> str:
    text, found = re.subn(pattern, value, text)
    if found != 1:
        raise TaskError(f"a packaged task has {pattern} {found} times; this installation is damaged")
    return text


def data_files(settings: Settings, folder: Path) -> dict[str, Path]:
    """The file of each peer that has data: the hospitals' own, or those of their clinics, written into ``folder``."""
    from folkmoot.learn.heart import clinics, hospitals

    files = hospitals()
    if settings.attack is None:
        return {name: files[name] for name in settings.learners}
    folder.mkdir()
    dealt = {}
    for hospital, names in settings.clinics.items():
        for name, text in zip(names, clinics(files[hospital], len(names), settings.seed), strict=True):
            dealt[name] = folder / f"{name}.data"
            dealt[name].write_text(text, "ascii")
    return dealt
