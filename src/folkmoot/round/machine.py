"""One member's side of a task's rounds, as a pure state machine: events in, actions out.

The machine never acts, waits or draws a random number. The peer daemon, the simulator and the fault tests all drive
this one class. What it knows dies with the process and is made anew from three durable things: the ledger, the
blobs on disk, and the journal that remembers this peer's contributions.

Nothing here relies on a message arriving. What is pushed once is pulled when it is missed, and what goes to one posting
member goes to the next in turn when the ledger does not move; so loss, delay and crashes cost time only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from folkmoot.digest import Hash
from folkmoot.errors import ProtocolError
from folkmoot.round.attempt import Attempt, Fitness, Rows, Timing
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
    OpeningReceived,
    PostCommit,
    PostFinal,
    PostFreeze,
    PostRetry,
    Pull,
    PullSum,
    Push,
    Reveal,
    RevealReceived,
    SeedsHeld,
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
)
from folkmoot.round.plan import Plan, make_plan
from folkmoot.round.unmask import row_of, take_opening, unmask
from folkmoot.round.view import Phase, RoundView, called, members_of, quorum
from folkmoot.task.policy import Policy

__all__ = ["RoundMachine", "Timing"]


class RoundMachine:
    """The rounds of one task as seen by member ``me``.

    ``address_of`` gives the 20 bytes that a member's commit is bound to; ``policy`` is the task's; ``without`` is the
    bitmap of members that the task does without: what they contribute is attested to by nobody honest. Feed every
    event to ``handle`` and carry out the actions it returns. Events of another attempt than the present one are
    ignored. A reveal that does not open its commit raises ``ProtocolError``: the sender broke the rules.
    """

    def __init__(
        self,
        me: int,
        address_of: Callable[[int], bytes],
        policy: Policy,
        *,
        timing: Timing | None = None,
        without: int = 0,
    ) -> None:
        self.me = me
        self._without = without
        self._address_of = address_of
        self._policy = policy
        self._timing = timing or Timing()
        self._view: RoundView | None = None
        self._seen = 0.0
        self._now = 0.0
        self._willing = self._rekeyed = False
        self._fitness = Fitness(sealed=policy.secret)
        self._attempt: Attempt | None = None

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
    def parent(self) -> Hash:
        """The hash of the state that attempt starts from; empty if there is none."""
        return self._view.parent if self._view is not None and self._attempt is not None else b""

    @property
    def opened(self) -> int:
        """The block, as contracts see it, in which that attempt opened; 0 if there is none."""
        return self._view.opened if self._view is not None and self._attempt is not None else 0

    @property
    def reason(self) -> str:
        """What the machine last said it waits for, for people."""
        waits = self._attempt.waits if self._attempt else None
        return waits.reason if waits else ""

    def commit_of(self, member: int) -> Hash | None:
        """What a member committed to in the present attempt, as far as the ledger was seen here."""
        view = self._view
        if self._attempt is None or view is None or not view.committed >> member & 1:
            return None
        return view.commits[members_of(view.committed).index(member)]

    def reveal_of(self, member: int) -> Reveal | None:
        """A member's reveal in the present attempt, checked against its commit."""
        return self._attempt.reveals.get(member) if self._attempt else None

    def may_reveal(self) -> bool:
        """Whether contributions of the present attempt may be shown: only once commits are closed."""
        return self._attempt is not None and self._closed()

    @property
    def survivors(self) -> int:
        """Bitmap: the survivors of the present attempt, once the ledger has fixed them; 0 before."""
        frozen = self._attempt is not None and self._view is not None and self._view.phase is Phase.FROZEN
        return self._view.survivors if frozen and self._view is not None else 0

    @property
    def first_survivors(self) -> int:
        """Bitmap: those that the present attempt was first frozen with; ``survivors`` may be fewer."""
        return self._view.first_survivors if self.survivors and self._view is not None else 0

    def said_by(self, member: int) -> tuple[Statement, bytes] | None:
        """A member's last signed word on the outcome of the present attempt."""
        return self._attempt.models.get(member) if self._attempt else None

    def seeds_of(self, member: int) -> Mapping[int, bytes]:
        """A survivor's mask seeds that may be known, if they are here."""
        return self._attempt.seeds.get(member, {}) if self._attempt else {}

    def _closed(self) -> bool:
        """Whether commits are closed. The clock alone closes them a moment late: a commit in the last block before
        the deadline is to be seen first."""
        view = self._view
        return view is not None and (view.closed(self._seen) or view.closed(self._now - self._timing.stagger))

    # ---- events ----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Action]:
        """Take in one event; return what is to be done now."""
        if isinstance(event, LedgerSeen):
            self._see(event)
        elif isinstance(event, Clock):
            self._now = max(self._now, event.now)
        else:
            self._fitness.take(event)
            attempt = self._attempt
            if attempt is None or event.key != attempt.key:
                return []
            self._take(attempt, event)
        return self._advance()

    def _see(self, event: LedgerSeen) -> None:
        self._now, self._seen = max(self._now, event.now), event.now
        self._willing, self._rekeyed = event.willing, event.rekeyed
        view = self._view = event.view
        if view.phase in (Phase.GATHERING, Phase.DONE):
            self._attempt = None
            return
        key = Key(view.task, view.round, view.attempt)
        if self._attempt is not None and self._attempt.key == key and self._attempt.stands_on == _ground(view):
            return
        members, dealt = members_of(view.members), members_of(view.dealt)
        plan = make_plan(members, view.parent, view.attempt, self._policy, dealt=dealt, beacon=view.beacon)
        share, pieces = plan.summed_by(self.me), plan.held_by(self.me)
        self._attempt = Attempt(key, self.me, plan, share, late=view.closed(self._now), shards=pieces)
        self._attempt.stands_on = _ground(view)

    def _take(self, attempt: Attempt, event: Event) -> None:
        if isinstance(event, Opened):
            attempt.opened, attempt.failure = True, None
        elif isinstance(event, Trained):
            attempt.own, attempt.failure = event.reveal, None
        elif isinstance(event, Failed):
            attempt.failure = event.reason
        elif isinstance(event, RevealReceived):
            self._take_reveal(attempt, event)
        elif isinstance(event, ShardHeld):
            attempt.held.setdefault(event.member, set()).add(event.shard)
        elif isinstance(event, HoldingReceived):
            self._take_holding(attempt, event)
        elif isinstance(event, SeedsHeld):
            attempt.seeds[event.dealer] = event.seeds
        elif isinstance(event, OpeningReceived):
            take_opening(attempt, event)
        elif isinstance(event, SumsReceived):
            self._take_claims(attempt, event)
        elif isinstance(event, SumHeld):
            attempt.take_sum(event.shard, event.sum, self._now)
        elif isinstance(event, Computed):
            attempt.statement = event.statement
        elif isinstance(event, ModelReceived):
            attempt.models[event.member] = (event.statement, event.signature)

    def _take_reveal(self, attempt: Attempt, event: RevealReceived) -> None:
        view = self._view
        assert view is not None
        if not view.committed >> event.member & 1:
            if not view.closed(self._seen):
                return  # its commit may be one this peer has not seen yet; the contribution will be pulled
            raise ProtocolError(f"{called(event.member)} reveals a contribution it did not commit")
        if len(event.reveal.shards) != attempt.plan.pieces or not self._opens(event.member, event.reveal):
            raise ProtocolError(f"{called(event.member)} reveals another contribution than it committed")
        attempt.reveals.setdefault(event.member, event.reveal)

    def _take_holding(self, attempt: Attempt, event: HoldingReceived) -> None:
        """The fuller of two words counts: an honest member's only grow, and an older one may come later."""
        known = attempt.holdings.get(event.member)
        if known is None or event.contributors.bit_count() >= known[0].bit_count():
            attempt.holdings[event.member] = (event.contributors, event.signature)

    def _take_claims(self, attempt: Attempt, event: SumsReceived) -> None:
        for shard in event.sums:
            if not 0 <= shard < attempt.plan.shards or event.member not in attempt.plan.holders[shard]:
                raise ProtocolError(f"{called(event.member)} claims the sum of shard {shard}, which is not its own")
        for shard, digest in event.sums.items():
            if attempt.claims.setdefault(shard, {}).get(event.member) != digest:
                attempt.claims[shard][event.member] = digest
                attempt.news_at = self._now

    def _commit(self, member: int, reveal: Reveal) -> Hash:
        assert self._attempt is not None
        root = contribution_root(reveal.shards)
        return commit_hash(reveal.salt, self._address_of(member), *self._attempt.key, root)

    def _opens(self, member: int, reveal: Reveal) -> bool:
        """Whether ``reveal`` opens the commit that ``member`` has on the ledger."""
        return self.commit_of(member) == self._commit(member, reveal)

    # ---- the phases ------------------------------------------------------------------------------------------

    def _advance(self) -> list[Action]:
        attempt, view = self._attempt, self._view
        if attempt is None or view is None:
            return []
        actions: list[Action] = []
        if not attempt.opened:
            attempt.once(
                "open", actions, Open(attempt.key, view.parent), now=self._now, every=4 * self._timing.patience
            )
        if not view.members >> self.me & 1:
            self._outside(attempt, view, actions)
        elif view.phase is Phase.COMMIT and not self._closed():
            self._commit_phase(attempt, view, actions)
        elif view.phase is Phase.COMMIT:
            self._exchange_phase(attempt, view, actions)
        else:
            self._final_phase(attempt, view, actions)
        return actions

    def _outside(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Joined after the snapshot: comes in with the next one. Where commits fall short, that can be had at once."""
        if view.phase is Phase.COMMIT:
            self._retry_where_short(attempt, view, actions)
        attempt.wait(actions, "round", "joins with the next round")

    def _retry_where_short(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Have another attempt where this one is short of commits, and the next may take in who was left out. Who is
        waited for already would be no one new."""
        if view.expected >> self.me & 1:
            return
        if self._now >= view.commit_deadline and not self._closed() and not view.shut and self._fit(view):
            retry = PostRetry(attempt.key)
            attempt.once("retry", actions, retry, now=self._now, every=8 * self._timing.stagger)

    def _commit_phase(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        committed = bool(view.committed >> self.me & 1)
        if self._left_out(attempt, view):
            self._ask_in(attempt, view, actions)
            return
        self._train(attempt, view, actions)
        if self._willing and attempt.own is not None and not committed:
            commit = PostCommit(attempt.key, self._commit(self.me, attempt.own))
            attempt.once("commit", actions, commit, now=self._now, every=4 * self._timing.stagger)
        have, need = view.committed.bit_count(), view.min_members
        if attempt.failure is not None:
            attempt.wait(actions, "failed", attempt.failure)
        elif self._now >= view.commit_deadline and have < need:
            reason = f"paused: {have} of at least {need} members have contributed"
            attempt.wait(actions, "members", reason, view.expected & ~view.committed)
        elif committed or not self._willing:
            awaited = view.expected & ~view.committed & ~(1 << self.me)
            attempt.wait(actions, "commits", "waits for the other members' commits", awaited)

    def _fit(self, view: RoundView) -> bool:
        """Whether this member may ask to be waited for: it is willing, and has shown that it can take part."""
        return self._willing and self._fitness.fit(view.round)

    def _left_out(self, attempt: Attempt, view: RoundView) -> bool:
        """Whether this attempt's masks are made among others, or with other keys of this member's."""
        return attempt.plan.secret and self._willing and (self._rekeyed or not view.dealt >> self.me & 1)

    def _ask_in(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Ask to be dealt in with the next attempt, which can be had at once where this one is short of commits."""
        self._attend(attempt, view, actions)
        self._retry_where_short(attempt, view, actions)
        attempt.wait(actions, "round", "joins with the next round")

    def _exchange_phase(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        if attempt.closed_at is None:
            attempt.closed_at = self._now
        self._attend(attempt, view, actions)
        self._push(attempt, view, actions)
        if not attempt.opened:
            attempt.wait(actions, "parent", "waits for the model that the round starts from")
            return
        wanted = view.committed & ~self._without
        missing = self._pull_missing(attempt, view, wanted, attempt.closed_at, actions)
        if missing and self._now < self._exchange_deadline(view, attempt.closed_at):
            reason = f"waits for the contributions of {len(missing)} members"
            attempt.wait(actions, "contributions", reason, _bitmap(missing))
            return
        holding = sum(1 << m for m in members_of(wanted) if m not in missing)
        for to in attempt.recipients(view, holding, now=self._now, stagger=self._timing.stagger):
            actions.append(SendHolding(attempt.key, to, holding))
        pool = {m: h for m, h in attempt.holdings.items() if view.members >> m & 1}
        need = quorum(view.members.bit_count())
        if len(pool) >= need:
            fullest = sorted(pool, key=lambda m: (-(pool[m][0] & view.committed).bit_count(), m))[:need]
            freeze = PostFreeze(attempt.key, {m: pool[m] for m in sorted(fullest)})
            attempt.once("freeze", actions, freeze, now=self._now, every=4 * self._timing.stagger)
        else:
            silent = self._silent(attempt, view, pool)
            attempt.wait(actions, "holdings", "waits for a quorum to hold the contributions", silent)

    def _exchange_deadline(self, view: RoundView, looked: float) -> float:
        """When to speak for what is here, though something is missing. Who came late, after a crash say, has some
        time to gather too: else it would speak against members whose contributions only it lacks."""
        window = view.exchange_seconds << min(view.attempt, 6)
        due = (view.closed_at or view.commit_deadline) + window + 1
        return max(due, looked + min(window, 4 * self._timing.patience))

    def _final_phase(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        attempt.go_on_with(view.survivors, self._now)
        assert attempt.frozen_at is not None
        self._attend(attempt, view, actions)
        self._push(attempt, view, actions)
        if view.survivors & self._without:
            attempt.wait(
                actions, "attempt", "a member is counted that the task does without; waits for the next attempt"
            )
        elif attempt.statement is None and attempt.opened:
            rows = attempt.plan.rows(view.survivors, view.first_survivors)
            if len(rows) < attempt.plan.needed(len(rows)):
                attempt.wait(actions, "attempt", _too_few(len(rows), attempt.plan))
            else:
                self._reduce(attempt, view, rows, attempt.frozen_at, actions)
        if attempt.statement is not None:
            for to in attempt.recipients(view, attempt.statement, now=self._now, stagger=self._timing.stagger):
                actions.append(SendModel(attempt.key, to, attempt.statement))
        self._post_final(attempt, view, actions)
        torn = any(statement != attempt.statement for statement, _ in attempt.models.values())
        if self._now >= view.final_deadline and (attempt.statement is None or torn):
            retry = PostRetry(attempt.key)
            attempt.once("retry", actions, retry, now=self._now, every=8 * self._timing.stagger)

    # ---- this peer's contribution ----------------------------------------------------------------------------

    def _train(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Ask for this peer's contribution; after a restart the journal has it, and it need not be made again."""
        if self._willing and attempt.opened and not attempt.asked_to_train:
            attempt.asked_to_train = True
            actions.append(Train(attempt.key, view.parent))

    def _attend(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Too late for this attempt: ask to be waited for in the next, unless this member would fail again."""
        missed = not view.committed >> self.me & 1
        if self._fit(view) and missed and not attempt.attended:
            attempt.attended = True
            actions.append(Attend(attempt.key))

    def _push(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Show this peer's contribution, unless the grant behind it was withdrawn before it was shown."""
        if attempt.pushed or not self._willing or self._rekeyed or not view.committed >> self.me & 1:
            return
        if attempt.own is None:
            self._train(attempt, view, actions)
            return
        attempt.pushed = True
        if not self._opens(self.me, attempt.own):
            attempt.failure = "what was committed is not on this disk any more"
            return
        attempt.reveals[self.me] = attempt.own
        attempt.held[self.me] = set(range(attempt.plan.pieces))
        others = members_of(view.members)
        start = others.index(self.me)
        for to in others[start + 1 :] + others[:start]:
            actions.append(Push(attempt.key, to, attempt.own, attempt.plan.held_by(to)))

    # ---- sums and models -------------------------------------------------------------------------------------

    def _reduce(self, attempt: Attempt, view: RoundView, rows: Rows, frozen_at: float, actions: list[Action]) -> None:
        survivors = members_of(view.survivors)
        missing = self._pull_missing(attempt, view, view.survivors, frozen_at, actions)
        masked = unmask(attempt, view, rows, actions, now=self._now, timing=self._timing) if attempt.plan.secret else []
        due = [s for s in attempt.shards if s < attempt.plan.shards and s not in attempt.summing]
        if due and not missing and not masked:
            attempt.summing.update(due)
            shards = {s: tuple(tuple(attempt.reveals[m].shards[s] for m in row) for row in rows) for s in due}
            actions.append(Sum(attempt.key, shards, tuple(row_of(attempt, row) for row in rows)))
        self._announce(attempt, view, actions)
        self._gather_sums(attempt, view, frozen_at, actions)
        left = attempt.plan.shards - len(attempt.sums)
        if missing:
            reason = f"waits for the contributions of {len(missing)} survivors"
            attempt.wait(actions, "contributions", reason, _bitmap(missing))
        elif masked:
            reason = f"waits for the mask seeds of {len(masked)} survivors, or for shares of them"
            attempt.wait(actions, "seeds", reason, _bitmap(masked))
        elif left:
            lacking = {m for s, h in enumerate(attempt.plan.holders) if s not in attempt.sums for m in h}
            reason = f"waits for the sums of {left} shards"
            attempt.wait(actions, "sums", reason, _bitmap(lacking - {self.me}))
        elif attempt.updating and attempt.failure is not None:
            attempt.wait(actions, "failed", attempt.failure)
        elif not attempt.updating:
            attempt.updating = True
            inputs = {m: attempt.reveals[m] for m in survivors}
            sums = tuple(attempt.sums[s] for s in range(attempt.plan.shards))
            seeds = {m: attempt.seeds[m] for row in rows for m in row} if attempt.plan.secret else {}
            sizes = tuple(map(len, rows))
            actions.append(
                Update(attempt.key, view.parent, inputs, seeds, sums, sizes, attempt.plan.lost(len(rows)), view.beacon)
            )

    def _announce(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        """Tell the sums of the plan's share, now and then again: the word may be lost, or the hearer restarted."""
        share = attempt.share
        if attempt.plan.shards == 1 or not share or not all(s in attempt.sums for s in share):
            return
        last = attempt.done.get("announce")
        if last is None or self._now >= last + 4 * self._timing.patience:
            attempt.done["announce"] = self._now
            sums = {s: attempt.sums[s] for s in share}
            actions.extend(Announce(attempt.key, to, sums) for to in members_of(view.members) if to != self.me)

    def _gather_sums(self, attempt: Attempt, view: RoundView, frozen_at: float, actions: list[Action]) -> None:
        """Get the sums of the other shards. A sum counts when all its holders say the same: one honest holder is
        enough. Where they differ, or stay silent, this peer sums the shard itself."""
        took = attempt.news_at - frozen_at
        patient_until = min(
            attempt.news_at + 2 * took + 2 * self._timing.patience,
            max(frozen_at, (frozen_at + view.final_deadline) / 2),
        )
        doubtful = []
        for shard, holders in enumerate(attempt.plan.holders):
            if shard in attempt.shards or shard in attempt.sums:
                continue
            claims = attempt.claims.get(shard, {})
            if len(set(claims.values())) > 1 or self._now >= patient_until:
                doubtful.append(shard)
            elif len(claims) == len(holders):
                sources = tuple(sorted(holders, key=lambda m: (m - self.me) % 256))
                pull = PullSum(attempt.key, shard, next(iter(claims.values())), sources)
                every = 4 * self._timing.patience
                attempt.once(f"sum {shard}", actions, pull, now=self._now, every=every)
        if doubtful:
            attempt.shards = tuple(sorted({*attempt.shards, *doubtful}))
            attempt.next_pull, attempt.pull_wait = self._now, self._timing.patience

    def _post_final(self, attempt: Attempt, view: RoundView, actions: list[Action]) -> None:
        need = quorum(view.members.bit_count())
        by_statement: dict[Statement, dict[int, bytes]] = {}
        for member, (statement, signature) in attempt.models.items():
            if view.members >> member & 1:
                by_statement.setdefault(statement, {})[member] = signature
        for statement, signatures in by_statement.items():
            if len(signatures) >= need:
                # A survivor that is still computing would have to fetch the state it is about to make, and the next
                # round waits for it in any case: so it gets a moment.
                enough = attempt.done.setdefault("quorum", self._now)
                late = any(m not in signatures for m in members_of(view.survivors & view.members))
                if late and self._now < enough + self._timing.grace:
                    return
                post = PostFinal(attempt.key, statement, signatures)
                attempt.once("final", actions, post, now=self._now, every=4 * self._timing.stagger)
                return
        if attempt.statement is not None:
            signed = next((s for w, s in by_statement.items() if w == attempt.statement), {})
            silent = self._silent(attempt, view, signed)
            attempt.wait(actions, "signatures", "waits for a quorum to sign the model", silent)

    def _silent(self, attempt: Attempt, view: RoundView, heard: Collection[int]) -> int:
        """Bitmap of the members of whom nothing is heard, at a member that they all have told by now; else 0."""
        order = members_of(view.members)
        if not attempt.asked(order, view.round + view.attempt):
            return 0
        return view.members & ~_bitmap(heard) & ~(1 << self.me)

    # ---- healing ---------------------------------------------------------------------------------------------

    def _pull_missing(
        self, attempt: Attempt, view: RoundView, contributors: int, since: float, actions: list[Action]
    ) -> list[int]:
        """The contributors whose reveal or shards are not here; asks for them when the pushes have had their time."""
        missing = attempt.missing(contributors)
        patience = self._timing.patience
        if attempt.next_pull is None:
            attempt.pull_wait = patience
            attempt.next_pull = since if attempt.late else since + patience
        if missing and self._now >= attempt.next_pull:
            attempt.pull_wait = min(1.5 * attempt.pull_wait, 30 * patience)
            attempt.next_pull = self._now + attempt.pull_wait
            for m in missing:
                shards = tuple(s for s in attempt.shards if s not in attempt.held.get(m, set()))
                actions.append(Pull(attempt.key, m, shards, attempt.sources(m, view.members)))
        return missing


def _bitmap(members: Iterable[int]) -> int:
    return sum(1 << m for m in members)


def _too_few(rows: int, plan: Plan) -> str:
    what = "mask groups are" if plan.secret else "contributions are"
    return f"{rows} {what} complete, and the rule needs {plan.needed(rows)}; waits for the next attempt"


def _ground(view: RoundView) -> tuple[object, ...]:
    """What an attempt's plan and masks stand on. Under one number it is another only where a chain took blocks back."""
    return view.parent, view.members, view.dealt, view.beacon
