"""Chains on which contracts see other block numbers than the nodes give their blocks."""

from __future__ import annotations

from typing import Any

import faulty_rpc
import pytest
from anvil import Anvil
from faulty_rpc import Front, Refusal
from real_chain import ANNA, BERT

from folkmoot.ledger import JoinFields, Moot, PolicyTerms, open_chain, statements
from folkmoot.ledger.motions import Kind
from folkmoot.ledger.records import Standing

TERMS = PolicyTerms(
    rounds=3, min_members=1, start=1, train_seconds=600, exchange_seconds=600, final_seconds=600, secret=False
)
BEFORE = 60
"""Blocks there were before the moot's."""


def working(node: Anvil) -> Moot:
    """A moot of one, whose task is in its second round, as seen on the node itself."""
    node.fund(ANNA.address)
    node.automine()
    node.mine(BEFORE)
    founder = JoinFields(name="anna", endpoint=b"\x01" * 32, exchange=b"\x02" * 32, binding=b"b" * 64, addresses=())
    moot = Moot.deploy(open_chain(node.url), ANNA, name="a moot", seats=1, voucher=BERT.address, founder=founder)
    task = moot.propose(b"\xb0" * 32, b"\x90" * 32, TERMS)
    moot.assembly.enact(moot.assembly.move(Kind.STEER, task, Standing.ADOPTED))
    moot.grant(task, moot.describe(b"\xcc" * 32, 10))
    moot.commit(task, 1, 0, b"\x0c" * 32)
    held = statements.holding_digest(moot.domain, task, 1, 0, 1)
    moot.freeze(task, 1, 0, {0: (1, statements.sign(ANNA.key, held))})
    outcome = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
    digest = statements.model_digest(moot.domain, task, 1, 0, b"\x90" * 32, *outcome, survivors=1)
    moot.finalise(task, 1, 0, *outcome, {0: statements.sign(ANNA.key, digest)})
    moot.commit(task, 2, 0, b"\x0d" * 32)
    return moot


def asked_from(front: Front) -> list[int]:
    """Where each question for events begins, from now on."""
    begun: list[int] = []
    lie = front.lies["eth_getLogs"]

    def noted(parameters: Any, truth: Any) -> Any:
        begun.append(int(parameters[0]["fromBlock"], 16))
        return lie(parameters, truth)

    front.lies["eth_getLogs"] = noted
    return begun


@pytest.mark.parametrize("by", [5_000, 3_000_000, -BEFORE + 10])
def test_events_are_asked_for_by_the_nodes_numbers_whatever_the_contract_sees(node: Anvil, by: int) -> None:
    known = working(node)
    with faulty_rpc.front(node.url) as front:
        faulty_rpc.renumber(front, by)
        begun = asked_from(front)
        moot = Moot(open_chain(front.url), known.address)
        born = moot.about().born
        assert born == known.about().born + by
        begun.clear()
        assert moot.round_view(1).commits == known.round_view(1).commits == (b"\x0d" * 32,)
        assert [entry.log.data for entry in moot.history()] == [entry.log.data for entry in known.history()]
        assert [final.model for final in moot.finals(1)] == [b"\x03" * 32]
        assert min(begun) >= born


def test_nodes_that_have_forgotten_old_blocks_are_asked_for_all_events_there_are(node: Anvil) -> None:
    known = working(node)
    with faulty_rpc.front(node.url) as front:
        faulty_rpc.renumber(front, 5_000)
        code = front.lies["eth_getCode"]

        def pruned(parameters: Any, truth: Any) -> Any:
            if isinstance(parameters[1], str) and parameters[1] != "latest":
                raise Refusal("missing trie node")
            return code(parameters, truth)

        front.lies["eth_getCode"] = pruned
        moot = Moot(open_chain(front.url), known.address)
        assert moot.about().born == 0
        assert moot.round_view(1).commits == (b"\x0d" * 32,)


def test_where_the_numbers_are_the_same_one_question_tells(node: Anvil) -> None:
    known = working(node)
    with faulty_rpc.front(node.url) as front:
        assert Moot(open_chain(front.url), known.address).about() == known.about()
        assert (front.asked["eth_getLogs"], front.asked["eth_getCode"]) == (1, 0)
