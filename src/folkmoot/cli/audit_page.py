"""The audit report as a page: one file of HTML, no scripts, nothing fetched; all that others wrote is text in it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["page"]

_STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 75rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
a { color: #0b4f8a; } a:focus { outline: 3px solid #0b4f8a; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #bbb; }
thead th { background: #eee; }
code { font-size: .85em; overflow-wrap: anywhere; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 0; }
@media print { body { max-width: none; } a { color: inherit; } }
"""
_WORDS = {"yes": "Yes", "partly": "In part", "no": "No"}


def page(report: Mapping[str, Any]) -> str:
    """The page; ``report`` as ``peer.audit.audit`` makes it."""
    moot, as_of = report["moot"], report["as_of"]
    scope = "all tasks" if report["task"] is None else f"task {report['task']}"
    title = f"Audit of {moot['name']}, {scope}"
    sections = [
        _section("duties", "Duties, and where their answers stand", *_duties(report)),
        _section("members", "Members", *_members(report)),
        _section("datasets", "Datasets", *_datasets(report)),
        _section("consents", "Consent", *_consents(report)),
        _section("uses", "Uses: who trained on what, under which consent, when", *_uses(report)),
        _section("tasks", "Tasks and their rounds", *_tasks(report)),
        _section("effects", "Effects", *_effects(report)),
        _section("rewards", "Rewards", *_rewards(report)),
        _section("refusals", "Refusals: what did not come about, or ended, and why", *_refusals(report)),
        _section("decisions", "Decisions", *_decisions(report)),
        _section("home", "From this peer's own folder", *_home(report)),
    ]
    facts = {
        "Moot": moot["name"],
        "Chain and contract": f"{moot['chain_id']}, {moot['contract']}",
        "As of": f"block {as_of['block']}, {_moment(as_of['time'])}",
        "About": scope,
        "Replayed": _replayed(report["replay"]),
        "Digest of the JSON (SHA-256)": report["digest"],
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>{escape(title)}</h1>\n<dl>{listed}</dl>\n"
        "<p>Each line names the entry of the ledger that proves it: block, transaction, and number of the event in the"
        " block. <code>folkmoot audit --check</code> makes the report again from the ledger and compares.</p>\n"
        f"</header>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


class _Raw(str):
    """HTML that is made here."""


def _section(id: str, heading: str, *parts: str) -> str:
    return f'<section id="{id}">\n<h2>{escape(heading)}</h2>\n{"".join(parts)}</section>\n'


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    if not body:
        return f"<p>{escape(caption)}: none.</p>\n"
    return (
        f'<div class="scroll"><table>\n<caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _cell(value: object) -> str:
    if isinstance(value, _Raw):
        return value
    return "" if value is None else escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def _entry(where: Mapping[str, Any] | None) -> _Raw:
    if where is None:
        return _Raw("")
    block, log = escape(str(where["block"])), escape(str(where["log"]))
    return _Raw(f"block {block}, log {log}, <code>{escape(str(where['transaction']))}</code>")


def _hash(value: str) -> _Raw:
    return _Raw(f"<code>{escape(value)}</code>")


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _replayed(replay: Mapping[str, Any] | None) -> str:
    if replay is None:
        return "no: nothing here rests on blobs"
    return f"yes: {replay['rounds']} rounds, {replay['consents']} contributions, each under a live grant"


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
        (d["dataset"], d["name"], d["records"], _hash(d["card"]), _entry(d["described"])) for d in report["datasets"]
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
        terms = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in task["terms"].items())
        found.append(
            f"<h3>Task {task['task']}, proposed by {escape(task['name'])}</h3>\n"
            f"<p>Code {_hash(task['bundle'])}, first state {_hash(task['genesis'])}; {escape(terms)}."
            f" Proposed in {_entry(task['proposed'])}.</p>\n"
        )
        found.append(_table(f"Decisions on task {task['task']}", ("Standing", "At", "In"), steps))
        rows = (
            (
                *(r["round"], r["attempt"], _moment(r["time"]), len(r["survivors"])),
                *(f"{len(r['signers'])} of {r['members']}", _hash(r["model"]), _entry(r["final"])),
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
            "; ".join(f"{k} {v}" for k, v in r.items() if k not in known),
            _entry(r["entry"]),
        )
        for r in report["rewards"]
    )
    return [_table("Entries of the purse", ("What", "At", "Fields", "In"), rows)]


def _refusals(report: Mapping[str, Any]) -> list[str]:
    rows = ((_moment(r["time"]), r["task"], r["what"], r["why"], _entry(r["entry"])) for r in report["refusals"])
    return [_table("Refusals", ("At", "Task", "What", "Why", "In"), rows)]


def _decisions(report: Mapping[str, Any]) -> list[str]:
    rows = (
        (d["motion"], d["says"], d["name"], _votes(d), d["state"], _entry(d["moved"]), _entry(d["enacted"]))
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
    refused = ((r["event"], r["why"], r["times"], _moment(r["first"]), _moment(r["last"])) for r in own["refused"])
    return [
        f"<p>Of the peer of {escape(str(own['name']))}. Nobody else can check these lines.</p>\n",
        _table("Safeguards that its administrator did without", ("At", "What", "Where it was said"), overrides),
        _table("What this peer refused or complained of", ("Event", "Why", "Times", "First", "Last"), refused),
    ]
