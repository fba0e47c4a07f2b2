"""Follow docs/quickstart.md to the letter: every shell block, in a shell, in order."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from folkmoot.peer.sandbox import VARIABLE, trouble

QUICKSTART = Path(__file__).parents[2] / "docs" / "quickstart.md"
PATIENCE = 120
"""Seconds that a reader would wait for what the text says is about to happen."""


def blocks() -> list[tuple[str, list[str]]]:
    """Heading and commands of each shell block."""
    found = []
    for section in re.split(r"^## ", QUICKSTART.read_text(), flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        found += [(heading, block.strip().splitlines()) for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]
    return found


@dataclass
class Reader:
    """Someone at six terminals."""

    folder: Path
    said: dict[str, str] = field(default_factory=dict)
    peers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FOLKMOOT")}
        # Who has no bubblewrap is told what to do about it, at the top; here it is done.
        without = {} if trouble() is None else {VARIABLE: "none"}
        return clean | without | {"PATH": path, "HOME": str(self.folder), "COLUMNS": "200"}

    def follow(self, commands: list[str]) -> None:
        exports = [command for command in commands if command.startswith("export ")]
        for command in commands:
            script = "\n".join(["set -e -o pipefail", *exports, command])
            if command == "folkmoot run":
                self.homes += re.findall(r"FOLKMOOT_HOME=\$PWD/(\w+)", "".join(exports))
                self.peers.append(self.start(script.replace("folkmoot run", "exec folkmoot run")))
            else:
                self.said[command] = self.run(script)

    def start(self, script: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["bash", "-c", script], cwd=self.folder, env=self.environment())

    def run(self, script: str) -> str:
        """Run it; where it says to wait a moment, do so and try again."""
        give_up = time.monotonic() + PATIENCE
        while True:
            ran = subprocess.run(
                ["bash", "-c", script], cwd=self.folder, env=self.environment(), capture_output=True, text=True
            )
            if ran.returncode == 0:
                return ran.stdout
            assert "try again" in ran.stderr, ran.stderr
            assert time.monotonic() < give_up, ran.stderr
            time.sleep(0.5)

    def wait_until_done(self) -> None:
        give_up = time.monotonic() + PATIENCE
        while True:
            statuses = [json.loads(self.run(f"folkmoot status --json --home {home}")) for home in self.homes]
            if all(status and status["tasks"] and status["tasks"][0]["phase"] == "done" for status in statuses):
                return
            assert time.monotonic() < give_up, statuses
            time.sleep(1.0)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    for peer in reader.peers:
        peer.kill()
        peer.wait()


def test_a_reader_of_the_quickstart_gets_a_verified_model(reader: Reader) -> None:
    for heading, commands in blocks():
        if any("verify" in command for command in commands):
            reader.wait_until_done()
        reader.follow(commands)
        assert all(peer.poll() is None for peer in reader.peers), heading
    proof = "verified: 20 rounds replayed, every hash holds\n"
    verifications = [said for command, said in reader.said.items() if "verify" in command]
    assert len(verifications) == 2
    assert all(said.endswith(proof) for said in verifications)
    assert (reader.folder / "model.safetensors").stat().st_size > 0

    for peer in reader.peers:
        peer.send_signal(signal.SIGINT)
    assert [peer.wait(PATIENCE) for peer in reader.peers] == [0] * 5
