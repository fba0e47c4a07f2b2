"""What each call costs, pinned: a change of price shows up in review. ``FOLKMOOT_GAS=write`` takes the new prices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boa
import pytest
from moot_world import TERMS, VOUCHER, World, account, bits, commitment, deployer, fields, later

from folkmoot.ledger import abi, statements

SNAPSHOT = Path(__file__).with_name("gas.json")
BLOCK = 30_000_000
"""Gas of one block, on Ethereum and on the embedded chain."""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with boa.env.anchor():
        yield


def price(data: bytes, computation: Any, *, creates: bool = False) -> int:
    """What a transaction pays (EIP-2028, 3529, 3860): its own cost, its data, what it did, less the refund."""
    intrinsic = 21_000 + sum(16 if byte else 4 for byte in data)
    if creates:
        intrinsic += 32_000 + 2 * -(-len(data) // 32)
    used = intrinsic + computation.get_gas_used()
    return int(used - min(computation.get_gas_refund(), used // 5))


class Meter:
    """Calls, each with its price noted under the call's name (and a mark)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.prices: dict[str, int] = {}

    def call(self, name: str, sender: int, *arguments: Any, mark: str = "") -> None:
        data = getattr(self.world.moot, name).prepare_calldata(*arguments)
        self.world.call(name, sender, *arguments)
        self.prices[f"{name}{mark and ', '}{mark}"] = price(data, self.world.moot._computation)


def prices_among(n: int) -> dict[str, int]:
    """The price of every call in a moot of ``n``, where all commit and exactly a quorum signs."""
    world = World(n, seats=n + 1)
    meter = Meter(world)
    quorum = range((n + (n - 1) // 3) // 2 + 1)
    stranger = statements.address_of(b"\x78" * 32)
    meter.call("invite", 0, stranger, mark="first vote")
    meter.call("announce", 1, "203.0.113.7:4433")
    task = world.start(granting=(), terms=(2, 2, n, *TERMS[3:]))
    meter.call("propose", 1, b"\xb1" * 32, b"\x91" * 32, TERMS)
    for member in range(n):
        meter.call("describe", member, b"\xcc" * 32, 100)
        mark = "opens" if member == n - 1 else ""
        meter.call("grant", member, task, member + 1, 0, mark=mark)
    meter.call("attend", 1, task)
    meter.call("revoke", 2, task)
    world.call("grant", 2, task, 3, 0)
    for round in (1, 2):
        first = "first round" if round == 1 else ""
        for member in range(n):
            last = "closes" if member == n - 1 else first
            meter.call("commit", member, task, round, 0, commitment(member, round), mark=last)
        meter.call("freeze", 0, *world.holdings(task, dict.fromkeys(quorum, bits(range(n)))))
        meter.call("finalise", 0, *world.final(task, quorum), mark="last" if round == 2 else "")
    other = world.start(granting=range(3))
    world.commit(other, 0, 1, 2)
    world.freeze(other, quorum)
    later(TERMS[5])
    meter.call("retry", 0, other, 1, 0)
    world.commit(other, 0, 1, 2)
    meter.call("freeze", 0, *world.holdings(other, dict.fromkeys(quorum, 0)), mark="too few survivors")
    meter.call("expel", 0, *world.expulsion(other, 2, quorum))
    meter.call("join", n, *fields(n), world.voucher(n))
    return meter.prices


def deployment() -> int:
    arguments = ("a moot", 4, statements.address_of(VOUCHER), *fields(0))
    with boa.env.prank(account(0)):
        moot = deployer().deploy(*arguments)
    return price(abi.encode_constructor(*arguments), moot._computation, creates=True)


def test_every_call_costs_what_the_snapshot_says():
    prices = {"deploy": deployment()} | {f"n={n}": dict(sorted(prices_among(n).items())) for n in (4, 10, 50)}
    if os.environ.get("FOLKMOOT_GAS") == "write":
        SNAPSHOT.write_text(json.dumps(prices, indent=2) + "\n")
    assert json.loads(SNAPSHOT.read_text()) == prices


@pytest.mark.long
def test_a_full_moot_of_256_freezes_and_finalises_within_a_block():
    world = World(256)
    meter = Meter(world)
    task = world.start(granting=range(256), terms=(2, 2, 256, *TERMS[3:]))
    world.commit(task, *range(256))
    everyone = range(256)
    awkward = {voter: (2**256 - 1) ^ (2**256 - 1 >> voter) for voter in everyone}
    meter.call("freeze", 0, *world.holdings(task, awkward))
    survivors = [j for j in everyone if sum(not held >> j & 1 for held in awkward.values()) <= 85]
    assert world.view(task).survivors == bits(survivors)
    meter.call("finalise", 0, *world.final(task, everyone))
    assert world.view(task).round == 2
    assert max(meter.prices.values()) < BLOCK // 5, meter.prices
