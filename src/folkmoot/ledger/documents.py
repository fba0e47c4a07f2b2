"""Records of the ledger as JSON documents, in one vocabulary, whatever prints them; docs/commands.md lists its words.

``task``, ``dataset``, ``motion``, ``round`` and ``attempt`` are numbers from 1. A member is ``member``, its number from
1, with ``name`` beside; where it has a role, or several have one, the role is the key and names are the value. Times
are ISO 8601 in UTC, bytes are hex, and what a contract keeps as a number that stands for a word is that word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from folkmoot.ledger.address import checksum_address
from folkmoot.ledger.chronicle import Entry, motion_of
from folkmoot.ledger.motions import STEERED, Kind, Motion, Rules, sentence
from folkmoot.ledger.records import (
    Dataset,
    Final,
    Phase,
    RoundView,
    Standing,
    TaskRecord,
    called,
    iso,
    members_of,
    number_of,
)

__all__ = [
    "Document",
    "LedgerPhase",
    "Names",
    "dataset_document",
    "entry_document",
    "final_document",
    "ledger_phase",
    "motion_document",
    "names_of",
    "task_document",
    "terms_document",
]

Document = dict[str, Any]
Names = Mapping[int, str]
"""The name of each member by index."""
LedgerPhase = Literal[
    "proposed", "waiting", "training", "exchanging", "signing", "measuring", "done", "paused", "stopped"
]
"""Where a task stands for everyone. A peer's status uses the same words, and finer ones for its own part."""


def names_of(members: int, names: Names) -> list[str]:
    """The names of a bitmap's members, ascending by number."""
    return [_name(member, names) for member in members_of(members)]


def ledger_phase(task: TaskRecord, view: RoundView, now: float) -> LedgerPhase:
    """Where a task stands at ledger time ``now``, in a word."""
    if view.phase is Phase.DONE:
        return "done" if task.standing is not Standing.STOPPED else "stopped"
    if task.standing is not Standing.ADOPTED:
        return _STANDING[task.standing]
    if view.phase is Phase.GATHERING:
        return "waiting"
    if task.measures(view):
        return "measuring"
    if view.phase is Phase.FROZEN:
        return "signing"
    return "exchanging" if view.closed(now) else "training"


_STANDING: Mapping[Standing, LedgerPhase] = {
    Standing.PROPOSED: "proposed",
    Standing.PAUSED: "paused",
    Standing.STOPPED: "stopped",
}


def task_document(task: TaskRecord, view: RoundView, names: Names, now: float) -> Document:
    """A task and the round that is being made; ``model`` is the state that this round starts from, or the last one."""
    open_ = view.phase is Phase.COMMIT
    return {
        "task": task.id,
        "proposed_by": _name(task.proposer, names),
        "standing": task.standing.name.lower(),
        "phase": ledger_phase(task, view, now),
        "round": min(view.round, task.training),
        "rounds": task.training,
        "final": task.trained(view),
        "measured": task.measured(view),
        "attempt": view.attempt + 1,
        "granted_by": names_of(task.granted, names),
        "barred": names_of(task.barred, names),
        "members": names_of(view.members, names),
        "expected": names_of(view.expected, names),
        "committed": names_of(view.committed, names),
        "survivors": names_of(view.survivors, names),
        "commits_until": iso(view.commit_deadline) if open_ and view.commit_deadline else None,
        "final_until": iso(view.final_deadline) if view.phase is Phase.FROZEN else None,
        "min_members": task.min_members,
        "start_members": task.start_members,
        "train_seconds": task.train_seconds,
        "exchange_seconds": task.exchange_seconds,
        "final_seconds": task.final_seconds,
        "secret": task.sealed,
        "bundle": task.bundle.hex(),
        "genesis": task.genesis.hex(),
        "model": view.parent.hex(),
    }


def terms_document(terms: Mapping[str, int]) -> Document:
    """The numbers of a policy that bind the contract, as an event of a proposal has them; of its rounds, those that
    train."""
    told = {name: int(value) for name, value in terms.items()}
    told["rounds"] -= 1
    return {**{name: told[name] for name in told if name != "sealed"}, "secret": bool(told.get("sealed"))}


def dataset_document(dataset: Dataset, names: Names) -> Document:
    """What a member said of a dataset."""
    return {
        "dataset": dataset.id,
        "owner": _name(dataset.owner, names),
        "records": dataset.records,
        "card": dataset.card.hex(),
        "schema": dataset.schema.hex() if any(dataset.schema) else None,
        "conditions": dataset.conditions.hex() if any(dataset.conditions) else None,
    }


def final_document(final: Final, names: Names) -> Document:
    """A final round."""
    return {
        "task": final.task,
        "round": final.round,
        "attempt": final.attempt + 1,
        "time": iso(final.time),
        "block": final.block,
        **{key: getattr(final, key).hex() for key in ("parent", "inputs", "aggregate", "model")},
        "survivors": names_of(final.survivors, names),
        "signed_by": names_of(final.signers, names),
        "members": names_of(final.members, names),
        "dealt": names_of(final.dealt, names),
        "signatures": [signature.hex() for signature in final.signatures],
    }


