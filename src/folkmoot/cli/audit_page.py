"""The audit report as a page: one file of HTML, no scripts, nothing fetched; all that others wrote is text in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from folkmoot.peer.overview import overview

__all__ = ["page"]

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 75rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
a { color: #0b4f8a; } a:focus { outline: 3px solid #0b4f8a; }
nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #bbb; }
thead th { background: #eee; }
code { font-size: .85em; } code[title] { cursor: help; border-bottom: 1px dotted #888; }
.task { border-left: 4px solid #0b4f8a; padding-left: 1rem; margin: 1.5rem 0; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .25rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; }
@media (max-width: 45rem) {
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  table, tbody, tr, td, caption { display: block; } thead { position: absolute; clip-path: inset(50%); width: 1px; }
  tr { border-bottom: 2px solid #888; padding: .4rem 0; } td { border: 0; padding: .1rem 0; }
  td::before { content: attr(data-label) ": "; font-weight: 600; } td:empty { display: none; }
}
@media print { body { max-width: none; } a { color: inherit; } nav { display: none; } }
"""
_WORDS = {"yes": "Yes", "partly": "In part", "no": "No"}
_SHORT = 12
_HASH = re.compile(r"\b(0x)?[0-9a-f]{64}\b")


def page(report: Mapping[str, Any]) -> str:
    """The page; ``report`` as ``peer.audit.audit`` makes it. What an auditor asks first stands first, the law last."""
    moot, as_of = report["moot"], report["as_of"]
    scope = "all tasks" if report["task"] is None else f"task {report['task']}"
    title = f"Audit of the moot “{moot['name']}”, {scope}"
    sections = {
        "summary": ("Summary", _summary(report)),
        "continues": ("The moot before", _continues(report)),
        "tasks": ("Tasks and their rounds", _tasks(report)),
        "members": ("Members", _members(report)),
        "refusals": ("Refusals: what did not come about, or ended, and why", _refusals(report)),
        "effects": ("Effects", _effects(report)),
        "datasets": ("Datasets", _datasets(report)),
        "consents": ("Consent", _consents(report)),
        "uses": ("Uses: who trained on what, under which consent, when", _uses(report)),
        "decisions": ("Decisions", _decisions(report)),
        "rewards": ("Rewards", _rewards(report)),
        "home": ("From this peer's own folder", _home(report)),
        "duties": ("Duties, and where their answers stand", _duties(report)),
    }
    if report["continues"] is None:
        del sections["continues"]
    facts = {
        "As of": f"block {as_of['block']}, {_moment(as_of['time'])}",
        "Chain and contract": _Raw(f"{escape(str(moot['chain_id']))}, {_hash(moot['contract'])}"),
        "Replayed": _replayed(report["replay"]),
        "Digest of the JSON (SHA-256)": _Raw(f"<code>{escape(report['digest'])}</code>"),
    }
    links = "".join(
        f'<a href="#{id}">{escape(heading.partition(":")[0])}</a> ' for id, (heading, _) in sections.items()
    )
    body = "".join(_section(id, heading, *parts) for id, (heading, parts) in sections.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{escape(title)}</h1>\n{_list(facts)}\n<nav>{links}</nav>\n</header>\n<main>\n{body}</main>\n<footer>\n"
        "<p>Each line names the entry of the ledger that proves it: block, number of the event in the block,"
        " transaction. Hashes are short here: whole ones show when pointed at, and are in the JSON."
        " <code>folkmoot audit --check</code> makes the report again from the ledger and compares.</p>\n"
        "</footer>\n</body>\n</html>\n"
    )


class _Raw(str):
    """HTML that is made here."""


def _section(id: str, heading: str, *parts: str) -> str:
    return f'<section id="{id}">\n<h2>{escape(heading)}</h2>\n{"".join(parts)}</section>\n'


def _list(facts: Mapping[str, object]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{_cell(value)}</dd>' for name, value in facts.items())}</dl>"


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{_cells(columns, row)}</tr>\n" for row in rows)
    if not body:
        return f"<p>{escape(caption)}: none.</p>\n"
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"
    )


def _cells(columns: Sequence[str], row: Sequence[object]) -> str:
    """Cells that know their column: on a narrow screen each stands on a line of its own."""
    pairs = zip(columns, row, strict=True)
    return "".join(f'<td data-label="{escape(column)}">{_cell(cell)}</td>' for column, cell in pairs)


def _cell(value: object) -> str:
    if isinstance(value, _Raw):
        return value
    if value is None:
        return ""
    return _HASH.sub(lambda found: _hash(found[0]), escape(f"{value:.6g}" if isinstance(value, float) else str(value)))


def _entry(where: Mapping[str, Any] | None) -> _Raw:
    if where is None:
        return _Raw("")
    block, log = escape(str(where["block"])), escape(str(where["log"]))
    return _Raw(f"block {block}, log {log}, {_hash(str(where['transaction']))}")


