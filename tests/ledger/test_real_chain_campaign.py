"""Many transactions through nodes that fail, to a chain that takes blocks back, at prices that jump."""

from __future__ import annotations

import random
import time

import faulty_rpc
import pytest
from real_chain import ANNA, BERT, SOON, Aside, Contract, Two, mark, urls

from folkmoot.ledger import open_chain
from folkmoot.ledger.signer import Signer
from folkmoot.ledger.transact import Sender

CONFIRMATIONS = 3
WORDS = 25
SIGNERS = [ANNA, BERT, Signer(b"\xc3" * 32)]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_each_call_comes_to_stand_once_whatever_happens_to_nodes_and_blocks(
    contract: Contract, two: Two, aside: Aside, seed: int
) -> None:
    chance, node = random.Random(seed), contract.node
    node.fund(*(signer.address for signer in SIGNERS), coins=10_000)
    chain = open_chain(urls(two), confirmations=CONFIRMATIONS, patience=SOON)

    def send(number: int) -> None:
        """Two processes of one account take turns; each word is another."""
        senders = [
            Sender(chain, SIGNERS[number]),
            Sender(open_chain(node.url, confirmations=CONFIRMATIONS), SIGNERS[number]),
        ]
        for word in range(WORDS):
            senders[word % 2].send(contract.address, mark(1_000 * (number + 1) + word))

    def disturb() -> None:
        deepest = CONFIRMATIONS - 1
        match chance.randrange(12):
            case 0 | 1 if node.head() > 20:
                node.reorganise(chance.randint(1, deepest))
                node.mine(deepest)  # none of the blocks below is to be taken back a second time
            case 2:
                node.rpc("anvil_dropAllTransactions")
            case 3:
                node.base_fee(chance.choice([0.1, 5, 300]))
            case 4:
                two[0].fault = chance.choice([faulty_rpc.status(503), faulty_rpc.body(b"?"), faulty_rpc.hang_up])
            case 5:
                two[0].honest()
            case _:
                node.mine()

    sending = [aside(send, number) for number in range(len(SIGNERS))]
    try:
        while not all(call.done() for call in sending):
            disturb()
            time.sleep(0.02)
    finally:
        two[0].honest()
    for call in sending:
        call.result()
    node.mine(CONFIRMATIONS)
    expected = [1_000 * (number + 1) + word for number in range(len(SIGNERS)) for word in range(WORDS)]
    assert sorted(contract.marks(chain)) == expected
    assert (contract.count(chain), chain.epoch) == (len(expected), 0)
