"""Transactions on a real chain that lose their way, their place or their price."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faulty_rpc
import pytest
from anvil import anvil
from real_chain import (
    ANNA,
    AT_ONCE,
    BERT,
    GWEI,
    ID,
    SOON,
    Aside,
    Contract,
    Two,
    bytecode,
    mark,
    mine_until,
    mine_while,
    until,
)

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.keccak import keccak
from folkmoot.ledger import open_chain
from folkmoot.ledger.transact import Sender


def test_a_transaction_that_blocks_leave_out_offers_more_with_the_same_nonce(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, patience=SOON), contract.node
    sender = Sender(chain, ANNA)
    sending = aside(sender.send, contract.address, mark(7))
    until(contract.waiting)
    ((nonce, first),) = contract.waiting().items()
    node.base_fee(500)
    name = mine_until(node, sending)
    landed = node.rpc("eth_getTransactionByHash", name)
    assert int(landed["nonce"], 16) == nonce
    for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert int(landed[fee], 16) * 8 >= int(first[fee], 16) * 9
    assert contract.marks(chain) == [7]


def test_any_variant_may_be_the_one_that_stands(contract: Contract, two: Two, aside: Aside) -> None:
    """The node loses every offer but one."""
    node, (one, _) = contract.node, two
    chain = open_chain(one.url, patience=SOON)
    offers: list[str] = []

    def keep(parameters: Any, truth: Callable[[], Any]) -> Any:
        offers.extend(parameters)
        return "0x" + keccak(bytes.fromhex(parameters[0][2:])).hex()

    one.lies["eth_sendRawTransaction"] = keep
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    mine_while(node, lambda: len(set(offers)) < 4)
    second = sorted(set(offers), key=offers.index)[1]
    name = node.rpc("eth_sendRawTransaction", second)
    assert mine_until(node, sending) == name
    assert contract.marks(chain) == [7]


def test_offers_rise_until_the_node_finds_them_enough(contract: Contract, two: Two, aside: Aside) -> None:
    node, (one, _) = contract.node, two
    chain = open_chain(one.url, patience=SOON)
    offers: list[str] = []

    def pick(parameters: Any, truth: Callable[[], Any]) -> Any:
        offers.extend(parameters)
        if 2 <= len(set(offers)) <= 3:
            raise faulty_rpc.Refusal("replacement transaction underpriced")
        return "0x" + "00" * 32 if len(set(offers)) == 1 else truth()

    one.lies["eth_sendRawTransaction"] = pick
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    mine_until(node, sending)
    assert len(set(offers)) == 4
    assert contract.marks(chain) == [7]


def test_a_transaction_that_the_nodes_lost_is_sent_again(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url), contract.node
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    (lost,) = contract.waiting().values()
    node.rpc("anvil_dropTransaction", lost["hash"])
    assert not contract.waiting()
    assert mine_until(node, sending) == lost["hash"]
    assert contract.marks(chain) == [7]


def test_above_the_cap_a_transaction_waits_until_gas_is_cheaper(
    contract: Contract, aside: Aside, caplog: pytest.LogCaptureFixture
) -> None:
    chain, node = open_chain(contract.node.url, fee_cap=40), contract.node
    node.base_fee(100)
    node.mine()
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(lambda: "more than the fee_cap of 40 gwei" in caplog.text)
    assert not contract.waiting()
    node.base_fee(10)
    node.mine()
    until(contract.waiting)
    (offered,) = contract.waiting().values()
    assert int(offered["maxFeePerGas"], 16) <= 40 * GWEI
    mine_until(node, sending)
    assert contract.marks(chain) == [7]


def test_after_a_while_the_error_says_that_gas_is_above_the_cap(contract: Contract) -> None:
    chain, node = open_chain(contract.node.url, fee_cap=40, patience=AT_ONCE), contract.node
    node.base_fee(100)
    node.mine()
    with pytest.raises(ChainError, match=r"not sent for 0 s: gas costs \d.* gwei, more than the fee_cap of 40 gwei"):
        Sender(chain, ANNA).send(contract.address, mark(7))
    assert not contract.waiting()


def test_a_transaction_that_prices_overtook_offers_no_more_than_the_cap_and_says_so(
    contract: Contract, aside: Aside, caplog: pytest.LogCaptureFixture
) -> None:
    chain, node = open_chain(contract.node.url, fee_cap=40, patience=SOON), contract.node
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    mine_while(node, lambda: "the fee_cap of 40 gwei in config.json allows no higher offer" not in caplog.text, 500)
    node.base_fee(1)
    name = mine_until(node, sending)
    assert int(node.rpc("eth_getTransactionByHash", name)["maxFeePerGas"], 16) <= 40 * GWEI
    assert contract.marks(chain) == [7]


def test_a_transaction_that_no_block_takes_is_an_error_that_says_so(contract: Contract) -> None:
    chain = open_chain(contract.node.url, patience=AT_ONCE)
    with pytest.raises(ChainError, match=r"not confirmed after 0 s: no block takes it.*still come to stand"):
        Sender(chain, ANNA).send(contract.address, mark(7))
    contract.node.mine()
    assert contract.marks(chain) == [7]


def test_a_nonce_that_another_process_used_is_found_out_and_the_call_made_again(
    contract: Contract, aside: Aside
) -> None:
    chain, node = open_chain(contract.node.url), contract.node
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    (nonce,) = contract.waiting()
    contract.put(ANNA, mark(8), nonce=nonce, fee=90, tip=5)
    mine_until(node, sending)
    assert contract.marks(chain) == [8, 7]


def test_a_call_that_another_process_made_meanwhile_is_refused(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url), contract.node
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    (nonce,) = contract.waiting()
    contract.put(ANNA, mark(7), nonce=nonce, fee=90, tip=5)
    with pytest.raises(LedgerRefused, match="marked already"):
        mine_until(node, sending)
    assert contract.marks(chain) == [7]


def test_a_transaction_that_reverts_in_its_block_is_refused_with_the_reason(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, confirmations=1), contract.node
    node.mine(2)
    first = contract.put(ANNA, mark(7), fee=90, tip=9)
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(lambda: len(contract.waiting()) == 2)
    with pytest.raises(LedgerRefused, match="marked already"):
        mine_until(node, sending)
    assert node.rpc("eth_getTransactionReceipt", first)["status"] == "0x1"


def test_what_a_killed_process_left_stuck_is_cleared_out_of_the_way(
    contract: Contract, aside: Aside, caplog: pytest.LogCaptureFixture
) -> None:
    chain, node = open_chain(contract.node.url, patience=SOON), contract.node
    contract.put(ANNA, mark(6), fee=1.5, tip=0.01)
    (stuck,) = contract.waiting()
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(lambda: len(contract.waiting()) == 2)
    mine_while(node, lambda: not sending.done(), 20)
    sending.result()
    assert contract.marks(chain) == [7]
    assert f"nonce {stuck} is being replaced" in caplog.text


def test_several_threads_send_at_once(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url), contract.node
    sender = Sender(chain, ANNA)
    sending = [aside(sender.send, contract.address, mark(word)) for word in (1, 2, 3, 4)]
    names = {mine_until(node, call) for call in sending}
    assert len(names) == 4
    assert sorted(contract.marks(chain)) == [1, 2, 3, 4]


def test_nodes_that_are_away_while_a_transaction_waits_are_borne(contract: Contract, two: Two, aside: Aside) -> None:
    node, (one, _) = contract.node, two
    chain = open_chain(one.url)
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    one.fault = faulty_rpc.status(500)
    node.mine()
    until(lambda: chain.nodes.away)
    one.honest()
    mine_until(node, sending)
    assert contract.marks(chain) == [7]


def test_where_gas_is_free_an_account_needs_no_coins() -> None:
    with anvil(chain_id=ID, mining=True, base_fee=0) as node:
        sender = Sender(open_chain(node.url), BERT)
        node.rpc("anvil_setBalance", BERT.address, "0x0")
        assert sender.receipt(sender.send(None, bytecode())).contract


def test_where_it_is_not_an_account_without_coins_is_told_so(contract: Contract) -> None:
    contract.node.rpc("anvil_setBalance", BERT.address, "0x0")
    with pytest.raises(ChainError, match=rf"{BERT.address} has no coins, and gas costs .* gwei"):
        Sender(open_chain(contract.node.url), BERT).send(contract.address, mark(7))
    contract.node.rpc("anvil_setBalance", BERT.address, "0x10000")
    with pytest.raises(ChainError, match=r"(?i)the chain did not take the transaction: insufficient funds"):
        Sender(open_chain(contract.node.url), BERT).send(contract.address, mark(7))


def test_a_chain_from_before_eip_1559_takes_legacy_transactions() -> None:
    with anvil(chain_id=ID, hardfork="berlin", mining=True) as node:
        node.fund(ANNA.address)
        name = Sender(open_chain(node.url), ANNA).send(ANNA.address, b"")
        assert node.rpc("eth_getTransactionByHash", name)["type"] == "0x0"
