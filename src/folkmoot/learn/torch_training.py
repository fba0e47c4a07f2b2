"""One member's training of a PyTorch module: shuffled batches, the optimiser's steps, and labels that fit the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from folkmoot.errors import DataError, TaskError
from folkmoot.learn.torch_model import Model

__all__ = ["Loss", "Optimizer", "Training", "fitted", "loss_kind", "output_of"]

Loss = Callable[[Tensor, Tensor], Tensor]
Optimizer = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]

_FUNCTIONS: dict[object, type[nn.Module]] = {
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
    functional.mse_loss: nn.MSELoss,
    functional.l1_loss: nn.L1Loss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.huber_loss: nn.HuberLoss,
}


def loss_kind(loss: object) -> type[object]:
    """The class of a loss of PyTorch's, also of one given as a function; of any other, its own class."""
    return next((kind for function, kind in _FUNCTIONS.items() if function is loss), type(loss))


@dataclass(frozen=True)
class Training:
    """How a member trains in a round: ``local_steps`` batches of ``batch_size``, else ``local_epochs`` passes."""

    loss: Loss
    optimizer: Optimizer
    batch_size: int
    local_epochs: int
    local_steps: int | None
    prox_mu: float

    def run(self, held: Model, features: Tensor, labels: Tensor) -> None:
        """Train the module of ``held`` in place. Raises ``DataError`` on labels that the loss does not take."""
        module = held.module
        params = [p for p in module.parameters() if p.requires_grad]
        start = [p.detach().clone() for p in params] if self.prox_mu else []
        optimizer = self.optimizer(iter(params))
        unchecked = True
        for x, y in self.batches(features, labels, together=held.mixes_examples):

            def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
                nonlocal unchecked
                optimizer.zero_grad(set_to_none=True)
                output = output_of(module, x)
                if unchecked:
                    check_labels(self.loss, labels, output)
                    unchecked = False
                loss = self.loss(fitted(output, y), y)
                for p, old in zip(params, start, strict=False):
                    loss = loss + 0.5 * self.prox_mu * (p - old).abs().square().sum()
                loss.backward()  # type: ignore[no-untyped-call]
                return loss

            # A closure, because some optimisers (LBFGS) take the gradient several times a step.
            optimizer.step(closure)  # type: ignore[arg-type]

    def batches(self, features: Tensor, labels: Tensor, *, together: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches; with ``together`` a last one of a single example joins the one before."""
        sizes = [len(part) for part in torch.split(labels, self.batch_size)]
        if together and len(sizes) > 1 and sizes[-1] == 1:
            sizes[-2:] = [sizes[-2] + 1]
        left = self.local_epochs * len(sizes) if self.local_steps is None else self.local_steps
        while left > 0:
            # One gather an epoch, then views: far cheaper than an index a batch.
            order = torch.randperm(len(labels))
            pass_ = zip(torch.split(features[order], sizes), torch.split(labels[order], sizes), strict=True)
            for batch, _ in zip(pass_, range(left), strict=False):
                yield batch
            left -= len(sizes)


def output_of(module: nn.Module, x: Tensor) -> Tensor:
    """What the module makes of these examples. Raises ``DataError`` where the examples are at fault that it fails, and
    ``TaskError`` where the output is not one tensor."""
    try:
        output = module(x)
    except RuntimeError as error:
        if "shapes cannot be multiplied" not in str(error):
            raise
        raise DataError(
            f"The features have shape (examples, {', '.join(map(str, x.shape[1:]))}), and a layer of the model takes"
            f" another number of values: {error}"
        ) from None
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise DataError(
            f"A batch holds {len(x)} example, and the model's BatchNorm takes statistics of two or more: this member"
            " needs more training examples, and the task a batch_size above 1; or use GroupNorm or LayerNorm."
        ) from None
    if not isinstance(output, Tensor):
        raise TaskError(f"The model's output is a {type(output).__name__}; it must be one tensor for the loss.")
    return output


def check_labels(loss: object, labels: Tensor, output: Tensor) -> None:
    """Raise ``DataError``, naming the first example, where a label is none that ``loss`` knows: a class beyond the
    outputs, or no probability."""
    kind = loss_kind(loss)
    if kind in (nn.BCEWithLogitsLoss, nn.BCELoss):
        _refuse(labels, ~((labels >= 0.0) & (labels <= 1.0)), f"{kind.__name__} takes 0 to 1")
    if kind in (nn.CrossEntropyLoss, nn.NLLLoss) and not labels.is_floating_point():
        count = output.shape[1] if output.ndim > 1 else output.shape[0]
        wrong = ((labels < 0) | (labels >= count)) & (labels != getattr(loss, "ignore_index", -100))
        _refuse(labels, wrong, f"the model has {count} outputs, for classes 0 to {count - 1}")


def _refuse(labels: Tensor, wrong: Tensor, reason: str) -> None:
    if not wrong.any():
        return
    place = tuple(int(at) for at in wrong.nonzero()[0])
    value = labels[place].item()
    raise DataError(f"The label of example {place[0]} is {value:g}; {reason}. Number them alike at every member.")


def fitted(output: Tensor, labels: Tensor) -> Tensor:
    """(examples, 1) outputs for (examples,) real labels: what a final ``nn.Linear(n, 1)`` gives."""
    if labels.is_floating_point() and output.shape != labels.shape and output.numel() == labels.numel():
        return output.reshape(labels.shape)
    return output
