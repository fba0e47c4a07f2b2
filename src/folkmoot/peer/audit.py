"""The audit report: who trained on what under which consent, when and to which effect; what was refused, and why.

It is JSON in canonical form with its own digest, and nothing in it rests on anybody's word: each line carries the
place of the ledger entry that proves it, or says that it comes from the replay of blobs, or from one peer's own folder.
``check`` makes the report again and names the first thing in which the two differ.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from folkmoot.errors import IntegrityError, LocalError
from folkmoot.ledger.chronicle import Entry, motion_of
from folkmoot.ledger.documents import Names, entry_document, names_of, terms_document
from folkmoot.ledger.motions import Kind, sentence
from folkmoot.ledger.records import Standing, iso, number_of
from folkmoot.peer.duties import DUTIES
from folkmoot.peer.forebear import former_account, taken_over
from folkmoot.peer.refusals import refusals
from folkmoot.peer.sources import Sources
from folkmoot.peer.verify import VerifyReport

__all__ = ["FORMAT", "Report", "audit", "canonical", "check", "former_report", "read_report"]

FORMAT = "folkmoot-audit-3"
LIMIT = 1 << 28
Report = dict[str, Any]
_OF_REPLAY = ("replay", "effects")
"""What can only be told, and checked, with blobs."""


def audit(
    sources: Sources,
    task: int | None = None,
    *,
    replayed: VerifyReport | None = None,
    own: Mapping[str, Any] | None = None,
    former: Report | None = None,
) -> Report:
    """The report on all of a moot, or on one ``task``. ``replayed`` is what came of a replay, ``own`` what a peer's own
    folder adds (``ownbook.own_record``), ``former`` the report on the moot that this one continues.

    Raises ``IntegrityError`` where the ledger's entries do not follow from each other, or a node tells of a grant that
    its member did not sign.
    """
    register, moot = sources.register, sources.moot
    list(sources.unsigned_grants())
    if task is not None and task not in register.tasks:
        raise LocalError(f"the moot has no task {task}")
    about = moot.about()
    last = moot.head() if sources.upto is None else sources.upto
    now = moot.block_time(last)
    uses = list(_uses(sources, task))
    report: Report = {
        "format": FORMAT,
        "moot": {
            "name": moot.name(),
            "chain_id": moot.chain_id,
            "contract": moot.address,
            "assembly": about.assembly,
            "purse": about.purse,
            "founded": sources.history[0].reference,
        },
        "as_of": {"block": last, "time": iso(now)},
        "continues": _continues(sources, former),
        "task": task,
        "members": list(_members(sources.history)),
        "datasets": list(_datasets(sources, task)),
        "tasks": [_task(sources, number) for number in sorted(register.tasks) if task in (None, number)],
        "consents": [_consent(sources, c) for c in register.consents if task in (None, c.task)],
        "uses": uses,
        "decisions": list(_decisions(sources, now, task)),
        "refusals": list(_refusals(sources, now, task)),
        "rewards": list(_rewards(sources, task)),
        "effects": [] if replayed is None else list(_effects(replayed, task)),
        "replay": None if replayed is None else _replay(replayed),
        "home": None if own is None else dict(own),
        "duties": DUTIES,
    }
    return {**report, "digest": _digest(report)}


def canonical(report: Report) -> bytes:
    """The report as bytes: JSON, keys sorted, no spaces."""
    return msgspec.json.encode(report, order="sorted") + b"\n"


def read_report(path: Path) -> Report:
    """A report from a file. Raises ``IntegrityError`` where it is none."""
    try:
        if path.stat().st_size > LIMIT:
            raise ValueError(f"more than {LIMIT} bytes")
        report: Report = msgspec.json.decode(path.read_bytes())
        _check_format(report)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise IntegrityError(f"{path} is no audit report: {error}") from None
    return report


def _check_format(report: Any) -> None:
    """Raise ``ValueError`` or ``KeyError`` where this is no report, or the one on the moot before in it is none."""
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    block = report["as_of"]["block"]
    if not isinstance(block, int) or not (report["task"] is None or isinstance(report["task"], int)):
        raise ValueError("it does not say what it is about")
    if (former := former_report(report)) is not None:
        _check_format(former)


def check(
    report: Report,
    sources: Sources,
    *,
    replayed: VerifyReport | None = None,
    former_replayed: VerifyReport | None = None,
) -> list[str]:
    """Make a report again, from the ledger up to the block that it names, and compare; what could not be compared.

    The report on the moot before, where there is one in it, is compared where ``sources`` has that moot's too. Raises
    ``IntegrityError`` naming the first difference.
    """
    notes, skipped = [], {"digest", "home"}
    former = former_report(report)
    if former is not None and sources.former is not None:
        notes += [f"the moot before: {note}" for note in check(former, sources.former, replayed=former_replayed)]
    elif former is not None:
        notes.append("the report on the moot before: not compared without its ledger (--former); the digest covers it")
    found = msgspec.json.decode(canonical(audit(sources, report["task"], replayed=replayed, former=former)))
    if found["continues"] is not None and found["continues"]["contract"] is None and report.get("continues"):
        notes.append("the account of the moot before is in no store here: only its hash is compared")
        found["continues"] = {**report["continues"], "account": found["continues"]["account"]}
    if report.get("replay") is None or replayed is None:
        skipped |= {*_OF_REPLAY}
    if report.get("replay") is not None and replayed is None:
        notes.append("effects come from a replay: without --blobs they are not compared")
    if report.get("home") is not None:
        notes.append("what comes from a peer's own folder cannot be made again from the ledger: the digest covers it")
    said, known = ({key: one[key] for key in one if key not in skipped} for one in (report, found))
    for place, ours, theirs in _differences("", said, known):
        raise IntegrityError(f"the report was altered: {place} is {ours} in it, and {theirs} by the ledger")
    if report.get("digest") != _digest({key: value for key, value in report.items() if key != "digest"}):
        raise IntegrityError("the report was altered: its digest is not that of its content")
    return notes


def former_report(report: Report) -> Report | None:
    """The report on the moot before that is in a report."""
    continues = report.get("continues")
    found: Report | None = continues.get("report") if isinstance(continues, dict) else None
    return found


def _digest(report: Report) -> str:
    return hashlib.sha256(canonical(report)).hexdigest()


def _differences(place: str, said: Any, known: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(said, dict) and isinstance(known, dict):
        for key in sorted({*said, *known}):
            yield from _differences(f"{place}.{key}".lstrip("."), said.get(key, _NONE), known.get(key, _NONE))
    elif isinstance(said, list | tuple) and isinstance(known, list | tuple):
        for at in range(max(len(said), len(known))):
            one, two = (items[at] if at < len(items) else _NONE for items in (said, known))
            yield from _differences(f"{place}[{at}]", one, two)
    elif said != known or isinstance(said, bool) != isinstance(known, bool):
        yield place, _told(said), _told(known)


_NONE = object()


def _told(value: object) -> str:
    return "missing" if value is _NONE else msgspec.json.encode(value).decode()[:120]


def _continues(sources: Sources, former: Report | None) -> Report | None:
    """The moot that this one continues, with the report on it where there is one; else what is not covered."""
    heritage = sources.moot.about().heritage
    if not any(heritage):
        return None
    told: Report = {"account": heritage.hex(), "chain_id": None, "contract": None, "block": None, "taken_over": None}
    where = "another moot"
    account = None if sources.find(heritage) is None else former_account(sources)
    if account is not None:
        told |= {"chain_id": account.chain_id, "contract": account.contract, "block": account.block}
        told["taken_over"] = taken_over(sources)
        where = f"{account.contract} on chain {account.chain_id}"
    gap = f"this moot continues {where}; what happened there, and what was taken over, this report does not cover"
    return {**told, "report": former, "not_covered": gap if former is None else None}


# ---- what the ledger says --------------------------------------------------------------------------------------------


def _members(history: Sequence[Entry]) -> Iterator[Report]:
    removed = {entry["member"]: entry for entry in history if entry.kind == "Removed"}
    accounts = {entry["member"]: entry for entry in history if entry.kind == "Seated"}
    for entry in history:
        if entry.kind == "Joined":
            gone, seated = removed.get(entry["member"]), accounts[entry["member"]]
            yield {
                "member": number_of(entry["member"]),
                "name": entry["name"],
                "account": seated["account"],
                "main_account": seated["main"],
                "endpoint": entry["endpoint"].hex(),
                "joined": entry.reference,
                "time": iso(entry.time),
                "removed": None if gone is None else gone.reference,
            }


def _datasets(sources: Sources, task: int | None) -> Iterator[Report]:
    register = sources.register
    wanted = {c.dataset for c in register.consents if task in (None, c.task)}
    for entry in sources.history:
        if entry.kind == "Described" and (task is None or entry["dataset"] in wanted):
            yield {
                "dataset": entry["dataset"],
                "owner": register.name(entry["owner"]),
                "records": entry["records"],
                "card": entry["card"].hex(),
                "schema": entry["schema"].hex(),
                "conditions": entry["conditions"].hex(),
                "described": entry.reference,
                "time": iso(entry.time),
            }


def _task(sources: Sources, number: int) -> Report:
    proposed = sources.register.tasks[number].proposed
    steered = [e for e in sources.history if e.kind == "Steered" and e["task"] == number]
    finals = [e for e in sources.history if e.kind == "Finalised" and e["task"] == number]
    return {
        "task": number,
        "proposed_by": sources.register.name(proposed["proposer"]),
        "bundle": proposed["bundle"].hex(),
        "genesis": proposed["genesis"].hex(),
        "terms": terms_document(proposed["terms"]),
        "proposed": proposed.reference,
        "time": iso(proposed.time),
        "decided": [
            {"standing": Standing(e["standing"]).name.lower(), "entry": e.reference, "time": iso(e.time)}
            for e in steered
        ],
        "rounds": [_round(final, sources.register.names) for final in finals],
    }


def _round(final: Entry, names: Names) -> Report:
    hashes = {name: final[name].hex() for name in ("parent", "inputs", "aggregate", "model")}
    return {
        "round": final["round"],
        "attempt": final["attempt"] + 1,
        **hashes,
        "survivors": names_of(final["survivors"], names),
        "signed_by": names_of(final["signers"], names),
        "of_members": final["members"].bit_count(),
        "final": final.reference,
        "time": iso(final.time),
    }


def _consent(sources: Sources, consent: Any) -> Report:
    return {
        "task": consent.task,
        "member": number_of(consent.member),
        "name": sources.register.name(consent.member),
        "dataset": consent.dataset,
        "epsilon_limit": consent.epsilon,
        "until": None if consent.until is None else iso(consent.until),
        "last_round": consent.last,
        "granted": consent.granted.reference,
        "time": iso(consent.granted.time),
        "ended": None if consent.ended is None else consent.ended.reference,
        "ended_time": None if consent.ended is None else iso(consent.ended.time),
        "how": consent.how or None,
    }


def _uses(sources: Sources, task: int | None) -> Iterator[Report]:
    """Each time a dataset went into a model."""
    finals = {(e["task"], e["round"]): e for e in sources.history if e.kind == "Finalised"}
    for (of, round), counted in sources.register.counted.items():
        if task in (None, of):
            for member, (commit, consent) in counted.items():
                yield {
                    "task": of,
                    "round": round,
                    "member": number_of(member),
                    "name": sources.register.name(member),
                    "dataset": consent.dataset,
                    "grant": consent.granted.reference,
                    "commit": commit.reference,
                    "final": finals[of, round].reference,
                    "time": iso(commit.time),
                }


def _decisions(sources: Sources, now: int, task: int | None) -> Iterator[Report]:
    history, names = sources.history, sources.register.names
    votes = [entry for entry in history if entry.kind == "Voted"]
    enacted = {entry["motion"]: entry for entry in history if entry.kind == "Enacted"}
    for moved in history:
        if moved.kind != "Moved" or not _concerns(moved, task):
            continue
        done = enacted.get(moved["motion"])
        state = "enacted" if done else "open" if now < moved["deadline"] else "not enacted"
        yield {
            "motion": moved["motion"],
            "says": sentence(motion_of(moved), names),
            "moved_by": sources.register.name(moved["mover"]),
            "moved": moved.reference,
            "time": iso(moved.time),
            "until": iso(moved["deadline"]),
            "votes": [
                {"name": sources.register.name(v["member"]), "aye": bool(v["aye"]), "entry": v.reference}
                for v in votes
                if v["motion"] == moved["motion"]
            ],
            "state": state,
            "enacted": None if done is None else done.reference,
        }


def _concerns(moved: Entry, task: int | None) -> bool:
    return task is None or (moved["kind"] in (Kind.STEER, Kind.ENDOW) and moved["words"][0] == task)


def _refusals(sources: Sources, now: int, task: int | None) -> Iterator[Report]:
    for told in refusals(sources, now, task):
        member = told["member"]
        who = {"member": None, "name": None} if member is None else _who(sources, member)
        yield {**told, **who, "time": iso(told["time"])}


def _who(sources: Sources, member: int) -> Report:
    return {"member": number_of(member), "name": sources.register.name(member)}


def _rewards(sources: Sources, task: int | None) -> Iterator[Report]:
    """All entries of the purse."""
    for entry in sources.history:
        if entry.contract == "Purse" and (task is None or entry.task in (None, task)):
            fields = entry_document(entry, sources.register.names)["fields"]
            yield {"kind": entry.kind.lower(), **fields, "entry": entry.reference, "time": iso(entry.time)}


# ---- what the replay says --------------------------------------------------------------------------------------------


def _effects(replayed: VerifyReport, task: int | None) -> Iterator[Report]:
    """What each round measured, and what changed since the round before."""
    for of, measured in sorted(replayed.metrics.items()):
        before: dict[str, float] = {}
        for round, name, value in measured if task in (None, of) else ():
            change = value - before[name] if name in before else math.nan
            yield {"task": of, "round": round, "metric": name, "value": _finite(value), "change": _finite(change)}
            before[name] = value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _replay(replayed: VerifyReport) -> Report:
    return {
        "tasks": replayed.tasks,
        "rounds": replayed.rounds,
        "consents": replayed.consents,
        "expelled": replayed.expelled,
        "models": {str(task): model.hex() for task, model in replayed.models.items()},
        "without": {str(task): list(names) for task, names in replayed.without.items()},
    }


def references(report: Report) -> Iterable[Report]:
    """Every place on the ledger that the report names."""

    def walk(value: Any) -> Iterator[Report]:
        if isinstance(value, dict):
            if set(value) == {"block", "transaction", "log"}:
                yield value
            else:
                for item in value.values():
                    yield from walk(item)
        elif isinstance(value, list | tuple):
            for item in value:
                yield from walk(item)

    return walk(report)
