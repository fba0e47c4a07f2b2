import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from folkmoot.digest import blob_hash
from folkmoot.errors import FolkmootError, ProtocolError, TaskError
from folkmoot.task import State, read_state, state_bytes

NAMES = st.text(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=20
).filter(lambda name: name != "__metadata__")
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
ARRAYS = st.dictionaries(
    NAMES, hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=FINITE)
)
STATES = st.builds(
    State,
    arrays=ARRAYS,
    round=st.integers(0, 1_000_000),
    exponents=st.dictionaries(NAMES, st.integers(-200, 200)),
)


def small_state():
    return State(
        arrays={"weights": np.array([[1.0, -0.5], [0.0, 3.25]]), "bias": np.array(0.125), "server/v/bias": np.zeros(0)},
        round=7,
        exponents={"weights": -30, "bias": -28},
    )


def test_the_bytes_of_a_state_never_change():
    assert (
        blob_hash(state_bytes(small_state())).hex()
        == "dde185fe5e49ceb32d6bbd9b48d0adfa0fb4320201392df22bb4d0b18172b0bf"
    )


@given(STATES)
def test_a_state_comes_back_as_it_was(state):
    data = state_bytes(state)
    back = read_state(data)
    assert (back.round, dict(back.exponents)) == (state.round, dict(state.exponents))
    assert list(back.arrays) == sorted(state.arrays)
    for name, array in state.arrays.items():
        assert back.arrays[name].shape == array.shape
        assert back.arrays[name].tobytes() == array.tobytes()
    assert state_bytes(back) == data


def test_neither_the_order_of_arrays_nor_their_memory_layout_changes_the_bytes():
    state = small_state()
    turned = {name: np.array(array, order="F") for name, array in reversed(state.arrays.items())}
    again = State(turned, 7, dict(reversed(state.exponents.items())))
    assert state_bytes(again) == state_bytes(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State({"w": np.array([1.0, np.nan])}), "'w' holds NaN or infinity"),
        (State({"w": np.array([np.inf])}), "'w' holds NaN or infinity"),
        (State({"w": np.zeros(2, np.float32)}), "'w' is float32, not a float64"),
        (State({"w": 1.0}), "'w' is float, not a float64"),
        (State({"": np.zeros(1)}), "cannot name an array"),
        (State({"größe": np.zeros(1)}), "cannot name an array"),
        (State({"__metadata__": np.zeros(1)}), "cannot name an array"),
        (State({"w" * 201: np.zeros(1)}), "cannot name an array"),
        (State({}, round=-1), "its round is -1"),
        (State({}, exponents={"w": 5000}), "exponent of array 'w' is 5000"),
    ],
)
def test_a_state_that_is_not_a_state_is_refused_with_the_reason(state, message):
    with pytest.raises(TaskError, match=message):
        state_bytes(state)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(ProtocolError):
        read_state(data)


@given(st.data())
def test_a_state_with_one_changed_byte_is_another_state_or_refused(data):
    original = state_bytes(small_state())
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        state = read_state(bytes(changed))
    except FolkmootError:
        return
    assert state_bytes(state) == bytes(changed)


def file_of(header, body=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + body


META = {"__metadata__": {"folkmoot": '{"round":1,"exponents":{}}'}}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        file_of({}),
        file_of({"__metadata__": {}}),
        file_of({"__metadata__": {"folkmoot": "{}"}}),
        file_of({"__metadata__": {"folkmoot": '{"round":1,"exponents":{},"more":1}'}}),
        file_of(META | {"w": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 8]}}, bytes(8)),
        file_of(META | {"w": {"dtype": "F64", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}}),
        file_of(META | {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        file_of(META | {"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
        file_of(META | {"w": {"dtype": "F64", "shape": [1], "data_offsets": [-8, 0]}}, bytes(8)),
        file_of(b"[" * 100_000),
        file_of(b'{"__metadata__":' + b"[" * 100_000),
        state_bytes(small_state()) + b"\0",
        state_bytes(small_state())[:-1],
    ],
)
def test_hostile_files_are_refused(data):
    with pytest.raises(ProtocolError, match="not a model state"):
        read_state(data)


def test_the_same_content_in_another_form_is_refused():
    spaced = file_of(json.dumps(META, indent=1).encode())
    with pytest.raises(ProtocolError, match="canonical"):
        read_state(spaced)


def test_what_is_read_cannot_be_changed_by_accident():
    state = read_state(state_bytes(small_state()))
    with pytest.raises(ValueError, match="read-only"):
        state.arrays["weights"][0] = 1.0


def test_other_tools_read_the_file():
    from safetensors.numpy import load

    assert load(state_bytes(small_state()))["weights"].tolist() == [[1.0, -0.5], [0.0, 3.25]]
