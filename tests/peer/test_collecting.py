"""Commits of all in one transaction, on a chain that charges for transactions."""

from pathlib import Path
from typing import Any

import rig
from anvil import anvil
from test_remote_ledger import CHAIN, NAMES, settle

from folkmoot.ledger.abi import COMMITTED, decode_commits
from folkmoot.peer.collecting import Collecting
from folkmoot.round import members_of

GREEDY = 1
"""The member that keeps what it is given to itself."""


async def _nothing(self: Collecting, key: Any) -> None:
    """A collector that posts nobody's commits."""


def keep_commits_back() -> None:
    """Have this process's peer do that."""
    Collecting._collect = _nothing  # type: ignore[method-assign]


def test_one_transaction_carries_all_commits_and_who_is_left_out_posts_its_own(tmp_path: Path) -> None:
    source = rig.tiny_task(tmp_path / "task.py", rounds=4, min_members=4, start_members=4, train_seconds=4)
    with anvil(chain_id=CHAIN, mining=True, block_time=0.25) as node:
        moot = rig.Rig(settle(tmp_path / "moot", node, node.url))
        task = moot.local.offer(source, rig.tiny_data(tmp_path, NAMES))
        try:
            moot.start(NAMES[GREEDY], before=keep_commits_back)
            moot.start(*(name for at, name in enumerate(NAMES) if at != GREEDY))
            moot.ready(task)
            moot.grant(task, *NAMES)
            moot.finish(task)
        finally:
            moot.stop()
        finals = moot.finals(task)
        assert {members_of(final.survivors) for final in finals} == {(0, 1, 2, 3)}
        client = moot.client()
        logs = client._chain.logs(client.address, [COMMITTED], client.about().born)
        together = {commits[0].round: len(commits) for log in logs if len(commits := decode_commits(*log)) > 1}
        kept_back = {final.round for final in finals if (final.round + final.attempt) % 4 == GREEDY}
        assert kept_back
        assert not kept_back & together.keys()
        assert max(together.values()) == 4
