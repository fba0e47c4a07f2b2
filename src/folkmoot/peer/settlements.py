"""Settlements held against the ledger: whether each went to whom it should, and what was claimed was earned.

The contract sees to it that nothing is paid twice and no unit lost. That a pot was split as the told scores and the
rounds' records say, only a quorum's word tells; here it is made again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from folkmoot.errors import IntegrityError
from folkmoot.ledger.chronicle import Entry
from folkmoot.ledger.purse import Settled
from folkmoot.ledger.records import Final, quorum
from folkmoot.peer.asks import Loaded
from folkmoot.peer.season import scores_of, weights
from folkmoot.peer.sources import Sources

__all__ = ["check_settlements"]


def check_settlements(sources: Sources) -> int:
    """Make every split anew from the scores that were shown and the rounds' records; how many there were.

    Loads the public code of each task that has one, in a worker. Raises ``IntegrityError`` naming the first settlement
    or claim that does not hold, ``LocalError`` where a task's code is missing.
    """
    book = _Book(sources)
    for entry in sources.history:
        book.take(entry)
    return book.settled


@dataclass
class _Pot:
    """One task's pot in one token."""

    funded: int = 0
    released: int = 0
    last: int = 0


@dataclass
class _Season:
    """The scores up to one round: when their sealing ended, and what was shown in time."""

    until: int = 0
    told: dict[int, bytes] = field(default_factory=dict)


class _Book:
    """What is set aside, told, split and owed, after the entries taken so far."""

    def __init__(self, sources: Sources) -> None:
        self.settled = 0
        self._sources = sources
        self._terms = {task: course.proposed["terms"] for task, course in sources.register.tasks.items()}
        self._seated: set[int] = set()
        self._living = 0
        self._finals: dict[int, int] = {}
        self._pots: dict[tuple[int, str], _Pot] = defaultdict(_Pot)
        self._seasons: dict[tuple[int, int], _Season] = defaultdict(_Season)
        self._owed: dict[tuple[str, int], int] = defaultdict(int)
        self._code: dict[int, tuple[Loaded, dict[int, Final]]] = {}

    def take(self, entry: Entry) -> None:
        """Follow one entry."""
        step = {
            "Seated": self._seat,
            "Removed": self._remove,
            "Finalised": self._finalise,
            "Funded": self._fund,
            "Reclaimed": self._reclaim,
            "Sealed": self._seal,
            "Unsealed": self._unseal,
            "Settled": self._settle,
            "Claimed": self._claim,
        }.get(entry.kind)
        if step is not None:
            step(entry)

    # ---- members, rounds, pots ---------------------------------------------------------------------------------

    def _seat(self, entry: Entry) -> None:
        if entry["member"] not in self._seated:
            self._seated.add(entry["member"])
            self._living |= 1 << entry["member"]

    def _remove(self, entry: Entry) -> None:
        self._living &= ~(1 << entry["member"])

    def _finalise(self, entry: Entry) -> None:
        self._finals[entry["task"]] = entry["round"]

    def _fund(self, entry: Entry) -> None:
        self._pots[entry["task"], entry["token"]].funded += entry["amount"]

    def _reclaim(self, entry: Entry) -> None:
        self._pots[entry["task"], entry["token"]].funded -= entry["amount"]

    # ---- scores ------------------------------------------------------------------------------------------------

    def _seal(self, entry: Entry) -> None:
        self._seasons[entry["task"], entry["last"]].until = entry["until"]

    def _unseal(self, entry: Entry) -> None:
        season = self._seasons[entry["task"], entry["last"]]
        if entry.time < self._end(entry["task"], season):
            season.told[entry["member"]] = entry["scores"]

    def _end(self, task: int, season: _Season) -> int:
        return season.until + int(self._terms[task]["exchange_seconds"])

    # ---- what follows ------------------------------------------------------------------------------------------

    def _settle(self, entry: Entry) -> None:
        task, token, first, last = entry["task"], entry["token"], entry["first"], entry["last"]
        where = f"task {task}, the settlement of rounds {first} to {last} (block {entry.block})"
        pot, final, rounds = self._pots[task, token], self._finals.get(task, 0), self._terms[task]["rounds"]
        due = {pot.funded * last // rounds} | ({pot.funded} if last == final else set())
        if first != pot.last + 1 or last > final or pot.released + entry["amount"] not in due:
            raise IntegrityError(f"{where}: it is not for the rounds, or not of the amount, that was due")
        self._check_signers(entry, where)
        self._check_split(entry, where)
        paid = Settled(
            task, token, first, last, entry["amount"], tuple(entry["weights"]), entry["signers"], entry.block
        )
        if sum(paid.parts) != paid.amount:
            raise IntegrityError(f"{where}: its parts do not add up to it")
        pot.released, pot.last = pot.released + paid.amount, last
        for member, part in enumerate(paid.parts):
            self._owed[token, member] += part
        self.settled += 1

    def _check_signers(self, entry: Entry, where: str) -> None:
        signers = entry["signers"]
        if signers & ~self._living or signers.bit_count() < quorum(self._living.bit_count()):
            raise IntegrityError(f"{where}: those who signed it are no quorum of the members")

    def _check_split(self, entry: Entry, where: str) -> None:
        task, finals = self._task(entry["task"])
        season, first, last = self._seasons[entry["task"], entry["last"]], entry["first"], entry["last"]
        scored = task.unscored is None
        if scored and (not season.until or entry.time < self._end(entry["task"], season)):
            raise IntegrityError(f"{where}: it was split before the scores could be shown")
        scores = scores_of(task.policy, finals, season.told if scored else {}, last)
        due, told = weights(finals, scores, first, last), tuple(entry["weights"])
        for member in range(max(len(due), len(told))):
            if due[member : member + 1] != told[member : member + 1]:
                name = self._sources.register.name(member)
                raise IntegrityError(f"{where}: the part of {name} is not what scores and rounds say")

    def _task(self, id: int) -> tuple[Loaded, dict[int, Final]]:
        """What a task's code says of itself, and its final rounds."""
        if id not in self._code:
            loaded = self._sources.loaded(self._sources.moot.task(id).bundle, f"the code of task {id}")
            self._code[id] = loaded, {final.round: final for final in self._sources.moot.finals(id)}
        return self._code[id]

    def _claim(self, entry: Entry) -> None:
        token, member = entry["token"], entry["member"]
        if entry["amount"] != self._owed[token, member]:
            name = self._sources.register.name(member)
            raise IntegrityError(
                f"block {entry.block}: {name} was paid {entry['amount']} units, and had earned"
                f" {self._owed[token, member]}"
            )
        self._owed[token, member] = 0
