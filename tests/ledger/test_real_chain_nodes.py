"""Several nodes of one real chain: some fail, some lie, some are behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import faulty_rpc
import pytest
from anvil import Anvil
from real_chain import ANNA, AT_ONCE, GWEI, Aside, Contract, Two, mark, mine_until, until, urls

from folkmoot.errors import ChainError
from folkmoot.ledger import open_chain
from folkmoot.ledger.chain import Disagreement, Reorganised
from folkmoot.ledger.transact import Sender


def silence(monkeypatch: pytest.MonkeyPatch) -> Callable[[faulty_rpc.Handler], None]:
    monkeypatch.setattr("folkmoot.ledger.node.ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("folkmoot.ledger.node.PROBE_SECONDS", 0.2)
    return faulty_rpc.drip(threading.Event())


FAULTS = {
    "HTTP 500": faulty_rpc.status(500),
    "HTTP 429": faulty_rpc.status(429),
    "not JSON,": faulty_rpc.body(b"<html>gateway</html>"),
    "not JSON ": faulty_rpc.body(b"[" * 5_000),
    "not JSON-RPC": faulty_rpc.body(b'["0x1"]'),
    "another question": faulty_rpc.body(b'{"jsonrpc": "2.0", "id": 0, "result": "0x1"}'),
    "nonsense": None,
    "does not answer in time": None,
    "more than": faulty_rpc.pour,
    "cannot be reached": faulty_rpc.hang_up,
}


@pytest.mark.parametrize("said", FAULTS)
def test_while_one_node_fails_the_other_is_used(
    contract: Contract,
    two: Two,
    said: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, _ = two
    chain = open_chain(urls(two))
    contract.mark(7)
    assert contract.marks(chain) == [7]
    monkeypatch.setattr("folkmoot.ledger.rpc.ANSWER_BYTES", 1 << 20)
    one.fault = FAULTS[said]
    if said == "nonsense":
        one.says("eth_getBlockByNumber", None)
    elif said == "does not answer in time":
        one.fault = silence(monkeypatch)
    contract.mark(8)
    assert (contract.count(chain), contract.marks(chain)) == (2, [7, 8])
    assert said.strip(" ,") in caplog.text
    assert one.url in caplog.text
    one.honest()
    contract.mark(9)
    assert contract.marks(chain) == [7, 8, 9]
    assert f"{one.url} answers again" in caplog.text


def test_a_node_that_is_gone_and_comes_back(contract: Contract, two: Two, caplog: pytest.LogCaptureFixture) -> None:
    one, other = two
    chain = open_chain(urls(two))
    chain.head()
    one.close()
    contract.mark(7)
    assert contract.marks(chain) == [7]
    other.close()
    with pytest.raises(ChainError, match=f"cannot be reached: {one.url} .*refused.*; {other.url} .*refused"):
        contract.count(chain)
    one.open()
    assert contract.count(chain) == 1
    other.open()
    chain.head()
    assert not chain.nodes.away


def test_a_node_that_fails_is_left_alone_for_longer_each_time(
    contract: Contract, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    chain = open_chain(urls(two))
    chain.head()
    monkeypatch.setattr("folkmoot.ledger.node.BACK_OFF", 1000.0)
    monkeypatch.setattr("folkmoot.ledger.node.MOST_BACK_OFF", 3000.0)
    one.fault = faulty_rpc.status(500)
    waits = []
    for _ in range(3):
        asked = len(one.headers)
        chain.head()
        chain.head()
        assert len(one.headers) == asked + 1
        waits.append(round(chain.nodes.away[0].again - time.monotonic(), -2))
        chain.nodes.away[0].again = 0.0
    assert waits == [1000, 2000, 3000]


LIES: dict[str, tuple[str, faulty_rpc.Lie]] = {
    "the hash of a block": ("eth_getBlockByNumber", lambda asked, truth: truth() | {"hash": "0x" + "12" * 32}),
    "the time of a block": ("eth_getBlockByNumber", lambda asked, truth: truth() | {"timestamp": "0x77777777"}),
    "a call": ("eth_call", lambda asked, truth: "0x" + "00" * 31 + "63"),
    "nothing in a call": ("eth_call", lambda asked, truth: "0x"),
    "an event left out": ("eth_getLogs", lambda asked, truth: truth()[:-1]),
    "an event with other words": (
        "eth_getLogs",
        lambda asked, truth: [e | {"data": "0x" + "00" * 32} for e in truth()],
    ),
}


@pytest.mark.parametrize("kind", LIES)
def test_of_two_nodes_that_disagree_neither_is_believed(contract: Contract, two: Two, kind: str) -> None:
    one, other = two
    chain = open_chain(urls(two))
    contract.mark(7)
    assert (contract.count(chain), contract.marks(chain)) == (1, [7])
    contract.mark(8)
    method, lie = LIES[kind]
    other.lies[method] = lie
    for _ in range(2):
        with pytest.raises(Disagreement, match=f"about .*{one.url} says .*{other.url} says .*nothing is believed"):
            (contract.marks if method == "eth_getLogs" else contract.count)(chain)
    other.honest()
    assert (contract.count(chain), contract.marks(chain)) == (2, [7, 8])


def test_a_refusal_that_only_one_node_tells_is_no_refusal(contract: Contract, two: Two) -> None:
    _, other = two
    chain = open_chain(urls(two))
    other.refuses("eth_call", "execution reverted: not you")
    with pytest.raises(Disagreement, match=r"says 0x0+, .* says that the contract refuses \(not you\)"):
        contract.count(chain)


def test_an_error_that_only_sounds_like_a_refusal_is_the_nodes_own(contract: Contract, two: Two) -> None:
    one, _ = two
    for method in ("eth_getBlockByNumber", "eth_getLogs"):
        one.refuses(method, "execution reverted: " + "x" * 10_000)
        with pytest.raises(ChainError, match="the chain refused to tell") as caught:
            contract.marks(open_chain(one.url))
        assert len(str(caught.value)) < 1000
        one.honest()


def test_a_dry_run_that_only_one_node_refuses_refuses_nothing(contract: Contract, two: Two) -> None:
    one, _ = two
    contract.node.automine()
    one.refuses("eth_estimateGas", "execution reverted: not you")
    chain = open_chain(urls(two))
    Sender(chain, ANNA).send(contract.address, mark(7))
    assert contract.marks(chain) == [7]


def test_events_that_nobody_asked_for_are_no_answer(contract: Contract, two: Two) -> None:
    one, _ = two
    contract.mark(7)
    chain = open_chain(one.url)
    for change in ({"address": "0x" + "11" * 20}, {"topics": []}, {"blockNumber": "0xffff"}, {"removed": True}):
        one.lies["eth_getLogs"] = lambda asked, truth, change=change: [truth()[0] | change]
        with pytest.raises(ChainError, match=r"cannot be reached.*answers eth_getLogs with"):
            contract.marks(chain)


def test_a_transaction_whose_receipts_differ_is_not_believed(contract: Contract, two: Two, aside: Aside) -> None:
    _, other = two
    other.says("eth_getTransactionReceipt", None)
    contract.node.automine()
    with pytest.raises(ChainError, match="not all of the ledger's nodes say so"):
        Sender(open_chain(urls(two), patience=AT_ONCE), ANNA).send(contract.address, mark(7))
    other.honest()
    sender = Sender(open_chain(urls(two)), ANNA)
    name = sender.send(contract.address, mark(8))
    other.lies["eth_getTransactionReceipt"] = lambda asked, truth: truth() | {"logs": []}
    with pytest.raises(Disagreement, match=f"disagree about transaction {name}"):
        sender.receipt(name)


def test_a_node_that_keeps_transactions_to_itself_holds_nothing_up(contract: Contract, two: Two) -> None:
    one, _ = two
    contract.node.automine()
    one.lies["eth_sendRawTransaction"] = lambda asked, truth: "0x" + "00" * 32
    chain = open_chain(urls(two))
    Sender(chain, ANNA).send(contract.address, mark(7))
    assert contract.marks(chain) == [7]


def test_of_two_tips_the_lower_is_paid(contract: Contract, two: Two, aside: Aside) -> None:
    one, _ = two
    one.says("eth_maxPriorityFeePerGas", hex(10**18))
    sending = aside(Sender(open_chain(urls(two)), ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    assert int(contract.waiting().popitem()[1]["maxPriorityFeePerGas"], 16) == GWEI
    mine_until(contract.node, sending)


def behind(chain: Anvil, blocks: int) -> faulty_rpc.Lie:
    """What a node tells of its newest block that is so many blocks behind."""

    def older(asked: Any, truth: Callable[[], Any]) -> Any:
        if asked[0] == "latest":
            return chain.rpc("eth_getBlockByNumber", hex(chain.head() - blocks), False)
        return truth()

    return older


def test_a_node_that_is_a_few_blocks_behind_is_not_lying(contract: Contract, two: Two) -> None:
    _, other = two
    node = contract.node
    node.mine(4)
    contract.mark(7)
    node.mine(3)
    other.lies["eth_getBlockByNumber"] = behind(node, 2)
    chain = open_chain(urls(two), confirmations=1)
    assert (chain.head(), contract.marks(chain)) == (node.head() - 3, [7])
    other.honest()
    assert chain.head() == node.head() - 1


def test_a_node_that_stands_still_is_named_after_a_while(contract: Contract, two: Two) -> None:
    one, other = two
    node = contract.node
    stuck = node.rpc("eth_getBlockByNumber", "latest", False)
    other.lies["eth_getBlockByNumber"] = lambda asked, truth: stuck if asked[0] == "latest" else truth()
    chain = open_chain(urls(two))
    first = chain.head()
    node.rpc("evm_increaseTime", 1000)
    node.mine()
    assert chain.head() == first  # the first block in a long time, and it may not have heard of it yet
    node.rpc("evm_increaseTime", 1000)
    node.mine()
    with pytest.raises(ChainError, match=rf"{other.url} stands at block {first}, and {one.url} at block {first + 2}"):
        chain.head()
    other.honest()
    assert chain.head() == first + 2


def test_a_node_that_lost_what_is_believed_is_done_without_until_it_has_it_again(
    contract: Contract, two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    _, other = two
    node = contract.node
    node.mine(5)
    contract.mark(7)
    chain = open_chain(urls(two))
    assert contract.marks(chain) == [7]
    other.lies["eth_getBlockByNumber"] = behind(node, 3)
    contract.mark(8)
    assert contract.marks(chain) == [7, 8]
    assert f"{other.url} has {node.head() - 3} blocks, and not block {node.head() - 1}" in caplog.text
    other.honest()
    chain.head()
    assert not chain.nodes.away


def test_what_one_node_invented_while_the_other_was_away_is_found_out_when_it_is_back(
    contract: Contract, two: Two
) -> None:
    one, other = two
    node, chain = contract.node, open_chain(urls(two))
    head = chain.head()
    one.fault = faulty_rpc.status(500)

    def invent(asked: Any, truth: Callable[[], Any]) -> Any:
        number = head + 9 if asked[0] == "latest" else int(asked[0], 16)
        if number <= head:
            return truth()
        return contract.block(head) | {"number": hex(number), "hash": f"0x{number:064x}"}

    other.lies["eth_getBlockByNumber"] = invent
    assert chain.head() == head + 9
    node.mine(2)
    one.honest()
    with pytest.raises(Disagreement, match=f"disagree about block {head + 2}: {one.url} says .*{other.url} says"):
        chain.head()
    with pytest.raises(Disagreement):
        contract.count(chain)


def test_blocks_are_not_taken_back_on_the_word_of_some_of_the_nodes(contract: Contract, two: Two) -> None:
    _, other = two
    chain, node = open_chain(urls(two)), contract.node
    contract.mark(7)
    assert contract.marks(chain) == [7]
    other.fault = faulty_rpc.status(503)
    chain.head()
    node.reorganise(1)
    with pytest.raises(ChainError, match=f"was believed.* with {other.url} away.* nothing is believed"):
        chain.head()
    other.honest()
    with pytest.raises(Reorganised):
        chain.head()
    assert contract.marks(chain) == []


def test_a_node_that_allows_only_short_spans_is_asked_in_pieces(contract: Contract, two: Two) -> None:
    one, _ = two
    chain, node = open_chain(one.url), contract.node
    for word in (1, 2, 3):
        contract.mark(word)
        node.rpc("anvil_mine", hex(400))

    def short(asked: Any, truth: Callable[[], Any]) -> Any:
        if int(asked[0]["toBlock"], 16) - int(asked[0]["fromBlock"], 16) >= 300:
            raise faulty_rpc.Refusal("query exceeds max block range 300")
        return truth()

    one.lies["eth_getLogs"] = short
    assert contract.marks(chain) == [1, 2, 3]
    asked = one.asked["eth_getLogs"]
    assert contract.marks(chain) == [1, 2, 3]
    assert one.asked["eth_getLogs"] - asked < 10  # what it allows is remembered
    one.refuses("eth_getLogs", "not today")
    with pytest.raises(ChainError, match=r"refused to tell the events .*not today"):
        contract.marks(chain)
