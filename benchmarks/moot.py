"""A moot of real peer processes under measurement: seconds, bytes and CPU per round, the warm-up left out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from folkmoot.cli.demo_peers import Peers
from folkmoot.peer.home import Home
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.status import read_status

__all__ = ["WARM_UP", "Measured", "measure"]

WARM_UP = 3
"""Rounds left out of the measurement: the first imports, the wide first round."""


@dataclass(frozen=True)
class Measured:
    """Per round wall seconds and CPU seconds of all processes; and all the bytes that each peer ever sent."""

    seconds: float
    cpu: float
    sent: tuple[int, ...]


def measure(folder: Path, task: Path, data: Mapping[str, Path], rounds: int) -> Measured:
    """Run one moot of ``data``'s members through ``task``, which must have ``rounds + WARM_UP`` rounds."""
    names = list(data)
    moot = LocalMoot.found(folder, names, name="bench")
    number = moot.offer(task, data, records=100)
    client = moot.homes[names[0]].moot()
    with Peers(moot.homes) as processes:
        for name in names:
            processes.start(name)
        for home in moot.homes.values():
            _until_ready(home, processes)
        moot.grant(number, names)
        while client.round_view(number).round <= WARM_UP:
            processes.check()
            time.sleep(0.005)
        began, cpu = time.perf_counter(), _cpu(os.getpid())
        while client.round_view(number).round <= WARM_UP + rounds:
            processes.check()
            time.sleep(0.005)
        seconds, cpu = time.perf_counter() - began, _cpu(os.getpid()) - cpu
        time.sleep(1.5)  # until every peer has written its status once more
        sent = tuple(_sent(home) for home in moot.homes.values())
    return Measured(seconds / rounds, cpu / rounds, sent)


def _until_ready(home: Home, processes: Peers) -> None:
    while True:
        status = read_status(home)
        if status is not None and status.tasks and status.tasks[0].name:
            return
        processes.check()
        time.sleep(0.05)


def _sent(home: Home) -> int:
    status = read_status(home)
    return status.bytes_sent if status else 0


def _cpu(parent: int) -> float:
    """CPU seconds so far of all processes under ``parent``, itself left out, from the kernel's accounts."""
    used: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            # its own, and that of its children that have ended: workers end with their task
            used[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    family = {parent}
    while more := {pid for pid, (above, _) in used.items() if above in family} - family:
        family |= more
    return sum(used[pid][1] for pid in family - {parent} if pid in used) / os.sysconf("SC_CLK_TCK")
