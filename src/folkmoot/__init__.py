"""Folkmoot: decentralised AI. Members train one model together, each keeping its own data, with no server.

A task file begins with ``import folkmoot as fm``; the names below are all it needs. Each is imported when it is first
used, so ``import folkmoot`` is quick and needs neither PyTorch nor scikit-learn.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from folkmoot.errors import DataError, FolkmootError, TaskError
    from folkmoot.learn import metrics
    from folkmoot.learn.baselines import alone, held_out, pooled, together
    from folkmoot.learn.heart import hospitals, load_heart
    from folkmoot.learn.logistic import LogisticTask
    from folkmoot.learn.newton import NewtonTask
    from folkmoot.learn.server import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi
    from folkmoot.learn.sklearn_task import SklearnTask
    from folkmoot.learn.torch_task import TorchTask
    from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State, Task

__version__ = "0.1.0"

_HOMES = {
    "folkmoot.errors": ("DataError", "FolkmootError", "TaskError"),
    "folkmoot.learn": ("metrics",),
    "folkmoot.learn.baselines": ("alone", "held_out", "pooled", "together"),
    "folkmoot.learn.heart": ("hospitals", "load_heart"),
    "folkmoot.learn.logistic": ("LogisticTask",),
    "folkmoot.learn.newton": ("NewtonTask",),
    "folkmoot.learn.server": ("FedAdagrad", "FedAdam", "FedAvg", "FedAvgM", "FedYogi"),
    "folkmoot.learn.sklearn_task": ("SklearnTask",),
    "folkmoot.learn.torch_task": ("TorchTask",),
    "folkmoot.task": ("Aggregate", "Context", "Contribution", "Metric", "Policy", "State", "Task"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Aggregate",
    "Context",
    "Contribution",
    "DataError",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedYogi",
    "FolkmootError",
    "LogisticTask",
    "Metric",
    "NewtonTask",
    "Policy",
    "SklearnTask",
    "State",
    "Task",
    "TaskError",
    "TorchTask",
    "alone",
    "held_out",
    "hospitals",
    "load_heart",
    "metrics",
    "pooled",
    "together",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'folkmoot' has no attribute {name!r}")
    value = _import_module("folkmoot.learn.metrics") if name == "metrics" else None
    value = getattr(_import_module(_HOME[name]), name) if value is None else value
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
