"""Round overhead: 8 peers as processes against the bare training loop of the same work.

    python -m benchmarks.rounds [--peers 8] [--rounds 20]

Both run in this one invocation. The bare loop trains every peer's 100 samples one after the other on one core, with no
copies of the model, no aggregation and no network; the moot does the same steps in eight peer processes, commits
them on the embedded ledger, exchanges, sums, updates and signs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.moot import WARM_UP, Measured, measure
from benchmarks.report import Row, print_rows

BARS = {"public": 1.5, "sums": 2.0}
"""For each secrecy how many times the bare loop a round may take."""
TASK = Path(__file__).with_name("mlp_task.py")


def bare_seconds(peers: int, rounds: int) -> float:
    """Seconds per round of the bare loop."""
    import torch
    from torch import nn, optim

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    loss, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.01)
    x, y = map(torch.as_tensor, dataset(0))
    began = 0.0
    for number in range(rounds + WARM_UP):
        if number == WARM_UP:
            began = time.perf_counter()
        for _ in range(peers):
            for at in range(0, 100, 10):
                optimizer.zero_grad()
                loss(model(x[at : at + 10]), y[at : at + 10]).backward()
                optimizer.step()
    return (time.perf_counter() - began) / rounds


def dataset(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """100 samples of 784 features and 10 classes; their values do not change the work."""
    random = np.random.default_rng(seed)
    return random.normal(size=(100, 784)).astype(np.float32), random.integers(0, 10, 100)


def moot(peers: int, rounds: int, secrecy: str) -> Measured:
    """The same work as a moot of ``peers`` processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {f"peer{i}": folder / f"peer{i}.npz" for i in range(peers)}
        for index, path in enumerate(data.values()):
            x, y = dataset(index)
            np.savez(path, x=x, y=y)
        source = folder / "task.py"
        text = TASK.read_text().replace("rounds=20", f'secrecy="{secrecy}", rounds={rounds + WARM_UP}')
        source.write_text(text.replace("start_members=8", f"start_members={peers}"))
        return measure(folder, source, data, rounds)


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(argv)
    bare, found = [bare_seconds(options.peers, options.rounds)], {}
    for secrecy in BARS:
        found[secrecy] = moot(options.peers, options.rounds, secrecy)
        bare.append(bare_seconds(options.peers, options.rounds))
    loop = sum(bare) / len(bare)
    rows = [Row("bare training loop", loop * 1000, "ms a round", "", None, None)]
    for secrecy, bar in BARS.items():
        seconds, cpu = found[secrecy].seconds, found[secrecy].cpu
        rows += [
            Row(f"moot, policy `{secrecy}`", seconds * 1000, "ms a round", "bare loop", seconds / loop, bar),
            Row(f"moot, `{secrecy}`, CPU of all processes", cpu * 1000, "ms a round", "bare loop", cpu / loop, None),
        ]
    more = found["sums"].seconds / found["public"].seconds
    rows.append(Row("masks: `sums` over `public`", found["sums"].seconds * 1000, "ms a round", "public", more, None))
    print_rows(f"Round overhead: {options.peers} peers, 199,210 parameters, {options.rounds} rounds", rows)
    return rows


if __name__ == "__main__":
    main()
