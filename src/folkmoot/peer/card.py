"""The model card that goes with an exported model: Markdown under YAML, as the Hugging Face hub reads it.

The YAML is one key to a line, each value JSON, which YAML 1.2 reads as its own. What members called things is text in
it and never markup.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from folkmoot.ledger.records import called
from folkmoot.peer.lineage import Lineage, Spent
from folkmoot.task.policy import Policy

__all__ = ["Measure", "model_card"]

Measure = tuple[int, str, float]
"""Round after which a state was measured, name of the metric, value."""


def model_card(
    lineage: Lineage,
    name: str,
    policy: Policy,
    arrays: Mapping[str, tuple[int, ...]],
    measures: Sequence[Measure],
    spent: Sequence[Spent],
    licence: str,
) -> str:
    """The card of the model of ``lineage``, which holds ``arrays`` of these shapes."""
    last = _last(measures, lineage.round)
    sections = (
        _what(lineage, name, arrays),
        _data(lineage),
        _making(lineage, policy),
        _evaluation(last),
        _privacy(policy, spent, lineage.members),
        _limits(lineage),
    )
    return "\n\n".join((_front(name, last, licence), f"# {_text(name)}", *sections)) + "\n"


def _front(name: str, last: Sequence[Measure], licence: str) -> str:
    metrics = [{"type": metric, "name": metric, "value": value} for _, metric, value in last if math.isfinite(value)]
    told: dict[str, object] = {
        "license": licence,
        "library_name": "folkmoot",
        "tags": ["folkmoot", "federated-learning", "safetensors"],
        "metrics": sorted({metric for _, metric, _ in last}),
    }
    if metrics:
        held_out = {"type": "held-out", "name": "held-out records of the members"}
        result = {"task": {"type": "other", "name": name}, "dataset": held_out, "metrics": metrics}
        told["model-index"] = [{"name": name, "results": [result]}]
    lines = (f"{key}: {msgspec.json.encode(value).decode()}" for key, value in told.items())
    return "\n".join(("---", *lines, "---"))


def _what(lineage: Lineage, name: str, arrays: Mapping[str, tuple[int, ...]]) -> str:
    size = sum(math.prod(shape) for shape in arrays.values())
    members = ", ".join(map(_text, lineage.members.values()))
    return "\n".join(
        (
            "## What it is",
            "",
            f"The model after round {lineage.round} of task {lineage.task}, {_text(name)}, of the moot"
            f" “{_text(lineage.moot)}”: {size} values, trained together by {members}, with no server in"
            " the middle. Each kept its own data.",
            "",
            *_table(("array", "shape"), ((f"`{_code(key)}`", list(shape)) for key, shape in sorted(arrays.items()))),
        )
    )


def _data(lineage: Lineage) -> str:
    rows = (
        (share.dataset, _text(share.name), share.records, f"`{share.card}`")
        for share in sorted(lineage.datasets.values(), key=lambda share: share.dataset)
    )
    return "\n".join(
        (
            "## Data",
            "",
            "Numbers of records are as their owners told them. A card is the hash of a description that its owner"
            " keeps. No record, and no value of one, is here or on the ledger.",
            "",
            *_table(("dataset", "owner", "records", "card"), rows),
        )
    )


def _making(lineage: Lineage, policy: Policy) -> str:
    tasks = [f"- task {s.task}: rounds 1 to {s.upto}, code `{s.bundle}`{_without(s.without)}" for s in lineage.course]
    rows = (
        (f"{step.task}.{step.round}", _moment(step.time), len(step.survivors), f"`{step.model[:16]}`", step.final.block)
        for step in lineage.steps[-50:]
    )
    shown = "" if len(lineage.steps) <= 50 else f" The last 50 of {len(lineage.steps)} are shown."
    return "\n".join(
        (
            "## How it was made",
            "",
            f"On chain {lineage.chain_id}, contract `{lineage.contract}`. The model's hash there is `{lineage.model}`.",
            "",
            *tasks,
            "",
            f"Rule: {policy.robust}, {policy.faults} liars withstood; contributions"
            f" {'masked, only sums are seen' if policy.secret else 'seen by the members'}; at least"
            f" {policy.min_members} members in each round.{shown}",
            "",
            *_table(("task.round", "final at (UTC)", "contributions", "model", "block"), rows),
            "",
            *_before(lineage),
            "Each round's datasets, grants and signatures, and where each stands on the ledger, are in"
            " `lineage.intoto.jsonl`. `folkmoot verify --export .` checks all files here.",
        )
    )


def _before(lineage: Lineage) -> list[str]:
    """What a moot before this one had to do with it, and what of that is not told."""
    if lineage.continues is None:
        return []
    if lineage.continues.not_covered:
        return [f"Not covered: {lineage.continues.not_covered}.", ""]
    told = lineage.former
    if told is None:
        contract = lineage.continues.contract
        return [f"The moot continues `{contract}`; no model of that one is the state that this course begins with.", ""]
    names = ", ".join(map(_text, told.members.values()))
    return [
        f"Its first state is the model of round {told.round} of task {told.task} of the moot before, contract"
        f" `{told.contract}` on chain {told.chain_id}: {len(told.steps)} rounds there, by {names}.",
        "",
        *_before(told),
    ]


def _without(members: Iterable[int]) -> str:
    listed = ", ".join(map(called, members))
    return f"; without {listed}" if listed else ""


def _evaluation(last: Sequence[Measure]) -> str:
    if not last:
        return "## Evaluation\n\nThe task measures nothing, or nothing was measured up to this round."
    rows = ((_text(name), f"{value:.6g}") for _, name, value in last)
    return "\n".join(
        (
            "## Evaluation",
            "",
            f"On held-out records of the members, summed over all of them, the model after round {last[0][0]}. A state"
            " is measured with the contributions that are made from it, and the last one in a round of its own.",
            "",
            *_table(("metric", "value"), rows),
        )
    )


def _privacy(policy: Policy, spent: Sequence[Spent], names: Mapping[int, str]) -> str:
    head = ["## Privacy", ""]
    if policy.epsilon is None:
        return "\n".join([*head, "No noise was added: what the model tells of its data is not bounded."])
    rows = (
        (
            s.task,
            _text(names.get(s.member, called(s.member))),
            s.unit,
            s.releases,
            f"{s.epsilon:.3g}",
            f"{s.delta:g}",
        )
        for s in spent
    )
    return "\n".join(
        [
            *head,
            f"Differential privacy for each {policy.privacy_unit}; what each member's contributions cost at most:",
            "",
            *_table(("task", "member", "protects each", "releases", "epsilon", "delta"), rows),
        ]
    )


def _limits(lineage: Lineage) -> str:
    return "\n".join(
        (
            "## Limits",
            "",
            "- That the history holds says how the model was made, not whether it is good or fair for a use.",
            "- What a member's data were is known to that member only; a dataset's description binds it to nothing but"
            " its hash.",
            "- A model remembers; see Privacy above for what bounds that.",
            "- Whoever uses it in a setting that law calls high-risk has duties of its own.",
        )
    )


def _last(measures: Sequence[Measure], upto: int) -> list[Measure]:
    """What was measured of the latest state up to ``upto``."""
    rounds = [round for round, _, _ in measures if round <= upto]
    return [measure for measure in measures if measure[0] == max(rounds)] if rounds else []


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{' --- |' * len(columns)}",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]


def _text(name: str) -> str:
    """What somebody else wrote, as text in Markdown."""
    line = " ".join(name.split())
    marked = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+.!|~-])", r"\\\1", marked)


def _code(name: str) -> str:
    return name.replace("`", "'").replace("|", "\\|")


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
