"""All benchmarks, one after the other: ``python -m benchmarks [--write FILE] [NAME ...]``.

Each compares with a peer or a bound in the same run. ``--write`` puts what was printed into a Markdown file, between
its two ``measured`` marks.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import platform
import sys
from pathlib import Path

NAMES = ("rounds", "secagg", "traffic", "ledger", "transfer", "start", "commands")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


class _Both(io.StringIO):
    """What is printed goes to the terminal too."""

    def write(self, text: str) -> int:
        sys.__stdout__.write(text)  # type: ignore[union-attr]
        return super().write(text)


def machine() -> str:
    """What this was measured on, in one line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (all)")
    parser.add_argument("--write", type=Path, help="a Markdown file with the two marks")
    options = parser.parse_args()
    printed = _Both()
    with contextlib.redirect_stdout(printed):
        modules = [importlib.import_module(f"benchmarks.{name}") for name in options.names or NAMES]
        if any(getattr(module, "TIMED", True) for module in modules):
            print(f"Measured on: {machine()}.")
        for module in modules:
            module.main([])
    if options.write:
        before, rest = options.write.read_text().split(BEGIN)
        _, after = rest.split(END)
        options.write.write_text(f"{before}{BEGIN}\n{printed.getvalue().strip()}\n{END}{after}")


if __name__ == "__main__":
    main()
