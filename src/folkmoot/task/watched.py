"""A task that tells which part of the protocol is at work, so that an error in it can be told with its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from folkmoot.task.protocol import Task

__all__ = ["METHODS", "Watched"]

METHODS = ("init", "schema", "load", "contribute", "update", "metrics", "evaluate")
"""The methods of the Task protocol."""


class Watched:
    """Knows which of the ``METHODS`` of ``task`` ran into an error. The task is the same object as before; one whose
    attributes cannot be set is not watched."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.doing = ""
        """The method at work, or the one that raised last; empty after one that returned."""
        for name in METHODS:
            with suppress(AttributeError, TypeError):
                object.__setattr__(task, name, partial(self._call, name, getattr(task, name)))

    def _call(self, name: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        before, self.doing = self.doing, name
        made = method(*given, **named)
        self.doing = before
        return made
