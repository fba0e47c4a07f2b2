"""Round overhead: 8 peers as processes against the bare training loop of the same work.

    python -m benchmarks.rounds [--peers 8] [--rounds 20]

Both run in this one invocation. The bare loop trains every peer's 100 samples one after the other on one core, with no
copies of the model, no aggregation and no network; the moot does the same steps in eight peer processes, commits
them on the embedded ledger, exchanges, sums, updates and signs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.report import Row, print_rows
from folkmoot.cli.demo_peers import Peers
from folkmoot.ledger import Phase
from folkmoot.peer.local import LocalMoot

TASK = Path(__file__).with_name("mlp_task.py")
WARM_UP = 3
"""Rounds left out of the measurement: the first imports, the wide first round."""


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


def moot_seconds(peers: int, rounds: int, folder: Path) -> tuple[float, list[tuple[int, int]], float]:
    """Seconds per round of the moot, each peer's bytes (sent, received), and CPU seconds of all processes per round."""
    names = [f"peer{i}" for i in range(peers)]
    data = {}
    for index, name in enumerate(names):
        x, y = dataset(index)
        data[name] = folder / f"{name}.npz"
        np.savez(data[name], x=x, y=y)
    text = TASK.read_text().replace("rounds=20", f"rounds={rounds + WARM_UP}")
    source = folder / "task.py"
    source.write_text(text.replace("start_members=8", f"start_members={peers}"))
    moot = LocalMoot.found(folder, names, name="bench")
    task = moot.offer(source, data, records=100)
    with Peers(moot.homes) as processes:
        for name in names:
            processes.start(name)
        _until_ready(moot)
        moot.grant(task, names)
        client = moot.homes[names[0]].moot()
        began = ended = cpu = 0.0
        while True:
            view = client.round_view(task)
            if not began and view.round > WARM_UP:
                began, cpu = time.perf_counter(), _cpu(processes)
            if view.phase is Phase.DONE:
                ended, cpu = time.perf_counter(), _cpu(processes) - cpu
                break
            processes.check()
            time.sleep(0.005)
        time.sleep(0.5)
        traffic = [_traffic(home) for home in moot.homes.values()]
    return (ended - began) / rounds, traffic, cpu / rounds


def _until_ready(moot: LocalMoot) -> None:
    from folkmoot.peer.status import read_status

    for home in moot.homes.values():
        while True:
            status = read_status(home)
            if status is not None and status.tasks and status.tasks[0].name:
                break
            time.sleep(0.05)


def _traffic(home: object) -> tuple[int, int]:
    from folkmoot.peer.status import read_status

    status = read_status(home)  # type: ignore[arg-type]
    assert status is not None
    return status.bytes_sent, status.bytes_received


def _cpu(processes: Peers) -> float:
    """CPU seconds so far of the peers and their workers, from the kernel's accounts."""
    ticks = 0
    ours = {process.pid for process in processes._processes.values()}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(entry.name) in ours or int(fields[1]) in ours:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args(argv)
    bare = bare_seconds(options.peers, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        moot, _, cpu = moot_seconds(options.peers, options.rounds, Path(folder))
    again = bare_seconds(options.peers, options.rounds)
    bare = (bare + again) / 2
    rows = [
        Row("bare training loop", bare * 1000, "ms a round", "", None, None),
        Row("moot, public policy", moot * 1000, "ms a round", "bare loop", moot / bare, 1.5),
        Row("moot, CPU of all processes", cpu * 1000, "ms a round", "bare loop", cpu / bare, None),
    ]
    print_rows(f"Round overhead: {options.peers} peers, 199,210 parameters, {options.rounds} rounds", rows)
    return rows


if __name__ == "__main__":
    main()
