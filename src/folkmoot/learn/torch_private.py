"""DP-SGD for a PyTorch module: Opacus computes each record's gradient; batches, clipping and noise are ours.

Opacus's own noise comes in floats from PyTorch's Mersenne Twister, seeded with 64 bits. Ours is exact, on a lattice,
from a stream keyed with 256 bits (`folkmoot.privacy.dpsgd`): it can neither be guessed nor read off the last digits.
PyTorch's generator remains for what hides nothing, such as dropout.

The accounting rests on each record's gradient being of that record alone. The loss is taken for each record by itself;
as to the module, Opacus refuses layers known to mix records, and `train_privately` tries it on a few records.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule  # type: ignore[import-untyped]
from opacus.validators import ModuleValidator  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.func import vmap

from folkmoot.errors import TaskError
from folkmoot.learn.supervised import Array
from folkmoot.privacy.budget import Training
from folkmoot.privacy.dpsgd import PrivateSteps, clip_factors
from folkmoot.task import Policy

__all__ = ["check_module", "private_steps", "train_privately"]

Loss = Callable[[Tensor, Tensor], Tensor]
Optimizer = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]

_TRIED = 4


def check_module(module: nn.Module) -> None:
    """Raise ``TaskError``, naming the layer and what to use instead, if ``module`` cannot be trained with DP-SGD."""
    for name, part in module.named_modules():
        # Opacus looks at layers with parameters only; BatchNorm mixes records without them too.
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise TaskError(
                f"The model's {name or 'module'} is {type(part).__name__}, which mixes the records of a batch, so no"
                " record's gradient is its own; with policy.privacy_unit='record' use GroupNorm or LayerNorm."
            )
    for name, p in module.named_parameters():
        if p.is_complex():
            raise TaskError(
                f"The model's {name!r} is complex, whose gradients Opacus does not clip; with"
                " policy.privacy_unit='record' use pairs of reals."
            )
    before = module.training
    refused = [*ModuleValidator.validate(module.train()), *GradSampleModule.validate(module)]
    module.train(before)
    if refused:
        raise TaskError(f"The model cannot be trained with policy.privacy_unit='record': {refused[0]}")


def private_steps(
    policy: Policy, training: Training, seed: bytes, features: Tensor, labels: Tensor, model: Sequence[Array]
) -> PrivateSteps:
    """The batches and the noise of one contribution, which depend on secret seed, data and model."""
    data = [tensor.contiguous().view(torch.uint8).numpy() for tensor in (features, labels)]
    return PrivateSteps(policy, training, seed, [*data, *model])


def train_privately(
    module: nn.Module,
    make_optimizer: Optimizer,
    loss: Loss,
    features: Tensor,
    labels: Tensor,
    steps: PrivateSteps,
    prox_mu: float = 0.0,
) -> None:
    """Train ``module`` in place, one step of its optimiser for each of ``steps``.

    Raises ``TaskError`` if the module mixes records, or changes a buffer.
    """
    _check_independent(module, features[:_TRIED])
    params = [p for p in module.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in params]
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    optimizer = make_optimizer(iter(params))
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TaskError(
            "LBFGS takes several gradients a step, and each costs privacy; with policy.privacy_unit='record' use SGD or"
            " Adam."
        )
    sizes = [p.numel() for p in params]
    wrapped = GradSampleModule(module, loss_reduction="sum")
    try:
        for batch in steps:
            total = np.zeros(sum(sizes))
            if len(batch):
                chosen = torch.from_numpy(batch)
                total = _clipped_sum(wrapped, params, loss, features[chosen], labels[chosen], steps.clip)
            mean = torch.from_numpy(steps.mean(total))
            for p, old, part in zip(params, start, torch.split(mean, sizes), strict=True):
                p.grad = part.reshape(p.shape).to(p.dtype) + prox_mu * (p.detach() - old)
            optimizer.step()
    finally:
        wrapped.to_standard_module()
    for name, buffer in module.named_buffers():
        if not torch.equal(buffer, buffers[name]):
            raise TaskError(f"Training changed the model's buffer {name!r}, which no noise hides; take it out.")


def _clipped_sum(
    wrapped: GradSampleModule, params: list[nn.Parameter], loss: Loss, x: Tensor, y: Tensor, clip: float
) -> Array:
    """The sum of all records' gradients, each scaled down to the norm ``clip``, (parameters,) float64."""
    wrapped.zero_grad(set_to_none=True)
    # One record at a time, so that not even the loss can mix them.
    losses = vmap(lambda output, label: loss(output.unsqueeze(0), label.unsqueeze(0)))(wrapped(x), y)
    with warnings.catch_warnings():
        # Opacus listens for gradients of outputs, which is what PyTorch warns that it does.
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        losses.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [_gradients(p, len(x)) for p in params]
    norms = torch.stack([g.double().norm(dim=1) for g in gradients]).norm(dim=0)
    factors = torch.from_numpy(clip_factors(norms.numpy(), clip))
    if not factors.all():
        gradients = [torch.nan_to_num(g, 0.0, 0.0, 0.0) for g in gradients]
    sums = [factors.to(g.dtype) @ g for g in gradients]
    return np.asarray(torch.cat([total.double() for total in sums]).numpy())


def _gradients(p: nn.Parameter, records: int) -> Tensor:
    """(records, values of p): zeros where the output does not depend on ``p``."""
    found = getattr(p, "grad_sample", None)
    return p.new_zeros(records, p.numel()) if found is None else found.detach().reshape(records, -1)


def _check_independent(module: nn.Module, x: Tensor) -> None:
    module.eval()
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(one) for one in torch.split(x, 1)])
    module.train()
    if together.shape != alone.shape or not torch.allclose(together, alone, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise TaskError(
            "The model's output for a record depends on the other records of its batch; with"
            " policy.privacy_unit='record' each must stand alone (no mean over the first axis)."
        )
