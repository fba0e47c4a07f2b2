"""What stood on the ledger at any moment, told from its events alone: who was a member, whose grant was live, what was
adopted. ``Register`` follows a history entry by entry and refuses the first that could not have come so.

The contract refuses all of this itself. Here it is checked again because whoever reads a chain through somebody else's
node sees only events, and a node can leave some out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from folkmoot.errors import IntegrityError
from folkmoot.ledger.chronicle import Entry, Place, names_in
from folkmoot.ledger.records import Standing, called, members_of, quorum

__all__ = ["Consent", "Register", "consents"]

MILLION = 1_000_000
_FAR: Place = (1 << 63, 0)


@dataclass(frozen=True)
class Consent:
    """One grant, from the entry that gave it to the one that ended it."""

    task: int
    member: int
    dataset: int
    granted: Entry
    main: str = ""
    """The account that could give it: the member's main one at that moment."""
    ended: Entry | None = None
    begun: int = 0
    """The round that was being made when it was given; 0 before the first."""
    how: str = ""
    """``revoked``, ``lapsed``, ``expelled`` or ``removed``; empty while nothing has ended it."""

    @property
    def epsilon(self) -> float | None:
        """What may be spent of the dataset's privacy; ``None`` without a limit."""
        return self.granted["limit"] / MILLION if self.granted["limit"] else None

    @property
    def until(self) -> int | None:
        """Ledger seconds at which it ends by itself."""
        return self.granted["until"] or None

    @property
    def last(self) -> int | None:
        """The last round that it is for."""
        return self.granted["last"] or None

    def covers(self, commit: Entry) -> bool:
        """Whether it was live when ``commit`` was made, for the round that it was made for."""
        end = self.ended.place if self.ended else _FAR
        round = commit.round or 0
        in_time = (self.until is None or commit.time < self.until) and (self.last is None or round <= self.last)
        return self.granted.place < commit.place < end and in_time


@dataclass
class _Course:
    """How far one task has come."""

    proposed: Entry
    standing: int = Standing.PROPOSED
    round: int = 0
    attempt: int = 0
    members: int = 0
    """The snapshot of the attempt under way."""
    commits: dict[int, Entry] = field(default_factory=dict)
    """Of that attempt, by member."""
    barred: int = 0
    finals: int = 0
    after_retirement: int = 0


