"""Ready-made tasks (logistic regression in NumPy, scikit-learn estimators, PyTorch models), the server optimisers and
metrics they are made of, the sample data, and baselines to hold a moot's model against. Import the tasks that need an
extra (``folkmoot.learn.torch_task``, ``folkmoot.learn.sklearn_task``) from their modules, or by ``fm.``."""

from folkmoot.learn.baselines import alone, held_out, pooled, together
from folkmoot.learn.heart import hospitals, load_heart
from folkmoot.learn.logistic import LogisticTask
from folkmoot.learn.server import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

__all__ = [
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedYogi",
    "LogisticTask",
    "alone",
    "held_out",
    "hospitals",
    "load_heart",
    "pooled",
    "together",
]
