"""Peers of one moot in one process, with their keys, journals and round machines, and a ledger that says what it likes.

No message travels: what each would tell is asked of it, as any member may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from mask_table import PARENT, POLICY

from folkmoot.network import BlobMessage, Node
from folkmoot.peer.context import PeerContext
from folkmoot.peer.exchange import Exchange
from folkmoot.peer.home import Home
from folkmoot.peer.log import Log
from folkmoot.peer.messages import RoundMessage, SeedsKnown, SeedsWanted, bitmap
from folkmoot.peer.unmasking import Unmasking
from folkmoot.round import events as ev
from folkmoot.round.commitment import seat_of
from folkmoot.round.events import Event, Key
from folkmoot.round.machine import RoundMachine
from folkmoot.round.view import Phase, RoundView

NOW = 1000.0


def frozen(key: Key, members: int, survivors: int, commits: Sequence[bytes] | None = None) -> RoundView:
    """What the ledger shows when all ``members`` (a number) committed and these survive."""
    everyone = (1 << members) - 1
    return RoundView(
        *key,
        phase=Phase.FROZEN,
        parent=PARENT,
        beacon=bytes(32),
        members=everyone,
        expected=everyone,
        dealt=everyone,
        committed=everyone,
        commits=tuple(commits or [bytes(32)] * members),
        survivors=survivors,
        commit_deadline=1060,
        closed_at=1000,
        final_deadline=1100,
        min_members=3,
        exchange_seconds=30,
        opened=1,
        first_survivors=survivors,
        shut=survivors != 0,
    )


def closed(key: Key, members: int, commits: Sequence[bytes] | None = None) -> RoundView:
    """What it shows between the last commit and the freeze."""
    return replace(frozen(key, members, 0, commits), phase=Phase.COMMIT, final_deadline=0)


def still_open(key: Key, members: int, commits: Sequence[bytes]) -> RoundView:
    """What it shows while the last member's commit is not there."""
    view = closed(key, members, commits[:-1])
    return replace(view, committed=view.members >> 1, closed_at=0)


class UnmaskingPeer:
    """One honest member's unmasking, as its daemon has it. ``restart`` kills it: only its journal is left."""

    def __init__(self, home: Home) -> None:
        moot = home.moot()
        me = moot.me()
        assert me is not None
        self._log = Log(home.log_file)
        node = Node(home.identity.endpoint_secret, BlobMessage | RoundMessage)
        self.context = PeerContext(home, moot, node, me.index, self._log, embedded=True)
        self.context.agreement.read()
        self.context.members = {member.index: member for member in moot.members()}
        self.index = me.index
        self.restart()

    def restart(self) -> None:
        self.machine = RoundMachine(self.index, seat_of, POLICY)
        self.exchange = Exchange(self.context, self.machine, self.feed, lambda evidence: None)
        self.unmasking = Unmasking(self.context, self.machine, self.exchange, self.feed, lambda evidence: None)

    def close(self) -> None:
        self.context.close()
        self._log.close()

    def feed(self, event: Event) -> None:
        before = self.machine.key
        self.machine.handle(event)
        if self.machine.key != before:
            self.exchange.begin()

    def see(self, shown: RoundView) -> None:
        """Look at the ledger."""
        self.feed(ev.LedgerSeen(shown, NOW, True))

    def take(self, envelopes: Mapping[int, bytes]) -> None:
        """Take everyone's envelopes, as they came with the contributions."""
        assert self.exchange.masking is not None
        for dealer, envelope in envelopes.items():
            self.exchange.masking.take_envelope(dealer, envelope, whole=True)

    def release(self, survivors: int) -> None:
        """Tell the own seeds to everyone, as when the machine asks for it. Raises ``FolkmootError`` on refusal."""
        assert self.machine.key is not None
        asyncio.run(self.unmasking.release(ev.Release(self.machine.key, survivors, ())))

    def asked(self, survivors: int, dealers: Collection[int]) -> SeedsKnown:
        """What it answers any member that asks. Raises ``FolkmootError`` on refusal."""
        assert self.machine.key is not None
        task, round, attempt = self.machine.key
        wanted = SeedsWanted(
            task=task, round=round, attempt=attempt, survivors=bitmap(survivors), dealers=tuple(dealers)
        )
        answer = self.unmasking.answer(wanted)
        assert isinstance(answer, SeedsKnown)
        return answer
