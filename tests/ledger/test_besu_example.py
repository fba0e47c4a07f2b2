"""The consortium's chain of ``examples/besu``, as far as it can be held to anything without Besu."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from anvil import anvil
from real_chain import ANNA, BERT

from folkmoot.ledger import JoinFields, Moot, open_chain, rlp

EXAMPLE = Path(__file__).parents[2] / "examples" / "besu"


@pytest.fixture
def genesis() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLE / "genesis.json").read_text())
    return found


def test_its_genesis_is_qbfts_with_free_gas_and_forks_from_the_first_block(genesis: dict[str, Any]) -> None:
    config = genesis["config"]
    assert config["qbft"]["blockperiodseconds"] == 2
    assert config["zeroBaseFee"] is True
    assert {config[fork] for fork in ("berlinBlock", "londonBlock", "shanghaiTime", "cancunTime")} == {0}
    assert genesis["mixHash"] == "0x" + b"ctical byzantine fault tolerance".hex()
    assert "README" in genesis["extraData"]  # nobody's keys


def test_a_moot_is_founded_from_that_genesis_by_accounts_without_coins(genesis: dict[str, Any], tmp_path: Path) -> None:
    addresses = [bytes([number]) * 20 for number in range(1, 5)]
    genesis["extraData"] = "0x" + rlp.encode([bytes(32), addresses, (), b"", ()]).hex()
    (tmp_path / "genesis.json").write_text(json.dumps(genesis))
    chain_id = genesis["config"]["chainId"]
    with anvil(
        chain_id=chain_id, hardfork="cancun", mining=True, base_fee=0, genesis=tmp_path / "genesis.json"
    ) as node:
        assert int(node.rpc("eth_getBlockByNumber", "0x0", False)["gasLimit"], 16) == int(genesis["gasLimit"], 16)
        founder = JoinFields(name="anna", endpoint=b"\x01" * 32, exchange=b"\x02" * 32, binding=b"b" * 64, addresses=())
        chain = open_chain(node.url, chain_id=chain_id)
        moot = Moot.deploy(chain, ANNA, name="a moot", seats=4, voucher=BERT.address, founder=founder)
        moot.check_code()
        assert moot.members()[0].name == "anna"
