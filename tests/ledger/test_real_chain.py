"""What is believed of a real chain: confirmations, re-organisations, and which chain it is."""

from __future__ import annotations

from pathlib import Path

import faulty_rpc
import pytest
from anvil import Anvil
from real_chain import ANNA, BERT, ID, MARKED, Aside, Contract, Two, mark, mine_until, selector, until, urls

from folkmoot.errors import ChainError, LedgerRefused
from folkmoot.ledger import JoinFields, Moot, create_chain, open_chain
from folkmoot.ledger.chain import Reorganised
from folkmoot.ledger.transact import Sender


def test_what_has_too_few_blocks_above_it_is_seen_by_no_reading(contract: Contract) -> None:
    chain, node = open_chain(contract.node.url, confirmations=2), contract.node
    node.mine(3)
    before = chain.head()
    contract.mark(7)
    node.mine()
    assert (contract.count(chain), contract.marks(chain), chain.head()) == (0, [], before + 2)
    assert [int.from_bytes(told) for told in chain.newest_calls(contract.address, selector("count()"))] == [1]
    node.mine()
    assert (contract.count(chain), contract.marks(chain), chain.head()) == (1, [7], before + 3)
    assert chain.now() == int(node.rpc("eth_getBlockByNumber", hex(before + 3), False)["timestamp"], 16)


def test_a_chain_with_fewer_blocks_than_confirmations_is_seen_as_it_began(contract: Contract) -> None:
    chain = open_chain(contract.node.url, confirmations=100)
    assert (chain.head(), contract.marks(chain)) == (0, [])


def test_a_reorganisation_no_deeper_than_the_confirmations_is_never_seen(contract: Contract) -> None:
    chain, node = open_chain(contract.node.url, confirmations=3), contract.node
    node.mine(5)
    for word in range(1, 4):
        contract.mark(word)
    seen = (chain.head(), contract.count(chain), contract.marks(chain))
    node.reorganise(3)
    assert (chain.head(), contract.count(chain), contract.marks(chain)) == seen
    contract.mark(9)
    node.mine(3)
    assert (contract.marks(chain), chain.epoch) == ([9], 0)


@pytest.mark.parametrize(("confirmations", "depth"), [(0, 2), (2, 3)])
def test_a_deeper_one_is_told_once_and_then_the_new_chain_is_read(
    contract: Contract, confirmations: int, depth: int
) -> None:
    chain, node = open_chain(contract.node.url, confirmations=confirmations), contract.node
    for word in range(1, 4):
        contract.mark(word)
        chain.head()
    node.mine(confirmations)
    assert contract.marks(chain) == [1, 2, 3]
    node.reorganise(confirmations + 2)
    with pytest.raises(Reorganised, match=rf"at least {depth} blocks deep.*confirmations .* is {confirmations}\."):
        contract.count(chain)
    assert (contract.count(chain), contract.marks(chain), chain.epoch) == (1, [1], 1)
    contract.mark(5)
    node.mine(confirmations)
    assert (contract.marks(chain), chain.epoch) == ([1, 5], 1)


def test_a_chain_that_became_shorter_is_believed_when_it_is_another_one(contract: Contract) -> None:
    chain, node = open_chain(contract.node.url), contract.node
    contract.mark(1)
    head = chain.head()
    snapshot = node.rpc("evm_snapshot")
    contract.mark(2)
    assert (chain.head(), contract.marks(chain)) == (head + 1, [1, 2])
    node.rpc("evm_revert", snapshot)
    assert chain.head() == head + 1  # as of a node that is behind: nothing contradicts what is believed
    contract.mark(3)
    with pytest.raises(Reorganised):
        chain.head()
    assert contract.marks(chain) == [1, 3]


