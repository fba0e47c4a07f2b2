"""A real Ethereum node for tests: Foundry's anvil, found or fetched, started on a free port, stopped for sure."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "@foundry-rs/anvil@1.7.1"
FETCH_SECONDS = 120
START_SECONDS = 60
# The node ends when its standard input does: when this process closes it, or ends, in whatever manner.
KEEPER = 'trap "" INT; "$@" & child=$!; read -r _; kill -9 $child'


class Anvil:
    """One running node. It makes blocks when it is told to, unless it was started otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rpc(self, method: str, *parameters: Any) -> Any:
        """The result of a JSON-RPC call."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        """Make blocks of what waits."""
        for _ in range(blocks):
            self.rpc("evm_mine")

    def automine(self, on: bool = True) -> None:
        """Make a block for every transaction, or none by itself."""
        self.rpc("evm_setAutomine", on)

    def reorganise(self, depth: int) -> None:
        """Put as many other blocks, all empty, in place of the newest ``depth``; their transactions are lost."""
        self.rpc("anvil_reorg", depth, [])

    def fund(self, *accounts: str, coins: int = 100) -> None:
        """Give each account so many coins."""
        for account in accounts:
            self.rpc("anvil_setBalance", account, hex(coins * 10**18))

    def base_fee(self, gwei: float) -> None:
        """What the next block takes for a unit of gas."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(int(gwei * 1e9)))

    def head(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)


def binary() -> Path:
    """Where anvil is: on PATH, or in a cache that npm fills the first time. Skips the test if it cannot be had."""
    found = _found()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@cache
def _found() -> Path | str:
    """The binary, or why there is none: tried once."""
    if found := shutil.which("anvil"):
        return Path(found)
    folder = Path(os.environ.get("FOLKMOOT_TOOLS") or Path.home() / ".cache" / "folkmoot-tests")
    npm = shutil.which("npm")
    if _fetched(folder) is None and npm is None:
        return "needs anvil on PATH, or npm to fetch it"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test run may be at it
        if _fetched(folder) is None:
            assert npm is not None
            # The package's own scripts are not needed: they only look whether the binary is there.
            command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
            except subprocess.TimeoutExpired:
                return f"npm did not fetch {PACKAGE} within {FETCH_SECONDS} s"
            except subprocess.CalledProcessError as error:
                return f"npm cannot fetch {PACKAGE}: {error.stderr.strip()[-300:]}"
    return _fetched(folder) or f"{PACKAGE} has no binary for this machine"


def _fetched(folder: Path) -> Path | None:
    """The binary that npm laid there, in a package of its own for each kind of machine."""
    return next(iter(sorted(folder.glob("node_modules/@foundry-rs/anvil-*/bin/anvil"))), None)


@contextlib.contextmanager
def anvil(
    *,
    chain_id: int = 31337,
    hardfork: str = "london",
    mining: bool = False,
    block_time: float | None = None,
    base_fee: int | None = None,
    genesis: Path | None = None,
) -> Iterator[Anvil]:
    """A node with a chain of its own. Blocks are made on ``Anvil.mine``; with ``mining`` for every transaction; and
    every ``block_time`` seconds. ``base_fee`` in wei; 0 makes gas free. ``genesis`` is a file."""
    options = ["--port", "0", "--chain-id", str(chain_id), "--hardfork", hardfork, "--accounts", "1"]
    if block_time is not None:
        options += ["--block-time", str(block_time), *(["--mixed-mining"] if mining else [])]
    elif not mining:
        options += ["--no-mining"]
    if genesis is not None:
        options += ["--init", str(genesis)]
    if base_fee is not None:
        options += ["--block-base-fee-per-gas", str(base_fee)]
    if base_fee == 0:
        options += ["--gas-price", "0", "--disable-min-priority-fee"]
    command = ["/bin/sh", "-c", KEEPER, "anvil", str(binary()), *options]
    # to a file: a pipe that nobody reads would stop it when it is full
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output) as node,
    ):
        try:
            yield Anvil(f"http://{_listening(node, output.fileno())}")
        finally:
            assert node.stdin is not None
            node.stdin.close()
            node.wait(timeout=30)


def _listening(node: subprocess.Popen[bytes], output: int) -> str:
    """Address and port that the node chose, once it has said them."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and node.poll() is None:
        said = os.pread(output, 1 << 16, 0).decode()
        for line in said.splitlines(keepends=True):
            if line.startswith("Listening on ") and line.endswith("\n"):
                return line.split()[-1]
        time.sleep(0.005)
    raise AssertionError(f"anvil did not start: {os.pread(output, 2000, 0).decode(errors='replace')}")
