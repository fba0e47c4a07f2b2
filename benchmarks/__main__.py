"""All benchmarks, one after the other: ``python -m benchmarks``. Each says what it compares with."""

from __future__ import annotations

import importlib
import os
import platform
from pathlib import Path

NAMES = ("rounds", "traffic", "ledger", "transfer", "start")


def machine() -> str:
    """What this was measured on, in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} at the start"


def main() -> None:
    print(f"Measured on: {machine()}")
    for name in NAMES:
        importlib.import_module(f"benchmarks.{name}").main([])


if __name__ == "__main__":
    main()
