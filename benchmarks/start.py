"""Start: seconds from the command ``folkmoot demo`` until the first round is final, and where they go.

    python -m benchmarks.start [--times 3]

The clock starts before the command's process does and stops when the demo says on its (plain) output that a round is
final: five peers in processes of their own, each with a worker, have started, joined and trained by then. The stages in
between are read from the peers' logs. Given is the run with the median total.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import Row, print_rows

BAR = 5.0
"""Seconds from the command to the first final round."""
IMPORTS = ("folkmoot.peer.daemon", "folkmoot.peer.worker", "folkmoot.cli")


class Start(NamedTuple):
    """Seconds since the command: founding begins, all peers run, all have the task, a round is final; and the CPU
    seconds of all processes, of the rounds after it too.
    """

    founding: float
    running: float
    ready: float
    final: float
    cpu: float


def start(folder: Path) -> Start:
    """Run the demo once, keeping everything in ``folder``."""
    command = [sys.executable, "-m", "folkmoot", "demo", "--no-kill", "--rounds", "3", "--keep", str(folder)]
    began, used = time.time(), children_cpu()
    founding = final = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("founding"):
                founding = time.time() - began
            if "is final" in line and not final:
                final = time.time() - began
    if demo.returncode:
        raise SystemExit(f"the demo ended with status {demo.returncode}")
    logs = list(folder.glob("*/log.jsonl"))
    running, ready = (max(_moment(log, event) for log in logs) - began for event in ("started", "task"))
    return Start(founding, running, ready, final, children_cpu() - used)


def import_seconds(module: str) -> float:
    """CPU seconds of a Python that imports ``module`` and ends: the least of five, since what disturbs only adds."""
    least = float("inf")
    for _ in range(5):
        before = children_cpu()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        least = min(least, children_cpu() - before)
    return least


def _moment(log: Path, event: str) -> float:
    """When a peer's log first tells of ``event``, in Unix seconds."""
    entries = map(json.loads, log.read_text().splitlines())
    return float(next(entry["time"] for entry in entries if entry["event"] == event))


def children_cpu() -> float:
    """CPU seconds of this process's children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="demos to run")
    options = parser.parse_args(argv)
    runs = []
    for _ in range(options.times):
        with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
            runs.append(start(Path(folder)))
    median = sorted(runs, key=lambda run: run.final)[len(runs) // 2]
    imports = {module: import_seconds(module) for module in IMPORTS}
    rows = [
        Row("command to first final round", median.final, "s", f"{BAR:g} s", median.final / BAR, 1.0),
        Row("of that: until founding begins", median.founding, "s", "", None, None),
        Row("founding, five joins, all peers running", median.running - median.founding, "s", "", None, None),
        Row("task proposed, in every worker", median.ready - median.running, "s", "", None, None),
        Row("grants, first round, shown", median.final - median.ready, "s", "", None, None),
        Row("CPU of all processes, whole demo", median.cpu, "s", "", None, None),
        *(Row(f"CPU of import {module}", seconds * 1000, "ms", "", None, None) for module, seconds in imports.items()),
    ]
    print_rows(f"Start: folkmoot demo, 5 peers, the median of {len(runs)}", rows)
    return rows


if __name__ == "__main__":
    main()
