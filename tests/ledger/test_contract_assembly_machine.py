"""Whatever members move, vote and enact, in whatever order: the assembly does and refuses exactly what the model does.

Beside the model a monitor looks at nothing but what the contracts themselves say: no motion is enacted twice, without
more than its share of the weight of the members there are, or after its time; no voucher admits more often than it was
voted for; no account of nobody's gets anything done.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import assembly_model
import moot_model as model
import pytest
from contracts import Refused, refused
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moot_world import FRESH, NAME, TERMS, VOUCHER, World, account, bits, fields, keys_of

from folkmoot.keccak import keccak
from folkmoot.ledger import statements
from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.motions import Kind
from folkmoot.round.view import members_of

SEATS = 5
NUMBERS = [*range(8), *range(20, 26)]
"""Whose accounts there are."""
PEOPLE = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 20, 21, 22])
ACCOUNTS = st.sampled_from(NUMBERS)
MEMBERS = st.sampled_from([0, 1, 1, 2, 2, 3, 3, 4, 5])
VOUCHERS = [VOUCHER, b"\x78" * 32, b"\x79" * 32]
ELDER = b"\x7a" * 32
ADDRESSES = st.sampled_from([int(account(number), 16) for number in NUMBERS] + [0, 2**160])
WORDS: dict[Kind, st.SearchStrategy[tuple[int, int, int]]] = {
    Kind.ADMIT: st.tuples(
        st.sampled_from([*(int(statements.address_of(each), 16) for each in VOUCHERS), 0]), st.just(0), st.just(0)
    ),
    Kind.REMOVE: st.tuples(MEMBERS, st.just(0), st.just(0)),
    Kind.REKEY: st.tuples(MEMBERS, ADDRESSES, st.just(0)),
    Kind.STEER: st.tuples(st.sampled_from([1, 1, 2]), st.sampled_from([1, 1, 2, 3, 0]), st.just(0)),
    Kind.BOUND: st.tuples(st.sampled_from([0, 2, 3, 257]), st.sampled_from([0, 1, 2]), st.just(0)),
    Kind.WEIGH: st.tuples(MEMBERS, st.sampled_from([0, 1, 2, 5, 1_000_001]), st.just(0)),
    Kind.RULES: st.tuples(
        st.sampled_from([50, 50, 66, 49]), st.sampled_from([66, 80, 99, 100]), st.sampled_from([10, 100, 1000, 9])
    ),
    Kind.RETIRE: st.tuples(st.just(1), st.sampled_from([77, 2**160]), st.just(5)),
    Kind.ENDOW: st.tuples(st.sampled_from([1, 2]), st.sampled_from([0, 100, 2**159]), st.just(0)),
}
MOTIONS = st.sampled_from([kind for kind in Kind if kind is not Kind.RETIRE] * 6 + [Kind.RETIRE]).flatmap(
    lambda kind: st.tuples(st.just(kind), WORDS[kind])
)
BACK = st.sampled_from([0, 0, 0, 1, 2, 3, 9])
"""How many motions ago."""


class Decisions(RuleBasedStateMachine):
    """One moot's contracts and their models, side by side."""

    @initialize(members=st.sampled_from([1, 3, 3, 4, 5]))
    def found(self, members: int) -> None:
        self.world = World(members, seats=SEATS, rules=(50, 66, 100), elders=[statements.address_of(ELDER)])
        moot = model.Moot(account(0), self.world.assembly)
        tokens = {keccak(fields(0)[0].encode()), *keys_of(0)[:2]}
        voucher, elder = statements.address_of(VOUCHER), statements.address_of(ELDER)
        self.model = assembly_model.Assembly(moot, SEATS, voucher, {elder}, (50, 66, 100), tokens)
        for number in range(1, members):
            self.model.join(account(number), keccak(fields(number)[0].encode()), *keys_of(number)[:2], voucher)
        self.votes: dict[int, Counter[int]] = {}
        self.enacted: list[int] = []
        self.admissions = Counter({elder: 1})
        self.joined: Counter[str] = Counter()
        moot.now = self.world.now
        self.world.propose()
        moot.propose(account(0), b"\xb0" * 32, b"\x90" * 32, TERMS)

    def both(self, name: str, sender: int, *arguments: Any, told: tuple[Any, ...] | None = None) -> bool:
        """Call contracts and model alike; whether it was done."""
        self.model.moot.now = self.world.now
        side = self.model if hasattr(self.model, name) else self.model.moot
        try:
            expected = getattr(side, name)(account(sender), *(arguments if told is None else told))
        except model.Refused as refusal:
            with refused(str(refusal)):
                self.world.call(name, sender, *arguments)
            return False
        assert self.world.call(name, sender, *arguments) == expected
        return True

    # ---- members

    @rule(who=ACCOUNTS, name=ACCOUNTS, voucher=st.sampled_from([*VOUCHERS, VOUCHER, ELDER]))
    def join(self, who: int, name: int, voucher: bytes) -> None:
        told = (keccak(fields(name)[0].encode()), *keys_of(who)[:2], statements.address_of(voucher))
        signature = self.world.voucher(who, voucher)
        count = self.world.read("counts")[0]
        if self.both("join", who, fields(name)[0], *fields(who)[1:], signature, told=told):
            assert voucher != VOUCHER or (count < SEATS and not self.model.moot.removed)
            self.joined[told[-1]] += voucher != VOUCHER

    @rule(who=PEOPLE, daily=ACCOUNTS, keys=ACCOUNTS)
    def delegate(self, who: int, daily: int, keys: int) -> None:
        told = (account(daily), *keys_of(keys)[:2])
        self.both("delegate", who, *self.world.daily(daily, account(who), keys), told=told)

    # ---- motions

    @rule(who=PEOPLE, motion=MOTIONS)
    def move(self, who: int, motion: tuple[Kind, tuple[int, int, int]]) -> None:
        kind, words = motion
        if self.both("move", who, int(kind), list(words), bytes(32), told=(int(kind), words)):
            self.votes[len(self.model.motions)] = Counter({self.world.read("number_of", account(who)): 1})

    @precondition(lambda self: self.model.motions)
    @rule(who=PEOPLE, back=BACK, aye=st.sampled_from([1, 1, 0]))
    def vote(self, who: int, back: int, aye: int) -> None:
        id = max(len(self.model.motions) - back, 0)
        if self.both("vote", who, id, aye):
            assert self.world.read("accounts_of", self.world.read("number_of", account(who)) - 1)[1] == account(who)
            self.votes[id][self.world.read("number_of", account(who))] += 1

    @precondition(lambda self: self.model.motions)
    @rule(back=BACK, aye=st.sampled_from([1, 1, 1, 0]), some=st.sets(st.integers(0, 6)), all=st.booleans())
    def many_vote(self, back: int, aye: int, some: set[int], all: bool) -> None:
        for member in sorted(self.model.moot.living if all else some & self.model.moot.living):
            self.vote(self.number_of(self.model.moot.mains[member]), back, aye)

    @rule(who=PEOPLE, back=BACK)
    def enact(self, who: int, back: int) -> None:
        id = max(len(self.model.motions) - back, 0)
        rows = self.world.ask("motions", id)[:1] if id else ()
        living, rules = self.world.read("living"), self.world.ask("rules")
        weights = {member: self.world.ask("weight_of", member) for member in members_of(living)}
        if self.both("enact", who, id):
            (motion,) = rows
            assert motion.done == 0
            assert id not in self.enacted
            for_it = sum(weights[member] for member in members_of(motion.ayes & living))
            assert 100 * for_it > rules[motion.kind in assembly_model.GRAVE] * sum(weights.values())
            assert self.world.now < motion.deadline + self.model.motions[id - 1].window
            self.enacted.append(id)
            if motion.kind == Kind.ADMIT:
                self.admissions[checksum_address(motion.words[0].to_bytes(20, "big"))] += 1

    @rule(who=PEOPLE, motion=MOTIONS)
    def carry(self, who: int, motion: tuple[Kind, tuple[int, int, int]]) -> None:
        """A motion for which all vote."""
        before = len(self.model.motions)
        self.move(who, motion)
        if len(self.model.motions) > before:
            self.many_vote(0, 1, set(), True)
            self.enact(who, 0)

    @rule(seconds=st.sampled_from([1, 50, 99, 100, 1000]))
    def wait(self, seconds: int) -> None:
        self.world.later(seconds)

    # ---- the moot's work, by whoever

    @rule(who=ACCOUNTS)
    def describe(self, who: int) -> None:
        self.both("describe", who, b"\xcc" * 32, bytes(32), bytes(32), 10, told=())

    @rule(who=ACCOUNTS, task=st.sampled_from([1, 1, 2]), dataset=st.integers(0, 6))
    def grant(self, who: int, task: int, dataset: int) -> None:
        self.both("grant", who, task, dataset, 0, 0, 0, told=(task, dataset))

    @precondition(lambda self: self.model.moot.tasks[0].phase == model.GATHERING)
    @rule()
    def get_going(self) -> None:
        """The task is adopted, and everyone grants for it."""
        mover = self.model.moot.mains[min(self.model.moot.living)]
        self.carry(self.number_of(mover), (Kind.STEER, (1, 1, 0)))
        moot = self.model.moot  # another one, where it was refused
        for member in sorted(moot.living):
            main = self.number_of(moot.mains[member])
            if member not in moot.datasets:
                self.describe(main)
            self.grant(main, 1, moot.datasets.index(member) + 1)

    @rule(who=ACCOUNTS)
    def commit(self, who: int) -> None:
        at = self.model.moot.tasks[0]
        self.both("commit", who, 1, at.round, at.attempt, b"\x01" * 32)

    @rule(who=st.sampled_from([*range(8), *range(20, 26)]), name=st.sampled_from(["seat", "use", "remove", "steer"]))
    def decide_alone(self, who: int, name: str) -> None:
        arguments = {"seat": (account(7),), "use": (0, account(who), account(who)), "remove": (0,), "steer": (1, 1)}
        with refused("only the assembly decides that"):
            self.world.call(name, who, *arguments[name])

    @rule(who=st.sampled_from(NUMBERS))
    def try_everything(self, who: int) -> None:
        """An account of nobody's, of one that was removed too, gets nothing done by any call of either contract."""
        if self.world.read("number_of", account(who)) != 0:
            return
        for name, arguments in {
            "announce": ("",),
            "propose": (b"\1" * 32, b"\1" * 32, TERMS),
            "revoke": (1,),
            "attend": (1,),
            "expel": (1, 0, b"\1" * 32, 0, b""),
            "retry": (1, 1, 0),
            "move": (int(Kind.BOUND), [1, 0, 0], bytes(32)),
            "vote": (1, 1),
            "delegate": (account(FRESH), *keys_of(FRESH), b""),
        }.items():
            with pytest.raises(Refused, match="not a member"):
                self.world.call(name, who, *arguments)

    def number_of(self, address: str) -> int:
        return next(number for number in NUMBERS if account(number) == address)

    # ---- what must hold

    @invariant()
    def contracts_equal_the_models(self) -> None:
        if not hasattr(self, "world"):
            return
        moot, read, ask = self.model.moot, self.world.read, self.world.ask
        moot.now = self.world.now
        assert read("condition") == (bits(moot.living), int(moot.moved), *moot.floor)
        assert ask("rules") == (*self.model.rules, len(self.model.motions))
        for number in NUMBERS:
            member = moot.number(account(number))
            assert read("number_of", account(number)) == (0 if member is None else member + 1)
        for member, (daily, main) in enumerate(zip(moot.accounts, moot.mains, strict=True)):
            assert read("accounts_of", member) == (daily, main)
            assert ask("weight_of", member) == self.model.weights.get(member, 1)
        for voucher in (*VOUCHERS, ELDER):
            address = statements.address_of(voucher)
            assert ask("is_usable", address) == int(self.model.usable(address))
        shown = [row for start in range(1, len(self.model.motions) + 1, 32) for row in ask("motions", start)]
        for id, (row, motion) in enumerate(zip(shown, self.model.motions, strict=True), 1):
            assert tuple(row) == (
                *(id, motion.mover, motion.kind, motion.words, bytes(32), motion.deadline),
                *(bits(motion.ayes), bits(motion.noes), int(motion.done), int(self.model.passes(motion))),
                motion.window,
            )
        for id, task in enumerate(moot.tasks, 1):
            view = read("round_view", id)
            assert (view.phase, view.round, view.standing) == (task.phase, task.round, task.standing)
            points = self.world.chain.read(self.world.purse, "pot", id, self.world.points)[0]
            assert points == self.model.pots.get(id, 0)
        assert ask("about")[1] == NAME
        assert ask("awaited") == len(self.model.elders)

    @invariant()
    def votes_count_once_and_a_voucher_admits_once(self) -> None:
        if not hasattr(self, "world"):
            return
        assert all(count == 1 for votes in self.votes.values() for count in votes.values())
        assert all(count <= min(1, self.admissions[voucher]) for voucher, count in self.joined.items())


def campaign(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )


def test_the_assembly_does_what_the_model_does_whatever_is_moved_and_voted():
    run_state_machine_as_test(Decisions, settings=campaign(40))


@pytest.mark.long
def test_the_assembly_does_what_the_model_does_in_many_more_schedules():
    run_state_machine_as_test(Decisions, settings=campaign(4_000))
