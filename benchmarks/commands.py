"""Commands: CPU seconds of what people type to look, against ``python -c 'import numpy'`` in the same run.

    python -m benchmarks.commands [--rounds 150] [--times 15]

A moot of five on an embedded ledger has made so many rounds of ten transactions; no peer runs. Each command runs
as a process of its own, in turn with the others and with the bound, and the least of all times counts: what disturbs
only adds. The clock is CPU time, so that a busy machine does not change the figures; a command that waits for nobody
takes as long on a free core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.report import Row, print_rows
from benchmarks.start import children_cpu
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import PolicyTerms, Standing
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.status import PeerStatus, TaskStatus, write_status

BARS = {"status": 2.0, "members": 3.0, "tasks": 3.0, "data list": 3.0, "motions": 3.0}
"""At most so many times as much CPU as importing numpy takes."""
NAMES = ("anna", "bert", "carl", "dora", "emil")
TERMS = PolicyTerms(rounds=20, min_members=200, start=200, train_seconds=60, exchange_seconds=60, final_seconds=60)
"""Those of a task that nobody's grants start."""


def moot_with_history(folder: Path, rounds: int) -> Path:
    """A member's folder, in a moot whose ledger has a history of grants taken and given back, ten a round."""
    moot = LocalMoot.found(folder, NAMES, name="busy")
    clients = [home.moot() for home in moot.homes.values()]
    datasets = [client.describe(bytes([9]) * 32, 100) for client in clients]
    task = clients[0].propose(bytes([1]) * 32, bytes([2]) * 32, TERMS)
    motion = clients[0].assembly.move(Kind.STEER, task, Standing.ADOPTED)
    for client in clients[1:]:
        client.assembly.vote(motion, True)
    for _ in range(rounds):
        for client, dataset in zip(clients, datasets, strict=True):
            client.grant(task, dataset, None)
            client.revoke(task)
    home = next(iter(moot.homes.values()))
    write_status(home, PeerStatus(name=NAMES[0], pid=1, tasks=[TaskStatus(task=task, name="busy")]))
    return home.path


def least_cpu(commands: Mapping[str, Sequence[str]], times: int) -> dict[str, float]:
    """The least CPU seconds of each command, of so many turns."""
    least = dict.fromkeys(commands, float("inf"))
    for _ in range(times):
        for name, command in commands.items():
            before = children_cpu()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            least[name] = min(least[name], children_cpu() - before)
    return least


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=150, help="how long the history is, ten transactions each")
    parser.add_argument("--times", type=int, default=15, help="runs of each command")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="folkmoot-benchmark-") as folder:
        home = moot_with_history(Path(folder), options.rounds)
        commands: dict[str, Sequence[str]] = {"numpy": (sys.executable, "-c", "import numpy")}
        commands |= {
            verb: (sys.executable, "-m", "folkmoot", *verb.split(), "--home", str(home)) for verb in ("--help", *BARS)
        }
        commands["--help"] = commands["--help"][:4]
        least = least_cpu(commands, options.times)
    bound = least.pop("numpy")
    rows = [
        Row(f"folkmoot {verb}", 1000 * took, "ms of CPU", f"{1000 * bound:.0f} ms", took / bound, BARS.get(verb))
        for verb, took in least.items()
    ]
    print_rows(
        f"Commands: the least of {options.times}, {10 * options.rounds} transactions, against import numpy", rows
    )
    return rows


if __name__ == "__main__":
    main()
