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

from benchmarks.moot import WARM_UP, measure
from benchmarks.report import Row, print_rows

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


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(argv)
    before = bare_seconds(options.peers, options.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {f"peer{i}": folder / f"peer{i}.npz" for i in range(options.peers)}
        for index, path in enumerate(data.values()):
            x, y = dataset(index)
            np.savez(path, x=x, y=y)
        source = folder / "task.py"
        text = TASK.read_text().replace("rounds=20", f"rounds={options.rounds + WARM_UP}")
        source.write_text(text.replace("start_members=8", f"start_members={options.peers}"))
        found = measure(folder, source, data, options.rounds)
    bare = (before + bare_seconds(options.peers, options.rounds)) / 2
    rows = [
        Row("bare training loop", bare * 1000, "ms a round", "", None, None),
        Row("moot, public policy", found.seconds * 1000, "ms a round", "bare loop", found.seconds / bare, 1.5),
        Row("moot, CPU of all processes", found.cpu * 1000, "ms a round", "bare loop", found.cpu / bare, None),
    ]
    print_rows(f"Round overhead: {options.peers} peers, 199,210 parameters, {options.rounds} rounds", rows)
    return rows


if __name__ == "__main__":
    main()