def _hash(value: str) -> _Raw:
    """The beginning of a hash or an address; the whole shows when it is pointed at."""
    short = value[: _SHORT + 2 * value.startswith("0x")]
    return _Raw(f'<code title="{escape(value)}">{escape(short)}</code>')


def _moment(time: str | None) -> str:
    """A time of a report, as people read it."""
    return "" if time is None else time.replace("T", " ").replace("Z", " UTC")


def _replayed(replay: Mapping[str, Any] | None) -> str:
    if replay is None:
        return "no: nothing here rests on blobs"
    return f"yes: {replay['rounds']} rounds, {replay['consents']} contributions, each under a live grant"


# ---- what is asked first ---------------------------------------------------------------------------------------------


def _summary(report: Mapping[str, Any]) -> list[str]:
    told = [_told(report, task) for task in overview(report)]
    others = [refusal for refusal in report["refusals"] if refusal["task"] is None]
    if others and report["task"] is None:
        told.append(f"<p>Refused or ended besides: {_cell(_reasons(others))}.</p>\n")
    return told or ["<p>No task was proposed.</p>\n"]


def _continues(report: Mapping[str, Any]) -> list[str]:
    """The moot that this one continues: what was taken over, and how its own report sums up, or what is not covered."""
    before = report["continues"]
    if before is None:
        return []
    told = [f"<p>{_cell(said)}.</p>\n" for said in before["taken_over"] or ()]
    if before["report"] is None:
        return [*told, f"<p>Not covered: {_cell(before['not_covered'])}.</p>\n"]
    moot = before["report"]["moot"]
    where = f"Chain {moot['chain_id']}, contract {moot['contract']}; the whole report on it is in the JSON"
    return [*told, f"<p>{_cell(where)}.</p>\n", *_summary(before["report"])]


