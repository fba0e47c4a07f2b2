"""What one member knows of one attempt at a round. It dies with the process; ledger, blobs and journal outlive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from folkmoot.digest import Hash
from folkmoot.round.events import (
    Action,
    Event,
    Failed,
    Key,
    Opened,
    Overtaken,
    Reveal,
    Statement,
    Trained,
    Wait,
    WaitKind,
)
from folkmoot.round.plan import Plan
from folkmoot.round.view import RoundView, members_of

__all__ = ["Attempt", "Fitness", "Rows", "Timing"]

Rows = tuple[tuple[int, ...], ...]
"""What is summed with what: members, ascending in each row."""


_MOST_DOUBLINGS = 6


@dataclass(frozen=True)
class Timing:
    """How long a peer waits, in ledger seconds, before it helps matters along. Never decides an outcome."""

    patience: float = 1.0
    """Until what should have been pushed is asked for; grows by half with each asking, up to 30 times as long."""
    stagger: float = 0.5
    """Until the next member in turn is asked to post."""
    grace: float = 0.2
    """Until a quorum's signatures are posted without those of the other survivors."""


@dataclass
class Fitness:
    """Whether this member can take part, by what it has shown since it started. Who cannot must not ask to be waited
    for: everyone would wait, each round anew, until commits close by time.

    A member that could not open a round, because its disk is full or nobody gives it the state, is fit when it has
    opened one, and a member that could not train when it has trained. A member that took too long may be quicker next
    time: once costs it that round alone; twice in succession one round more, then 3, 7, 15, ... Each training that
    succeeds halves the count. In a sealed task nobody trains that is not waited for, so there every failure to train
    is counted like this: else it would be for good.
    """

    sealed: bool = False
    """Whether only those train that are waited for."""
    opened: bool = False
    failed: bool = False
    """Whether the last training went wrong."""
    overruns: int = 0
    """Attempts whose training took too long, halved by each that did not."""
    overran: Key | None = None
    """The last such attempt: it counts once, however often its training was tried."""
    again: int = 0
    """The round from which on it may be waited for after those."""

    def take(self, event: Event) -> None:
        """Learn from what became of an attempt, were it an earlier one."""
        if isinstance(event, Opened):
            self.opened = True
        elif isinstance(event, Overtaken):
            self.failed = False
        elif isinstance(event, Trained):
            self.opened, self.failed, self.overruns, self.again = True, False, self.overruns // 2, 0
        elif isinstance(event, Failed) and event.step == "open":
            self.opened = False
        elif isinstance(event, Failed) and event.lasting and not self.sealed:
            self.failed = True
        elif isinstance(event, Failed) and event.key != self.overran:
            self.overran = event.key
            self.again = event.key.round + 2 ** min(self.overruns, _MOST_DOUBLINGS) - 1
            self.overruns += 1

    def fit(self, round: int) -> bool:
        """Whether it may ask to be waited for in ``round``."""
        return self.opened and not self.failed and round >= self.again


@dataclass
class Attempt:
    """One attempt as member ``me`` has seen it so far."""

    key: Key
    me: int
    plan: Plan
    share: tuple[int, ...]
    """The shards that the plan gives this member to sum."""
    late: bool
    """Commits were closed when this peer first saw the attempt, so the pushes went by."""
    shards: tuple[int, ...] = ()
    """The pieces to hold: the share, the envelope if there is one, and shards whose holders are silent or disagree."""
    stands_on: tuple[object, ...] = ()
    """What of the ledger the plan follows from."""
    opened: bool = False
    asked_to_train: bool = False
    attended: bool = False
    pushed: bool = False
    own: Reveal | None = None
    failure: str | None = None
    reveals: dict[int, Reveal] = field(default_factory=dict)
    """Reveals that open their commits."""
    held: dict[int, set[int]] = field(default_factory=dict)
    """For each contributor the pieces on disk."""
    holdings: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    survivors: int = 0
    """Bitmap: those that what follows is for. A masked attempt may go on with fewer, never with others."""
    released: bool = False
    """Whether telling this peer's mask seeds was asked for."""
    seeds: dict[int, Mapping[int, bytes]] = field(default_factory=dict)
    """For each survivor the mask seeds that may be known, once they are."""
    openings: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """What members say of whose masks they can take off."""
    claims: dict[int, dict[int, Hash]] = field(default_factory=dict)
    """For each shard what its holders say its sum is."""
    sums: dict[int, Hash] = field(default_factory=dict)
    """Sums on disk."""
    summing: set[int] = field(default_factory=set)
    updating: bool = False
    statement: Statement | None = None
    models: dict[int, tuple[Statement, bytes]] = field(default_factory=dict)
    closed_at: float | None = None
    """When this peer first saw commits closed; likewise ``frozen_at``."""
    frozen_at: float | None = None
    news_at: float = 0.0
    """When the last claim came, or the last own sum was made."""
    next_pull: float | None = None
    pull_wait: float = 0.0
    ladder: tuple[object, float, int] | None = None
    """What is being sent for posting, since when, and how many steps of the ladder it has climbed."""
    done: dict[str, float] = field(default_factory=dict)
    """When each thing that is done again and again was done last."""
    waits: Wait | None = None
    """What was last said to be waited for."""

    def go_on_with(self, survivors: int, now: float) -> None:
        """The ledger shows these survivors: what was made for others is void."""
        if survivors == self.survivors:
            return
        self.survivors, self.released = survivors, False
        self.seeds, self.openings = {}, {}
        self.claims, self.sums, self.summing = {}, {}, set()
        self.updating, self.statement, self.models = False, None, {}
        self.frozen_at = self.news_at = now
        self.ladder = None
        for name in ("seeds", "opening", "quorum", "final", "announce"):
            self.done.pop(name, None)

    def missing(self, contributors: int) -> list[int]:
        """The contributors (bitmap) whose reveal, or any piece due here, is not here."""
        return [
            m
            for m in members_of(contributors)
            if m not in self.reveals or not self.held.get(m, set()).issuperset(self.shards)
        ]

    def sources(self, contributor: int, members: int) -> tuple[int, ...]:
        """Who may have a contributor's shards: itself first, then their other holders, in an order of one's own."""
        holders = {h for s in self.shards for h in self.plan.holders_of(s)} or set(members_of(members))
        rest = sorted(holders - {contributor, self.me}, key=lambda m: (m - self.me) % 256)
        return tuple(rest) if contributor == self.me else (contributor, *rest)

    def take_sum(self, shard: int, digest: Hash, now: float) -> None:
        """The sum of ``shard`` is on disk. A shard this peer sums itself keeps the first, which is its own."""
        if shard not in self.sums:
            self.sums[shard] = digest
            self.news_at = now

    def recipients(self, view: RoundView, payload: object, *, now: float, stagger: float) -> list[int]:
        """To whom ``payload`` goes now: oneself, then the posting members in turn, one more each ``stagger`` while the
        ledger stands still, and more slowly once all have been asked. The turn begins with another member each
        round, so the work goes round."""
        order = members_of(view.members)
        first = view.round + view.attempt
        chosen = []
        if self.ladder is None or self.ladder[0] != payload:
            self.ladder = (payload, now, 0)
            chosen.append(self.me)
        _, since, climbed = self.ladder
        steps = 1 + (now - since) / stagger
        due = int(steps if steps < len(order) else len(order) + (steps - len(order)) / 8)
        for step in range(max(climbed, due - len(order)), due):
            chosen.append(order[(first + step) % len(order)])
        self.ladder = (payload, since, due)
        return list(dict.fromkeys(chosen))

    def once(self, name: str, actions: list[Action], action: Action, *, now: float, every: float) -> None:
        """Do it now, and again only when ``every`` seconds have passed without the effect being seen."""
        last = self.done.get(name)
        if last is None or now >= last + every:
            self.done[name] = now
            actions.append(action)

    def wait(self, actions: list[Action], kind: WaitKind, reason: str, members: int = 0) -> None:
        """Say what is waited for, and for whom (bitmap), if that is news."""
        wait = Wait(self.key, kind, reason, members)
        if self.waits != wait:
            self.waits = wait
            actions.append(wait)

    def asked(self, order: tuple[int, ...], first: int) -> bool:
        """Whether what is sent for posting has been sent to this member too, in the turn that begins at ``first``: only
        then does it know who has not spoken."""
        climbed = 0 if self.ladder is None else self.ladder[2]
        return any(order[(first + step) % len(order)] == self.me for step in range(min(climbed, len(order))))
