"""The fault scheduler: one seed makes one schedule of faults, plays it in virtual time, and judges the outcome.

Peers drive the real round machine against the real contract, with real contributions, sums, states and signatures. Only
time and the network are virtual. The same seed gives the same schedule, event for event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random

from fault_ledger import Ledger
from fault_liar import LIES, MASK_LIES, Liar
from fault_peer import Peer
from fault_task import GENESIS, replay
from fault_words import Diary
from fault_world import Clock, Network, Weather

from folkmoot.digest import Hash, blob_hash
from folkmoot.ledger.records import PolicyTerms
from folkmoot.round.events import Key
from folkmoot.round.view import Phase, faults, members_of
from folkmoot.task import Policy

START = 1_000_000.0
BOUND = 600.0
"""Virtual seconds within which a healed moot finishes: liars may spoil attempts, whose windows double."""


class Fault(Enum):
    """What can go wrong. The values of lies are those of ``fault_liar.LIES``."""

    LOSS = "messages are lost"
    DELAY = "messages take long, and overtake each other"
    DUPLICATES = "messages come twice"
    PARTITION = "the network falls apart, and again"
    CRASHES = "any peer is killed at any step, again and again"
    PAUSES = "peers stand still for long"
    BLIND = "peers cannot reach the ledger"
    DEAD = "peers die for good"
    LATE = "a member joins while rounds are made"
    REVOKED = "a member withdraws its grant, and may grant again"
    FAILING = "a member's training raises"
    GARBAGE = "garbage"
    WRONG_REVEAL = "wrong reveal"
    TWO_CONTRIBUTIONS = "two contributions"
    WITHHELD = "withheld"
    CLAIMS_ALL = "claims all"
    CLAIMS_NONE = "claims none"
    TWO_HOLDINGS = "two holdings"
    WRONG_SUMS = "wrong sums"
    WRONG_MODEL = "wrong model"
    RETRY_SPAM = "retry spam"
    SILENCE = "silence"
    WRONG_SEEDS = "wrong seeds"
    WRONG_SHARES = "wrong shares"
    BAD_BOXES = "bad boxes"
    LATE_CONTRIBUTION = "late contribution"
    NO_SEEDS = "no seeds"

    @property
    def lie(self) -> bool:
        """Whether liars tell it."""
        return self.value in LIES

    @property
    def about_masks(self) -> bool:
        """Whether it can only be told where contributions are masked."""
        return self.value in MASK_LIES


@dataclass
class Moot:
    """A moot in virtual time, from its founding to its last round."""

    chance: Random
    policy: Policy
    members: int
    """Those who are there from the beginning."""
    liars: frozenset[int] = frozenset()
    lies: frozenset[str] = frozenset()
    measured: bool = False
    """Whether the final model is measured, in one more round."""
    peers: list[Peer] = field(default_factory=list)
    diary: Diary = field(default_factory=Diary)

    def __post_init__(self) -> None:
        self.clock = Clock(START)
        self.network = Network(self.clock, self.chance)
        self.ledger = Ledger(lambda: self.clock.now)
        terms = PolicyTerms(
            rounds=self.policy.rounds_on_ledger if self.measured else self.policy.rounds,
            min_members=self.policy.min_members,
            start=self.policy.start,
            train_seconds=self.policy.train_seconds,
            exchange_seconds=self.policy.exchange_seconds,
            final_seconds=self.policy.final_seconds,
            secret=self.policy.secret,
        )
        self.ledger.found(self.members, blob_hash(GENESIS), terms, self.members)
        for member in range(self.members):
            self.add_peer(member).start()

    def add_peer(self, member: int) -> Peer:
        kind = Liar if member in self.liars else Peer
        chance = Random(self.chance.random())
        peer = kind(member, self.clock, self.network, self.ledger, self.diary, chance, self.policy)
        if isinstance(peer, Liar):
            peer.lies = self.lies
        if member < self.members:
            peer.disk.put(GENESIS)
        self.peers.append(peer)
        return peer

    @property
    def honest(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.honest]

    @property
    def done(self) -> bool:
        return self.ledger.view().phase is Phase.DONE

    def run(self, seconds: float) -> float:
        """Let time pass until all rounds are final; the seconds it took."""
        before = self.clock.now
        self.clock.run(before + seconds, lambda: self.done)
        return self.clock.now - before

    def story(self) -> str:
        """Where it stands, for whoever looks into a failure."""
        view = self.ledger.view()
        lines = [f"t={self.clock.now - START:.1f} {view}"]
        for peer in self.peers:
            state = "down" if peer.machine is None else f"{peer.machine.key} {peer.machine.reason!r}"
            lines.append(f"  member {peer.index} {'' if peer.honest else '(liar) '}{state}")
        return "\n".join(lines)


def judge_safety(moot: Moot) -> None:
    """Raise ``AssertionError`` naming the first thing that must never be."""
    diary, ledger = moot.diary, moot.ledger
    assert not diary.complaints, diary.complaints[0]
    for key, said in diary.statements.items():
        statements = set().union(*said.values())
        # A masked attempt may have gone on with fewer; a word on more is void then.
        assert len({s.survivors for s in statements}) == len(statements), f"honest members signed two outcomes of {key}"
        assert len(statements) == 1 or moot.policy.secret, f"honest members signed {len(statements)} outcomes of {key}"
    blobs: dict[Hash, bytes] = {}
    for peer in moot.peers:
        blobs.update(peer.disk.blobs)
    parent, beacon = blob_hash(GENESIS), bytes(32)
    for number, final in enumerate(ledger.finals, start=1):
        key = Key(1, final.round, final.attempt)
        assert final.round == number, "a round is final twice, or out of order"
        assert final.parent == parent, f"round {number} begins from another model than round {number - 1} made"
        committed = {m for k, m in ledger.commits if k == key}
        assert set(members_of(final.survivors)) <= committed, "someone survives that did not commit"
        commits = {member: ledger.commits[key, member] for member in members_of(final.survivors)}
        made = replay(final, blobs[parent], moot.policy, beacon, blobs, commits, diary.plain)
        assert blob_hash(made) == final.model, "the replay differs"
        parent, beacon = final.model, final.inputs


def judge_delivery(moot: Moot) -> None:
    """Raise ``AssertionError`` if an honest contribution that all honest members had in time does not count.

    Holds where no honest process forgets or sleeps: what a peer had, it may have lost before it could say so.
    """
    for final in moot.ledger.finals:
        key = Key(1, final.round, final.attempt)
        until = moot.ledger.closings[key] + (moot.policy.exchange_seconds << min(final.attempt, 6))
        honest = [peer.index for peer in moot.honest if final.members >> peer.index & 1]
        for member in honest:
            if (key, member) in moot.ledger.commits:
                others = (moot.diary.complete.get((key, p, member), until + 1) for p in honest if p != member)
                delivered = all(when <= until for when in others)
                assert not delivered or final.survivors >> member & 1, f"member {member} delivered {key} in vain"


# ---- schedules ---------------------------------------------------------------------------------------------------


@dataclass
class Schedule:
    """The faults of one seed. ``play`` it; a failure names the seed."""

    seed: str
    kinds: frozenset[Fault]
    sharded: bool
    large: bool = False
    """Up to 16 members instead of 11, where contributions are sharded."""
    masked: bool = False
    """Whether members see sums only; then there are five members or more, for with four a lost one and a liar leave
    two, whose sum would be no secret."""

    def __post_init__(self) -> None:
        chance = self.chance = Random(self.name)
        sinners = any(kind.lie for kind in self.kinds)
        dying = Fault.DEAD in self.kinds
        low, high = (10, 15 if self.large else 11) if self.sharded else (7, 8) if sinners and dying else (4, 8)
        if self.masked and not self.sharded:
            low = max(low, 6 if sinners and dying else 5)
        n = chance.randint(low, high) - (Fault.LATE in self.kinds and not self.sharded and high == 8)
        f = faults(n)
        bad = chance.sample(range(n), f)
        deaths = (f if not sinners else max(1, f // 2)) if dying else 0
        liars = bad[deaths:] if sinners else []
        if Fault.WRONG_SUMS in self.kinds and self.sharded:
            # What a shard's holders say in unison is believed; each shard must have an honest holder.
            liars = liars[: Policy().replicas - 1]
        self.dead = bad[:deaths]
        good = [m for m in range(n) if m not in bad]
        self.victim = chance.choice(good)
        able = len(good) - sum(kind in self.kinds for kind in (Fault.REVOKED, Fault.FAILING))
        policy = Policy(
            rounds=2,
            min_members=max(3 if self.masked else 1, chance.randint(1, max(1, able))),
            start_members=n,
            train_seconds=12,
            exchange_seconds=6,
            final_seconds=8,
            bits=16,
            secrecy="sums" if self.masked else "public",
        )
        lies = frozenset(kind.value for kind in self.kinds if kind.lie)
        self.moot = Moot(chance, policy, n, frozenset(liars), lies, measured=True)
        self.heal_at = START + chance.uniform(8, 40)
        self._arrange()

    def _arrange(self) -> None:
        moot, chance, clock, kinds = self.moot, self.chance, self.moot.clock, self.kinds
        if kinds & {Fault.LOSS, Fault.DELAY, Fault.DUPLICATES}:
            moot.network.weather = Weather(
                loss=chance.uniform(0.05, 0.6) if Fault.LOSS in kinds else 0.0,
                duplicates=chance.uniform(0.1, 0.8) if Fault.DUPLICATES in kinds else 0.0,
                slowest=chance.uniform(0.5, 6.0) if Fault.DELAY in kinds else 0.05,
            )
        for _ in range(chance.randint(1, 3)):
            if Fault.PARTITION in kinds:
                clock.at(self._sometime(), self._part)
            for kind, happens in ((Fault.PAUSES, self._pause), (Fault.BLIND, self._blind)):
                if kind in kinds:
                    clock.at(self._sometime(), happens)
        if Fault.CRASHES in kinds:
            for peer in moot.peers:
                # Often early, so that every phase of the first rounds sees a crash; steps are some hundreds a round.
                peer.crash_at = {int(chance.expovariate(1 / 200)) + 1 for _ in range(chance.randint(0, 4))}
                if chance.random() < 0.5:
                    clock.at(self._sometime(), peer.crash)
        for member in self.dead:
            clock.at(self._sometime(), moot.peers[member].crash)
        if Fault.FAILING in kinds:
            moot.peers[self.victim].failing = True
        if Fault.REVOKED in kinds:
            clock.at(self._sometime(), self._revoke)
        if Fault.LATE in kinds:
            clock.at(self._sometime(), self._join)
        clock.at(self.heal_at, self._heal)

    def _sometime(self) -> float:
        return self.chance.uniform(START, self.heal_at)

    def _part(self) -> None:
        everyone = range(len(self.moot.peers))
        island = set(self.chance.sample(everyone, self.chance.randint(1, len(everyone) - 1)))
        self.moot.network.weather.islands.append(island)
        if self.chance.random() < 0.5:
            self.moot.clock.at(self._sometime(), self.moot.network.weather.islands.clear)

    def _pause(self) -> None:
        for peer in self.chance.sample(self.moot.peers, self.chance.randint(1, len(self.moot.peers))):
            peer.paused_until = self.moot.clock.now + self.chance.choice([1.0, 5.0, 20.0, 600.0])
            self.heal_at = max(self.heal_at, peer.paused_until)

    def _blind(self) -> None:
        for peer in self.chance.sample(self.moot.peers, self.chance.randint(1, len(self.moot.peers))):
            peer.blind_until = self.moot.clock.now + self.chance.choice([0.5, 4.0, 20.0])
            self.heal_at = max(self.heal_at, peer.blind_until)

    def _revoke(self) -> None:
        if self.moot.done:
            return
        self.moot.ledger.post(self.victim, "revoke", 1)
        if self.chance.random() < 0.5:
            self.moot.clock.at(self.moot.clock.now + self.chance.uniform(0.1, 20), self._grant_again)

    def _grant_again(self) -> None:
        if not self.moot.done:
            self.moot.ledger.grant(self.victim)

    def _join(self) -> None:
        member = self.moot.ledger.join()
        self.moot.add_peer(member).start()
        if not self.moot.done:
            self.moot.ledger.grant(member)

    def _heal(self) -> None:
        """The end of all faults but lies, deaths and what members chose."""
        if self.moot.clock.now < self.heal_at:
            self.moot.clock.at(self.heal_at, self._heal)
            return
        self.moot.network.weather = Weather()
        for peer in self.moot.peers:
            peer.crash_at = set()
            if peer.index not in self.dead:
                peer.start()

    @property
    def name(self) -> str:
        """What names it on the command line: seed, plan and faults."""
        plan = ("large" if self.large else "sharded") if self.sharded else "gathered"
        plan += "-masked" if self.masked else ""
        return f"{self.seed}:{plan}:{'+'.join(sorted(kind.name for kind in self.kinds))}"

    @classmethod
    def named(cls, name: str) -> Schedule:
        """The schedule of that name."""
        seed, plan, kinds = name.split(":")
        plan, _, masked = plan.partition("-")
        found = frozenset(Fault[kind] for kind in kinds.split("+"))
        return cls(seed, found, plan != "gathered", plan == "large", bool(masked))

    def play(self) -> float:
        """Play the schedule and judge it; the virtual seconds from healing to the last round."""
        try:
            moot = self.moot
            moot.run(self.heal_at - START)
            while not moot.done and moot.clock.now < self.heal_at + BOUND:
                moot.run(self.heal_at + BOUND - moot.clock.now)
            judge_safety(moot)
            assert moot.done, "the moot does not finish"
            if not self.kinds & {Fault.CRASHES, Fault.PAUSES, Fault.BLIND, Fault.DEAD}:
                judge_delivery(moot)
        except Exception as error:
            raise AssertionError(f"{error}\nagain: FOLKMOOT_FAULTS='{self.name}'\n{self.moot.story()}") from error
        return max(0.0, self.moot.clock.now - self.heal_at)
