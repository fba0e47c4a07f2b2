"""A model as it leaves the moot: one safetensors file, which the task writes as its framework loads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors import numpy as safetensors_numpy

from folkmoot.errors import IntegrityError, TaskError
from folkmoot.task.protocol import State, Task

__all__ = ["arrays_in", "check_same", "model_file", "with_metadata"]

_OWN = "server/"
"""How arrays begin that the server optimiser remembers."""
_REALS = {"F64": "<f8", "F32": "<f4", "C64": "<f4", "BOOL": "?"}
_REALS |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "UI" for size in (1, 2, 4, 8)}


def model_file(task: Task, state: State) -> bytes:
    """The model of ``state`` as a safetensors file: what the task's own ``export(state)`` gives, where it has one; else
    the state's arrays, float64, without what the server optimiser remembers.

    Raises ``TaskError`` where ``export`` gives something else than such a file.
    """
    own = getattr(task, "export", None)
    if not callable(own):
        model = {name: np.array(array) for name, array in state.arrays.items() if not name.startswith(_OWN)}
        return safetensors_numpy.save(model, metadata={"format": "np"})
    data = own(state)
    try:
        arrays_in(data)
    except (SafetensorError, TypeError, ValueError) as error:
        raise TaskError(f"the task's export must return the bytes of a safetensors file: {error}") from None
    return bytes(data)


def arrays_in(file: bytes) -> dict[str, dict[str, Any]]:
    """For each array of a safetensors ``file`` its ``dtype``, as the format has it, its ``shape`` and its ``data``."""
    return dict(deserialize(file))  # type: ignore[no-untyped-call]


def with_metadata(file: bytes, about: Mapping[str, str]) -> bytes:
    """A safetensors ``file`` with ``about`` added to its metadata."""
    size = int.from_bytes(file[:8], "little")
    header: dict[str, Any] = msgspec.json.decode(file[8 : 8 + size])
    text = msgspec.json.encode({**header, "__metadata__": {**header.get("__metadata__", {}), **about}})
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + size :]


def check_same(file: bytes, state: State) -> tuple[str, ...]:
    """Compare a model's ``file`` with the ``state`` that it was written from: each array that both name is the state's,
    rounded to the type that it has in the file. The names that one of them lacks, such as frozen parameters.

    Raises ``IntegrityError``, naming the array, on one that differs.
    """
    try:
        found = arrays_in(file)
    except (SafetensorError, ValueError) as error:
        raise IntegrityError(f"it cannot be read: {error}") from None
    model = {name: array for name, array in state.arrays.items() if not name.startswith(_OWN)}
    for name in found.keys() & model.keys():
        told = found[name]
        if not _same(told["dtype"], told["shape"], bytes(told["data"]), model[name]):
            raise IntegrityError(f"its {name!r} is not the state's")
    return tuple(sorted(found.keys() ^ model.keys()))


def _same(dtype: str, shape: Sequence[int], data: bytes, array: NDArray[np.float64]) -> bool:
    """Whether these values are those of ``array``, rounded as PyTorch rounds: halves by way of float32."""
    expected = array.reshape(-1)
    if dtype == "BF16":
        bits = expected.astype("<f4").view("<u4")
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    elif dtype == "F16":
        rounded = expected.astype("<f4").astype("<f2")
    else:
        rounded = expected.astype(_REALS[dtype])
    pair = (2,) if dtype == "C64" else ()
    return (*shape, *pair) == array.shape and rounded.tobytes() == data
