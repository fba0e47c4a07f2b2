"""Whatever is called, in whatever order: the contract does and refuses exactly what the model does and refuses.

In the model no round becomes final without a quorum, twice or out of order; nobody commits without a grant or joins
without a voucher. That the model has these properties itself is checked after every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import boa
import moot_model as model
import pytest
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
from moot_world import VOUCHER, World, account, bits, fields, key, other_half

from folkmoot.errors import IntegrityError
from folkmoot.ledger import statements
from folkmoot.round.view import members_of

SEATS = 4
PEOPLE = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6])
TASKS = st.sampled_from([1, 1, 1, 1, 1, 2, 2, 0])
VOUCHERS = [VOUCHER, b"\x78" * 32]
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
SPOILS = st.sampled_from(["", "", "", "", "another's key", "another attempt", "mirrored"])


class Calls(RuleBasedStateMachine):
    """One moot and its model, side by side."""

    @initialize(members=st.sampled_from([1, 3, 3, 4, 4, 4]), terms=TERMS)
    def found(self, members: int, terms: tuple[int, ...]) -> None:
        self.anchor = boa.env.anchor()
        self.anchor.__enter__()
        self.world = World(members, seats=SEATS)
        self.model = model.Moot(account(0), SEATS, statements.address_of(VOUCHER))
        for number in range(1, members):
            self.model.join(account(number), fields(number)[0], statements.address_of(VOUCHER))
        self.propose(0, terms)
        for member in range(members):
            self.describe(member)

    def teardown(self) -> None:
        if hasattr(self, "anchor"):
            self.anchor.__exit__(None, None, None)

    def both(self, name: str, sender: int, *arguments: Any, told: tuple[Any, ...] | None = None) -> None:
        """Call contract and model alike; ``told`` is what the model gets where its arguments differ."""
        self.model.now = boa.env.timestamp
        try:
            expected = getattr(self.model, name)(account(sender), *(arguments if told is None else told))
        except model.Refused as refusal:
            with boa.reverts(str(refusal)):
                self.world.call(name, sender, *arguments)
        else:
            assert self.world.call(name, sender, *arguments) == expected

    # ---- members, datasets, tasks

    @rule(who=PEOPLE, voucher=st.sampled_from([*VOUCHERS, STRANGER]), name=PEOPLE)
    def join(self, who: int, voucher: bytes, name: int) -> None:
        before = len(self.model.accounts)
        described = (f"member {name}", *fields(who)[1:])
        told = (described[0], statements.address_of(voucher))
        self.both("join", who, *described, self.world.voucher(who, voucher), told=told)
        assert voucher != STRANGER or len(self.model.accounts) == before

    @rule(who=PEOPLE)
    def invite(self, who: int) -> None:
        self.both("invite", who, statements.address_of(VOUCHERS[1]))

    @rule(who=PEOPLE)
    def describe(self, who: int) -> None:
        self.both("describe", who, b"\xcc" * 32, 10, told=())

    @precondition(lambda self: len(self.model.tasks) < 2)
    @rule(who=PEOPLE, terms=TERMS)
    def propose(self, who: int, terms: tuple[int, ...]) -> None:
        self.both("propose", who, b"\xb0" * 32, b"\x90" * 32, terms)

    @rule(who=PEOPLE, task=TASKS, dataset=st.integers(0, 4))
    def grant(self, who: int, task: int, dataset: int) -> None:
        self.both("grant", who, task, dataset, 0)

    @rule(who=PEOPLE, task=TASKS)
    def revoke(self, who: int, task: int) -> None:
        self.both("revoke", who, task)

    @rule(who=PEOPLE, task=TASKS)
    def attend(self, who: int, task: int) -> None:
        self.both("attend", who, task)

    @rule(task=TASKS)
    def all_grant(self, task: int) -> None:
        for dataset, owner in enumerate(self.model.datasets, 1):
            self.both("grant", owner, task, dataset, 0)

    # ---- rounds

    @rule(seconds=st.sampled_from([1, 5, 10, 20, 100, 2000]))
    def wait(self, seconds: int) -> None:
        boa.env.time_travel(seconds=seconds)

    @rule(who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR)
    def commit(self, who: int, task: int, round: int, attempt: int) -> None:
        round, attempt = self.near(task, round, attempt)
        self.both("commit", who, task, round, attempt, bytes([who + 1]) * 32)

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
            domain = self.world.domain
            known = self.model.tasks[task - 1] if 0 < task <= len(self.model.tasks) else None
            if known is not None and known.phase == model.FROZEN and known.sealed:
                base = bits(known.survivors)
                return [statements.opening_digest(domain, task, round, attempt, base, held[v]) for v in voters]
            return [statements.holding_digest(domain, task, round, attempt, held[voter]) for voter in voters]

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
            domain = self.world.domain
            return [statements.model_digest(domain, task, round, attempt, parent, *hashes, survivors)] * len(signers)

        signing = digests(attempt + (spoil == "another attempt"))
        joined, signed = self.signatures(signers, signing, digests(attempt), spoil)
        told = (task, round, attempt, hashes[2], signers, signed)
        self.both("finalise", who, task, round, attempt, *hashes, bits(signers), joined, told=told)

    @rule(who=PEOPLE, task=TASKS, round=NEAR, attempt=NEAR)
    def retry(self, who: int, task: int, round: int, attempt: int) -> None:
        self.both("retry", who, task, *self.near(task, round, attempt))

    @rule(data=st.data(), who=PEOPLE, task=TASKS, member=PEOPLE, spoil=SPOILS)
    def expel(self, data: st.DataObject, who: int, task: int, member: int, spoil: str) -> None:
        signers = sorted(data.draw(self.crowd()))
        domain, evidence = self.world.domain, b"\xee" * 32
        truth = [statements.expulsion_digest(domain, task, member, evidence)] * len(signers)
        other = [statements.expulsion_digest(domain, task + 1, member, evidence)] * len(signers)
        joined, signed = self.signatures(signers, other if spoil == "another attempt" else truth, truth, spoil)
        told = (task, member, signers, signed)
        self.both("expel", who, task, member, evidence, bits(signers), joined, told=told)

    @rule(data=st.data(), task=st.sampled_from([1, 1, 2]), steps=st.integers(1, 8), seconds=st.sampled_from([0, 1, 10]))
    def go_on(self, data: st.DataObject, task: int, steps: int, seconds: int) -> None:
        """What honest members do next, some times over, each time after someone tried what is drawn: without it,
        hardly any schedule gets past a commit."""
        for _ in range(steps):
            self.model.now = boa.env.timestamp
            known = self.model.tasks[task - 1] if task <= len(self.model.tasks) else None
            if known is None or known.phase == model.DONE:
                return
            if known.phase == model.GATHERING:
                self.all_grant(task)
            elif known.phase == model.FROZEN:
                self.vouch_for_model(task, known, 0, 0, 0, data.draw(SPOILS), data.draw(self.crowd()))
                if known.phase == model.FROZEN:
                    self.vouch_for_model(task, known, 0, 0, 0, "", known.members)
            elif known.closed(boa.env.timestamp):
                before = known.attempt
                self.attest(
                    task, 0, 0, 0, data.draw(SPOILS), dict.fromkeys(data.draw(self.crowd()), bits(known.commits))
                )
                if known.phase == model.COMMIT and known.attempt == before:
                    self.attest(task, 0, 0, 0, "", dict.fromkeys(known.members, bits(known.commits)))
            else:
                for member in sorted(known.members):
                    self.commit(member, task, 0, 0)
            boa.env.time_travel(seconds=seconds)

    def near(self, task: int, round: int, attempt: int) -> tuple[int, int]:
        if not 0 < task <= len(self.model.tasks):
            return 0, 0
        known = self.model.tasks[task - 1]
        return max(known.round + round, 0), max(known.attempt + attempt, 0)

    def crowd(self) -> st.SearchStrategy[set[int]]:
        """Mostly all members; else any people."""
        everyone = st.just(set(range(len(self.model.accounts))))
        return st.one_of(everyone, everyone, st.sets(PEOPLE))

    def signatures(
        self, signers: list[int], digests: list[bytes], truth: list[bytes], spoil: str
    ) -> tuple[bytes, list[str]]:
        """The last signature is spoilt. With them, who each appears to be by, over what should have been signed."""
        made = [statements.sign(key(signer), digest) for signer, digest in zip(signers, digests, strict=True)]
        if made and spoil == "another's key":
            made[-1] = statements.sign(STRANGER, digests[-1])
        if made and spoil == "mirrored":
            made[-1] = other_half(made[-1])
        return b"".join(made), [apparent(digest, signature) for digest, signature in zip(truth, made, strict=True)]

    # ---- what must hold

    @invariant()
    def views_equal_the_model(self) -> None:
        if not hasattr(self, "world"):
            return
        counts = (len(self.model.accounts), len(self.model.datasets), len(self.model.tasks))
        assert self.world.moot.counts() == counts
        for id, task in enumerate(self.model.tasks, 1):
            view = self.world.view(id)
            assert (view.phase, view.round, view.attempt, view.parent) == (
                task.phase,
                task.round,
                task.attempt,
                task.parent,
            )
            assert view.members == bits(task.members)
            assert view.expected == bits(task.expected & task.grants.keys())
            assert (view.dealt, view.beacon) == (bits(task.dealt), task.beacon)
            assert view.committed == bits(task.commits)
            assert list(view.commits) == [task.commits[member] for member in sorted(task.commits)]
            assert view.survivors == bits(task.survivors)
            assert (view.commit_deadline, view.closed_at, view.final_deadline) == (
                task.commit_deadline,
                task.closed_at,
                task.final_deadline,
            )
            kept = self.world.moot.tasks(id)[0]
            assert (kept.granted, kept.barred) == (bits(task.grants), bits(task.barred))

    @invariant()
    def rounds_become_final_once_in_order_each_on_the_one_before_by_a_quorum(self) -> None:
        for task in getattr(self, "model", model.Moot("", 1, "")).tasks:
            assert [final[0] for final in task.finals] == list(range(1, len(task.finals) + 1))
            parents = [task.genesis, *(final[3] for final in task.finals)]
            assert [final[2] for final in task.finals] == parents[:-1]
            assert task.parent == parents[-1]
            # two quorums always share an honest member: signers of both outnumber the members by more than f
            assert all(2 * signers - n > (n - 1) // 3 for *_, signers, n in task.finals)
            assert task.commits.keys() <= task.members
            assert not task.sealed or task.commits.keys() <= task.expected
            assert not task.grants.keys() & task.barred


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
    run_state_machine_as_test(Calls, settings=campaign(12))


@pytest.mark.long
def test_the_contract_does_what_the_model_does_in_many_more_schedules():
    run_state_machine_as_test(Calls, settings=campaign(1_000))
