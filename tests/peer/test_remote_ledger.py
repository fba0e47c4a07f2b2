"""Peers that reach their ledger by JSON-RPC over HTTP, as on a consortium's own chain: a node behind two fronts."""

from __future__ import annotations

from pathlib import Path

import faulty_rpc
import msgspec
import rig
from anvil import Anvil, anvil

from folkmoot.peer.founding import found, join
from folkmoot.peer.identity import Identity
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.verify import verify
from folkmoot.round import members_of

NAMES = ["anna", "bert", "carl", "dora"]
CHAIN = 4711
CONFIRMATIONS = 2


def test_a_moot_on_a_real_chain_finishes_though_its_nodes_go_and_lie_and_blocks_are_taken_back(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=1, min_members=4, start_members=4, train_seconds=8)
    with (
        anvil(chain_id=CHAIN, mining=True, block_time=0.25) as node,
        faulty_rpc.front(node.url) as one,
        faulty_rpc.front(node.url) as other,
    ):
        moot = rig.Rig(settle(tmp_path / "moot", node, f"{one.url},{other.url}"))
        task = moot.local.offer(source, rig.tiny_data(tmp_path, NAMES))
        for home in moot.homes.values():
            assert home.config.chain_id == CHAIN
            home.write_config(msgspec.structs.replace(home.config, confirmations=CONFIRMATIONS))
        try:
            moot.start()
            moot.ready(task)
            one.close()
            other.close()
            moot.said("anna", "the chain cannot be reached")
            other.says("eth_chainId", "0x1")
            one.open()
            other.open()
            moot.said("anna", f"{other.url} is a node of chain 1, and the moot's is {CHAIN}")
            other.honest()
            moot.grant(task, *NAMES)
            node.reorganise(CONFIRMATIONS)
            one.close()
            model = moot.finish(task)
            assert {members_of(final.survivors) for final in moot.finals(task)} == {(0, 1, 2, 3)}
            moot.filled(task, "bert")
            assert any(
                "answers again" in record["message"] for record in moot.log("anna") if record["event"] == "warning"
            )
        finally:
            moot.stop()
        home = moot.homes["bert"]
        assert verify(other.url, home.config.contract, [home.blobs]).models == {task: model}


def settle(folder: Path, node: Anvil, ledger: str) -> LocalMoot:
    """A moot on the node's chain, all its members with coins."""
    keys = {name: Identity(bytes([at]) * 32) for at, name in enumerate(NAMES, 1)}
    node.fund(*(identity.account.address for identity in keys.values()))
    first, *others = NAMES
    home, ticket = found(folder / first, name="test", seats=4, member=first, ledger=ledger, identity=keys[first])
    homes = {first: home}
    for name in others:
        homes[name], _ = join(folder / name, ticket, member=name, identity=keys[name])
    return LocalMoot(folder, homes)
