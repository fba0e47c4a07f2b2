"""A PyTorch module as named float64 arrays, and what of it members can share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.parameter import is_lazy

from folkmoot.errors import TaskError
from folkmoot.task import Arrays

__all__ = ["Model"]

Array = NDArray[np.float64]

_LARGEST_COUNT = 2.0**53


class Model:
    """A module, and those of its tensors that make the state, named as in its ``state_dict``.

    *Parameters* are what gradients move: a complex one counts as pairs of reals, with a last axis of two. *Buffers* are
    what training changes besides: real and complex ones, and integers and flags that stand alone (a count of batches).
    All else (parameters without ``requires_grad``, integer tables, buffers outside the ``state_dict``) stays what the
    module was made with. With ``noise``, which cannot cover buffers, all of them stay so, and layers that keep running
    statistics are refused.

    Raises ``TaskError``, naming it, on a tensor that cannot be shared.
    """

    def __init__(self, module: nn.Module, *, noise: bool = False) -> None:
        if not isinstance(module, nn.Module):
            raise TaskError(f"`model` gave a {type(module).__name__}; it must make a torch.nn.Module.")
        self.module = module
        for name, tensor in module.state_dict(keep_vars=True).items():
            _check_tensor(name, tensor)
        self.parameters: dict[str, Tensor] = {n: p for n, p in module.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise TaskError("No parameter of the model has requires_grad, so there is nothing to train; unfreeze some.")
        if noise:
            _check_no_statistics(module)
        kept = module.state_dict(keep_vars=True)
        known = {name: buffer for name, buffer in module.named_buffers() if name in kept}
        self.buffers = {} if noise else {name: b for name, b in known.items() if _is_real(b) or b.numel() == 1}
        self._constant = {name: (b, b.clone()) for name, b in known.items() if name not in self.buffers}
        self._frozen = {name: (p, _checksum(p)) for name, p in module.named_parameters() if not p.requires_grad}
        loose = (buffer for name, buffer in module.named_buffers() if name not in kept)
        self._counters = [(buffer, buffer.clone()) for buffer in loose if not _is_real(buffer)]
        self._variances = {f"{name}.running_var" if name else "running_var" for name, _ in _statistics(module)}
        real = next((p.dtype for p in module.parameters() if _is_real(p)), torch.float32)
        self.dtype = real.to_real() if real.is_complex else real
        """The real type that the model computes in."""
        self.mixes_examples = any(isinstance(part, _BatchNorm) for part in module.modules())
        """Whether the model takes statistics of a batch, which one example alone has none of."""

    def read(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Array]:
        """Parameters and buffers, or those of ``tensors``, copied to float64."""
        chosen = {**self.parameters, **self.buffers} if tensors is None else tensors
        return {name: _reals(t.detach()).to(torch.float64, copy=True).numpy() for name, t in chosen.items()}

    def write(self, arrays: Arrays) -> None:
        """Set parameters and buffers from a state's arrays, the rest as it began."""
        with torch.no_grad():
            for name, tensor in (self.parameters | self.buffers).items():
                _reals(tensor).copy_(_tensor(arrays[name]))
            for tensor, first in (*self._constant.values(), *self._counters):
                tensor.copy_(first)

    def check_constant(self) -> None:
        """Raise ``TaskError``, naming it, if training changed a tensor that is not shared."""
        for name, (tensor, first) in self._constant.items():
            if not torch.equal(tensor, first):
                raise TaskError(
                    f"Training changed the model's buffer {name!r} ({tensor.dtype}, {tensor.numel()} values), which"
                    " members do not share under this policy; take it out, or keep it outside the state_dict"
                    " (persistent=False)."
                )
        for name, (parameter, sum_) in self._frozen.items():
            if _checksum(parameter) != sum_:
                raise TaskError(
                    f"Training changed the model's {name!r}, which has no requires_grad, so members do not share it;"
                    " make it a buffer (register_buffer), which they average."
                )

    def settled(self, name: str, values: Array) -> Array:
        """A buffer's ``values`` as the buffer can hold them: whole numbers for an integer, variances not below 0."""
        buffer = self.buffers[name]
        if _is_real(buffer):
            return np.maximum(values, 0.0) if name in self._variances else values
        whole = np.rint(values)
        if buffer.dtype == torch.bool:
            return np.clip(whole, 0.0, 1.0)
        held = torch.iinfo(buffer.dtype)
        return np.clip(whole, max(float(held.min), -_LARGEST_COUNT), min(float(held.max), _LARGEST_COUNT))


def _check_tensor(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor):
        return  # what a module's get_extra_state gives is its own affair
    if is_lazy(tensor):
        raise TaskError(
            f"The model's {name!r} has no shape before it sees data (a lazy layer); all members start from one"
            " model, so give the number of inputs: nn.Linear(13, 1) for nn.LazyLinear(1)."
        )
    if tensor.layout != torch.strided:
        raise TaskError(f"The model's {name!r} is sparse ({tensor.layout}); make it dense (to_dense()).")
    if tensor.device.type != "cpu":
        raise TaskError(f"The model's {name!r} is on {tensor.device}; tasks run on the CPU, so leave it there.")


def _check_no_statistics(module: nn.Module) -> None:
    for name, part in _statistics(module):
        raise TaskError(
            f"The model's {name or 'module'} is {type(part).__name__}, which keeps running statistics; the noise of"
            " policy.epsilon cannot cover them. Use GroupNorm or LayerNorm, or track_running_stats=False."
        )


def _statistics(module: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """The layers that keep running means and variances, by name."""
    return [(n, p) for n, p in module.named_modules() if isinstance(p, _NormBase) and p.running_var is not None]


def _checksum(tensor: Tensor) -> int:
    """The sum of its bytes: a copy would hold a large frozen model twice."""
    return int(tensor.detach().contiguous().reshape(-1).view(torch.uint8).sum(dtype=torch.int64))


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _reals(tensor: Tensor) -> Tensor:
    """``tensor`` itself, or a view of a complex one with a last axis of real and imaginary part."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _tensor(array: Array) -> Tensor:
    # A state read from bytes is read-only, and torch warns of any read-only array, though we only read it.
    return torch.from_numpy(array if array.flags.writeable else array.copy())
