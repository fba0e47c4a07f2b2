"""What each call costs, pinned: a change of price shows up in review. ``FOLKMOOT_GAS=write`` takes the new prices, and
``python -m benchmarks gas --write docs/ledger.md`` puts them into the page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.gas import SIZES, TERMS, Priced, prices_among
from folkmoot.ledger import PolicyTerms
from folkmoot.ledger.records import bitmap_of

SNAPSHOT = Path(__file__).with_name("gas.json")
BLOCK = 30_000_000
"""Gas of one block, on Ethereum and on the embedded chain."""
MEASURED = {"commit_all": 150_600, "commit": 52_400, "freeze": 113_500, "finalise": 132_700, "round": 396_800}
"""What an anvil node said each took in a moot of ten."""


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, int]]:
    folder = tmp_path_factory.mktemp("prices")
    return {n: prices_among(n, folder) for n in SIZES}


def test_every_call_costs_what_the_snapshot_says(prices: dict[int, dict[str, int]]) -> None:
    found = {f"n={n}": dict(sorted(each.items())) for n, each in prices.items()}
    if os.environ.get("FOLKMOOT_GAS") == "write":
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    assert json.loads(SNAPSHOT.read_text()) == found


def test_a_round_of_ten_members_costs_less_than_400_000_gas(prices: dict[int, dict[str, int]]) -> None:
    assert prices[10]["round"] < 400_000


def test_prices_are_those_of_a_real_node_to_one_percent(prices: dict[int, dict[str, int]]) -> None:
    for name, gas in MEASURED.items():
        assert prices[10][name] == pytest.approx(gas, rel=0.01), name


@pytest.mark.long
def test_each_step_of_a_full_moot_of_256_takes_a_fraction_of_a_block(tmp_path: Path) -> None:
    moot = Priced(tmp_path, 256)
    task = moot.start(256, PolicyTerms(**{**vars(TERMS), "start": 256}))
    moot.commit_all(task, range(256))
    moot.freeze(task, bitmap_of(range(256)))
    moot.finalise(task)
    moot.expel(task, 255)
    steps = {name: gas for name, gas in moot.prices.items() if not name.startswith("deploy")}
    assert max(steps.values()) < BLOCK // 5, steps