@dataclass
class Register:
    """What stands after the entries taken so far."""

    names: Mapping[int, str]
    living: int = 0
    owners: dict[int, int] = field(default_factory=dict)
    """Who described each dataset."""
    accounts: dict[int, tuple[str, str]] = field(default_factory=dict)
    """For each member the account in daily use and the main one."""
    tasks: dict[int, _Course] = field(default_factory=dict)
    consents: list[Consent] = field(default_factory=list)
    retired: Entry | None = None
    counted: dict[tuple[int, int], dict[int, tuple[Entry, Consent]]] = field(default_factory=dict)
    """For each task and final round, each survivor's commit and the grant that it was made under."""
    _live: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, history: Sequence[Entry]) -> Register:
        """What stands after all of ``history``. Raises ``IntegrityError`` naming the first thing that does not hold."""
        register = cls(names_in(history))
        for entry, beside in _in_transactions(history):
            register.take(entry, beside)
        return register

    def take(self, entry: Entry, beside: Iterable[Entry] = ()) -> None:
        """Follow one entry; ``beside`` are the others of its transaction."""
        step = getattr(self, f"_{entry.kind.lower()}", None)
        if step is not None:
            step(entry, tuple(beside))

    def name(self, member: int) -> str:
        """What a member is called."""
        return self.names.get(member, called(member))

    # ---- members -----------------------------------------------------------------------------------------------

    def _seated(self, entry: Entry, beside: Sequence[Entry]) -> None:
        member = entry["member"]
        if member not in self.accounts:
            if member != len(self.accounts):
                raise IntegrityError(f"block {entry.block}: {called(member)} is seated before {called(member - 1)}")
            self.living |= 1 << member
        self.accounts[member] = (entry["account"], entry["main"])

    def _removed(self, entry: Entry, beside: Sequence[Entry]) -> None:
        member = entry["member"]
        self.living &= ~(1 << member)
        for (task, who), at in list(self._live.items()):
            if who == member:
                self._end(task, who, entry, "removed", at)

    def _retired(self, entry: Entry, beside: Sequence[Entry]) -> None:
        self.retired = entry

    # ---- consent -----------------------------------------------------------------------------------------------

    def _described(self, entry: Entry, beside: Sequence[Entry]) -> None:
        self.owners[entry["dataset"]] = entry["owner"]

    def _proposed(self, entry: Entry, beside: Sequence[Entry]) -> None:
        if self.retired is not None:
            raise IntegrityError(
                f"task {entry.task} was proposed after the moot had moved (block {self.retired.block})"
            )
        self.tasks[entry["task"]] = _Course(entry)

    def _steered(self, entry: Entry, beside: Sequence[Entry]) -> None:
        course = self._course(entry)
        course.standing = entry["standing"]
        self._start(course, entry.time)

    def _granted(self, entry: Entry, beside: Sequence[Entry]) -> None:
        course, member = self._course(entry), entry["member"]
        where = f"task {entry.task}: the grant of {self.name(member)} (block {entry.block})"
        if self.owners.get(entry["dataset"]) != member:
            raise IntegrityError(f"{where} is for dataset {entry.dataset}, which is not its own")
        if (entry["task"], member) in self._live:
            raise IntegrityError(f"{where} was given while another one was live")
        if course.barred >> member & 1 or not self.living >> member & 1:
            raise IntegrityError(f"{where} was given by a member that could give none")
        self._live[entry["task"], member] = len(self.consents)
        main = self.accounts[member][1]
        self.consents.append(Consent(entry["task"], member, entry["dataset"], entry, main, begun=course.round))
        self._start(course, entry.time)

    def _revoked(self, entry: Entry, beside: Sequence[Entry]) -> None:
        task, member = entry["task"], entry["member"]
        kinds = {other.kind for other in beside}
        how = "expelled" if "Expelled" in kinds else "lapsed" if kinds - {"Revoked"} else "revoked"
        if (task, member) in self._live:
            self._end(task, member, entry, how, self._live[task, member])
        elif self.living >> member & 1:
            raise IntegrityError(
                f"task {task}: block {entry.block} ends a grant of {self.name(member)} that was never given"
            )

    def _end(self, task: int, member: int, entry: Entry, how: str, at: int) -> None:
        self.consents[at] = replace(self.consents[at], ended=entry, how=how)
        del self._live[task, member]

    def _expelled(self, entry: Entry, beside: Sequence[Entry]) -> None:
        signers = entry["signers"]
        if signers & ~self.living or signers.bit_count() < quorum(self.living.bit_count()):
            who = self.name(entry["member"])
            raise IntegrityError(f"task {entry.task}: {who} was expelled by fewer than a quorum (block {entry.block})")
        self._course(entry).barred |= 1 << entry["member"]

    # ---- rounds ------------------------------------------------------------------------------------------------

    def _start(self, course: _Course, now: int) -> None:
        """Open the first round where grants are enough, as the contract does."""
        task, terms = course.proposed["task"], course.proposed["terms"]
        live = (self.consents[at] for (of, _), at in self._live.items() if of == task)
        granted = sum(1 for consent in live if consent.until is None or now < consent.until)
        if course.standing == Standing.ADOPTED and not course.round and granted >= terms["start_members"]:
            self._open(course, 1, 0)

    def _open(self, course: _Course, round: int, attempt: int) -> None:
        course.round, course.attempt, course.members = round, attempt, self.living
        course.commits.clear()

    def _retried(self, entry: Entry, beside: Sequence[Entry]) -> None:
        self._open(self._course(entry), entry["round"], entry["attempt"])

    def _committed(self, entry: Entry, beside: Sequence[Entry]) -> None:
        course = self._course(entry)
        where = f"task {entry.task}, round {entry.round}"
        if course.standing != Standing.ADOPTED:
            raise IntegrityError(f"{where}: a commit was taken while the task was not adopted (block {entry.block})")
        if (entry["round"], entry["attempt"]) != (course.round, course.attempt):
            raise IntegrityError(f"{where}: a commit is for attempt {entry['attempt'] + 1}, which was not open")
        course.commits |= dict.fromkeys(members_of(entry["members"]), entry)
        for member in members_of(entry["members"] & ~self.living):
            raise IntegrityError(f"{where}: a commit of {self.name(member)} was taken after it was removed")

    def _finalised(self, entry: Entry, beside: Sequence[Entry]) -> None:
        course, task, round = self._course(entry), entry["task"], entry["round"]
        where = f"task {task}, round {round}"
        if (round, entry["attempt"]) != (course.round, course.attempt):
            raise IntegrityError(f"{where}: attempt {entry['attempt'] + 1} became final, which was not open")
        if entry["members"] != course.members:
            raise IntegrityError(f"{where}: its members are not those whom the moot had when the attempt opened")
        self.counted[task, round] = {
            member: self._counted(member, course, where, entry) for member in members_of(entry["survivors"])
        }
        course.finals += 1
        if self.retired is not None:
            course.after_retirement += 1
            if course.after_retirement > 1:
                raise IntegrityError(f"{where}: it was opened after the moot had moved (block {self.retired.block})")
        if round < course.proposed["terms"]["rounds"]:
            self._open(course, round + 1, 0)

    def _counted(self, member: int, course: _Course, where: str, final: Entry) -> tuple[Entry, Consent]:
        commit = course.commits.get(member)
        if commit is None:
            raise IntegrityError(f"{where}: {self.name(member)} is among its survivors and never committed")
        for consent in reversed(self.consents):
            if (consent.task, consent.member) == (final["task"], member) and consent.covers(commit):
                return commit, consent
        raise IntegrityError(
            f"{where}: a commit of {self.name(member)} was counted without a live grant (block {commit.block})"
        )

    def _course(self, entry: Entry) -> _Course:
        course = self.tasks.get(entry["task"])
        if course is None:
            raise IntegrityError(f"block {entry.block} is about task {entry.task}, which was never proposed")
        return course


def consents(history: Sequence[Entry]) -> list[Consent]:
    """All grants there ever were, in the order of the ledger, each with what ended it."""
    return Register.of(history).consents


def _in_transactions(history: Sequence[Entry]) -> Iterator[tuple[Entry, list[Entry]]]:
    """Each entry with the others of its transaction."""
    together: dict[bytes, list[Entry]] = {}
    for entry in history:
        together.setdefault(entry.transaction, []).append(entry)
    for entry in history:
        yield entry, [other for other in together[entry.transaction] if other is not entry]
