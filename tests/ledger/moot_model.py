"""The rules of a moot's work in plain Python, written from the documents and not from the contract: sets where the
contract has bitmaps, objects where it has packed words. A call the contract must refuse raises ``Refused`` with its
reason. ``assembly_model`` has the rules of who decides."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import NamedTuple

GATHERING, COMMIT, FROZEN, DONE = range(4)
PROPOSED, ADOPTED, PAUSED, STOPPED = range(4)


class Refused(Exception):
    """The contract must revert with this reason."""


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused(reason)


INPUTS = b"\x11" * 32
"""What every round of these tests names as its inputs."""


def quorum(n: int) -> int:
    return (n + (n - 1) // 3) // 2 + 1


class Grant(NamedTuple):
    dataset: int
    until: int = 0
    last: int = 0

    def ended(self, now: int, round: int) -> bool:
        return bool(self.until and now >= self.until) or bool(self.last and round > self.last)


class Final(NamedTuple):
    round: int
    attempt: int
    parent: bytes
    model: bytes
    signers: int
    members: int


@dataclass
class Task:
    proposer: int
    bundle: bytes
    terms: tuple[int, int, int, int, int, int, int]
    parent: bytes
    genesis: bytes = b""
    standing: int = PROPOSED
    grants: dict[int, Grant] = field(default_factory=dict)
    coming: set[int] = field(default_factory=set)
    barred: set[int] = field(default_factory=set)
    beacon: bytes = b"\0" * 32
    phase: int = GATHERING
    round: int = 0
    attempt: int = 0
    members: frozenset[int] = frozenset()
    expected: frozenset[int] = frozenset()
    commits: dict[int, bytes] = field(default_factory=dict)
    survivors: frozenset[int] = frozenset()
    first_survivors: frozenset[int] = frozenset()
    shown: list[frozenset[int]] = field(default_factory=list)
    """The survivor sets whose masks may have been opened in this round, sealed, in their order."""
    commit_deadline: int = 0
    closed_at: int = 0
    final_deadline: int = 0
    finals: list[Final] = field(default_factory=list)

    @property
    def minimum(self) -> int:
        return self.terms[1]

    @property
    def sealed(self) -> bool:
        return self.terms[6] == 1

    @property
    def dealt(self) -> frozenset[int]:
        return self.expected if self.sealed else frozenset()

    def live(self, now: int, round: int) -> set[int]:
        return {member for member, grant in self.grants.items() if not grant.ended(now, round)}

    def closed(self, now: int) -> bool:
        return self.closed_at > 0 or (now >= self.commit_deadline and len(self.commits) >= self.minimum)

    def end(self, round: int) -> None:
        self.phase, self.round = DONE, round
        self.commits, self.survivors, self.first_survivors = {}, frozenset(), frozenset()


class Moot:
    """The model. ``now`` is set from outside; accounts are addresses; ``sender`` is always the first argument."""

    def __init__(self, founder: str, assembly: str) -> None:
        self.assembly = assembly
        self.accounts = [founder]
        self.mains = [founder]
        self.removed: set[int] = set()
        self.moved = False
        self.floor = (0, 0)
        self.datasets: list[int] = []
        self.tasks: list[Task] = []
        self.now = 0

    # ---- members

    @property
    def living(self) -> set[int]:
        return set(range(len(self.accounts))) - self.removed

    def number(self, account: str) -> int | None:
        return next((m for m in self.living if account in (self.accounts[m], self.mains[m])), None)

    def member(self, account: str) -> int:
        number = self.number(account)
        if number is None:
            raise Refused("not a member")
        return number

    def main(self, account: str) -> int:
        number = self.member(account)
        require(self.mains[number] == account, "only the main account may")
        return number

    def task(self, id: int) -> Task:
        require(0 < id <= len(self.tasks), "no such task")
        return self.tasks[id - 1]

    # ---- what the assembly decides

    def decided(self, sender: str) -> None:
        require(sender == self.assembly, "only the assembly decides that")

    def seat(self, sender: str, account: str) -> int:
        self.decided(sender)
        require(not self.moved, "the moot has moved")
        require(self.number(account) is None, "already a member")
        self.accounts.append(account)
        self.mains.append(account)
        return len(self.accounts) - 1

    def use(self, sender: str, member: int, account: str, main: str) -> None:
        self.decided(sender)
        require(member in self.living, "no such member")
        require(self.number(main) in (None, member) and self.number(account) in (None, member), "already a member")
        self.accounts[member], self.mains[member] = account, main

    def remove(self, sender: str, member: int) -> None:
        self.decided(sender)
        require(member in self.living, "no such member")
        self.removed.add(member)

    def steer(self, sender: str, id: int, standing: int) -> None:
        self.decided(sender)
        self._steer(id, standing)

    def withdraw(self, sender: str, id: int) -> None:
        member = self.member(sender)
        proposer = self.tasks[id - 1].proposer if 0 < id <= len(self.tasks) else 0
        require(proposer == member, "not your task")
        require(self.task(id).standing == PROPOSED, "it is decided on")
        self._steer(id, STOPPED)

    def _steer(self, id: int, standing: int) -> None:
        task = self.task(id)
        before = task.standing
        require(task.phase != DONE and before != STOPPED, "task is done")
        ways = {(PROPOSED, ADOPTED), (PAUSED, ADOPTED), (ADOPTED, PAUSED)}
        require(standing == STOPPED or (before, standing) in ways, "standing does not change so")
        task.standing = standing
        if standing == STOPPED:
            task.end(max(task.round, 1) - 1)
        elif standing == ADOPTED and task.phase == GATHERING:
            self._start(task)
        elif (
            standing == ADOPTED and task.phase == COMMIT and (not task.closed(self.now) or task.members & self.removed)
        ):
            self._again(task, task.expected)

    def bound(self, sender: str, min_members: int, sealed: int) -> None:
        self.decided(sender)
        require(min_members <= 256 and sealed <= 1, "limits out of bounds")
        self.floor = (min_members, sealed)

    def retire(self, sender: str, chain_id: int, successor: str, state: bytes) -> None:
        self.decided(sender)
        require(not self.moved, "the moot has moved")
        self.moved = True

    # ---- datasets, tasks, consent

    def describe(self, sender: str) -> int:
        self.datasets.append(self.member(sender))
        return len(self.datasets)

    def propose(self, sender: str, bundle: bytes, genesis: bytes, terms: tuple[int, ...]) -> int:
        proposer = self.member(sender)
        require(terms[1] >= self.floor[0], "fewer members than the moot allows")
        require(terms[6] >= self.floor[1], "the moot allows sealed tasks only")
        require(not self.moved, "the moot has moved")
        waiting = [task for task in self.tasks if task.proposer == proposer and task.standing == PROPOSED]
        require(len(waiting) < 8, "too many proposals of this member")
        self.tasks.append(Task(proposer, bundle, terms, genesis, genesis))  # type: ignore[arg-type]
        return len(self.tasks)

    def grant(self, sender: str, id: int, dataset: int, until: int = 0, rounds: int = 0) -> None:
        member = self.main(sender)
        task = self.task(id)
        require(0 < dataset <= len(self.datasets), "no such dataset")
        require(self.datasets[dataset - 1] == member, "not your dataset")
        require(until == 0 or until > self.now, "until out of bounds")
        require(member not in task.barred, "expelled from this task")
        require(task.phase != DONE, "task is done")
        require(member not in task.live(self.now, task.round), "already granted")
        task.coming.discard(member)
        task.grants[member] = Grant(dataset, until, max(task.round, 1) + rounds - 1 if rounds else 0)
        if task.phase != GATHERING:
            task.coming.add(member)
        elif task.standing == ADOPTED:
            self._start(task)

    def revoke(self, sender: str, id: int) -> None:
        member = self.member(sender)
        known = 0 < id <= len(self.tasks)
        require(known and member in self.tasks[id - 1].grants, "no grant")
        self._withdraw(self.task(id), member)

    def _withdraw(self, task: Task, member: int) -> None:
        del task.grants[member]
        task.coming.discard(member)
        if task.phase == COMMIT and not task.closed(self.now):
            self._close_if_complete(task)

    def expel(self, sender: str, id: int, member: int, signers: list[int], signed: list[str]) -> None:
        self.member(sender)
        require(0 < id <= len(self.tasks), "no such task")
        require(member < len(self.accounts), "no such member")
        task = self.tasks[id - 1]
        require(member not in task.barred, "already expelled")
        self._quorum(frozenset(self.living), signers, signed)
        task.barred.add(member)
        if member in task.grants:
            self._withdraw(task, member)

    def attend(self, sender: str, id: int) -> None:
        member = self.member(sender)
        require(0 < id <= len(self.tasks) and member in self.tasks[id - 1].grants, "no grant")
        self.task(id).coming.add(member)

    # ---- rounds

    def commit(self, sender: str, id: int, round: int, attempt: int, hash: bytes) -> None:
        self._commit(id, round, attempt, {self.member(sender): hash})

    def commit_all(
        self, sender: str, id: int, round: int, attempt: int, hashes: dict[int, bytes], signed: list[str]
    ) -> None:
        """``signed``: who made each signature, ascending by member, as far as one can tell from it."""
        require(len(hashes) > 0, "hashes do not match members")
        self._signatures(sorted(hashes), signed)
        self._commit(id, round, attempt, hashes)

    def _commit(self, id: int, round: int, attempt: int, hashes: dict[int, bytes]) -> None:
        task = self._at(id, round, attempt, COMMIT)
        require(task.standing == ADOPTED, "task is paused")
        require(hashes.keys() <= task.members, "not in the snapshot")
        require(not task.sealed or hashes.keys() <= task.expected, "not dealt in")
        require(hashes.keys() <= task.grants.keys(), "no grant")
        require(hashes.keys() <= self.living, "not a member")
        require(hashes.keys() <= task.live(self.now, round), "the grant has ended")
        require(not hashes.keys() & task.commits.keys(), "already committed")
        require(not task.closed(self.now), "commits are closed")
        task.commits.update(hashes)
        self._close_if_complete(task)

    def freeze(
        self, sender: str, id: int, round: int, attempt: int, holdings: dict[int, set[int]], signed: list[str]
    ) -> None:
        task = self._attempt(id, round, attempt)
        shrinking = task.phase == FROZEN and task.sealed
        require(task.phase == COMMIT or shrinking, "not in this phase")
        require(shrinking or task.closed(self.now), "commits are open")
        self._quorum(task.members, sorted(holdings), signed)
        faults = (len(task.members) - 1) // 3
        base = task.survivors if shrinking else frozenset(task.commits)
        lacking = {j: sum(j not in held for held in holdings.values()) for j in base}
        survivors = frozenset(j for j, number in lacking.items() if number <= faults)
        if shrinking:
            require(survivors != base, "all masks are open")
            require(len(survivors) >= 3, "too few would survive")
        elif len(survivors) < task.minimum:
            self._again(task, task.commits.keys())
            return
        if not shrinking:
            task.first_survivors = survivors
        if task.sealed:
            task.shown.append(survivors)
        task.phase = FROZEN
        task.survivors = survivors
        task.final_deadline = self.now + task.terms[5] * 2 ** min(attempt, 6)

    def finalise(
        self, sender: str, id: int, round: int, attempt: int, model: bytes, signers: list[int], signed: list[str]
    ) -> None:
        task = self._at(id, round, attempt, FROZEN)
        self._quorum(task.members, signers, signed)
        task.finals.append(Final(round, attempt, task.parent, model, len(signers), len(task.members)))
        if round == task.terms[0]:
            task.phase, task.parent = DONE, model
        else:
            task.beacon = INPUTS
            task.shown = []
            self._open(task, round + 1, 0, model, task.commits.keys() | task.coming)

    def retry(self, sender: str, id: int, round: int, attempt: int) -> None:
        self.member(sender)
        task = self._attempt(id, round, attempt)
        if task.phase == FROZEN:
            require(self.now >= task.final_deadline, "before the deadline")
            self._again(task, task.survivors)
        else:
            require(task.phase == COMMIT, "not in this phase")
            require(self.now >= task.commit_deadline, "before the deadline")
            require(not task.closed(self.now), "commits are closed")
            outside = (task.grants.keys() & self.living) - task.members
            outside |= task.coming - task.expected if task.sealed else set()
            require(bool(outside) and not task.shown, "no one new could commit")
            self._again(task, task.commits.keys())

    # ---- underneath

    def _attempt(self, id: int, round: int, attempt: int) -> Task:
        task = self.task(id)
        require((task.round, task.attempt) == (round, attempt), "not this attempt")
        return task

    def _at(self, id: int, round: int, attempt: int, phase: int) -> Task:
        known = 0 < id <= len(self.tasks)
        where = (self.tasks[id - 1].round, self.tasks[id - 1].attempt) if known else (0, 0)
        require(where == (round, attempt), "not this attempt")
        require(known and self.tasks[id - 1].phase == phase, "not in this phase")
        return self.tasks[id - 1]

    def _quorum(self, members: frozenset[int], signers: list[int], signed: list[str]) -> None:
        require(set(signers) <= members, "signer is not in the snapshot")
        require(len(signers) >= quorum(len(members)), "no quorum")
        self._signatures(signers, signed)

    def _signatures(self, signers: list[int], signed: list[str]) -> None:
        for signer, account in zip(signers, signed, strict=True):
            require(account != "malleable", "signature is malleable")
            known = signer < len(self.accounts) and account == self.accounts[signer]
            require(known, "signature is not the signer's")

    def _start(self, task: Task) -> None:
        granting = task.live(self.now, 1) & self.living
        if len(granting) >= task.terms[2]:
            self._open(task, 1, 0, task.genesis, granting)

    def _again(self, task: Task, expected: Set[int]) -> None:
        awaited = expected | task.coming
        if task.shown:
            # nobody new, and nobody who was left out: who is in was in every set whose masks may have been opened
            awaited = task.survivors if task.phase == FROZEN else task.expected
        self._open(task, task.round, task.attempt + 1, task.parent, awaited)

    def _open(self, task: Task, round: int, attempt: int, parent: bytes, expected: Set[int]) -> None:
        for member in (task.grants.keys() & self.living) - task.live(self.now, round):
            del task.grants[member]
            task.coming.discard(member)
        task.parent = parent
        task.attempt = attempt
        task.commit_deadline = self.now + task.terms[3] * 2 ** min(attempt, 6)
        task.closed_at = task.final_deadline = 0
        task.commits, task.survivors, task.first_survivors = {}, frozenset(), frozenset()
        if self.moved:
            task.end(round - 1)
            return
        task.phase, task.round = COMMIT, round
        task.members = frozenset(self.living)
        task.expected = frozenset(expected & task.grants.keys() & task.members)
        task.coming = set()

    def _close_if_complete(self, task: Task) -> None:
        awaited = (task.expected & task.grants.keys() & self.living) - task.commits.keys()
        if len(task.commits) >= task.minimum and (not awaited or self.now >= task.commit_deadline):
            task.closed_at = self.now
