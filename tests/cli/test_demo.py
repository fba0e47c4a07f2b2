"""The demo, on real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

PATIENCE = 180
pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")


def demo(folder: Path, *options: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "folkmoot", "demo", *map(str, options)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )


def finished(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{out}\n{err}"
    return out


def verified(kept: Path) -> "subprocess.CompletedProcess[str]":
    """What someone without part in the moot gets from its ledger and one peer's blobs."""
    given = ("--ledger", kept / "ledger.sqlite", "--blobs", kept / "helper" / "blobs")
    return subprocess.run([sys.executable, "-m", "folkmoot", "verify", *given], capture_output=True, text=True)


def running_below(folder: Path) -> list[str]:
    """Command lines of all processes that name ``folder``: the peers of a demo there, and their workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(str(folder).encode() in word for word in words):
                found.append(b" ".join(words).decode())
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def _nothing_is_left_running(tmp_path: Path) -> Iterator[None]:
    yield
    wait_until(lambda: not running_below(tmp_path), f"still running: {running_below(tmp_path)}")


def test_a_killed_hospital_comes_back_and_every_hash_holds(tmp_path: Path) -> None:
    out = finished(demo(tmp_path, "--keep", tmp_path / "kept"))
    (victim,) = re.findall(r"after round \d+: (\w+) \(process \d+\) is killed with SIGKILL", out)
    assert re.search(rf"after round \d+: {victim} is started again", out)
    assert re.search(rf"{victim} is back: its contribution counts in round (1[1-9]|20)\n", out)
    assert "verified: 20 rounds replayed, every hash holds" in out
    model = load_file(tmp_path / "kept" / "model.safetensors")
    assert model["weights"].shape == (13,)
    for hospital in ("cleveland", "hungarian", "switzerland", "va", "all"):
        assert re.search(rf"^{hospital} .*0\.\d\d\d", out, re.MULTILINE)

    assert verified(tmp_path / "kept").returncode == 0
    blob = max((tmp_path / "kept" / "helper" / "blobs" / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(content)
    broken = verified(tmp_path / "kept")
    assert broken.returncode == 1
    assert blob.name in broken.stderr
    assert broken.stderr.count("\n") == 1


def test_ctrl_c_leaves_no_process_and_no_folder_behind(tmp_path: Path) -> None:
    process = demo(tmp_path, "--rounds", 1000)
    wait_until(lambda: len(running_below(tmp_path)) >= 5, "the peers did not start")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "no peer is left running" in err
    assert "Traceback" not in err
    assert running_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_killed_takes_its_peers_along(tmp_path: Path) -> None:
    process = demo(tmp_path, "--rounds", 1000, "--no-kill")
    wait_until(lambda: len(running_below(tmp_path)) >= 5, "the peers did not start")
    process.kill()
    process.communicate()
    wait_until(lambda: not running_below(tmp_path), "the peers outlive the demo")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = demo(tmp_path, "--keep", tmp_path)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "is not empty" in err


@pytest.mark.long
def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = finished(demo(folder, "--no-kill", "--rounds", 5, "--peers", 4, "--seed", seed))
        hashes += re.findall(r"model: folkmoot-demo.safetensors, hash ([0-9a-f]{64})", out)
    assert hashes[0] == hashes[1] != hashes[2]
