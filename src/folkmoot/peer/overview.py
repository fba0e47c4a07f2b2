"""What an auditor asks first, out of a report: of each task who trained it, when, to which model, how good, and what
was refused. Nothing in it is more than the report says in full further down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

__all__ = ["overview"]


def overview(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for each task of a report, in the words of docs/commands.md."""
    return [_task(report, task) for task in report["tasks"]]


def _task(report: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    number, rounds, training = task["task"], task["rounds"], task["terms"]["rounds"]
    uses = [use for use in report["uses"] if use["task"] == number and use["round"] <= training]
    after, quality = _quality(report, number)
    return {
        "task": number,
        "standing": task["decided"][-1]["standing"] if task["decided"] else "proposed",
        "round": min(len(rounds), training),
        "rounds": training,
        "trained_by": dict(Counter(use["name"] for use in uses)),
        "datasets": sorted({use["dataset"] for use in uses}),
        "first": uses[0]["time"] if uses else None,
        "last": rounds[-1]["time"] if rounds else None,
        "model": rounds[-1]["model"] if rounds else None,
        "measured_after": after,
        "quality": quality,
        "refused": [refusal for refusal in report["refusals"] if refusal["task"] == number],
    }


def _quality(report: Mapping[str, Any], task: int) -> tuple[int | None, dict[str, float | None]]:
    """What was measured last, and of the state after which round."""
    effects = [effect for effect in report["effects"] if effect["task"] == task]
    after = max((effect["round"] for effect in effects), default=None)
    return after, {effect["metric"]: effect["value"] for effect in effects if effect["round"] == after}
