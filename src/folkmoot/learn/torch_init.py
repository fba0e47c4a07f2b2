"""The same initial parameters on every machine.

PyTorch's own ``uniform_`` and ``normal_`` differ in the last bit between processors (their kernels multiply and add
in one rounding where the machine can), and a first state must be replayable by anyone. So while a model is being
made, its random tensors are filled from NumPy's PCG64 with operations that IEEE 754 rounds alike everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["PortableRandomness"]

_aten = torch.ops.aten
_UNIFORM = {_aten.uniform_.default, _aten.rand.default, _aten.rand_like.default}
_NORMAL = {_aten.normal_.default, _aten.randn.default, _aten.randn_like.default}
_IN_PLACE = {_aten.uniform_.default, _aten.normal_.default}


class PortableRandomness(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Within it, uniform and normal random tensors depend on ``seed`` and the order of calls alone.

    That covers the initialisation of PyTorch's own layers, and ``kaiming_*``, ``xavier_*``, ``uniform_`` and
    ``normal_``. A normal number is the sum of twelve uniform ones less six: variance 1, never beyond 6. Not
    covered, so only as portable as PyTorch: ``trunc_normal_``, ``orthogonal_``, and arithmetic of the model's own.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._draw = np.random.Generator(np.random.PCG64(seed))

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Fill what ``func`` would have filled."""
        kwargs = dict(kwargs or {})
        if func not in _UNIFORM | _NORMAL:
            return func(*args, **kwargs)
        target: Tensor = args[0] if func in _IN_PLACE else func(*args, **kwargs)
        # The operators' own arguments: from and to, or mean and std.
        given = args[1:3] if func in _IN_PLACE else ()
        first = given[0] if given else 0.0
        second = given[1] if len(given) > 1 else 1.0
        if func in _UNIFORM:
            numbers = self._draw.random(target.numel()) * (second - first) + first
        else:
            numbers = self._normal(target.numel()) * second + first
        return target.copy_(torch.from_numpy(numbers).reshape(target.shape))

    def _normal(self, count: int) -> NDArray[np.float64]:
        total = np.full(count, -6.0)
        for _ in range(12):
            total += self._draw.random(count)
        return total
