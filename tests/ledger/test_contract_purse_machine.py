"""Whatever is set aside, split, claimed and taken back, in whatever order: the purse never owes what it does not have.

The model is the book that an accountant would keep. Beside it stands what must hold whatever the book says: in each
token the purse has as much as it owes and has not split, a settlement's parts are its amount, and nobody gets more out
than was split for it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from contracts import Refused
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from moot_world import account
from purse_world import ASSEMBLY, Purse, parts

MEMBERS = 4
TASKS = st.sampled_from([1, 1, 2])
TOKENS = st.sampled_from([0, 1, 2])
"""The points, a plain token, one that keeps a tenth of what it moves."""
FUNDERS = st.sampled_from([6, 7])
ROUNDS = 3
AMOUNTS = st.integers(0, 50) | st.integers(1, 2**100)


class Books(RuleBasedStateMachine):
    """One purse and its book, side by side."""

    @initialize()
    def open(self) -> None:
        self.purse = Purse(MEMBERS)
        self.tokens = [self.purse.points, self.purse.token(), self.purse.token()]
        self.purse.become(self.tokens[2], fee=10)
        self.rounds = {1: 0, 2: 0}
        self.stopped: set[int] = set()
        self.funded: dict[Any, int] = defaultdict(int)
        self.deposits: dict[Any, int] = defaultdict(int)
        self.released: dict[Any, int] = defaultdict(int)
        self.last: dict[Any, int] = defaultdict(int)
        self.owed: dict[Any, int] = defaultdict(int)
        self.earned: dict[Any, int] = defaultdict(int)
        self.paid: dict[Any, int] = defaultdict(int)
        for task in self.rounds:
            self._put(task)

    def _put(self, task: int) -> None:
        self.purse.task(task, self.rounds[task], ROUNDS, done=self._done(task))

    def _done(self, task: int) -> bool:
        return task in self.stopped or self.rounds[task] == ROUNDS

    def _try(self, allowed: bool, call: Any) -> bool:
        """Whether it was done, which is to be if it is ``allowed``."""
        try:
            call()
        except Refused:
            assert not allowed, "refused what the book allows"
            return False
        assert allowed, "did what the book does not allow"
        return True

    @rule(task=TASKS)
    def a_round_is_final(self, task: int) -> None:
        if not self._done(task):
            self.rounds[task] += 1
            self._put(task)

    @rule(task=TASKS, really=st.booleans())
    def stop(self, task: int, really: bool) -> None:
        if really and not self._done(task):
            self.stopped.add(task)
            self._put(task)

    @rule(task=TASKS, token=TOKENS, funder=FUNDERS, amount=AMOUNTS)
    def fund(self, task: int, token: int, funder: int, amount: int) -> None:
        unit, allowed = self.tokens[token], amount > 0 and not self._done(task)
        came = amount - amount // 10 if token == 2 else amount
        if token == 0:
            if self._try(allowed, lambda: self.purse.call("endow", ASSEMBLY, task, amount)):
                self.funded[task, unit] += amount
        elif self._try(allowed, lambda: self.purse.fund(task, unit, amount, funder)):
            self.funded[task, unit] += came
            self.deposits[task, unit, funder] += came

    @rule(task=TASKS, token=TOKENS, funder=FUNDERS)
    def reclaim(self, task: int, token: int, funder: int) -> None:
        unit = self.tokens[token]
        mine = self.deposits[task, unit, funder]
        allowed = task in self.stopped and not self.rounds[task] and mine > 0
        if self._try(allowed, lambda: self.purse.call("reclaim", funder, task, unit)):
            self.funded[task, unit] -= self.deposits.pop((task, unit, funder))

    @rule(
        task=TASKS,
        token=TOKENS,
        last=st.integers(0, ROUNDS),
        weights=st.lists(st.integers(0, 3) | st.integers(0, 2**64 - 1), max_size=MEMBERS),
        signers=st.sampled_from([(0, 1, 2, 3), (0, 1, 2), (1, 2, 3), (0, 3), ()]),
    )
    def settle(self, task: int, token: int, last: int, weights: list[int], signers: tuple[int, ...]) -> None:
        unit, final = self.tokens[token], self.rounds[task]
        pot, whole = (task, unit), self._done(task) and last == final
        due = self.funded[pot] if whole else self.funded[pot] * last // ROUNDS
        fits = 0 < last <= final and (last > self.last[pot] or whole)
        amount = due - self.released[pot]
        allowed = fits and amount > 0 and any(weights) and len(signers) >= 3
        words = self.purse.split(task, unit, last, weights, signers)
        if self._try(allowed, lambda: self.purse.call("settle", 5, *words)):
            told = self.purse.event("Settled")
            assert (told["amount"], told["first"]) == (amount, self.last[pot] + 1)
            self.released[pot], self.last[pot] = due, last
            shares = parts(amount, weights)
            assert sum(shares) == amount
            for member, part in enumerate(shares):
                self.owed[unit, member] += part
                self.earned[unit, member] += part

    @rule(token=TOKENS, member=st.integers(0, MEMBERS), sender=st.integers(0, 9))
    def claim(self, token: int, member: int, sender: int) -> None:
        unit = self.tokens[token]
        amount = self.owed[unit, member]
        if self._try(amount > 0, lambda: self.purse.call("claim", sender, unit, member)):
            self.paid[unit, member] += amount
            self.owed[unit, member] = 0

    @rule(token=st.sampled_from([1, 2]), amount=st.integers(1, 9))
    def somebody_sends_it_a_gift(self, token: int, amount: int) -> None:
        self.purse.chain.call(account(5), self.tokens[token], "give", self.purse.address, amount)

    @invariant()
    def the_purse_has_what_it_owes(self) -> None:
        for unit in self.tokens:
            owed = self.purse.owed(unit)
            assert owed == [self.owed[unit, member] for member in range(MEMBERS)]
            pots = [self.purse.read("pot", task, unit) for task in self.rounds]
            assert pots == [(self.funded[t, unit], self.released[t, unit], self.last[t, unit]) for t in self.rounds]
            assert all(released <= funded for funded, released, _ in pots)
            unsplit = sum(funded - released for funded, released, _ in pots)
            assert self.purse.balance(unit, self.purse.address) >= sum(owed) + unsplit

    @invariant()
    def nobody_gets_more_than_was_split_for_it(self) -> None:
        for unit, member in self.paid:
            assert self.paid[unit, member] + self.owed[unit, member] == self.earned[unit, member]
            kept = self.paid[unit, member] // 10 if unit == self.tokens[2] else 0
            assert self.purse.balance(unit, account(member)) <= self.paid[unit, member] - kept


def test_the_purse_keeps_its_books_whatever_is_done():
    run_state_machine_as_test(Books, settings=_settings(40))


@pytest.mark.long
def test_the_purse_keeps_its_books_through_many_more():
    run_state_machine_as_test(Books, settings=_settings(2_000))


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