def _told(report: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    who = (f"{name} ({rounds} {'round' if rounds == 1 else 'rounds'})" for name, rounds in task["trained_by"].items())
    facts = {
        "Who": ", ".join(who) or "nobody yet",
        "When": f"{_moment(task['first'])} to {_moment(task['last'])}" if task["model"] else "no round is final",
        "Which model": "none" if task["model"] is None else _hash(task["model"]),
        "How good": _quality(report, task),
        "What was refused": _reasons(task["refused"]) or "nothing",
    }
    heading = f"Task {task['task']}: {task['standing']}, {task['round']} of {task['rounds']} rounds are final"
    return f'<div class="task">\n<h3>{escape(heading)}</h3>\n{_list(facts)}\n</div>\n'


def _quality(report: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    if report["replay"] is None:
        return "not told: metrics come from a replay, and no blobs were given"
    if task["measured_after"] is None:
        return "the task measures nothing, or nothing was measured yet"
    values = ", ".join(f"{name} {_cell(value) or 'undefined'}" for name, value in task["quality"].items())
    return f"{values}, of the model after round {task['measured_after']}"


def _reasons(refused: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{refusal['what']} ({refusal['why']})" for refusal in refused[:_MOST]) + (
        f"; and {len(refused) - _MOST} more below" if len(refused) > _MOST else ""
    )


_MOST = 5


def _duties(report: Mapping[str, Any]) -> list[str]:
    laws = dict.fromkeys(duty["law"] for duty in report["duties"])
    return [
        _table(
            law,
            ("Provision", "Question", "Answered", "Where", "What is left to others"),
            (
                (d["provision"], d["question"], _WORDS.get(d["extent"], d["extent"]), _links(d["where"]), d["left"])
                for d in report["duties"]
                if d["law"] == law
            ),
        )
        for law in laws
    ]


_SECTIONS = {"members", "datasets", "consents", "uses", "tasks", "effects", "rewards", "refusals", "decisions", "home"}


def _links(sections: Sequence[str]) -> _Raw:
    linked = (
        f'<a href="#{escape(name)}">{escape(name)}</a>' if name in _SECTIONS else escape(name) for name in sections
    )
    return _Raw(", ".join(linked))


def _members(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (m["member"], m["name"], _hash(m["account"]), _moment(m["time"]), _entry(m["joined"]), _entry(m["removed"]))
        for m in report["members"]
    )
    return [_table("Members of the moot", ("Member", "Name", "Account", "Since", "Joined in", "Removed in"), rows)]


def _datasets(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (d["dataset"], d["owner"], d["records"], _hash(d["card"]), _entry(d["described"])) for d in report["datasets"]
    )
    columns = ("Dataset", "Owner", "Records, as told", "Hash of its description", "Described in")
    return ["<p>No record, and no value of one, is on the ledger.</p>\n", _table("Datasets", columns, rows)]


def _consents(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (
            *(c["task"], c["name"], c["dataset"], _limits(c), _moment(c["time"])),
            *(_entry(c["granted"]), c["how"], _entry(c["ended"])),
        )
        for c in report["consents"]
    )
    columns = ("Task", "Member", "Dataset", "Limits", "Granted at", "Granted in", "Ended", "Ended in")
    return [_table("Grants", columns, rows)]


def _limits(consent: Mapping[str, Any]) -> str:
    limits = [f"epsilon {consent['epsilon_limit']:g}"] if consent["epsilon_limit"] else []
    limits += [f"until {_moment(consent['until'])}"] if consent["until"] else []
    limits += [f"up to round {consent['last_round']}"] if consent["last_round"] else []
    return ", ".join(limits) or "none"


def _uses(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (
            *(_moment(u["time"]), u["name"], u["dataset"], u["task"], u["round"]),
            *(_entry(u["grant"]), _entry(u["commit"]), _entry(u["final"])),
        )
        for u in report["uses"]
    )
    columns = ("Committed at", "Member", "Dataset", "Task", "Round", "Granted in", "Committed in", "Final in")
    return [_table("Contributions that count in a model", columns, rows)]


def _tasks(report: Mapping[str, Any]) -> list[str]:
    found = []
    for task in report["tasks"]:
        steps = ((d["standing"], _moment(d["time"]), _entry(d["entry"])) for d in task["decided"])
        terms = ", ".join(f"{name.replace('_', ' ')} {_words(value)}" for name, value in task["terms"].items())
        found.append(
            f"<h3>Task {task['task']}, proposed by {escape(task['proposed_by'])}</h3>\n"
            f"<p>Code {_hash(task['bundle'])}, first state {_hash(task['genesis'])}; {escape(terms)}."
            f" Proposed in {_entry(task['proposed'])}.</p>\n"
        )
        found.append(_table(f"Decisions on task {task['task']}", ("Standing", "At", "In"), steps))
        rows = (
            (
                r["round"] if r["round"] <= task["terms"]["rounds"] else "measuring",
                *(r["attempt"], _moment(r["time"]), ", ".join(r["survivors"])),
                *(f"{len(r['signed_by'])} of {r['of_members']}", _hash(r["model"]), _entry(r["final"])),
            )
            for r in task["rounds"]
        )
        columns = ("Round", "Attempt", "Final at", "Contributions", "Signed by", "Model", "Final in")
        found.append(_table(f"Rounds of task {task['task']}", columns, rows))
    return found or ["<p>No task was proposed.</p>\n"]


def _effects(report: Mapping[str, Any]) -> list[str]:
    if report["replay"] is None:
        return ["<p>Not told: metrics come from a replay, and no blobs were given.</p>\n"]
    rows = ((e["task"], e["round"], e["metric"], e["value"], e["change"]) for e in report["effects"])
    columns = ("Task", "Round after which", "Metric", "Value", "Change")
    return [_table("What the rounds measured, from the replay", columns, rows)]


def _rewards(report: Mapping[str, Any]) -> list[str]:
    known = ("kind", "entry", "time")
    rows = (
        (
            r["kind"],
            _moment(r["time"]),
            "; ".join(f"{key} {_words(value)}" for key, value in r.items() if key not in known),
            _entry(r["entry"]),
        )
        for r in report["rewards"]
    )
    return [_table("Entries of the purse", ("What", "At", "Fields", "In"), rows)]


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _refusals(report: Mapping[str, Any]) -> list[str]:
    rows = ((_moment(r["time"]), r["task"], r["what"], r["why"], _entry(r["entry"])) for r in report["refusals"])
    return [_table("Refusals", ("At", "Task", "What", "Why", "In"), rows)]


def _decisions(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (d["motion"], d["says"], d["moved_by"], _votes(d), d["state"], _entry(d["moved"]), _entry(d["enacted"]))
        for d in report["decisions"]
    )
    return [_table("Motions", ("Motion", "To", "Moved by", "Votes", "State", "Moved in", "Enacted in"), rows)]


def _votes(decision: Mapping[str, Any]) -> str:
    ayes = sum(1 for vote in decision["votes"] if vote["aye"])
    return f"{ayes} for, {len(decision['votes']) - ayes} against"


def _home(report: Mapping[str, Any]) -> list[str]:
    own = report["home"]
    if own is None:
        return ["<p>No peer's folder was looked into.</p>\n"]
    overrides = ((_moment(o["time"]), o["what"], o["how"]) for o in own["overrides"])
    strayed = ((_moment(s["time"]), s["dataset"], s["task"], s["found"]) for s in own.get("data", ()))
    refused = ((r["event"], r["why"], r["times"], _moment(r["first"]), _moment(r["last"])) for r in own["refused"])
    return [
        f"<p>Of the peer of {escape(str(own['name']))}. Nobody else can check these lines.</p>\n",
        _table("Safeguards that its administrator did without", ("At", "What", "Where it was said"), overrides),
        _table("Granted data that was found changed, missing, or back", ("At", "Dataset", "Task", "Found"), strayed),
        _table("What this peer refused or complained of", ("Event", "Why", "Times", "First", "Last"), refused),
    ]
