"""The demo, on real processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from folkmoot.cli.demo_settings import Attack
from folkmoot.ledger.records import members_of
from folkmoot.peer.home import Home
from folkmoot.round.commitment import decode_inputs, decode_masked_inputs
from folkmoot.round.fixed import decode_shard
from folkmoot.round.reduce import layout_of, make_contribution
from folkmoot.simulate.lying_worker import SCALE
from folkmoot.task import Context, load_task, make_bundle

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
        # a shell that runs the tests in the background has them, and so their children, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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


def auc_of_all(out: str) -> tuple[float, float, float]:
    """Over everybody's held-out patients, of a demo with a liar: together, undefended, pooled."""
    (row,) = re.findall(r"^all +([\d. ]+)$", out, re.MULTILINE)
    together, undefended, pooled, *_ = map(float, row.split())
    return together, undefended, pooled


def secrecy(out: str) -> list[int]:
    """What a secret demo says: contributions that went in, sums opened, seeds of own masks, seeds of shared ones."""
    (told,) = re.findall(
        r"^secret: no member saw another's contribution: (\d+) went in under masks, and only (\d+) sums, of .*\n"
        r"opened for that: (\d+) seeds of contributors' own masks, (\w+) of masks shared",
        out,
        re.MULTILINE,
    )
    return [0 if number == "none" else int(number) for number in told]


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


def test_in_secret_a_killed_hospital_comes_back_and_only_sums_were_opened(tmp_path: Path) -> None:
    out = finished(demo(tmp_path, "--private", "--keep", tmp_path / "kept"))
    (victim,) = re.findall(r"after round \d+: (\w+) \(process \d+\) is killed with SIGKILL", out)
    assert re.search(rf"{victim} is back: its contribution counts in round (1[1-9]|20)\n", out)
    assert "verified: 20 rounds replayed, every hash holds" in out
    assert verified(tmp_path / "kept").returncode == 0

    home = Home.open(tmp_path / "kept" / "helper")
    finals = home.moot().finals(1)[:20]
    masked, sums, own, shared = secrecy(out)
    survivors = [members_of(final.survivors) for final in finals]
    assert (masked, sums, own) == (sum(map(len, survivors)), 20, sum(map(len, survivors)))
    lost = [set(members_of(final.dealt)) - set(alive) for final, alive in zip(finals, survivors, strict=True)]
    assert shared == sum(len(gone) * len(alive) for gone, alive in zip(lost, survivors, strict=True))
    assert shared >= 3, "the killed one was not waited for"
    for final, gone in zip(finals, lost, strict=True):
        _, seeds = decode_masked_inputs(home.store().get(final.inputs))
        assert not gone & set(seeds)


def test_with_a_liar_and_a_death_the_model_is_as_good_as_without_and_the_plain_mean_is_not(tmp_path: Path) -> None:
    out = finished(demo(tmp_path, "--attack", "sign-flip", "--keep", tmp_path / "kept"))
    (liar,) = re.findall(r"; ([\w-]+) lies: it sends ten times what it learned, the other way round\n", out)
    (victim,) = re.findall(r"after round \d+: ([\w-]+) \(process \d+\) is killed with SIGKILL", out)
    assert victim != liar
    assert (
        f"\nliar: {liar} sends ten times what it learned, the other way round; this went into 20 of 20 rounds\n" in out
    )
    assert "verified: 20 rounds replayed, every hash holds" in out
    assert out.count(" undefended ") == 2
    together, undefended, pooled = auc_of_all(out)
    assert together > pooled - 0.03
    assert together > undefended + 0.3
    assert_first_lie(tmp_path / "kept", liar)


def assert_first_lie(kept: Path, liar: str) -> None:
    """What the liar sent in round 1 is its honest contribution, turned and scaled."""
    home = Home.open(kept / liar)
    member = home.moot().me()
    assert member is not None
    task = load_task(make_bundle(kept / "baselines.py"))
    state, (path,) = task.init(), home.data().values()
    layout = layout_of(task, state)
    honest = make_contribution(task, state, task.load(path), Context(1, bytes(32)), layout).values
    first = home.moot().finals(1)[0]
    (shard,) = decode_inputs(home.store().get(first.inputs))[member.index].shards
    sent = decode_shard(home.store().get(shard), 0, layout, 1)[: layout.values]
    limit = (1 << layout.bits - 1) - 1
    np.testing.assert_array_equal(sent, np.clip(-SCALE * honest, -limit, limit))
    assert honest.any()


@pytest.mark.parametrize("rounds", [4, pytest.param(20, marks=pytest.mark.long)])
def test_a_liar_among_secret_groups_is_held_off(tmp_path: Path, rounds: int) -> None:
    out = finished(demo(tmp_path, "--private", "--attack", "sign-flip", "--rounds", rounds))
    assert "is killed" not in out
    assert f"verified: {rounds + 1} rounds replayed, every hash holds" in out
    assert re.search(rf"^liar: [\w-]+ .*; this went into {rounds} of {rounds} rounds$", out, re.MULTILINE)
    assert secrecy(out) == [12 * rounds, 3 * rounds, 12 * rounds, 0]
    together, undefended, pooled = auc_of_all(out)
    assert together > pooled - 0.08
    assert together > undefended + 0.2


@pytest.mark.long
@pytest.mark.parametrize("attack", [attack.value for attack in Attack])
def test_no_attack_of_a_lone_liar_does_much_against_the_rule(tmp_path: Path, attack: str) -> None:
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        out = finished(demo(folder, "--attack", attack, "--no-kill", "--seed", seed))
        together, _, pooled = auc_of_all(out)
        assert together > pooled - 0.05
        assert "verified: 20 rounds replayed, every hash holds" in out


@pytest.mark.long
def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    hashes = []
    for number, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = finished(demo(folder, "--no-kill", "--rounds", 5, "--peers", 4, "--seed", seed))
        hashes += re.findall(r"model: folkmoot-demo.safetensors, hash ([0-9a-f]{64})", out)
    assert hashes[0] == hashes[1] != hashes[2]
