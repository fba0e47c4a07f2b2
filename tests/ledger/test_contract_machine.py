"""Whatever is called, in whatever order: the contract does and refuses exactly what the model does and refuses.

An ordinary account stands in for the assembly, so that its decisions come in any order too. In the model no round
becomes final without a quorum, twice or out of order, and nobody commits without a live grant. That the model has
these properties itself is checked after every step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import moot_model as model
import pytest
from contracts import CHAIN, Chain, refused
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
from moot_world import account, bits, key, other_half

from folkmoot.errors import IntegrityError
from folkmoot.ledger import statements
from folkmoot.ledger.statements import Domain
from folkmoot.round.view import members_of

ASSEMBLY = 50
"""Whose account stands in for the assembly."""
PEOPLE = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6])
MEMBERS = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 4, 5])
ACCOUNTS = st.sampled_from([0, 1, 2, 3, 4, 10, 11, 12, 13, 14])
TASKS = st.sampled_from([1, 1, 1, 1, 1, 2, 2, 0])
STRANGER = b"\x79" * 32
NEAR = st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1])
"""How far from the attempt being made a call aims."""
TERMS = st.sampled_from(
    [
        (rounds, m, m + more, 10, 5, 20, sealed)
        for rounds in (1, 2, 3)
        for m in (1, 2, 3)
        for more in (0, 1)
        for sealed in (0, 1)
    ]
)
SPOILS = st.sampled_from(["", "", "", "", "another's key", "another attempt", "mirrored", "main account's"])
UNTIL = st.sampled_from([0, 0, 0, 5, 12, 60, -1])
ROUNDS = st.sampled_from([0, 0, 0, 1, 1, 2])


class Calls(RuleBasedStateMachine):
    """One moot and its model, side by side."""

    @initialize(members=st.sampled_from([1, 3, 3, 4, 4, 4]), terms=TERMS, adopted=st.sampled_from([True, True, False]))
    def found(self, members: int, terms: tuple[int, ...], adopted: bool) -> None:
        self.chain = Chain()
        self.moot = self.chain.deploy(account(0), "Moot", account(ASSEMBLY))
        self.domain = Domain(CHAIN, self.moot)
        self.model = model.Moot(account(0), account(ASSEMBLY))
        self.keys = {account(number): key(number) for number in (*range(7), *range(10, 15))}
        for number in range(1, members):
            self.seat(ASSEMBLY, number)
        self.propose(0, terms)
        if adopted:
            self.steer(ASSEMBLY, 1, 1)
        for member in range(members):
            self.describe(member)

    def both(self, name: str, sender: int, *arguments: Any, told: tuple[Any, ...] | None = None) -> None:
        """Call contract and model alike; ``told`` is what the model gets where its arguments differ."""
        self.model.now = self.chain.time
        try:
            expected = getattr(self.model, name)(account(sender), *(arguments if told is None else told))
        except model.Refused as refusal:
            with refused(str(refusal)):
                self.chain.call(account(sender), self.moot, name, *arguments)
        else:
            assert self.chain.call(account(sender), self.moot, name, *arguments) == expected

    # ---- what the assembly decides

    @rule(who=st.sampled_from([ASSEMBLY, ASSEMBLY, ASSEMBLY, 0, 9]), newcomer=ACCOUNTS)
    def seat(self, who: int, newcomer: int) -> None:
        self.both("seat", who, account(newcomer))

    @rule(who=st.sampled_from([ASSEMBLY, ASSEMBLY, 1]), member=MEMBERS, daily=ACCOUNTS, main=st.none() | ACCOUNTS)
    def use(self, who: int, member: int, daily: int, main: int | None) -> None:
        same = member < len(self.model.mains) and main is None
        theirs = self.model.mains[member] if same else account(main or 0)
        self.both("use", who, member, account(daily), theirs)

    @precondition(lambda self: len(self.model.living) > 2)
    @rule(who=st.sampled_from([ASSEMBLY, 1]), member=MEMBERS)
    def remove(self, who: int, member: int) -> None:
        self.both("remove", who, member)

    @rule(who=st.sampled_from([ASSEMBLY, ASSEMBLY, 1]), task=TASKS, standing=st.sampled_from([0, 1, 1, 2, 2, 3, 4]))
    def steer(self, who: int, task: int, standing: int) -> None:
        self.both("steer", who, task, standing)

    @rule(
        who=st.sampled_from([ASSEMBLY, 1]), members=st.sampled_from([0, 2, 257]), sealed=st.sampled_from([0, 0, 1, 2])
    )
    def bound(self, who: int, members: int, sealed: int) -> None:
        self.both("bound", who, members, sealed)

    @rule(who=st.sampled_from([ASSEMBLY, 1, 1, 1, 1]), really=st.integers(0, 9))
    def retire(self, who: int, really: int) -> None:
        if who != ASSEMBLY or really == 0:
            self.both("retire", who, 5, account(8), b"\x07" * 32)

    # ---- datasets, tasks, consent

    @rule(who=PEOPLE)
    def describe(self, who: int) -> None:
        self.both("describe", who, b"\xcc" * 32, bytes(32), bytes(32), 10, told=())

    @precondition(lambda self: len(self.model.tasks) < 2)
    @rule(who=PEOPLE, terms=TERMS)
    def propose(self, who: int, terms: tuple[int, ...]) -> None:
        self.both("propose", who, b"\xb0" * 32, b"\x90" * 32, terms)

    @rule(who=PEOPLE, task=TASKS, really=st.integers(0, 3))
    def withdraw(self, who: int, task: int, really: int) -> None:
        if really == 0:
            self.both("withdraw", who, task)

    @rule(who=ACCOUNTS, task=TASKS, dataset=st.integers(0, 4), until=UNTIL, rounds=ROUNDS)
    def grant(self, who: int, task: int, dataset: int, until: int, rounds: int) -> None:
        ends = until and self.chain.time + until
        self.both("grant", who, task, dataset, 0, ends, rounds, told=(task, dataset, ends, rounds))

    @rule(who=ACCOUNTS, task=TASKS)
    def revoke(self, who: int, task: int) -> None:
        self.both("revoke", who, task)

    @rule(who=ACCOUNTS, task=TASKS)
    def attend(self, who: int, task: int) -> None:
        self.both("attend", who, task)

    @rule(task=TASKS, until=UNTIL, rounds=ROUNDS)
    def all_grant(self, task: int, until: int, rounds: int) -> None:
        for dataset, owner in enumerate(self.model.datasets, 1):
            self.grant(self.number_of(self.model.mains[owner]), task, dataset, until, rounds)

    # ---- rounds

    @rule(seconds=st.sampled_from([1, 5, 10, 20, 100, 2000]))
    def wait(self, seconds: int) -> None:
        self.chain.later(seconds)

    @rule(who=ACCOUNTS, task=TASKS, round=NEAR, attempt=NEAR)
    def commit(self, who: int, task: int, round: int, attempt: int) -> None:
        round, attempt = self.near(task, round, attempt)
        self.both("commit", who, task, round, attempt, bytes([who + 1]) * 32)

    @rule(data=st.data(), who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR, spoil=SPOILS)
    def commit_all(self, data: st.DataObject, who: int, task: int, round: int, attempt: int, spoil: str) -> None:
        members = data.draw(st.one_of(self.crowd(), st.sets(MEMBERS, min_size=1)))
        self.commit_together(task, who, round, attempt, spoil, members)

    def commit_together(self, task: int, who: int, round: int, attempt: int, spoil: str, members: set[int]) -> None:
        round, attempt = self.near(task, round, attempt)
        hashes = {member: bytes([member + 1]) * 32 for member in sorted(members)}

        def digests(attempt: int) -> list[bytes]:
            return [statements.commit_digest(self.domain, task, round, attempt, each) for each in hashes.values()]

        signing = digests(attempt + (spoil == "another attempt"))
        joined, signed = self.signatures(list(hashes), signing, digests(attempt), spoil)
        told = (task, round, attempt, hashes, signed)
        self.both("commit_all", who, task, round, attempt, bits(hashes), list(hashes.values()), joined, told=told)

    @rule(data=st.data(), who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR, spoil=SPOILS)
    def freeze(self, data: st.DataObject, who: int, task: int, round: int, attempt: int, spoil: str) -> None:
        committed = bits(self.model.tasks[task - 1].commits) if 0 < task <= len(self.model.tasks) else 0
        choices = st.sampled_from([committed, committed, 2**256 - 1, 1, 6, 0])
        held = {voter: data.draw(choices) for voter in sorted(data.draw(self.crowd()))}
        self.attest(task, who, round, attempt, spoil, held)

    def attest(self, task: int, who: int, round: int, attempt: int, spoil: str, held: dict[int, int]) -> None:
        round, attempt = self.near(task, round, attempt)
        voters = sorted(held)

        def digests(attempt: int) -> list[bytes]:
            known = self.model.tasks[task - 1] if 0 < task <= len(self.model.tasks) else None
            if known is not None and known.phase == model.FROZEN and known.sealed:
                base = bits(known.survivors)
                return [statements.opening_digest(self.domain, task, round, attempt, base, held[v]) for v in voters]
            return [statements.holding_digest(self.domain, task, round, attempt, held[voter]) for voter in voters]

        signing = digests(attempt + (spoil == "another attempt"))
        joined, signed = self.signatures(voters, signing, digests(attempt), spoil)
        told = (task, round, attempt, {voter: set(members_of(h)) for voter, h in held.items()}, signed)
        bitmaps = [held[voter] for voter in voters]
        self.both("freeze", who, task, round, attempt, bits(held), bitmaps, joined, told=told)

    @rule(data=st.data(), who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR, spoil=SPOILS)
    def finalise(self, data: st.DataObject, who: int, task: int, round: int, attempt: int, spoil: str) -> None:
        known = self.model.tasks[task - 1] if 0 < task <= len(self.model.tasks) else None
        self.vouch_for_model(task, known, who, round, attempt, spoil, data.draw(self.crowd()))

    def vouch_for_model(
        self,
        task: int,
        known: model.Task | None,
        who: int,
        round: int,
        attempt: int,
        spoil: str,
        crowd: Iterable[int],
    ) -> None:
        round, attempt = self.near(task, round, attempt)
        parent, survivors = (known.parent, bits(known.survivors)) if known else (b"\0" * 32, 0)
        hashes = [model.INPUTS, b"\x22" * 32, bytes([0x40 + max(round, 0)]) * 32]
        signers = sorted(crowd)

        def digests(attempt: int) -> list[bytes]:
            told = (self.domain, task, round, attempt, parent, *hashes, survivors)
            return [statements.model_digest(*told)] * len(signers)

        signing = digests(attempt + (spoil == "another attempt"))
        joined, signed = self.signatures(signers, signing, digests(attempt), spoil)
        told = (task, round, attempt, hashes[2], signers, signed)
        self.both("finalise", who, task, round, attempt, *hashes, bits(signers), joined, told=told)

    @rule(who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR)
    def retry(self, who: int, task: int, round: int, attempt: int) -> None:
        self.both("retry", who, task, *self.near(task, round, attempt))

    @rule(data=st.data(), who=PEOPLE, task=TASKS, member=MEMBERS, spoil=SPOILS)
    def expel(self, data: st.DataObject, who: int, task: int, member: int, spoil: str) -> None:
        signers = sorted(data.draw(self.crowd()))
        evidence = b"\xee" * 32
        truth = [statements.expulsion_digest(self.domain, task, member, evidence)] * len(signers)
        other = [statements.expulsion_digest(self.domain, task + 1, member, evidence)] * len(signers)
        joined, signed = self.signatures(signers, other if spoil == "another attempt" else truth, truth, spoil)
        told = (task, member, signers, signed)
        self.both("expel", who, task, member, evidence, bits(signers), joined, told=told)

    @rule(data=st.data(), task=st.sampled_from([1, 1, 2]), steps=st.integers(1, 8), seconds=st.sampled_from([0, 1, 10]))
    def go_on(self, data: st.DataObject, task: int, steps: int, seconds: int) -> None:
        """What honest members do next, some times over, each time after someone tried what is drawn: without it,
        hardly any schedule gets past a commit."""
        for _ in range(steps):
            self.model.now = self.chain.time
            known = self.model.tasks[task - 1] if task <= len(self.model.tasks) else None
            if known is None or known.phase == model.DONE:
                return
            if known.standing == model.PAUSED:
                self.commit_together(task, 0, 0, 0, "", set(known.expected) or {0})
            if known.standing in (model.PROPOSED, model.PAUSED):
                self.steer(ASSEMBLY, task, 1)
            turn = data.draw(st.integers(0, 9))
            if turn == 0 and known.phase in (model.COMMIT, model.FROZEN):
                self.chain.later(max(0, max(known.commit_deadline, known.final_deadline) - self.chain.time))
                self.retry(0, task, 0, 0)
            elif turn == 1 and known.standing == model.ADOPTED:
                self.steer(ASSEMBLY, task, model.PAUSED)
            elif known.phase == model.GATHERING:
                self.all_grant(task, 0, 0)
            elif known.phase == model.FROZEN:
                self.vouch_for_model(task, known, 0, 0, 0, data.draw(SPOILS), data.draw(self.crowd()))
                if known.phase == model.FROZEN:
                    self.vouch_for_model(task, known, 0, 0, 0, "", known.members)
            elif known.closed(self.chain.time):
                before = known.attempt
                self.attest(
                    task, 0, 0, 0, data.draw(SPOILS), dict.fromkeys(data.draw(self.crowd()), bits(known.commits))
                )
                if known.phase == model.COMMIT and known.attempt == before:
                    self.attest(task, 0, 0, 0, "", dict.fromkeys(known.members, bits(known.commits)))
            elif turn > 5:
                self.commit_together(task, 0, 0, 0, data.draw(SPOILS), set(known.expected) or {0})
            else:
                for member in sorted(known.members):
                    self.commit(self.number_of(self.model.accounts[member]), task, 0, 0)
            self.chain.later(seconds)

    # ---- what calls are made of

    def near(self, task: int, round: int, attempt: int) -> tuple[int, int]:
        if not 0 < task <= len(self.model.tasks):
            return 0, 0
        known = self.model.tasks[task - 1]
        return max(known.round + round, 0), max(known.attempt + attempt, 0)

    def crowd(self) -> st.SearchStrategy[set[int]]:
        """Mostly all members; else any people."""
        everyone = st.just(set(self.model.living) or {0})
        return st.one_of(everyone, everyone, st.sets(PEOPLE))

    def number_of(self, address: str) -> int:
        return next(number for number in range(60) if account(number) == address)

    def signatures(
        self, signers: list[int], digests: list[bytes], truth: list[bytes], spoil: str
    ) -> tuple[bytes, list[str]]:
        """The last signature is spoilt. With them, who each appears to be by, over what should have been signed."""
        daily, mains = self.model.accounts, self.model.mains
        keys = [self.keys[daily[signer]] if signer < len(daily) else key(signer) for signer in signers]
        if keys and spoil == "another's key":
            keys[-1] = STRANGER
        if keys and spoil == "main account's" and signers[-1] < len(mains):
            keys[-1] = self.keys[mains[signers[-1]]]
        made = [statements.sign(each, digest) for each, digest in zip(keys, digests, strict=True)]
        if made and spoil == "mirrored":
            made[-1] = other_half(made[-1])
        return b"".join(made), [apparent(digest, signature) for digest, signature in zip(truth, made, strict=True)]

    # ---- what must hold

    @invariant()
    def views_equal_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        read, known = self.chain.read, self.model
        now = known.now = self.chain.time
        assert read(self.moot, "counts") == (len(known.accounts), len(known.datasets), len(known.tasks))
        assert read(self.moot, "condition") == (bits(known.living), int(known.moved), *known.floor)
        for number in (*range(7), *range(10, 15)):
            member = known.number(account(number))
            assert read(self.moot, "number_of", account(number)) == (0 if member is None else member + 1)
        for id, task in enumerate(known.tasks, 1):
            view = read(self.moot, "round_view", id)
            assert tuple(view) == (
                *(task.round, task.attempt, task.phase, task.parent, task.beacon),
                bits(task.members),
                bits(task.expected & task.grants.keys() & known.living),
                *map(bits, (task.dealt, task.commits, task.survivors)),
                *(task.commit_deadline, task.closed_at, task.final_deadline, task.minimum, task.terms[4]),
                *(view.opened, task.standing, bits(task.first_survivors), int(bool(task.shown))),
            )
            (kept,) = read(self.moot, "tasks", id)[:1]
            assert (kept.granted, kept.barred) == (bits(task.grants.keys() & known.living), bits(task.barred))
            assert kept.standing == task.standing
            done = task.phase == model.DONE
            finals = len(task.finals)
            assert read(self.moot, "progress", id) == (finals, task.terms[0], int(done), task.terms[4])
            live = task.live(now, task.round) & known.living
            for member in range(len(known.accounts)):
                grant = task.grants[member] if member in live else model.Grant(0)
                found = read(self.moot, "grant_of", id, member)
                assert found == (grant.dataset, 0, grant.until, grant.last)

    @invariant()
    def rounds_become_final_once_in_order_each_on_the_one_before_by_a_quorum(self) -> None:
        for task in self.model.tasks if hasattr(self, "model") else []:
            assert [final.round for final in task.finals] == list(range(1, len(task.finals) + 1))
            parents = [task.genesis, *(final.model for final in task.finals)]
            assert [final.parent for final in task.finals] == parents[:-1]
            assert task.parent == parents[-1]
            # two quorums always share an honest member: signers of both outnumber the members by more than f
            assert all(2 * final.signers - final.members > (final.members - 1) // 3 for final in task.finals)
            assert task.commits.keys() <= task.members
            assert not task.sealed or task.commits.keys() <= task.expected
            assert not task.grants.keys() & task.barred
            # no sum of a sealed round is over members that a sum before it was not over
            assert all(later <= before for before, later in itertools.pairwise(task.shown))
            assert task.phase != model.COMMIT or not task.shown or task.expected <= task.shown[-1]


def apparent(digest: bytes, signature: bytes) -> str:
    try:
        return statements.recover(digest, signature)
    except IntegrityError:
        return "malleable"


def campaign(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )


def test_the_contract_does_what_the_model_does_whatever_is_called():
    run_state_machine_as_test(Calls, settings=campaign(60))


@pytest.mark.long
def test_the_contract_does_what_the_model_does_in_many_more_schedules():
    run_state_machine_as_test(Calls, settings=campaign(5_000))
