"""A peer that is killed at one exact point of its work, at every point in turn, and started again each time.

Every round needs all four members, so the moot comes to its end only if the killed one recovers from each crash.
"""

import functools
import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rig

from folkmoot.ledger import Moot, Phase
from folkmoot.peer.compute import Compute
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.journal import Journal
from folkmoot.peer.session import TaskSession
from folkmoot.peer.voice import Voice
from folkmoot.round import members_of

NAMES = ["anna", "bert", "carl", "dora"]
PLACES: dict[str, type] = {kind.__name__: kind for kind in (Compute, Exchange, Journal, Moot, TaskSession, Voice)}
POINTS = [
    "before TaskSession.start",
    "after TaskSession.start",
    "before TaskSession._do_open",
    "after TaskSession._do_open",
    "before TaskSession._do_train",
    "before Journal.remember",
    "after Journal.remember",
    "after Compute.train",
    "before Moot.commit",
    "after Moot.commit",
    "before Exchange.push",
    "after Exchange.push",
    "before Voice.send_holding",
    "before Moot.freeze",
    "after Moot.freeze",
    "before TaskSession._do_sum",
    "after TaskSession._do_sum",
    "before TaskSession._do_update",
    "after Compute.update",
    "before Voice.send_model",
    "after Voice.send_model",
    "before Moot.finalise",
    "after Moot.finalise",
]


def crash(point: str) -> None:
    """From now on this process dies as by a power cut when it comes to the point."""
    when, _, place = point.partition(" ")
    kind, _, name = place.partition(".")
    whole = getattr(PLACES[kind], name)
    setattr(PLACES[kind], name, dying(whole, when))


def dying(whole: Callable[..., Any], when: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(whole):

        @functools.wraps(whole)
        async def waiting(*arguments: Any, **named: Any) -> Any:
            if when == "after":
                await whole(*arguments, **named)
            os.kill(os.getpid(), signal.SIGKILL)

        return waiting

    @functools.wraps(whole)
    def calling(*arguments: Any, **named: Any) -> Any:
        if when == "after":
            whole(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    return calling


def test_a_peer_recovers_from_a_crash_at_every_point_of_a_round(tmp_path: Path) -> None:
    rig.side_by_side([functools.partial(recover, tmp_path / str(part), POINTS[part::3]) for part in range(3)])


def recover(folder: Path, points: list[str]) -> None:
    folder.mkdir()
    rounds = 4 + 2 * len(points)
    windows = {"train_seconds": 1, "exchange_seconds": 1, "final_seconds": 1}
    source = rig.tiny_task(folder / "task.py", rounds=rounds, min_members=4, pause=0.01, **windows)
    with rig.moot(folder / "moot", NAMES) as moot:
        task = moot.offer(source, rig.tiny_data(folder, NAMES))
        moot.kill("dora")
        for point in points:
            moot.start("dora", before=crash, arguments=(point,))
            dora = moot.processes.pop("dora")
            moot.until(f"dora dies {point}", lambda dora=dora: not dora.is_alive())
            assert dora.exitcode == -signal.SIGKILL
            print(point, "in round", moot.view(task).round)
        assert moot.view(task).phase is not Phase.DONE
        moot.start("dora")
        model = moot.finish(task)
        assert {members_of(final.survivors) for final in moot.finals(task)} == {(0, 1, 2, 3)}
        moot.filled(task)
        for name in NAMES:
            assert moot.verify(name).models == {task: model}
