"""The whole history of a moot: every event of its contracts, decoded, in the order of the ledger.

An ``Entry`` says what happened and where it stands, so that whoever doubts it can look there. ``tell`` puts one into
words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from folkmoot.errors import ChainError
from folkmoot.ledger.interface import Interface
from folkmoot.ledger.moot import Moot
from folkmoot.ledger.motions import Kind, Motion, sentence
from folkmoot.ledger.records import Standing, called, iso, members_of

__all__ = ["Entry", "Place", "entries", "motion_of", "names_in", "tell"]

_INTERFACES = {
    name: Interface(name)
    for name in ("Moot", "Assembly", "Purse")
    if Path(__file__).with_name(f"{name}.json").is_file()
}

Place = tuple[int, int]
"""Where an entry stands in the order of the ledger: its block, and its number among the events of that block."""


@dataclass(frozen=True)
class Entry:
    """One event of the moot's contracts."""

    block: int
    time: int
    """Ledger seconds: the time of its block."""
    transaction: bytes
    """32 bytes."""
    log_index: int
    contract: str
    """``Moot``, ``Assembly`` or ``Purse``."""
    kind: str
    """The event's name, as in the contract's source: ``Granted``."""
    fields: Mapping[str, Any]
    """The event's fields by name: numbers, bytes, checksummed addresses, text, and dicts of these."""

    @property
    def place(self) -> Place:
        """Where it stands in the order of the ledger."""
        return self.block, self.log_index

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]

    @property
    def task(self) -> int | None:
        """The task that it is about, if it is about one."""
        return self.fields.get("task")

    @property
    def round(self) -> int | None:
        """The round of that task."""
        return self.fields.get("round")

    @property
    def member(self) -> int | None:
        """The member whose doing it is, or whom it concerns; none where it is several's."""
        return next(
            (self.fields[name] for name in ("member", "owner", "proposer", "mover") if name in self.fields), None
        )

    @property
    def dataset(self) -> int | None:
        """The dataset that it is about."""
        return self.fields.get("dataset")

    @property
    def motion(self) -> int | None:
        """The motion that it is about."""
        return self.fields.get("motion")

    @property
    def reference(self) -> dict[str, object]:
        """Where to look it up: block, transaction, number of the event in the block."""
        return {"block": self.block, "transaction": "0x" + self.transaction.hex(), "log": self.log_index}


def entries(moot: Moot, upto: int | None = None) -> list[Entry]:
    """The history of ``moot`` in the order of the ledger, as far as block ``upto``.

    Raises ``ChainError`` on an event that this version does not know: a history with a hole in it is none.
    """
    about = moot.about()
    addresses = {"Moot": moot.address, "Assembly": about.assembly, "Purse": about.purse}
    contracts = {addresses[name]: interface for name, interface in _INTERFACES.items()}
    times: dict[int, int] = {}
    found = []
    for log, address, transaction, index in sorted(moot.history(), key=lambda placed: (placed.log.block, placed[3])):
        if upto is not None and log.block > upto:
            break
        interface = contracts.get(address)
        if interface is None:
            raise ChainError(f"block {log.block}: an event of {address}, which is no contract of this moot's")
        if log.block not in times:
            times[log.block] = moot.block_time(log.block)
        kind, fields = interface.event(log.topics, log.data)
        found.append(Entry(log.block, times[log.block], transaction, index, interface.name, kind, fields))
    return found


def names_in(history: Sequence[Entry]) -> dict[int, str]:
    """The name of each member by index."""
    return {entry["member"]: entry["name"] for entry in history if entry.kind == "Joined"}


def tell(entry: Entry, names: Mapping[int, str], motions: Mapping[int, Entry] | None = None) -> str:
    """The entry in words; ``names`` of members by index, ``motions`` the entries that moved them, by id."""
    return _TOLD.get(entry.kind, _plainly)(entry, names, motions or {})


_Names = Mapping[int, str]
_Motions = Mapping[int, Entry]


def _who(names: _Names, member: int) -> str:
    return names.get(member, called(member))


def _all(names: _Names, members: int) -> str:
    return ", ".join(_who(names, member) for member in members_of(members)) or "nobody"


def _plainly(entry: Entry, names: _Names, motions: _Motions) -> str:
    told = " ".join(f"{name} {_short(value)}" for name, value in entry.fields.items())
    return f"{entry.kind.lower()}: {told}"


def _short(value: object) -> str:
    return value.hex()[:12] if isinstance(value, bytes) else str(value)


def motion_of(entry: Entry) -> Motion:
    """The motion as a ``Moved`` entry has it, before any vote."""
    if entry["kind"] not in iter(Kind):
        raise ChainError(f"motion {entry.motion} is of a kind that this version does not know; is folkmoot up to date?")
    fixed = (entry["motion"], entry["mover"], Kind(entry["kind"]), entry["words"], entry["text"], entry["deadline"])
    return Motion(*fixed, ayes=1 << entry["mover"], noes=0, done=False, passed=False)


