"""A task that tells which part of the protocol is at work, so that an error in it can be told with its place."""

from __future__ import annotations

from typing import Any

from folkmoot.task.protocol import Task

__all__ = ["METHODS", "Watched"]

METHODS = ("init", "schema", "load", "contribute", "update", "metrics", "evaluate")
"""The methods of the Task protocol."""


class Watched:
    """Behaves as ``task``, attributes of its own included, and knows which of its ``METHODS`` ran into an error."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.doing = ""
        """The method at work, or the one that raised last; empty after one that returned."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.task, name)
        if name not in METHODS:
            return found

        def watched(*given: Any) -> Any:
            before, self.doing = self.doing, name
            made = found(*given)
            self.doing = before
            return made

        return watched
