"""A PyTorch model as a task: local training, the change of its parameters as the contribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folkmoot.errors import TaskError
from folkmoot.learn.server import ServerOptimizer
from folkmoot.learn.supervised import Array, Data, Loader, SupervisedTask, finite, weight_of
from folkmoot.privacy.budget import Training, trains_privately
from folkmoot.task import Aggregate, Context, Contribution, Metric, Policy, State
from folkmoot.task.data_schema import Columns

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as _error:
    raise TaskError("TorchTask needs PyTorch. Install it with: pip install 'folkmoot[torch]'") from _error

from folkmoot.learn.torch_init import PortableRandomness
from folkmoot.learn.torch_model import Model

__all__ = ["TorchTask"]

_REAL_LABELS = (nn.BCEWithLogitsLoss, nn.BCELoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
_EVALUATION_BATCH = 1024


class TorchTask(SupervisedTask):
    """Federated training of a `torch.nn.Module` on the CPU, one thread a member.

    ``model()`` makes the module, ``loss(output, labels)`` a scalar mean, ``optimizer(parameters)`` a fresh optimiser
    for each contribution. ``load(path)`` gives (train, test), each (features, labels) as arrays or tensors,
    first axis examples. Real features get the model's dtype; integer ones (token ids) stay. In each round a member
    makes ``local_epochs`` passes in shuffled batches of ``batch_size``, with ``prox_mu`` times half
    the squared distance to the round's model added to the loss (FedProx, arXiv:1812.06127).

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
        loss: Callable[[Tensor, Tensor], Tensor],
        optimizer: Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer],
        load: Loader,
        metrics: Mapping[str, Metric] | None = None,
        server: ServerOptimizer | None = None,
        policy: Policy | None = None,
        batch_size: int = 32,
        local_epochs: int = 1,
        prox_mu: float = 0.0,
        predict: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
        columns: Columns | None = None,
    ) -> None:
        super().__init__(name=name, load=load, metrics=metrics or {}, policy=policy, server=server, columns=columns)
        self._make_model, self._loss, self._make_optimizer = model, loss, optimizer
        self.batch_size, self.local_epochs, self.prox_mu, self.seed = batch_size, local_epochs, prox_mu, seed
        self._to_prediction = predict or _prediction_for(loss)
        self._built: Model | None = None
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
        """(train, test) as tensors of the dtypes that model and loss take."""
        (features, labels), (test_features, test_labels) = super().load(path)
        return (
            (self._features(features), self._labels(labels)),
            (self._features(test_features), self._labels(test_labels)),
        )

    def contribute(self, state: State, data: Data, context: Context) -> Contribution:
        """New minus old after local training, in float64."""
        features, labels = self._features(data[0][0]), self._labels(data[0][1])
        held = self._model()
        with _torch(int.from_bytes(context.seed[:8], "little")):
            held.write(state.arrays)
            held.module.train()
            if trains_privately(self.policy):
                self._train_privately(held, state, features, labels, context)
            else:
                self._train(held.module, features, labels)
        held.check_constant()
        deltas = held.read()
        for name, array in deltas.items():
            array -= state.arrays[name]
        return Contribution(finite(deltas, "lower the optimizer's learning rate"), weight_of(data))

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
            outputs = [self._to_prediction(held.module(batch)) for batch in torch.split(given, _EVALUATION_BATCH)]
        return np.asarray(torch.cat(outputs).double().numpy())

    def _train(self, module: nn.Module, features: Tensor, labels: Tensor) -> None:
        params = [p for p in module.parameters() if p.requires_grad]
        start = [p.detach().clone() for p in params] if self.prox_mu else []
        optimizer = self._make_optimizer(iter(params))
        for _ in range(self.local_epochs):
            # One gather an epoch, then views: far cheaper than an index a batch.
            order = torch.randperm(len(labels))
            batches = zip(
                torch.split(features[order], self.batch_size), torch.split(labels[order], self.batch_size), strict=True
            )
            for x, y in batches:
                optimizer.zero_grad(set_to_none=True)
                loss = self._loss(_fitted(module(x), y), y)
                for p, old in zip(params, start, strict=False):
                    loss = loss + 0.5 * self.prox_mu * (p - old).square().sum()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    def _train_privately(self, held: Model, state: State, features: Tensor, labels: Tensor, context: Context) -> None:
        # Opacus takes a second to import; only tasks that need it wait for that.
        from folkmoot.learn.torch_private import private_steps, train_privately

        training = Training(len(labels), self.batch_size, self.local_epochs)
        model = [state.arrays[name] for name in sorted(self.schema(state))]
        steps = private_steps(self.policy, training, context.seed, features, labels, model)
        train_privately(
            held.module,
            self._make_optimizer,
            lambda output, y: self._loss(_fitted(output, y), y),
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
        tensor = _numbers("features", features)
        return tensor.to(self._model().dtype) if tensor.is_floating_point() else tensor

    def _labels(self, labels: Any) -> Tensor:
        tensor = _numbers("labels", labels)
        if isinstance(self._loss, _REAL_LABELS) or (tensor.is_floating_point() and tensor.ndim > 1):
            return tensor.to(self._model().dtype)
        return tensor.long() if isinstance(self._loss, nn.CrossEntropyLoss | nn.NLLLoss) else tensor


def _numbers(what: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TaskError(f"The {what} that `load` gave are not one array of numbers: {error}.") from None


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


def _fitted(output: Tensor, labels: Tensor) -> Tensor:
    """(examples, 1) outputs for (examples,) real labels: what a final ``nn.Linear(n, 1)`` gives."""
    if labels.is_floating_point() and output.shape != labels.shape and output.numel() == labels.numel():
        return output.reshape(labels.shape)
    return output


def _prediction_for(loss: object) -> Callable[[Tensor], Tensor]:
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return torch.sigmoid
    if isinstance(loss, nn.CrossEntropyLoss):
        return lambda output: torch.softmax(output, dim=1)
    return torch.exp if isinstance(loss, nn.NLLLoss) else lambda output: output
