"""DP-SGD, the part that is alike for every model: secret batches, clipped gradients, exact noise.

Abadi et al. 2016 (arXiv:1607.00133): each step draws a batch that every record enters independently with the same
probability, clips each record's gradient, and adds Gaussian noise to their sum. Here the noise is discrete and exact
(`noise`): the sum is rounded to a lattice of `LATTICE` steps to the clip, and the noise is drawn on that lattice, so
that no float shows through. Rounding the sum, and the float arithmetic before it, can move it by more than one
record's clip; `MARGIN` more noise than is accounted for covers that a hundred times over.

Batches and noise come from one key, made of the member's secret seed *and* of what the gradients depend on: data and
model. So the same training repeated gives the same contribution, which tells nothing new. Training on anything else
under the same seed gives unrelated noise; the same noise would cancel out in the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from folkmoot.privacy.budget import Training, noise_multiplier
from folkmoot.privacy.noise import BitStream, sigma_in_steps
from folkmoot.task.policy import Policy

__all__ = ["LATTICE", "MARGIN", "PrivateSteps", "clip_factors"]

Array = NDArray[np.float64]

LATTICE = 30
"""The lattice's step is 2**-30 of the clip."""
MARGIN = 2.0**-10
_CONTEXT = "folkmoot 2026 dp-sgd v1"
_BLOCK = 1 << 12


class PrivateSteps:
    """The batches of one contribution, and the noise of each.

    ``for batch in steps:`` gives the indices of each batch's records; `mean` then makes of its summed gradient what may
    be seen, once a batch. ``seed`` is 32 secret bytes, ``inputs`` everything else that the gradients depend on.
    Raises ``ValueError`` where no noise is enough for the policy.
    """

    def __init__(self, policy: Policy, training: Training, seed: bytes, inputs: Iterable[NDArray[np.generic]]) -> None:
        self.training = training
        self.clip = policy.record_clip
        multiplier = noise_multiplier(policy, training)
        self._sigma = sigma_in_steps(multiplier * (1.0 + MARGIN), -LATTICE)
        key = blake3(seed, derive_key_context=_CONTEXT)
        for array in inputs:
            data = np.ascontiguousarray(array)
            key.update(f"{data.dtype.str}{data.shape}".encode())
            key.update(data.reshape(-1).view(np.uint8).data)
        self._stream = BitStream(key.digest())
        self._drawn = np.empty(0, dtype=np.int64)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """The records of each batch, in ascending order; now and then there is none."""
        training = self.training
        for _ in range(training.steps):
            # batch / records exactly, which no float is.
            yield np.flatnonzero(self._stream.below(training.records, training.records) < training.batch)

    def mean(self, total: Array) -> Array:
        """From the sum of a batch's clipped gradients, (parameters,) float64, their noisy mean.

        Over the size a batch is expected to have: its true size is secret.
        """
        step = self.clip * 2.0**-LATTICE
        words = np.rint(total / step).astype(np.int64) + self._noise(len(total))
        return words.astype(np.float64) * (step / self.training.batch)

    def _noise(self, count: int) -> NDArray[np.int64]:
        if count > len(self._drawn):
            # A draw has a fixed cost; small models share one.
            more = self._stream.gaussian(self._sigma, max(count, _BLOCK))
            self._drawn = np.concatenate([self._drawn, more])
        noise, self._drawn = self._drawn[:count], self._drawn[count:]
        return noise


def clip_factors(norms: Array, clip: float) -> Array:
    """For each record's gradient norm what its gradient is to be multiplied by: 1, or what brings it down to ``clip``.

    A gradient that is not finite counts as nothing, with the factor 0: an error would tell that such a record is there.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        factors: Array = np.minimum(1.0, clip / norms)
    factors[~np.isfinite(norms)] = 0.0
    return factors