def _asked(names: _Names, motions: _Motions, motion: int) -> str:
    moved = motions.get(motion)
    return f"motion {motion}" + (f" ({sentence(motion_of(moved), names)})" if moved else "")


def _granted(entry: Entry, names: _Names, motions: _Motions) -> str:
    bounds = [f"for at most an epsilon of {entry['limit'] / 1e6:g}"] if entry["limit"] else []
    bounds += [f"until {iso(entry['until'])}"] if entry["until"] else []
    bounds += [f"up to round {entry['last']}"] if entry["last"] else []
    told = f"{_who(names, entry['member'])} lets task {entry.task} use dataset {entry.dataset}"
    return ", ".join([told, *bounds])


def _finalised(entry: Entry, names: _Names, motions: _Motions) -> str:
    return (
        f"round {entry.round} of task {entry.task} is final: model {_short(entry['model'])},"
        f" made of {_all(names, entry['survivors'])}, signed by {entry['signers'].bit_count()}"
        f" of {entry['members'].bit_count()}"
    )


def _steered(entry: Entry, names: _Names, motions: _Motions) -> str:
    said = {Standing.ADOPTED: "adopted", Standing.PAUSED: "paused", Standing.STOPPED: "stopped"}
    return f"task {entry.task} is {said.get(entry['standing'], entry['standing'])}"


_TOLD: Mapping[str, Callable[[Entry, _Names, _Motions], str]] = {
    "Joined": lambda e, names, _: f"{e['name']} joins as {called(e['member'])}",
    "Seated": lambda e, names, _: f"{_who(names, e['member'])} uses the account {e['account']}",
    "Delegated": lambda e, names, _: f"{_who(names, e['member'])} puts other keys in daily use",
    "Announced": lambda e, names, _: f"{_who(names, e['member'])} can be reached at {e['addresses'] or 'no address'}",
    "Removed": lambda e, names, _: f"{_who(names, e['member'])} is removed",
    "Bounded": lambda e, names, _: (
        f"tasks need at least {e['min_members']} members" + (" and secret contributions" if e["sealed"] else "")
    ),
    "Retired": lambda e, names, _: f"the moot moves to {e['successor']} on chain {e['chain_id']}",
    "Moved": lambda e, names, motions: (
        f"{_who(names, e['mover'])} moves to {sentence(motion_of(e), names)} (motion {e.motion})"
    ),
    "Voted": lambda e, names, motions: (
        f"{_who(names, e['member'])} votes {'for' if e['aye'] else 'against'} {_asked(names, motions, e['motion'])}"
    ),
    "Enacted": lambda e, names, motions: (
        f"{_asked(names, motions, e['motion'])} is enacted:"
        f" {e['ayes'].bit_count()} for, {e['noes'].bit_count()} against"
    ),
    "Described": lambda e, names, _: (
        f"{_who(names, e['owner'])} describes dataset {e.dataset}: {e['records']} records, card {_short(e['card'])}"
    ),
    "Proposed": lambda e, names, _: (
        f"{_who(names, e['proposer'])} proposes task {e.task}: {e['terms']['rounds'] - 1} rounds,"
        f" bundle {_short(e['bundle'])}"
    ),
    "Steered": _steered,
    "Granted": _granted,
    "Revoked": lambda e, names, _: (
        f"the grant of {_who(names, e['member'])} to task {e.task} ends (dataset {e.dataset})"
    ),
    "Expelled": lambda e, names, _: (
        f"{_who(names, e['member'])} is expelled from task {e.task}, evidence {_short(e['evidence'])},"
        f" signed by {_all(names, e['signers'])}"
    ),
    "Attending": lambda e, names, _: f"{_who(names, e['member'])} attends task {e.task} again",
    "Committed": lambda e, names, _: (
        f"{_all(names, e['members'])} committed to round {e.round} of task {e.task}, attempt {e['attempt'] + 1}"
    ),
    "Funded": lambda e, names, _: f"{e['funder']} sets aside {e['amount']} of {e['token']} for task {e.task}",
    "Sealed": lambda e, names, _: (
        f"{_who(names, e['member'])} seals its scores of task {e.task} up to round {e['last']}"
    ),
    "Unsealed": lambda e, names, _: (
        f"{_who(names, e['member'])} shows its scores of task {e.task} up to round {e['last']}"
    ),
    "Settled": lambda e, names, _: (
        f"{e['amount']} of {e['token']} are earned in rounds {e['first']} to {e['last']} of task {e.task},"
        f" signed by {_all(names, e['signers'])}"
    ),
    "Claimed": lambda e, names, _: (
        f"{_who(names, e['member'])} claims {e['amount']} of {e['token']} for {e['account']}"
    ),
    "Reclaimed": lambda e, names, _: f"{e['funder']} takes back {e['amount']} of {e['token']} from task {e.task}",
    "Retried": lambda e, names, _: f"round {e.round} of task {e.task} is made again: attempt {e['attempt'] + 1}",
    "Finalised": _finalised,
}
