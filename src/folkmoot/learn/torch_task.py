"""A PyTorch model as a task: local training, the change of its parameters as the contribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import DataError, TaskError
from folkmoot.learn.examples import array_of
from folkmoot.learn.server import ServerOptimizer
from folkmoot.learn.supervised import Array, Data, Loader, SupervisedTask, local_work, weight_of
from folkmoot.privacy import budget
from folkmoot.privacy.budget import trains_privately
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_schema import Columns

try:
    import torch
    from safetensors import torch as safetensors_torch
    from torch import Tensor, nn
except ModuleNotFoundError as _error:
    raise TaskError("TorchTask needs PyTorch. Install it with: pip install 'folkmoot[torch]'") from _error

from folkmoot.learn.torch_init import PortableRandomness
from folkmoot.learn.torch_model import Model
from folkmoot.learn.torch_training import Loss, Optimizer, Training, fitted, loss_kind, output_of

__all__ = ["TorchTask"]

_REAL_LABELS = (nn.BCEWithLogitsLoss, nn.BCELoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_EVALUATION_BATCH = 1024


class TorchTask(SupervisedTask):
    """Federated training of a `torch.nn.Module` on the CPU, one thread a member.

    ``model()`` makes the module, ``loss(output, labels)`` a scalar mean, ``optimizer(parameters)`` a fresh optimiser
    for each contribution. ``load(path)`` gives (train, test), each (features, labels) as arrays, tensors or tables of
    numbers, first axis examples. Real features get the model's dtype, and so do bytes (images: 0 to 255 stay 0 to 255)
    and truth values; other integers stay as they are if the model takes them (token ids), else they become reals.

    In each round a member makes ``local_epochs`` passes (default 1) in shuffled batches of ``batch_size``, or, whatever
    the size of its data, ``local_steps`` such batches; give one of the two. Where members' sizes differ much, passes
    let the large ones drift further. ``prox_mu`` times half the squared distance to the round's model is added to the
    loss (FedProx, arXiv:1812.06127).

    The state names parameters and buffers as ``state_dict`` does; which tensors it holds is said at `Model`. Buffers
    (BatchNorm's statistics and its count of batches) take the members' mean, whatever the server optimiser, apart from
    the weights: ``policy.clip`` neither counts nor shrinks them, and with noise for members (``policy.epsilon``)
    layers that keep running statistics are refused. Under BatchNorm a last batch of one example joins the one before.

    ``predict`` makes predictions for the metrics from the model's output; by default the sigmoid for BCEWithLogitsLoss,
    the softmax for CrossEntropyLoss, exp for NLLLoss, otherwise the output itself.

    With a policy whose ``epsilon`` is for the unit ``record``, local training is DP-SGD: see `torch_private`.
    """

    def __init__(
        self,
        *,
        name: str,
        model: Callable[[], nn.Module],
        loss: Loss,
        optimizer: Optimizer,
        load: Loader,
        metrics: Mapping[str, Metric] | None = None,
        server: ServerOptimizer | None = None,
        policy: Policy | None = None,
        batch_size: int = 32,
        local_epochs: int | None = None,
        local_steps: int | None = None,
        prox_mu: float = 0.0,
        predict: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(name=name, load=load, metrics=metrics or {}, policy=policy, server=server, columns=columns)
        self._make_model, self._loss, self._make_optimizer = model, loss, optimizer
        self.batch_size, self.prox_mu, self.seed = batch_size, prox_mu, seed
        self.local_epochs, self.local_steps = local_work(local_epochs, local_steps)
        self._to_prediction = predict or _prediction_for(loss)
        self._built: Model | None = None
        self._integers: bool | None = None
        if trains_privately(self.policy) and not find_spec("opacus"):
            raise TaskError(
                "policy.privacy_unit='record' needs Opacus to train. Install it with: pip install 'folkmoot[private]'"
            )

    def init(self) -> State:
        """The parameters that ``model()`` has under ``seed``: the same on every machine, see `PortableRandomness`."""
        fresh = self._fresh()
        params = fresh.read(fresh.parameters)
        return State({**params, **fresh.read(fresh.buffers), **self.server.init(params)})

    def parameters(self, state: State) -> dict[str, Array]:
        """What the server optimiser moves: all but buffers and its own memory."""
        return {name: state.arrays[name] for name in self._model().parameters}

    def buffers(self, state: State) -> frozenset[str]:
        """Names of the arrays that no gradient moves."""
        return frozenset(self._model().buffers)

    def schema(self, state: State) -> Mapping[str, tuple[int, ...]]:
        """Shapes of parameters and buffers."""
        held = self._model()
        return {name: state.arrays[name].shape for name in (*held.parameters, *held.buffers)}

    def load(self, path: str) -> Data:
        """(train, test) as tensors: features and training labels of the dtypes that model and loss take; the labels
        that are held out as precise as they were given."""
        (features, labels), (test_features, test_labels) = super().load(path)
        test = (self._features(test_features), _tensor_of("labels", test_labels))
        return (self._features(features), self._labels(labels)), test

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """New minus old after local training, in float64.

        Raises ``DataError`` where an example is to blame that it fails: a label beyond the outputs, NaN or infinity.
        """
        features, labels = self._features(data[0][0]), self._labels(data[0][1])
        held = self._model()
        with _torch(int.from_bytes(context.seed[:8], "little")):
            held.write(state.arrays)
            held.module.train()
            if trains_privately(self.policy):
                self._train_privately(held, state, features, labels, context)
            else:
                self._training.run(held, features, labels)
        try:
            held.check_constant()
        except TaskError:
            self._built = None  # what was changed is not in the state, which could bring it back
            raise
        deltas = held.read()
        for name, array in deltas.items():
            array -= state.arrays[name]
        advice = "lower the optimizer's learning rate"
        return Contribution(self._trained(deltas, data[0][0], data[0][1], advice), weight_of(data))

    def update(self, state: State, aggregate: Aggregate) -> State:
        """The server optimiser's step for the parameters; the mean of the members' buffers."""
        moved, held = super().update(state, aggregate), self._model()
        buffers = {name: held.settled(name, state.arrays[name] + aggregate.arrays[name]) for name in held.buffers}
        return State({**moved.arrays, **buffers}, moved.round, moved.exponents)

    def predict(self, state: State, features: Any) -> NDArray[Any]:
        """Predictions in evaluation mode, float64, first axis examples."""
        held, given = self._model(), self._features(features)
        with _torch(self.seed), torch.inference_mode():
            held.write(state.arrays)
            held.module.eval()
            outputs = [
                self._to_prediction(output_of(held.module, batch)) for batch in torch.split(given, _EVALUATION_BATCH)
            ]
        predictions = torch.cat(outputs)
        if predictions.is_complex():
            raise TaskError(
                "The model's output is complex; say with predict= what real number the metrics are to take."
            )
        return np.asarray(predictions.double().numpy())

    def model(self, state: State) -> nn.Module:
        """A new module with all of ``state``, the rest as the task's ``model`` made it; in evaluation mode."""
        fresh = self._fresh()
        fresh.write(state.arrays)
        return fresh.module.eval()

    def export(self, state: State) -> bytes:
        """The model's ``state_dict`` as a safetensors file, which `load_state_dict` takes strictly: every name, frozen
        and tied tensors too, each of its own type."""
        held = {n: t for n, t in self.model(state).state_dict().items() if isinstance(t, Tensor)}
        # Tied tensors share memory, which safetensors refuses: a copy each.
        copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in held.items()}
        return safetensors_torch.save(copies, metadata={"format": "pt"})

    @property
    def _training(self) -> Training:
        return Training(
            self._loss, self._make_optimizer, self.batch_size, self.local_epochs, self.local_steps, self.prox_mu
        )

    def _train_privately(self, held: Model, state: State, features: Tensor, labels: Tensor, context: Context) -> None:
        # Opacus takes a second to import; only tasks that need it wait for that.
        from folkmoot.learn.torch_private import private_steps, train_privately

        training = budget.Training(len(labels), self.batch_size, self.local_epochs, self.local_steps)
        model = [state.arrays[name] for name in sorted(self.schema(state))]
        steps = private_steps(self.policy, training, context.seed, features, labels, model)
        train_privately(
            held.module,
            self._make_optimizer,
            lambda output, y: self._loss(fitted(output, y), y),
            features,
            labels,
            steps,
            self.prox_mu,
        )

    def _model(self) -> Model:
        """The one module of this process, made on first use; its contents come from the state each time."""
        if self._built is None:
            self._built = self._fresh()
            with _torch(self.seed):
                # PyTorch imports a second's worth of modules for the first optimiser: now, not in the first round.
                self._make_optimizer(iter([nn.Parameter(torch.zeros(1))]))
        return self._built

    def _fresh(self) -> Model:
        with _torch(self.seed), PortableRandomness(self.seed):
            fresh = Model(self._make_model(), noise=self.policy.noisy)
        if trains_privately(self.policy):
            from folkmoot.learn.torch_private import check_module

            check_module(fresh.module)
        return fresh

    def _features(self, features: Any) -> Tensor:
        tensor, dtype = _tensor_of("features", features), self._model().dtype
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        if tensor.is_floating_point() or tensor.dtype in (torch.bool, torch.uint8):
            return tensor.to(dtype)
        return tensor if self._takes(tensor) else tensor.to(dtype)

    def _takes(self, numbers: Tensor) -> bool:
        """Whether the model computes with these integers as they are; found out with the first example."""
        if self._integers is None and len(numbers):
            held = self._model().module
            with _torch(self.seed), torch.inference_mode():
                held.eval()
                try:
                    held(numbers[:1])
                    self._integers = True
                except (RuntimeError, TypeError, ValueError):
                    self._integers = False
        return self._integers is not False

    def _labels(self, labels: Any) -> Tensor:
        tensor, kind = _tensor_of("labels", labels), loss_kind(self._loss)
        if kind in _REAL_LABELS or (tensor.is_floating_point() and tensor.ndim > 1 and tensor.shape[1] > 1):
            return tensor.to(self._model().dtype)
        if kind not in _CLASSES:
            return tensor
        if tensor.ndim == 2 and tensor.shape[1] == 1:
            tensor = tensor.reshape(-1)  # one column of a table
        whole = tensor.long()
        if tensor.is_floating_point() and not torch.equal(whole.to(tensor.dtype), tensor):
            example = int((whole != tensor).nonzero()[0][0])
            raise DataError(f"The label of example {example} is {tensor[example].item():g}; classes are 0, 1, 2, ...")
        return whole


def _tensor_of(what: str, values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values
    array = array_of(what, values)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "u" and native.dtype.itemsize > 1:
        native = native.astype(np.int64)  # PyTorch computes with no other unsigned integers than bytes
    return torch.as_tensor(native)


@contextmanager
def _torch(seed: int) -> Iterator[None]:
    """One thread and a seeded generator, both as before afterwards.

    One thread because members share machines, and because a sum split over threads depends on their number.
    """
    threads = torch.get_num_threads()
    if threads != 1:
        torch.set_num_threads(1)
    before = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)
        if threads != 1:
            torch.set_num_threads(threads)


def _prediction_for(loss: object) -> Callable[[Tensor], Tensor]:
    kind = loss_kind(loss)
    if kind is nn.BCEWithLogitsLoss:
        return torch.sigmoid
    if kind is nn.CrossEntropyLoss:
        return lambda output: torch.softmax(output, dim=1)
    return torch.exp if kind is nn.NLLLoss else lambda output: output
