"""What a task is: the protocol that all learning goes through, the values that pass between task and round, the
policy fixed with it, and how its state and its code become bytes with one hash."""

from folkmoot.task.bundle import make_bundle, read_bundle
from folkmoot.task.codec import read_state, state_bytes
from folkmoot.task.load import load_task, task_error
from folkmoot.task.policy import Policy
from folkmoot.task.protocol import Aggregate, Arrays, Context, Contribution, Metric, State, Task

__all__ = [
    "Aggregate",
    "Arrays",
    "Context",
    "Contribution",
    "Metric",
    "Policy",
    "State",
    "Task",
    "load_task",
    "make_bundle",
    "read_bundle",
    "read_state",
    "state_bytes",
    "task_error",
]
