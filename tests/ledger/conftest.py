"""A real node for who asks for it, a contract on it, fronts before it; and the way to the benchmark that makes the
table of prices, which lies beside the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from anvil import Anvil, anvil
from faulty_rpc import front
from real_chain import ID, Aside, Contract, Two

sys.path.append(str(Path(__file__).parents[2]))


@pytest.fixture
def node() -> Iterator[Anvil]:
    with anvil(chain_id=ID) as made:
        yield made


@pytest.fixture
def contract(node: Anvil) -> Contract:
    return Contract(node)


@pytest.fixture
def two(node: Anvil, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """Two fronts before the one node; after a failure each is asked again the next time."""
    monkeypatch.setattr("folkmoot.ledger.node.BACK_OFF", 0.0)
    with front(node.url) as one, front(node.url) as other:
        yield one, other


@pytest.fixture
def aside() -> Iterator[Aside]:
    """Runs a call in a thread of its own."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit
