"""One member's side of a task's rounds, as a pure state machine: events in, actions out.

The machine never acts, waits or draws a random number. The peer daemon, the simulator and the fault tests all drive
this one class. What it knows dies with the process and is made anew from three durable things: the ledger, the
blobs on disk, and the journal that remembers the own contribution.

Nothing here relies on a message arriving. What is pushed once is pulled when it is missed, and what goes to one posting
member goes to the next in turn when the ledger does not move; so loss, delay and crashes cost time only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from folkmoot.digest import Hash
from folkmoot.errors import ProtocolError
from folkmoot.round.commitment import commit_hash, contribution_root
from folkmoot.round.events import (
    Action,
    Announce,
    Attend,
    Clock,
    Computed,
    Event,
    Failed,
    HoldingReceived,
    Key,
    LedgerSeen,
    ModelReceived,
    Open,
    Opened,
    PostCommit,
    PostFinal,
    PostFreeze,
    PostRetry,
    Pull,
    PullSum,
    Push,
    Reveal,
    RevealReceived,
    SendHolding,
    SendModel,
    ShardHeld,
    Statement,
    Sum,
    SumHeld,
    SumsReceived,
    Train,
    Trained,
    Update,
    Wait,
)
from folkmoot.round.plan import Plan, make_plan
from folkmoot.round.view import Phase, RoundView, members_of, quorum

__all__ = ["RoundMachine", "Timing"]


@dataclass(frozen=True)
class Timing:
    """How long a peer waits, in ledger seconds, before it helps matters along. Never decides an outcome."""

    patience: float = 1.0
    """Until what should have been pushed is asked for; grows by half with each asking."""
    stagger: float = 0.5
    """Until the next member in turn is asked to post."""


@dataclass
class _Attempt:
    """What is known of one attempt."""

    key: Key
    plan: Plan
    began: float
    late: bool
    """Commits were closed when this peer first saw the attempt, so the pushes went by."""
    shards: tuple[int, ...] = ()
    opened: bool = False
    asked_to_train: bool = False
    attended: bool = False
    pushed: bool = False
    own: Reveal | None = None
    failure: str | None = None
    committed_at: float | None = None
    reveals: dict[int, Reveal] = field(default_factory=dict)
    held: dict[int, set[int]] = field(default_factory=dict)
    holdings: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    claims: dict[int, dict[int, Hash]] = field(default_factory=dict)
    sums: dict[int, Hash] = field(default_factory=dict)
    """Sums on disk."""
    own_sums: dict[int, Hash] = field(default_factory=dict)
    summing: set[int] = field(default_factory=set)
    announced: bool = False
    updating: bool = False
    statement: Statement | None = None
    models: dict[int, tuple[Statement, bytes]] = field(default_factory=dict)
    closed_at: float | None = None
    frozen_at: float | None = None
    next_pull: float = 0.0
    pull_wait: float = 0.0
    ladder: tuple[str, float, int] = ("", 0.0, 0)
    """What is being sent for posting, since when, and how many members it was sent to."""
    sent: object = None
    posted: dict[str, float] = field(default_factory=dict)
    reason: str = ""


class RoundMachine:
    """The rounds of one task as seen by member ``me``.

    ``address_of`` gives a member's 20-byte address, which its commit is bound to. Feed every event to ``handle`` and
    carry out the actions it returns, in order. Events of another attempt than the present one are ignored. A reveal
    that does not open its commit raises ``ProtocolError``: the sender broke the rules.
    """

    def __init__(
        self,
        me: int,
        address_of: Callable[[int], bytes],
        *,
        gather_up_to: int = 8,
        replicas: int = 3,
        timing: Timing | None = None,
    ) -> None:
        self.me = me
        self._address_of = address_of
        self._gather_up_to = gather_up_to
        self._replicas = replicas
        self._timing = timing or Timing()
        self._view: RoundView | None = None
        self._now = 0.0
        self._willing = False
        self._attempt: _Attempt | None = None

    # ---- what others may ask ---------------------------------------------------------------------------------

    @property
    def key(self) -> Key | None:
        """The attempt being worked on, if any."""
        return self._attempt.key if self._attempt else None

    @property
    def plan(self) -> Plan | None:
        """The plan of that attempt."""
        return self._attempt.plan if self._attempt else None

    @property
    def reason(self) -> str:
        """What the machine is waiting for, for people; empty when it has work."""
        return self._attempt.reason if self._attempt else ""

    def reveal_of(self, member: int) -> Reveal | None:
        """A member's reveal in the present attempt, checked against its commit."""
        return self._attempt.reveals.get(member) if self._attempt else None

    def may_reveal(self) -> bool:
        """Whether contributions of the present attempt may be shown: only once commits are closed."""
        return self._view is not None and self._attempt is not None and self._view.closed(self._now)

    # ---- events ----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Action]:
        """Take in one event; return what is to be done now."""
        if isinstance(event, LedgerSeen):
            self._see(event)
        elif isinstance(event, Clock):
            self._now = max(self._now, event.now)
        else:
            attempt = self._attempt
            if attempt is None or event.key != attempt.key:
                return []
            self._take(attempt, event)
        return self._advance()

    def _see(self, event: LedgerSeen) -> None:
        self._now = max(self._now, event.now)
        self._willing = event.willing
        view = self._view = event.view
        if view.phase in (Phase.GATHERING, Phase.DONE):
            self._attempt = None
            return
        key = Key(view.task, view.round, view.attempt)
        if self._attempt is not None and self._attempt.key == key:
            return
        members = members_of(view.members)
        plan = make_plan(members, view.parent, view.attempt, gather_up_to=self._gather_up_to, replicas=self._replicas)
        self._attempt = _Attempt(key, plan, self._now, late=view.closed(self._now), shards=plan.held_by(self.me))

    def _take(self, attempt: _Attempt, event: Event) -> None:
        if isinstance(event, Opened):
            attempt.opened = True
        elif isinstance(event, Trained):
            attempt.own, attempt.failure = event.reveal, None
        elif isinstance(event, Failed):
            attempt.failure = event.reason
        elif isinstance(event, RevealReceived):
            self._take_reveal(attempt, event)
        elif isinstance(event, ShardHeld):
            attempt.held.setdefault(event.member, set()).add(event.shard)
        elif isinstance(event, HoldingReceived):
            attempt.holdings[event.member] = (event.contributors, event.signature)
        elif isinstance(event, SumsReceived):
            self._take_sums(attempt, event)
        elif isinstance(event, SumHeld):
            attempt.sums[event.shard] = event.sum
            if event.shard in attempt.summing:
                attempt.own_sums[event.shard] = event.sum
        elif isinstance(event, Computed):
            attempt.statement = event.statement
        elif isinstance(event, ModelReceived):
            attempt.models[event.member] = (event.statement, event.signature)

    def _take_reveal(self, attempt: _Attempt, event: RevealReceived) -> None:
        view = self._view
        assert view is not None
        if not view.committed >> event.member & 1:
            raise ProtocolError(f"member {event.member} reveals a contribution it did not commit")
        due = view.commits[members_of(view.committed).index(event.member)]
        if len(event.reveal.shards) != attempt.plan.shards or due != self._commit(event.member, event.reveal):
            raise ProtocolError(f"member {event.member} reveals another contribution than it committed")
        attempt.reveals.setdefault(event.member, event.reveal)

    def _take_sums(self, attempt: _Attempt, event: SumsReceived) -> None:
        for shard, digest in event.sums.items():
            if not 0 <= shard < attempt.plan.shards or event.member not in attempt.plan.holders[shard]:
                raise ProtocolError(f"member {event.member} claims the sum of shard {shard}, which is not its own")
            attempt.claims.setdefault(shard, {})[event.member] = digest

    def _commit(self, member: int, reveal: Reveal) -> Hash:
        assert self._attempt is not None
        root = contribution_root(reveal.shards)
        return commit_hash(reveal.salt, self._address_of(member), *self._attempt.key, root)

    # ---- the phases ------------------------------------------------------------------------------------------

    def _advance(self) -> list[Action]:
        attempt, view = self._attempt, self._view
        if attempt is None or view is None:
            return []
        actions: list[Action] = []
        if not attempt.opened:
            self._once(attempt, "open", actions, Open(attempt.key, view.parent), every=4 * self._timing.patience)
        if view.phase is Phase.COMMIT and not view.closed(self._now):
            self._commit_phase(attempt, view, actions)
        elif view.phase is Phase.COMMIT:
            self._exchange_phase(attempt, view, actions)
        else:
            self._final_phase(attempt, view, actions)
        return actions

    def _commit_phase(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        committed = bool(view.committed >> self.me & 1)
        if self._willing and attempt.opened and not attempt.asked_to_train:
            attempt.asked_to_train = True
            actions.append(Train(attempt.key, view.parent))
        if self._willing and attempt.own is not None and not committed:
            commit = PostCommit(attempt.key, self._commit(self.me, attempt.own))
            self._once(attempt, "commit", actions, commit, every=4 * self._timing.stagger)
        if attempt.failure is not None:
            self._wait(attempt, actions, attempt.failure)
        elif self._now >= view.commit_deadline:
            have, need = view.committed.bit_count(), view.min_members
            self._wait(attempt, actions, f"paused: {have} of at least {need} members have contributed")
        elif committed or not self._willing:
            self._wait(attempt, actions, "waits for the other members' commits")

    def _exchange_phase(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        if attempt.closed_at is None:
            attempt.closed_at = self._now
        self._attend(attempt, view, actions)
        self._push(attempt, view, actions)
        if not attempt.opened:
            return
        missing = self._pull_missing(attempt, view.committed, attempt.closed_at, actions)
        windows = view.exchange_seconds << min(view.attempt, 6)
        deadline = (view.closed_at or view.commit_deadline) + windows + 1
        if missing and self._now < deadline:
            self._wait(attempt, actions, f"waits for the contributions of {len(missing)} members")
            return
        holding = sum(1 << m for m in members_of(view.committed) if m not in missing)
        for to in self._ladder(attempt, view, "freeze", holding):
            actions.append(SendHolding(attempt.key, to, holding))
        pool = {m: h for m, h in attempt.holdings.items() if view.members >> m & 1}
        if len(pool) >= quorum(view.members.bit_count()):
            self._once(attempt, "freeze", actions, PostFreeze(attempt.key, pool), every=4 * self._timing.stagger)
        else:
            self._wait(attempt, actions, "waits for a quorum to hold the contributions")

    def _attend(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        """Too late for this attempt: ask to be waited for in the next."""
        missed = not view.committed >> self.me & 1
        if self._willing and missed and not attempt.attended and attempt.failure is None:
            attempt.attended = True
            actions.append(Attend(attempt.key))

    def _push(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        if attempt.pushed or attempt.own is None or not view.committed >> self.me & 1:
            return
        attempt.pushed = True
        attempt.reveals[self.me] = attempt.own
        attempt.held[self.me] = set(range(attempt.plan.shards))
        others = members_of(view.members)
        start = others.index(self.me) if self.me in others else 0
        for to in others[start + 1 :] + others[:start]:
            actions.append(Push(attempt.key, to, attempt.own, attempt.plan.held_by(to)))

    def _final_phase(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        if attempt.frozen_at is None:
            attempt.frozen_at = self._now
        self._attend(attempt, view, actions)
        self._push(attempt, view, actions)
        if attempt.statement is None and attempt.opened:
            self._reduce(attempt, view, actions)
        if attempt.statement is not None:
            for to in self._ladder(attempt, view, "final", attempt.statement):
                actions.append(SendModel(attempt.key, to, attempt.statement))
        self._post_final(attempt, view, actions)
        torn = any(statement != attempt.statement for statement, _ in attempt.models.values())
        if self._now >= view.final_deadline and (attempt.statement is None or torn):
            self._once(attempt, "retry", actions, PostRetry(attempt.key), every=8 * self._timing.stagger)

    def _reduce(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        assert attempt.frozen_at is not None
        survivors = members_of(view.survivors)
        if missing := self._pull_missing(attempt, view.survivors, attempt.frozen_at, actions):
            self._wait(attempt, actions, f"waits for the contributions of {len(missing)} survivors")
            return
        due = [s for s in attempt.shards if s not in attempt.summing]
        if due:
            attempt.summing.update(due)
            shards = {s: tuple(attempt.reveals[m].shards[s] for m in survivors) for s in due}
            actions.append(Sum(attempt.key, shards))
        if not all(s in attempt.own_sums for s in attempt.shards):
            return
        if attempt.plan.shards > 1 and not attempt.announced and attempt.own_sums:
            attempt.announced = True
            for to in members_of(view.members):
                if to != self.me:
                    actions.append(Announce(attempt.key, to, dict(attempt.own_sums)))
        if self._gather_sums(attempt, actions) and not attempt.updating:
            attempt.updating = True
            inputs = {m: attempt.reveals[m] for m in survivors}
            sums = tuple(attempt.sums[s] for s in range(attempt.plan.shards))
            actions.append(Update(attempt.key, view.parent, inputs, sums))

    def _gather_sums(self, attempt: _Attempt, actions: list[Action]) -> bool:
        """Whether every shard's sum is on disk. A holder's word counts when all its fellows say the same, or the
        silent ones have had their time; where holders differ, this peer sums the shard itself."""
        assert attempt.frozen_at is not None
        patience = self._now >= attempt.frozen_at + 2 * self._timing.patience
        for shard in range(attempt.plan.shards):
            if shard in attempt.shards or shard in attempt.sums:
                continue
            claims = attempt.claims.get(shard, {})
            if len(set(claims.values())) > 1:
                attempt.shards = tuple(sorted({*attempt.shards, shard}))
            elif claims and (patience or len(claims) == len(attempt.plan.holders[shard])):
                holders = tuple(sorted(claims, key=lambda m: (m + self.me) % attempt.plan.shards))
                pull = PullSum(attempt.key, shard, next(iter(claims.values())), holders)
                self._once(attempt, f"sum {shard}", actions, pull, every=4 * self._timing.patience)
        missing = attempt.plan.shards - len(attempt.sums)
        if missing:
            self._wait(attempt, actions, f"waits for the sums of {missing} shards")
        return not missing

    def _post_final(self, attempt: _Attempt, view: RoundView, actions: list[Action]) -> None:
        need = quorum(view.members.bit_count())
        by_statement: dict[Statement, dict[int, bytes]] = {}
        for member, (statement, signature) in attempt.models.items():
            if view.members >> member & 1:
                by_statement.setdefault(statement, {})[member] = signature
        for statement, signatures in by_statement.items():
            if len(signatures) >= need:
                post = PostFinal(attempt.key, statement, signatures)
                self._once(attempt, "final", actions, post, every=4 * self._timing.stagger)
                return
        if attempt.statement is not None:
            self._wait(attempt, actions, "waits for a quorum to sign the model")

    # ---- healing ---------------------------------------------------------------------------------------------

    def _pull_missing(self, attempt: _Attempt, contributors: int, since: float, actions: list[Action]) -> list[int]:
        """The contributors whose reveal or shards are not here; asks for them when the pushes have had their time."""
        missing = [
            m
            for m in members_of(contributors)
            if m not in attempt.reveals or not attempt.held.get(m, set()).issuperset(attempt.shards)
        ]
        if attempt.pull_wait == 0.0:
            attempt.pull_wait = self._timing.patience
            attempt.next_pull = since if attempt.late else since + attempt.pull_wait
        if missing and self._now >= attempt.next_pull:
            attempt.pull_wait *= 1.5
            attempt.next_pull = self._now + attempt.pull_wait
            for m in missing:
                shards = tuple(s for s in attempt.shards if s not in attempt.held.get(m, set()))
                actions.append(Pull(attempt.key, m, shards, self._sources(attempt, m)))
        return missing

    def _sources(self, attempt: _Attempt, contributor: int) -> tuple[int, ...]:
        """Who may have a contributor's shards: itself first, then their other holders."""
        holders = {h for s in attempt.shards for h in attempt.plan.holders[s]}
        assert self._view is not None
        others = holders or set(members_of(self._view.members))
        rest = sorted(others - {contributor, self.me}, key=lambda m: (m - self.me) % 256)
        return (contributor, *rest) if contributor != self.me else tuple(rest)

    def _ladder(self, attempt: _Attempt, view: RoundView, what: str, payload: object) -> list[int]:
        """To whom ``payload`` goes now: oneself, then the posting members in turn, one more each ``stagger`` while the
        ledger stands still. The turn begins with another member each round, so the work goes round."""
        order = members_of(view.members)
        name, since, count = attempt.ladder
        if name != what or attempt.sent != payload:
            name, since, count = what, self._now, -1
        due = 1 + int((self._now - since) / self._timing.stagger)
        first = (view.round + view.attempt) % len(order)
        recipients = [order[(first + step) % len(order)] for step in range(max(count, 0), due)]
        if count == -1:
            recipients = [self.me, *(m for m in recipients if m != self.me)]
        attempt.ladder, attempt.sent = (what, since, due), payload
        return list(dict.fromkeys(recipients))

    def _once(self, attempt: _Attempt, name: str, actions: list[Action], action: Action, *, every: float) -> None:
        """Do it now, and again only when ``every`` seconds have passed without the effect being seen."""
        last = attempt.posted.get(name)
        if last is None or self._now >= last + every:
            attempt.posted[name] = self._now
            actions.append(action)

    def _wait(self, attempt: _Attempt, actions: list[Action], reason: str) -> None:
        if attempt.reason != reason:
            attempt.reason = reason
            actions.append(Wait(attempt.key, reason))
