"""The rules of a moot in plain Python, written from the documents and not from the contract: sets where the contract
has bitmaps, objects where it has packed words. A call the contract must refuse raises ``Refused`` with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

GATHERING, COMMIT, FROZEN, DONE = range(4)


class Refused(Exception):
    """The contract must revert with this reason."""


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refused(reason)


INPUTS = b"\x11" * 32
"""What every round of these tests names as its inputs."""


def quorum(n: int) -> int:
    return (n + (n - 1) // 3) // 2 + 1


@dataclass
class Task:
    proposer: int
    bundle: bytes
    terms: tuple[int, int, int, int, int, int, int]
    parent: bytes
    genesis: bytes = b""
    grants: dict[int, int] = field(default_factory=dict)
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
    commit_deadline: int = 0
    closed_at: int = 0
    final_deadline: int = 0
    finals: list[tuple[int, int, bytes, bytes, int, int]] = field(default_factory=list)
    """Of each finished round: round, attempt, parent, model, number of signers, of members."""

    @property
    def minimum(self) -> int:
        return self.terms[1]

    @property
    def sealed(self) -> bool:
        return self.terms[6] == 1

    @property
    def dealt(self) -> frozenset[int]:
        return self.expected if self.sealed else frozenset()

    def closed(self, now: int) -> bool:
        return self.closed_at > 0 or (now >= self.commit_deadline and len(self.commits) >= self.minimum)

    def complete(self, now: int) -> bool:
        awaited = self.expected & self.grants.keys() - self.commits.keys()
        return len(self.commits) >= self.minimum and (not awaited or now >= self.commit_deadline)


class Moot:
    """The model. ``now`` is set from outside; accounts are addresses; ``sender`` is always the first argument."""

    def __init__(self, founder: str, seats: int, voucher: str) -> None:
        self.accounts = [founder]
        self.names = ["member 0"]
        self.seats = seats
        self.voucher = voucher
        self.usable: set[str] = set()
        self.votes: dict[str, set[int]] = {}
        self.datasets: list[int] = []
        self.tasks: list[Task] = []
        self.now = 0

    def member(self, account: str) -> int:
        require(account in self.accounts, "not a member")
        return self.accounts.index(account)

    def task(self, id: int) -> Task:
        require(0 < id <= len(self.tasks), "no such task")
        return self.tasks[id - 1]

    def join(self, sender: str, name: str, voucher: str) -> None:
        founding = voucher == self.voucher and len(self.accounts) < self.seats
        require(founding or voucher in self.usable, "voucher is not usable")
        require(sender not in self.accounts, "already a member")
        require(name not in self.names, "name is taken")
        if not founding:
            self.usable.remove(voucher)
        self.accounts.append(sender)
        self.names.append(name)

    def invite(self, sender: str, voucher: str) -> None:
        voter = self.member(sender)
        require(voucher not in self.usable, "already usable")
        votes = self.votes.setdefault(voucher, set())
        require(voter not in votes, "already voted")
        votes.add(voter)
        if len(votes) > len(self.accounts) / 2:
            self.usable.add(voucher)
            del self.votes[voucher]

    def describe(self, sender: str) -> int:
        self.datasets.append(self.member(sender))
        return len(self.datasets)

    def propose(self, sender: str, bundle: bytes, genesis: bytes, terms: tuple[int, ...]) -> int:
        proposer = self.member(sender)
        self.tasks.append(Task(proposer, bundle, terms, genesis, genesis))  # type: ignore[arg-type]
        return len(self.tasks)

    def grant(self, sender: str, id: int, dataset: int, limit: int = 0) -> None:
        member = self.member(sender)
        task = self.task(id)
        require(0 < dataset <= len(self.datasets), "no such dataset")
        require(self.datasets[dataset - 1] == member, "not your dataset")
        require(member not in task.grants, "already granted")
        require(member not in task.barred, "expelled from this task")
        require(task.phase != DONE, "task is done")
        task.grants[member] = dataset
        if task.phase != GATHERING:
            task.coming.add(member)
        elif len(task.grants) >= task.terms[2]:
            self._open(task, 1, 0, task.genesis, set(task.grants))

    def revoke(self, sender: str, id: int) -> None:
        member = self.member(sender)
        known = 0 < id <= len(self.tasks)
        require(known and member in self.tasks[id - 1].grants, "no grant")
        self._withdraw(self.task(id), member)

    def _withdraw(self, task: Task, member: int) -> None:
        del task.grants[member]
        task.coming.discard(member)
        if task.phase == COMMIT and not task.closed(self.now) and task.complete(self.now):
            task.closed_at = self.now

    def expel(self, sender: str, id: int, member: int, signers: list[int], signed: list[str]) -> None:
        self.member(sender)
        require(0 < id <= len(self.tasks), "no such task")
        require(member < len(self.accounts), "no such member")
        task = self.tasks[id - 1]
        require(member not in task.barred, "already expelled")
        self._quorum(frozenset(range(len(self.accounts))), signers, signed)
        task.barred.add(member)
        if member in task.grants:
            self._withdraw(task, member)

    def attend(self, sender: str, id: int) -> None:
        member = self.member(sender)
        require(0 < id <= len(self.tasks) and member in self.tasks[id - 1].grants, "no grant")
        self.task(id).coming.add(member)

    def commit(self, sender: str, id: int, round: int, attempt: int, hash: bytes) -> None:
        member = self.member(sender)
        task = self._at(id, round, attempt, COMMIT)
        require(member in task.members, "not in the snapshot")
        require(not task.sealed or member in task.expected, "not dealt in")
        require(member in task.grants, "no grant")
        require(member not in task.commits, "already committed")
        require(not task.closed(self.now), "commits are closed")
        task.commits[member] = hash
        if task.complete(self.now):
            task.closed_at = self.now

    def freeze(
        self, sender: str, id: int, round: int, attempt: int, holdings: dict[int, set[int]], signed: list[str]
    ) -> None:
        """``signed``: who made each signature, ascending by voter, as far as one can tell from it."""
        self.member(sender)
        known = 0 < id <= len(self.tasks)
        where = (self.tasks[id - 1].round, self.tasks[id - 1].attempt) if known else (0, 0)
        require(where == (round, attempt), "not this attempt")
        task = self.task(id)
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
            self._open(task, round, attempt + 1, task.parent, set(task.commits) | task.coming)
            return
        task.phase = FROZEN
        task.survivors = survivors
        task.final_deadline = self.now + task.terms[5] * 2 ** min(attempt, 6)

    def finalise(
        self, sender: str, id: int, round: int, attempt: int, model: bytes, signers: list[int], signed: list[str]
    ) -> None:
        self.member(sender)
        task = self._at(id, round, attempt, FROZEN)
        self._quorum(task.members, signers, signed)
        task.finals.append((round, attempt, task.parent, model, len(signers), len(task.members)))
        if round == task.terms[0]:
            task.phase = DONE
            task.parent = model
        else:
            task.beacon = INPUTS
            self._open(task, round + 1, 0, model, set(task.commits) | task.coming)

    def retry(self, sender: str, id: int, round: int, attempt: int) -> None:
        self.member(sender)
        known = 0 < id <= len(self.tasks)
        task = self.tasks[id - 1] if known else None
        where = (task.round, task.attempt) if task else (0, 0)
        require(where == (round, attempt), "not this attempt")
        task = self.task(id)
        if task.phase == FROZEN:
            require(self.now >= task.final_deadline, "before the deadline")
            again = set(task.survivors)
            if task.sealed:
                task.coming = set()
        else:
            require(task.phase == COMMIT, "not in this phase")
            require(self.now >= task.commit_deadline, "before the deadline")
            require(not task.closed(self.now), "commits are closed")
            outside = task.grants.keys() - task.members
            outside |= task.coming - task.expected if task.sealed else set()
            require(bool(outside), "no one new could commit")
            again = set(task.commits)
        self._open(task, round, attempt + 1, task.parent, again | task.coming)

    def _at(self, id: int, round: int, attempt: int, phase: int) -> Task:
        known = 0 < id <= len(self.tasks)
        where = (self.tasks[id - 1].round, self.tasks[id - 1].attempt) if known else (0, 0)
        require(where == (round, attempt), "not this attempt")
        require(known and self.tasks[id - 1].phase == phase, "not in this phase")
        return self.tasks[id - 1]

    def _quorum(self, members: frozenset[int], signers: list[int], signed: list[str]) -> None:
        require(set(signers) <= members, "signer is not in the snapshot")
        require(len(signers) >= quorum(len(members)), "no quorum")
        for signer, account in zip(signers, signed, strict=True):
            require(account != "malleable", "signature is malleable")
            require(account == self.accounts[signer], "signature is not the signer's")

    def _open(self, task: Task, round: int, attempt: int, parent: bytes, expected: set[int]) -> None:
        task.phase, task.round, task.attempt, task.parent = COMMIT, round, attempt, parent
        task.members = frozenset(range(len(self.accounts)))
        task.expected = frozenset(expected & task.grants.keys())
        task.commits, task.survivors, task.coming = {}, frozenset(), set()
        task.commit_deadline = self.now + task.terms[3] * 2 ** min(attempt, 6)
        task.closed_at = task.final_deadline = 0
