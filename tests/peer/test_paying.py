"""When it is settled which scores were shown in time: by the blocks of the ledger, the same for all."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eth_account import Account

from folkmoot.ledger import Chain
from folkmoot.ledger.chainfile import create_chain
from folkmoot.ledger.purse import Purse
from folkmoot.ledger.replica import Replica
from folkmoot.ledger.transact import Sender
from folkmoot.peer.paying import Paying

UNTIL, WINDOW = 1_000_100, 100
END = UNTIL + WINDOW


class Peer:
    """Stands in for a peer, but for the chain, which is a file that all have; its clock is its own."""

    def __init__(self, path: Path, index: int) -> None:
        self.time, self.index, self.living = 0, index, [index]
        self.timing = SimpleNamespace(stagger=0.001)
        chain = Chain(Replica(path, clock=lambda: self.time))
        self.moot = chain
        sender = Sender(chain, Account.from_key(bytes([index + 1] * 32)))
        self.purse: Any = Purse(chain, "0x" + "22" * 20, sender)
        self.purse.sealing, self.purse.unsealed = lambda task, last: UNTIL, self._unsealed
        bounty: Any = SimpleNamespace(purse=self.purse, epoch=0, finals={8: SimpleNamespace(block=1)})
        record, compute = SimpleNamespace(id=1, exchange_seconds=WINDOW), SimpleNamespace(unscored=None)
        self.paying = Paying(record, self, compute, bounty)  # type: ignore[arg-type]

    def _unsealed(self, task: int, last: int, born: int, before: int) -> dict[int, bytes]:
        times = [self.moot.block_time(block) for block in range(1, self.moot.head() + 1)]
        return {at: b"" for at, time in enumerate(times) if time < before}

    def now(self) -> float:
        return self.moot.now()

    async def ledger(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    post = ledger

    def told(self) -> dict[int, bytes] | None:
        return asyncio.run(self.paying._told(8))


def test_a_word_that_comes_with_an_earlier_time_after_the_end_is_heard_by_all_or_by_none(tmp_path: Path) -> None:
    """Whoever appends to a file says what time it is, down to that of the block before."""
    create_chain(tmp_path / "ledger.sqlite", chain_id=7, genesis_time=1_000_000)
    early, late = (Peer(tmp_path / "ledger.sqlite", index) for index in range(2))
    late.time = UNTIL
    late.purse.mark()
    early.time = END + 10
    assert early.told() is None, "no block says that it is over"
    late.time = END - 1
    late.purse.mark()
    assert asyncio.run(early.paying._mark(8)), "its turn: it makes the block that says so"
    late.purse.mark()  # cannot be before that
    assert not asyncio.run(early.paying._mark(8))
    assert early.told() == late.told() == {0: b"", 1: b""}
