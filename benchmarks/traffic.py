"""Bytes that a peer sends per round, against its packed contribution (199,210 values of 16 bits).

    python -m benchmarks.traffic [--peers 4 8 16] [--rounds 10]

Up to 8 peers everyone sends its contribution to everyone: n - 1 of them. Above, shards go to r = 3 holders and their
sums come back: at most r + 1, whatever n is. Two moots are run, one of them some rounds longer: the difference is what
a round costs, without the start.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.moot import WARM_UP, measure
from benchmarks.report import Row, print_rows
from benchmarks.vector_task import SIZE

TASK = Path(__file__).with_name("vector_task.py")
REPLICAS = 3


def sent(peers: int, rounds: int) -> tuple[int, ...]:
    """All the bytes each of ``peers`` peers sends in a moot of the warm-up and ``rounds`` rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "task.py"
        text = TASK.read_text().replace("rounds=6", f"rounds={rounds + WARM_UP}")
        source.write_text(text.replace("start_members=4", f"start_members={peers}"))
        data = {f"peer{i}": folder / f"peer{i}.txt" for i in range(peers)}
        for path in data.values():
            path.write_text("nothing\n")
        return measure(folder, source, data, rounds).sent


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(argv)
    packed = 2 * SIZE
    rows = []
    for peers in options.peers:
        short, long = (sent(peers, rounds) for rounds in (1, 1 + options.rounds))
        each = [(after - before) / options.rounds for before, after in zip(short, long, strict=True)]
        mean, most = sum(each) / peers, max(each)
        bar = peers - 1 if peers <= 8 else REPLICAS + 1
        against = f"{packed:,} bytes packed"
        rows.append(Row(f"n = {peers}, mean peer", mean / 1e6, "MB a round", against, mean / packed, bar))
        rows.append(Row(f"n = {peers}, busiest peer", most / 1e6, "MB a round", against, most / packed, None))
    print_rows("Bytes up per peer and round", rows)
    return rows


if __name__ == "__main__":
    main()
