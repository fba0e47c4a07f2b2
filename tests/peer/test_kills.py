"""SIGKILL of random peers, the founder included, at random moments, again and again: the moot finishes all the same.

`FOLKMOOT_SEED=n pytest -m long tests/peer/test_kills.py` runs the long test's seed n alone.
"""

import os
import random
import time
from pathlib import Path

import pytest
import rig

from folkmoot.ledger import Phase

NAMES = ["anna", "bert", "carl", "dora"]
WINDOWS = {"train_seconds": 1, "exchange_seconds": 1, "final_seconds": 1}
LONG = [int(os.environ["FOLKMOOT_SEED"])] if "FOLKMOOT_SEED" in os.environ else range(100, 200)


def survive(folder: Path, seed: int, *, rounds: int, kills: int, secrecy: str = "public") -> None:
    """Kill ``kills`` times while ``rounds`` rounds are made; then every peer's history must replay to one model."""
    chance = random.Random(seed)
    print(f"FOLKMOOT_SEED={seed}")
    policy = {"rounds": rounds, "start_members": 4, "secrecy": secrecy, **WINDOWS}
    source = rig.tiny_task(folder / "task.py", pause=0.05, size=20_000, **policy)
    with rig.moot(folder / "moot", NAMES, seed=seed) as moot:
        task = moot.offer(source, rig.tiny_data(folder, NAMES))
        down: dict[str, float] = {}
        while kills and not done(moot, task):
            time.sleep(chance.uniform(0.0, 0.5))
            calm = chance.random() < 0.4
            for name in [name for name, back in down.items() if calm or back <= time.monotonic()]:
                del down[name]
                moot.start(name)
            moot.check()
            round = moot.view(task).round
            if calm:
                moot.until("a round is made", lambda round=round: moot.view(task).round > round or done(moot, task))
            elif up := [name for name in NAMES if name not in down]:
                victim = chance.choice(up)
                moot.kill(victim)
                down[victim] = time.monotonic() + chance.uniform(0.0, 1.0)
                kills -= 1
                print(f"killed {victim} in round {round}")
        if down:
            moot.start(*down)
        model = moot.finish(task)
        moot.filled(task)
        for name in NAMES:
            report = moot.verify(name)
            assert (report.rounds, report.models) == (rounds, {task: model}), f"seed {seed}, the blobs of {name}"
            assert not [r for r in moot.log(name) if "internal error" in str(r.get("message"))], f"seed {seed}"


def done(moot: rig.Rig, task: int) -> bool:
    return moot.view(task).phase is Phase.DONE


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_cost_time_only(tmp_path: Path, seed: int) -> None:
    survive(tmp_path, seed, rounds=5, kills=4)


def test_random_kills_cost_masked_rounds_time_only(tmp_path: Path) -> None:
    survive(tmp_path, 3, rounds=5, kills=4, secrecy="sums")


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG[:30])
def test_thirty_runs_of_masked_rounds_with_random_kills_all_end_with_one_model_that_replays(
    tmp_path: Path, seed: int
) -> None:
    survive(tmp_path, seed, rounds=12, kills=8, secrecy="sums")


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG)
def test_a_hundred_runs_with_random_kills_all_end_with_one_model_that_replays(tmp_path: Path, seed: int) -> None:
    survive(tmp_path, seed, rounds=12, kills=8)
