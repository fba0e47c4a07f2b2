"""Moots on a hosted chain for the tests, and hosts that lie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import rig

from folkmoot.errors import ChainError
from folkmoot.ledger.hosted import HostedReplica
from folkmoot.peer import hostwatch
from folkmoot.peer.founding import found, join
from folkmoot.peer.home import Home
from folkmoot.peer.local import LocalMoot
from folkmoot.peer.ticket import Ticket
from folkmoot.peer.verify import VerifyReport, verify


def impatient(lie: Callable[[int], None] | None = None, victim: int = 0) -> None:
    """Before a peer runs: it calls the host silent sooner, and may begin to lie."""
    hostwatch.SILENT_SECONDS = 2.0
    if lie is not None:
        lie(victim)


class HostedRig(rig.Rig):
    """A moot whose first member founded it and hosts its chain."""

    ticket: Ticket
    sent: list[str]
    """Who has sent a transaction, of those that try to in the background."""

    def run(self, *names: str, lie: Callable[[int], None] | None = None, victim: int = 0) -> None:
        """Start these peers, and wait until they bring commands' transactions to the host."""
        self.start(*names, before=impatient, arguments=(lie, victim))
        for name in names:
            self.until(f"{name} runs", lambda name=name: self.peer_status(name).state != "starting")

    def enter(self, name: str, ticket: Ticket | None = None) -> int:
        """Join with the founding ticket, or another; the member's index."""
        home, index = join(self.local.folder / name, ticket or self.ticket, member=name)
        self.local.homes[name] = home  # type: ignore[index]
        return index

    def forget(self, name: str) -> Home:
        """Count a member as gone; its home."""
        for kept in ("_clients", "_copies"):
            self.__dict__.get(kept, {}).pop(name, None)
        return self.local.homes.pop(name)  # type: ignore[attr-defined,no-any-return]

    def try_to_describe(self, name: str) -> None:
        """Send a transaction of a member's, however long it takes."""
        with contextlib.suppress(ChainError):
            self.homes[name].moot().describe(bytes(32), 1)
            self.sent.append(name)

    def copy(self, name: str) -> HostedReplica:
        """A member's copy of the chain."""
        copies = self.__dict__.setdefault("_copies", {})
        if name not in copies:
            copies[name] = self.homes[name].chain().replica
        copy: HostedReplica = copies[name]
        copy.head()
        return copy

    def vote(self, wanted: str, *voters: str) -> None:
        """What ``folkmoot host move`` does."""
        for name in voters:
            self.copy(name).book.change(wish=self.homes[wanted].identity.endpoint)

    def hosted_by(self, host: str, *names: str, term: int = 1) -> None:
        """Wait until these members' peers know that ``host`` hosts the chain."""
        endpoint = self.homes[host].identity.endpoint
        for name in names:
            self.until(
                f"{host} hosts the chain for {name}",
                lambda name=name: self.copy(name).book.host == endpoint and self.copy(name).book.term >= term,
            )

    def verify(self, *names: str) -> VerifyReport:
        """Replay the history from the first one's copy of the chain, with these peers' blobs."""
        return verify(Path(self.homes[names[0]].ledger()), None, [self.homes[name].blobs for name in names])

    def settled(self) -> None:
        """Wait until every peer has said where it is: there are no more blocks then unless somebody makes one."""
        self.until("all have announced", lambda: all(m.addresses for m in self.client(self.names[-1]).members()))
        self.same_chain(*self.names)

    def caught_up(self, name: str, other: str) -> None:
        """Wait until a member's copy has what another's has now."""
        number = self.copy(other).number
        self.until(f"{name} has block {number}", lambda: self.copy(name).number >= number)

    def same_chain(self, *names: str) -> None:
        """Wait until these members' copies end with the same block."""
        self.until("the copies are the same", lambda: len({self.copy(name).newest for name in names}) == 1)


@contextlib.contextmanager
def hosted(
    folder: Path,
    names: Sequence[str],
    *,
    seats: int | None = None,
    start: bool = True,
    lie: Callable[[int], None] | None = None,
    victim: int = 0,
) -> Iterator[HostedRig]:
    """A moot of these members, hosted by the first, whose peer runs; so do the others' unless told otherwise.

    ``lie``, with the index of its victim, is what that host may begin to do.
    """
    first, *others = names
    home, ticket = found(
        folder / first, name="test", seats=seats or len(names), member=first, hosted=True, listen="127.0.0.1:0"
    )
    moot = HostedRig(LocalMoot(folder, {first: home}))
    moot.ticket, moot.sent = ticket, []
    try:
        moot.run(first, lie=lie, victim=victim)
        for name in others:
            moot.enter(name)
        if start and others:
            moot.run(*others)
        yield moot
    finally:
        moot.stop()
