"""Robust rules against the library byzfl, an implementation by those who wrote the papers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from folkmoot.round import mixing, robust
from folkmoot.round.robust import cap, robust_mean

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def oracle() -> tuple[ModuleType, ModuleType]:
    """byzfl's ``aggregators`` and ``preaggregators``, without its package: that imports torchvision, which they do not
    need. Skips where byzfl, or what these two import, is not installed."""
    for name in ("scipy", "torch"):
        pytest.importorskip(name)
    spec = importlib.util.find_spec("byzfl")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("byzfl is not installed: pip install --no-deps byzfl==0.0.11")
    before = sys.modules.get("byzfl")
    bare = ModuleType("byzfl")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["byzfl"] = bare
    try:
        return (
            importlib.import_module("byzfl.aggregators.aggregators"),
            importlib.import_module("byzfl.aggregators.preaggregators"),
        )
    finally:
        if before is None:
            del sys.modules["byzfl"]
        else:
            sys.modules["byzfl"] = before


@pytest.mark.parametrize("shape", [(9, 1), (9, 50), (16, 7), (17, 300)])
def test_rules_are_byzfls(oracle: tuple[ModuleType, ModuleType], shape: tuple[int, int]) -> None:
    rules, mixes = oracle
    data, f = np.random.default_rng(sum(shape)).normal(size=shape), 3
    data[:f] += 5.0

    def same(mine: Array, theirs: Array) -> None:
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)

    same(robust_mean(data, "mean", f), rules.Average()(data))
    same(robust_mean(data, "median", f), rules.Median()(data))
    same(robust_mean(data, "trimmed-mean", f), rules.TrMean(f)(data))
    same(robust_mean(data, "krum", f), rules.Krum(f)(data))
    same(robust_mean(data, "multi-krum", f), rules.MultiKrum(f)(data))
    same(mixing.nearest_neighbours(data, f), mixes.NNM(f)(data))
    same(cap(data, 1.5), mixes.Clipping(1.5)(data.copy()))
    nearby = mixes.NNM(f)(data)
    same(robust_mean(data, "krum", f, mix="nearest-neighbours"), rules.Krum(f)(nearby))
    same(robust_mean(data, "trimmed-mean", f, mix="nearest-neighbours"), rules.TrMean(f)(nearby))
    start = np.zeros(shape[1])
    same(
        robust.geometric_median(data, iterations=3, smoothing=0.1, start=start),
        rules.GeometricMedian(nu=0.1, T=3)(data),
    )
    same(robust.centred_clipping(data, iterations=3, radius=2.0), rules.CenteredClipping(L=3, tau=2.0)(data))


def test_eight_steps_come_close_to_the_geometric_median(oracle: tuple[ModuleType, ModuleType]) -> None:
    data = np.random.default_rng(1).normal(size=(17, 40))
    data[:5] += 30.0
    exact = oracle[0].GeometricMedian(nu=1e-9, T=2000)(data)
    spread = np.linalg.norm(data[5:] - data[5:].mean(axis=0), axis=1).mean()
    assert np.linalg.norm(robust_mean(data, "geometric-median", 5) - exact) < 0.02 * spread


def test_buckets_are_byzfls_but_for_the_shuffle(oracle: tuple[ModuleType, ModuleType]) -> None:
    data = np.random.default_rng(2).normal(size=(9, 4))
    shuffled = mixing.buckets(data, bytes(32))
    order = [i for pair in shuffled[:4] for i in _pair_of(pair, data)]
    rest = next(i for i in range(9) if i not in order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "permutation", lambda given: given[[*order, rest]])
        np.testing.assert_allclose(shuffled, oracle[1].Bucketing(2)(data))


def _pair_of(mean: Array, data: Array) -> tuple[int, int]:
    pairs = [(i, j) for i in range(len(data)) for j in range(i) if np.array_equal((data[i] + data[j]) / 2, mean)]
    assert len(pairs) == 1
    return pairs[0]
