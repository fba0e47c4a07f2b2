"""What did not come about, or came to an end, and why: the part of an audit that no list of models shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from folkmoot.ledger.chronicle import Entry, motion_of
from folkmoot.ledger.motions import Kind, sentence
from folkmoot.ledger.records import Standing, iso, members_of
from folkmoot.peer.sources import Sources

__all__ = ["refusals"]

_ENDED = {
    "revoked": "its member withdrew it",
    "lapsed": "its time or its last round had passed",
    "expelled": "its member was expelled from the task",
    "removed": "its member was removed from the moot",
}


def refusals(sources: Sources, now: int, task: int | None = None) -> Iterator[dict[str, Any]]:
    """Each with what, why, whom and which task it concerns, and the entry that proves it, in the order of the ledger.

    ``now`` is the ledger time at which one looks; ``task`` leaves out what is about others.
    """
    found = [*_ended(sources, now), *_barred(sources), *_not_counted(sources), *_again(sources)]
    found += [*_tasks(sources), *_motions(sources, now)]
    wanted = [(entry, told) for entry, told in found if task is None or told["task"] == task]
    for entry, told in sorted(wanted, key=lambda pair: (*pair[0].place, str(pair[1]["what"]), pair[1]["member"] or 0)):
        yield {**told, "entry": entry.reference, "time": entry.time}


_Found = Iterator[tuple[Entry, dict[str, Any]]]


def _told(what: str, why: str, task: int | None, member: int | None) -> dict[str, Any]:
    return {"what": what, "why": why, "task": task, "member": member}


def _ended(sources: Sources, now: int) -> _Found:
    for consent in sources.register.consents:
        about = (consent.task, consent.member)
        what = f"the grant of {sources.register.name(consent.member)}, dataset {consent.dataset}, ended"
        if consent.ended is not None:
            yield consent.ended, _told(what, _ENDED[consent.how], *about)
        elif consent.until is not None and consent.until <= now:
            yield consent.granted, _told(what, f"it was for the time until {iso(consent.until)} only", *about)


def _barred(sources: Sources) -> _Found:
    for entry in sources.history:
        if entry.kind == "Expelled":
            why = f"a quorum checked the evidence {entry['evidence'].hex()}"
            name = sources.register.name(entry["member"])
            yield entry, _told(f"{name} was expelled", why, entry["task"], entry["member"])
        elif entry.kind == "Removed":
            name = sources.register.name(entry["member"])
            yield entry, _told(f"{name} was removed from the moot", "the members decided it", None, entry["member"])


def _not_counted(sources: Sources) -> _Found:
    """Commits of attempts that became final, or were given up, without the committer's contribution."""
    finals = {(e["task"], e["round"], e["attempt"]): e for e in sources.history if e.kind == "Finalised"}
    for commit in sources.history:
        if commit.kind != "Committed":
            continue
        final = finals.get((commit["task"], commit["round"], commit["attempt"]))
        if final is None:
            continue
        for member in members_of(commit["members"] & ~final["survivors"]):
            what = f"the contribution of {sources.register.name(member)} to round {commit['round']} was not counted"
            why = "more members than may fail attested that they did not hold it, or could not open it"
            yield commit, _told(what, why, commit["task"], member)


def _again(sources: Sources) -> _Found:
    for entry in sources.history:
        if entry.kind == "Retried":
            what = f"round {entry['round']} was made again, as attempt {entry['attempt'] + 1}"
            why = "too few contributions survived, or no model was signed in time, or members came in"
            yield entry, _told(what, why, entry["task"], None)


def _tasks(sources: Sources) -> _Found:
    for number, course in sources.register.tasks.items():
        if course.standing == Standing.PROPOSED:
            yield (
                course.proposed,
                _told(f"task {number} was not started", "the members have not adopted it", number, None),
            )
    for entry in sources.history:
        if entry.kind == "Steered" and entry["standing"] in (Standing.PAUSED, Standing.STOPPED):
            how = Standing(entry["standing"]).name.lower()
            yield entry, _told(f"task {entry['task']} was {how}", "the members decided it", entry["task"], None)


def _motions(sources: Sources, now: int) -> _Found:
    enacted = {entry["motion"] for entry in sources.history if entry.kind == "Enacted"}
    for entry in sources.history:
        if entry.kind == "Moved" and entry["motion"] not in enacted:
            says = sentence(motion_of(entry), sources.register.names)
            why = "its window is over" if now >= entry["deadline"] else f"it is open until {iso(entry['deadline'])}"
            about = entry["words"][0] if entry["kind"] in (Kind.STEER, Kind.ENDOW) else None
            yield entry, _told(f"motion {entry['motion']} ({says}) was not enacted", why, about, entry["mover"])
