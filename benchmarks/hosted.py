"""A hosted chain beside the embedded one: a command's transaction, and a round of peers that compute next to nothing.

    python -m benchmarks.hosted [--rounds 30]

Both moots run in this one invocation, on loopback; what is measured is what the way to the host and back costs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.moot import WARM_UP
from benchmarks.report import Row, print_rows
from folkmoot.cli.demo_peers import Peers
from folkmoot.peer.founding import found, join
from folkmoot.peer.local import LocalMoot

NAMES = ("anna", "bert", "carl", "dora")
TASK = Path(__file__).with_name("vector_task.py")
TRANSACTIONS = 40
SHOWN = 0.05
"""Seconds between two transactions: a command's come one by one."""


@contextmanager
def hosted(folder: Path) -> Iterator[tuple[LocalMoot, Peers]]:
    """A moot whose first member hosts the chain, its peers running."""
    first, *others = NAMES
    home, ticket = found(
        folder / first, name="bench", seats=len(NAMES), member=first, hosted=True, listen="127.0.0.1:0"
    )
    homes = {first: home}
    with Peers(homes) as peers:
        _run(peers, first)
        for name in others:
            homes[name], _ = join(folder / name, ticket, member=name)
        _run(peers, *others)
        yield LocalMoot(folder, homes), peers


@contextmanager
def embedded(folder: Path) -> Iterator[tuple[LocalMoot, Peers]]:
    """The same on one file that all share."""
    moot = LocalMoot.found(folder, NAMES, name="bench")
    with Peers(moot.homes) as peers:
        _run(peers, *NAMES)
        yield moot, peers


def _run(peers: Peers, *names: str) -> None:
    for name in names:
        peers.start(name)
    for name in names:
        while (status := peers.status(name)) is None or status.state == "starting":
            peers.check()
            time.sleep(0.02)


def measure(moot: LocalMoot, peers: Peers, folder: Path, rounds: int) -> tuple[float, float]:
    """Seconds of a transaction of a member that does not host, in the median, and of a round."""
    client = moot.homes[NAMES[1]].moot()
    took = []
    for number in range(TRANSACTIONS):
        began = time.perf_counter()
        client.describe(number.to_bytes(32, "big"), 1)
        took.append(time.perf_counter() - began)
        time.sleep(SHOWN)
    data = {}
    for name in NAMES:
        data[name] = folder / f"{name}.txt"
        data[name].write_text("1\n")
    source = folder / "task.py"
    text = TASK.read_text().replace("SIZE = 199_210", "SIZE = 4")
    source.write_text(text.replace("rounds=6", f"rounds={rounds + WARM_UP}"))
    task = moot.offer(source, data, records=1)
    for name in NAMES:
        while (status := peers.status(name)) is None or not any(shown.name for shown in status.tasks):
            peers.check()
            time.sleep(0.02)
    moot.grant(task, NAMES)
    while client.round_view(task).round <= WARM_UP:
        time.sleep(0.002)
    began = time.perf_counter()
    while client.round_view(task).round <= WARM_UP + rounds:
        peers.check()
        time.sleep(0.002)
    return statistics.median(took), (time.perf_counter() - began) / rounds


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args(argv)
    found = []
    for moot_on in (embedded, hosted):
        with tempfile.TemporaryDirectory() as name, moot_on(Path(name) / "moot") as (moot, peers):
            found.append(measure(moot, peers, Path(name), options.rounds))
    (near_send, near_round), (far_send, far_round) = found
    rows = [
        Row("a command's transaction, embedded", near_send * 1000, "ms", "", None, None),
        Row("a command's transaction, hosted", far_send * 1000, "ms", "embedded", far_send / near_send, None),
        Row("a round, embedded", near_round * 1000, "ms", "", None, None),
        Row("a round, hosted", far_round * 1000, "ms", "embedded", far_round / near_round, None),
    ]
    print_rows(f"A hosted chain: {len(NAMES)} peers on loopback, {options.rounds} rounds", rows)
    return rows


if __name__ == "__main__":
    main()