def motion_document(motion: Motion, names: Names, rules: Rules, now: float) -> Document:
    """What is put to the vote, and how the votes stand at ledger time ``now``."""
    return {
        "motion": motion.id,
        "asks": sentence(motion, names),
        **_asked(motion, names),
        "moved_by": _name(motion.mover, names),
        "for": names_of(motion.ayes, names),
        "against": names_of(motion.noes, names),
        "needs_over": rules.grave if motion.kind.grave else rules.ordinary,
        "until": iso(motion.deadline),
        "state": motion.state(now),
        "reasons_hash": motion.text.hex() if any(motion.text) else None,
    }


def _asked(motion: Motion, names: Names) -> Document:
    """The kind of a motion, by the verb that moves it, and its words by what they mean."""
    a, b, c = motion.words
    who = {"member": number_of(a), "name": _name(a, names)}
    kinds: Mapping[Kind, Callable[[], tuple[str, Document]]] = {
        Kind.ADMIT: lambda: ("invite", {"voucher": _address(a)}),
        Kind.REMOVE: lambda: ("remove", who),
        Kind.REKEY: lambda: ("rekey", {**who, "account": _address(b)}),
        Kind.STEER: lambda: (STEERED.get(b, "steer"), {"task": a, "standing": _standing(b)}),
        Kind.BOUND: lambda: ("limits", {"min_members": a, "secret": bool(b)}),
        Kind.WEIGH: lambda: ("weigh", {**who, "weight": b}),
        Kind.RULES: lambda: ("rules", {"ordinary": a, "grave": b, "window": c}),
        Kind.RETIRE: lambda: (
            "migrate",
            {"chain_id": a, "successor": _address(b), "state": c.to_bytes(32, "big").hex()},
        ),
        Kind.ENDOW: lambda: ("endow", {"task": a, "points": b}),
    }
    kind, terms = kinds[motion.kind]() if motion.kind in kinds else (motion.kind.name.lower(), {"words": [a, b, c]})
    return {"kind": kind, "terms": terms}


# ---- entries of the chronicle ----------------------------------------------------------------------------------------


def entry_document(entry: Entry, names: Names) -> Document:
    """An event of the moot's contracts: ``kind`` and ``contract`` as their sources call it, and its fields."""
    fields: Document = {}
    for name, value in entry.fields.items():
        fields |= _FIELDS.get(name, _as_it_is)(name, value, names)
    if entry.kind == "Moved":
        fields = {key: value for key, value in fields.items() if key not in ("kind", "words")}
        fields |= _asked(motion_of(entry), names)
    return {
        **entry.reference,
        "time": iso(entry.time),
        "contract": entry.contract,
        "kind": entry.kind,
        "fields": fields,
    }


_Field = Callable[[str, Any, Names], Document]


def _as_it_is(name: str, value: Any, names: Names) -> Document:
    return {name: _plain(value)}


def _plain(value: Any) -> Any:
    """A value as JSON: bytes as hex, and what a double cannot hold as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _member(name: str, value: Any, names: Names) -> Document:
    return {"member": number_of(value), "name": _name(value, names)}


def _role(key: str) -> _Field:
    return lambda name, value, names: {key: _name(value, names)}


def _several(key: str) -> _Field:
    return lambda name, value, names: {key: names_of(value, names)}


def _time(key: str) -> _Field:
    return lambda name, value, names: {key: iso(value) if value else None}


_FIELDS: Mapping[str, _Field] = {
    "member": _member,
    "main": lambda name, value, names: {"main_account": value},
    "owner": _role("owner"),
    "proposer": _role("proposed_by"),
    "mover": _role("moved_by"),
    "members": _several("members"),
    "survivors": _several("survivors"),
    "first_survivors": _several("first_survivors"),
    "dealt": _several("dealt"),
    "signers": _several("signed_by"),
    "ayes": _several("for"),
    "noes": _several("against"),
    "time": _time("time"),
    "until": _time("until"),
    "deadline": _time("until"),
    "attempt": lambda name, value, names: {"attempt": value + 1},
    "standing": lambda name, value, names: {"standing": _standing(value)},
    "limit": lambda name, value, names: {"epsilon": value / 1e6 if value else None},
    "first": lambda name, value, names: {"first_round": value},
    "last": lambda name, value, names: {"last_round": value or None},
    "sealed": lambda name, value, names: {"secret": bool(value)},
    "aye": lambda name, value, names: {"aye": bool(value)},
    "terms": lambda name, value, names: {"terms": terms_document(value)},
    "text": lambda name, value, names: {"reasons_hash": value.hex() if any(value) else None},
    "addresses": lambda name, value, names: {"addresses": [a for a in value.split(",") if a]},
    "name": lambda name, value, names: {"name": value},
}
"""How a field of an event is told, by its name in the contracts; those that are not here are told as they are."""


def _standing(value: int) -> str:
    return next((standing.name.lower() for standing in Standing if standing == value), str(value))


def _name(member: int, names: Names) -> str:
    return names.get(member, called(member))


def _address(value: int) -> str:
    return checksum_address(value.to_bytes(20, "big")) if value < 1 << 160 else hex(value)
