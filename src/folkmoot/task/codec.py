"""A state as bytes: one safetensors file, the same for the same state on every machine.

Arrays are float64, sorted by name. What is not an array (the round, the exponents) is canonical JSON under a
single metadata key, because the safetensors writer gives several keys no fixed order. `read_state` takes only
what `state_bytes` writes: a state has one byte string, so it has one hash.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from folkmoot.errors import ProtocolError, TaskError
from folkmoot.task.protocol import State

__all__ = ["MAX_ARRAYS", "MAX_HEADER", "check_name", "read_state", "state_bytes"]

MAX_ARRAYS = 16_384
"""Arrays in a state, at most."""
MAX_HEADER = 1 << 23
"""Bytes of a state file's header, at most."""

_KEY = "folkmoot"
_MAX_ROUND = 1_000_000
_MALFORMED = (ValueError, KeyError, TypeError, OverflowError, RecursionError, SafetensorError, msgspec.MsgspecError)
_EXPONENTS = (-1100, 1100)
_MAX_NAME = 200


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    round: int
    exponents: dict[str, int]


def check_name(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` can name an array: 1 to 200 printable ASCII characters, without
    ``"`` and ``\\``, other than ``__metadata__``."""
    printable = name.isascii() and name.isprintable() and not set(name) & {'"', "\\"}
    if not (printable and 1 <= len(name) <= _MAX_NAME and name != "__metadata__"):
        raise ValueError(f"{name[:60]!r} cannot name an array; use 1 to {_MAX_NAME} printable ASCII characters")


def state_bytes(state: State) -> bytes:
    """``state`` as canonical safetensors bytes.

    Raises ``TaskError`` if an array is not float64 or holds NaN or infinity, if a name is not 1 to 200
    printable ASCII characters, or if ``round`` or an exponent is out of range: a task made that state.
    """
    try:
        _check(state)
    except ValueError as error:
        raise TaskError(f"The state of round {state.round} cannot be stored: {error}.") from None
    return _encode(state)


def read_state(data: bytes) -> State:
    """The state that `state_bytes` wrote as ``data``; its arrays are read-only, float64 and finite.

    Raises ``ProtocolError``, saying what is wrong, on anything else. Takes no more memory than a few times
    ``len(data)``, whatever the bytes claim.
    """
    try:
        _check_header_size(data)
        header = _metadata(data)
        arrays = safetensors_numpy.load(data)
        for array in arrays.values():
            array.setflags(write=False)
        state = State(arrays=dict(sorted(arrays.items())), round=header.round, exponents=header.exponents)
        _check(state)
        if _encode(state) != data:
            raise ValueError("the bytes are not in canonical form")
    except _MALFORMED as error:
        raise ProtocolError(f"These {len(data)} bytes are not a model state: {error}.") from None
    return state


def _encode(state: State) -> bytes:
    header = _Header(round=state.round, exponents=dict(state.exponents))
    text = msgspec.json.encode(header, order="sorted").decode("ascii")
    arrays = {name: _little_endian(state.arrays[name]) for name in sorted(state.arrays)}
    return safetensors_numpy.save(arrays, metadata={_KEY: text})


def _little_endian(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(array, dtype="<f8", order="C")


def _check(state: State) -> None:
    if not 0 <= state.round <= _MAX_ROUND:
        raise ValueError(f"its round is {state.round}; it must lie between 0 and {_MAX_ROUND}")
    if max(len(state.arrays), len(state.exponents)) > MAX_ARRAYS:
        raise ValueError(f"it has more than {MAX_ARRAYS} arrays")
    for name, exponent in state.exponents.items():
        check_name(name)
        if not _EXPONENTS[0] <= exponent <= _EXPONENTS[1]:
            raise ValueError(f"the exponent of array {name!r} is {exponent}")
    _check_arrays(state.arrays)


def _check_arrays(arrays: Mapping[str, NDArray[np.float64]]) -> None:
    for name, array in arrays.items():
        check_name(name)
        if not isinstance(array, np.ndarray) or array.dtype != np.float64:
            kind = getattr(array, "dtype", type(array).__name__)
            raise ValueError(f"array {name!r} is {kind}, not a float64 NumPy array")
        if not np.isfinite(array).all():
            raise ValueError(f"array {name!r} holds NaN or infinity")


def _check_header_size(data: bytes) -> None:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(MAX_HEADER, len(data) - 8):
        raise ValueError(f"a header of {size} bytes is announced")


def _metadata(data: bytes) -> _Header:
    """Our one metadata key, read before any array is made."""
    size = int.from_bytes(data[:8], "little")
    head = msgspec.json.decode(data[8 : 8 + size], type=dict[str, msgspec.Raw])
    metadata = msgspec.json.decode(head.pop("__metadata__", msgspec.Raw(b"{}")), type=dict[str, str])
    if len(head) > MAX_ARRAYS:
        raise ValueError(f"it has more than {MAX_ARRAYS} arrays")
    return msgspec.json.decode(metadata[_KEY], type=_Header)