def test_only_so_many_hashes_are_remembered(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("folkmoot.ledger.view.REMEMBERED", 5)
    chain = open_chain(contract.node.url)
    for _ in range(9):
        contract.node.mine()
        chain.head()
    assert len(chain.view._hashes) == 5
    contract.node.reorganise(8)
    with pytest.raises(Reorganised, match="at least 5 blocks deep"):
        chain.head()
    assert chain.head() == contract.node.head()


def test_a_write_returns_once_it_has_its_confirmations(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, confirmations=3), contract.node
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(contract.waiting)
    node.mine(3)
    until(lambda: chain.view.newest == node.head())
    assert not sending.done()
    mine_until(node, sending)
    assert contract.marks(chain) == [7]


def test_a_write_that_a_reorganisation_drops_is_sent_again(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, confirmations=3), contract.node
    node.mine(5)
    sender = Sender(chain, ANNA)
    sending = aside(sender.send, contract.address, mark(7))
    until(contract.waiting)
    node.mine(2)
    until(lambda: chain.view.newest == node.head())
    node.reorganise(2)
    assert not contract.waiting()
    until(contract.waiting)
    name = mine_until(node, sending)
    assert contract.marks(chain) == [7]
    assert sender.receipt(name).logs[0].topics[0] == MARKED


def test_what_only_unbelieved_blocks_refuse_is_refused_when_they_are_believed(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, confirmations=3), contract.node
    contract.mark(7)  # by another process, just now
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    node.mine(2)
    until(lambda: chain.view.newest == node.head())
    assert not sending.done()
    with pytest.raises(LedgerRefused, match="marked already"):
        mine_until(node, sending)
    assert contract.marks(chain) == [7]  # whoever was refused can see why
    with pytest.raises(LedgerRefused, match="marked already"):
        Sender(chain, ANNA).send(contract.address, mark(7))  # and now without a wait


def test_what_unbelieved_blocks_refused_is_sent_when_they_are_taken_back(contract: Contract, aside: Aside) -> None:
    chain, node = open_chain(contract.node.url, confirmations=3), contract.node
    node.mine(5)
    contract.mark(7)
    sending = aside(Sender(chain, ANNA).send, contract.address, mark(7))
    until(lambda: chain.view.newest == node.head())
    node.reorganise(1)
    until(contract.waiting)
    mine_until(node, sending)
    assert contract.marks(chain) == [7]


# ---- which chain it is ----------------------------------------------------------------------------------------------


def test_a_node_of_another_chain_than_the_moots_is_refused(contract: Contract, two: Two) -> None:
    one, other = two
    with pytest.raises(ChainError, match=f"{one.url} is a node of chain {ID}, and the moot's is 7 by config.json"):
        open_chain(urls(two), chain_id=7).head()
    assert open_chain(urls(two), chain_id=ID).head() == contract.node.head()
    other.says("eth_chainId", "0x7")
    chain = open_chain(urls(two))
    for _ in range(2):
        with pytest.raises(ChainError, match=f"{other.url} is a node of chain 7, and the moot's is {ID} by {one.url}"):
            chain.head()
    other.honest()
    assert chain.head() == contract.node.head()


def test_a_node_that_comes_back_on_another_chain_is_refused(contract: Contract, two: Two) -> None:
    one, _ = two
    chain = open_chain(one.url)
    chain.head()
    one.fault = faulty_rpc.status(500)
    with pytest.raises(ChainError, match="HTTP 500"):
        chain.head()
    one.honest()
    one.says("eth_chainId", "0x7")
    with pytest.raises(ChainError, match="is a node of chain 7"):
        chain.head()


def test_an_embedded_chain_of_another_id_is_refused(tmp_path: Path) -> None:
    create_chain(tmp_path / "ledger", chain_id=7, genesis_time=1_700_000_000)
    assert open_chain(str(tmp_path / "ledger"), chain_id=7).id == 7
    with pytest.raises(ChainError, match=r"is chain 7, and the moot's is 8 by config\.json"):
        open_chain(str(tmp_path / "ledger"), chain_id=8)


# ---- the moot's client ----------------------------------------------------------------------------------------------


def test_what_a_moots_client_remembers_does_not_survive_a_reorganisation(node: Anvil) -> None:
    node.fund(ANNA.address)
    node.automine()
    chain = open_chain(node.url)
    founder = JoinFields(name="anna", endpoint=b"\x01" * 32, exchange=b"\x02" * 32, binding=b"b" * 64, addresses=())

    def found() -> Moot:
        return Moot.deploy(chain, ANNA, name="a moot", seats=2, voucher=BERT.address, founder=founder)

    moot = found()
    born = moot.about().born
    node.reorganise(node.head() - born + 1)  # nobody has founded anything
    with pytest.raises(Reorganised):
        moot.head()
    node.mine(3)
    again = found()
    assert again.address == moot.address
    assert moot.about() == again.about()
    assert moot.about().born > born
    assert moot.seats_log() == again.seats_log() != []
