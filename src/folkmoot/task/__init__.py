"""What a task is: the protocol that all learning goes through, the values that pass between task and round, the
policy fixed with it, and how its state and its code become bytes with one hash.

Each name is imported when it is first used: a daemon reads policies and the size of bundles, and needs no NumPy for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from folkmoot.task.bundle import make_bundle, read_bundle
    from folkmoot.task.codec import read_state, state_bytes
    from folkmoot.task.load import author_traceback, authored, load_task, task_error
    from folkmoot.task.policy import Policy
    from folkmoot.task.protocol import Aggregate, Arrays, Context, Contribution, Metric, State, Task
    from folkmoot.task.watched import Watched

_MODULES = {
    "bundle": ("make_bundle", "read_bundle"),
    "codec": ("read_state", "state_bytes"),
    "load": ("author_traceback", "authored", "load_task", "task_error"),
    "policy": ("Policy",),
    "protocol": ("Aggregate", "Arrays", "Context", "Contribution", "Metric", "State", "Task"),
    "watched": ("Watched",),
}
_MODULE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Aggregate",
    "Arrays",
    "Context",
    "Contribution",
    "Metric",
    "Policy",
    "State",
    "Task",
    "Watched",
    "author_traceback",
    "authored",
    "load_task",
    "make_bundle",
    "read_bundle",
    "read_state",
    "state_bytes",
    "task_error",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    return value
