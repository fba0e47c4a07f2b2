import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folkmoot.learn import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi

GOLDEN = Path(__file__).parent / "golden" / "server.json"
OPTIMISERS = {
    "FedAvg": FedAvg(lr=0.7),
    "FedAvgM": FedAvgM(lr=0.3, momentum=0.9),
    "FedAdagrad": FedAdagrad(lr=0.05),
    "FedYogi": FedYogi(lr=0.05),
    "FedAdam": FedAdam(lr=0.05),
}


def run(optimiser, start, deltas):
    params = {"w": np.array(start, dtype=np.float64)}
    memory = optimiser.init(params)
    for delta in deltas:
        params, memory = optimiser.apply(params, memory, {"w": np.array(delta, dtype=np.float64)})
    return params["w"], memory


def digest_after_50_rounds(optimiser):
    # Numbers from integers alone, so that the fixture depends on nothing but the optimiser.
    deltas = [[((i * 37 + j * 101) % 199 - 99) / 64.0 for j in range(33)] for i in range(50)]
    w, memory = run(optimiser, [j / 8.0 for j in range(33)], deltas)
    return sha256(w.tobytes() + b"".join(memory[name].tobytes() for name in sorted(memory))).hexdigest()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_fifty_rounds_end_in_the_pinned_bits(name):
    assert digest_after_50_rounds(OPTIMISERS[name]) == json.loads(GOLDEN.read_text())[name]


NUMBERS = st.floats(-10, 10)


@given(NUMBERS, st.lists(NUMBERS, min_size=1, max_size=5), st.sampled_from(["FedAdagrad", "FedYogi", "FedAdam"]))
def test_adaptive_optimisers_follow_the_paper(x, deltas, name):
    """Reddi et al. 2021, algorithm 2, one number at a time."""
    optimiser = OPTIMISERS[name]
    lr, beta1, tau = optimiser.lr, optimiser.beta1, optimiser.tau
    expected, m, v = x, 0.0, tau**2
    for delta in deltas:
        m = beta1 * m + (1 - beta1) * delta
        if name == "FedAdagrad":
            v = v + delta**2
        elif name == "FedYogi":
            v = v - (1 - optimiser.beta2) * delta**2 * np.sign(v - delta**2)
        else:
            v = optimiser.beta2 * v + (1 - optimiser.beta2) * delta**2
        expected = expected + lr * m / (v**0.5 + tau)
    assert run(optimiser, [x], [[d] for d in deltas])[0][0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(NUMBERS, st.lists(NUMBERS, min_size=1, max_size=5))
def test_momentum_is_a_decaying_sum_of_deltas(x, deltas):
    expected, v = x, 0.0
    for delta in deltas:
        v = 0.9 * v + delta
        expected += 0.3 * v
    assert run(OPTIMISERS["FedAvgM"], [x], [[d] for d in deltas])[0][0] == pytest.approx(expected)


def test_fedavg_adds_the_mean_delta_and_remembers_nothing():
    w, memory = run(FedAvg(), [1.0, 2.0], [[0.5, -1.0]])
    assert w.tolist() == [1.5, 1.0]
    assert memory == {}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_neither_parameters_nor_memory_are_changed_in_place(name):
    optimiser = OPTIMISERS[name]
    params = {"w": np.ones(3)}
    memory = optimiser.init(params)
    before = {key: array.copy() for key, array in memory.items()}
    for array in (*params.values(), *memory.values()):
        array.setflags(write=False)
    optimiser.apply(params, memory, {"w": np.ones(3)})
    assert all((memory[key] == before[key]).all() for key in before)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_memory_is_named_as_server_state(name):
    memory = OPTIMISERS[name].init({"layer.weight": np.ones((2, 3))})
    assert all(key.startswith("server/") and key.endswith("/layer.weight") for key in memory)
    assert all(array.shape == (2, 3) for array in memory.values())
