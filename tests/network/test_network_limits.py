import asyncio
import logging
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iroh import iroh_ffi

from folkmoot.network import Limits
from folkmoot.network._fast import KNOWN_VERSION, quicken
from folkmoot.network.limits import Allowance, TokenBucket


@given(st.floats(0.5, 1000), st.integers(1, 100), st.lists(st.floats(0, 2), max_size=60))
def test_a_bucket_never_lets_more_through_than_burst_and_rate(rate: float, burst: int, gaps: list[float]) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    now = 0.0
    passed: list[float] = []
    for gap in gaps:
        now += gap
        # Whoever is told to wait waits before the next may come, as a node does.
        now += bucket.take(now)
        passed.append(now)
    for earlier, begin in enumerate(passed):
        for later in range(earlier, len(passed)):
            assert later - earlier + 1 <= burst + (passed[later] - begin) * rate + 1 + 1e-6


def test_a_bucket_fills_up_to_its_burst_and_no_further() -> None:
    bucket = TokenBucket(10, 2, 0.0)
    assert [bucket.take(1000.0) for _ in range(4)] == [0.0, 0.0, pytest.approx(0.1), pytest.approx(0.2)]


def test_an_allowance_serves_in_order_and_forgets_who_gave_up() -> None:
    async def run() -> None:
        allowance = Allowance(10)
        order: list[int] = []

        async def take(amount: int) -> None:
            await allowance.take(amount)
            order.append(amount)

        await allowance.take(8)
        tasks = [asyncio.create_task(take(amount)) for amount in (9, 3, 1)]
        await asyncio.sleep(0)
        assert order == []
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])
        await asyncio.sleep(0)
        assert order == []
        allowance.give(8)
        await asyncio.gather(*tasks[1:])
        assert order == [3, 1]
        allowance.give(4)
        await allowance.take(10)

    asyncio.run(run())


def test_an_allowance_granted_to_one_who_gave_up_meanwhile_is_not_lost() -> None:
    async def run() -> None:
        allowance = Allowance(10)
        await allowance.take(10)
        waiting = asyncio.create_task(allowance.take(7))
        await asyncio.sleep(0)
        allowance.give(10)
        waiting.cancel()
        await asyncio.wait([waiting])
        await allowance.take(10)

    asyncio.run(run())


def test_patience_grows_with_size() -> None:
    limits = Limits(stall_seconds=2, slowest_rate=1000)
    assert limits.patience(0) == 2
    assert limits.patience(5000) == 7


def test_the_installed_bindings_are_the_known_ones_and_were_made_fast() -> None:
    assert iroh_ffi._UniffiRustBufferBuilder.write.__module__ == "folkmoot.network._fast"
    assert iroh_ffi._uniffi_rust_call_async.__module__ == "folkmoot.network._fast"


def test_what_the_fast_copy_writes_is_what_was_given() -> None:
    for value in (b"", b"x", bytes(range(256)) * 5000):
        buffer = iroh_ffi._UniffiFfiConverterBytes.lower(value)
        assert iroh_ffi._UniffiFfiConverterBytes.lift(buffer) == value


@pytest.mark.parametrize(
    ("bindings", "found"), [(iroh_ffi, "1.3.0"), (SimpleNamespace(_UniffiRustBuffer=1), KNOWN_VERSION)]
)
def test_other_bindings_are_left_as_they_are_with_a_warning(
    bindings: object, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = dict(vars(bindings))
    with caplog.at_level(logging.WARNING):
        assert quicken(bindings, found) is False
    assert "slower" in caplog.text
    assert vars(bindings) == before
