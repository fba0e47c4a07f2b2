"""Signatures are read from the calldata where they lie: however pointers are bent, from no other place than the bytes
whose length was checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contracts import Refused, artefact
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moot_world import World, account

CALLS: dict[str, tuple[int, Callable[[World, int], tuple[Any, ...]]]] = {
    "commit_all": (5, lambda world, task: world.commits(task, 0, 1, 2)),
    "freeze": (5, lambda world, task: world.holdings(task, dict.fromkeys(range(3), 0b111))),
    "finalise": (7, lambda world, task: world.final(task, range(3))),
    "expel": (4, lambda world, task: world.expulsion(task, 2, range(3))),
}
"""Of each call that takes signatures which of its arguments they are, and what it is called with."""
STEPS = ["commit_all", "freeze", "finalise"]


def ready(name: str) -> tuple[World, int]:
    """A moot in which the call is good."""
    world = World(4)
    task = world.start()
    for step in STEPS[: STEPS.index(name)] if name in STEPS else []:
        world.call(step, 0, *CALLS[step][1](world, task))
    return world, task


@pytest.fixture(scope="module", params=CALLS)
def case(request: pytest.FixtureRequest) -> tuple[str, World, int]:
    return request.param, *ready(request.param)


def word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 32], "big")


def bent(data: bytes, number: int, offset: int) -> bytes:
    at = 4 + 32 * number
    return data[:at] + offset.to_bytes(32, "big") + data[at + 32 :]


def bytes_at(data: bytes, number: int) -> bytes | None:
    """The bytes that this argument's pointer leads to, wherever that is; None where it leads out of the calldata."""
    start = 4 + word(data, 4 + 32 * number)
    if start + 32 > len(data):
        return None
    length = word(data, start)
    found = data[start + 32 : start + 32 + length]
    return found if len(found) == length else None


def test_a_pointer_may_lead_elsewhere_and_what_lies_there_is_what_counts(case):
    name, world, task = case
    number, arguments = CALLS[name]
    data = artefact("Moot").calldata(name, *arguments(world, task))
    signatures = arguments(world, task)[number]
    moved = bent(data, number, len(data) - 4) + len(signatures).to_bytes(32, "big") + signatures
    with world.chain.undone():
        world.chain.raw(account(0), world.moot, moved)
    spoilt = bent(data, number, len(data) - 4) + len(signatures).to_bytes(32, "big") + signatures[65:] + signatures[:65]
    with pytest.raises(Refused, match="signature"):
        world.chain.raw(account(0), world.moot, spoilt)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_call_is_taken_only_where_its_pointer_leads_to_the_good_signatures(case, data):
    name, world, task = case
    number, arguments = CALLS[name]
    good = arguments(world, task)
    sound = artefact("Moot").calldata(name, *good)
    signatures: bytes = good[number]
    tail = data.draw(st.sampled_from([b"", len(signatures).to_bytes(32, "big") + signatures, bytes(40), b"\xff" * 70]))
    true = word(sound, 4 + 32 * number)
    places = [true, len(sound) - 4, 0, 32, 32 * number, *(2**256 - step for step in (1, 4, 32, 36, 37, 69, 101))]
    offset = data.draw(
        st.sampled_from([*places, 2**255, 2**64])
        | st.tuples(st.sampled_from(places), st.integers(-70, 70)).map(lambda pair: sum(pair) % 2**256)
        | st.integers(0, 2**256 - 1)
    )
    call = bent(sound, number, offset) + tail
    with world.chain.undone():
        try:
            world.chain.raw(account(0), world.moot, call)
            taken = True
        except Refused:
            taken = False
    assert taken == (bytes_at(call, number) == signatures)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400), at=st.integers(4, 700), value=st.integers(0, 2**256 - 1))
@example(cut=0, at=4, value=0)
def test_calldata_that_is_cut_short_or_changed_anywhere_is_never_taken(case, cut, at, value):
    name, world, task = case
    number, arguments = CALLS[name]
    sound = artefact("Moot").calldata(name, *arguments(world, task))
    at = min(at, len(sound) - 1)
    changed = sound[:at] + value.to_bytes(32, "big") + sound[at + 32 :]
    changed = changed[: max(4, len(sound) - cut)]
    told = arguments(world, task)
    with world.chain.undone():
        try:
            world.chain.raw(account(0), world.moot, changed)
        except Refused:
            return
    # taken all the same: then only what nobody reads was changed, the zeros that fill up the last word
    assert bytes_at(changed, number) == told[number]
    assert changed[: 4 + 32 * (number + 1)] == sound[: 4 + 32 * (number + 1)]
