"""Accuracy under attack: every rule beside the undefended mean, on scikit-learn's handwritten digits.

    python -m benchmarks robustness --write docs/robustness.md

1,797 images of 8 x 8 pixels; a quarter is held out, the rest dealt to members with Dirichlet label skew (Hsu, Qi, Brown
2019, arXiv:1909.06335). Each member makes five gradient steps over all its examples a round, so that there is no
sampling noise for momentum to average; what is left between honest members is the difference of their data.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmarks.report import Row, print_rows
from folkmoot.learn.supervised import SupervisedTask, weight_of
from folkmoot.simulate import ATTACKS, simulate
from folkmoot.simulate.attacks import trigger
from folkmoot.task import Context, Contribution, Policy, State

BAR = 85.0
CLASSES, PIXELS, HIDDEN = 10, 64, 32
PEERS, LIARS = 17, 4
MANY, FEW_LIARS = 48, 5
ROUNDS = 40
PLAIN: dict[str, dict[str, str]] = {
    "mean": {},
    "median": {"robust": "median"},
    "trimmed mean": {"robust": "trimmed-mean"},
    "geometric median": {"robust": "geometric-median"},
    "centred clipping": {"robust": "centred-clipping"},
}
MIXED = {"trimmed mean, NNM": {"robust": "trimmed-mean", "mix": "nearest-neighbours"}}
PUBLIC = {
    **PLAIN,
    "Krum": {"robust": "krum"},
    "Multi-Krum": {"robust": "multi-krum"},
    **MIXED,
    "trimmed mean, buckets": {"robust": "trimmed-mean", "mix": "buckets"},
}
SECRET = {
    **PLAIN,
    **MIXED,
    "geometric median, NNM": {"robust": "geometric-median", "mix": "nearest-neighbours"},
}
BACKDOOR = "backdoor: trigger obeyed"


class DigitsTask(SupervisedTask):
    """A perceptron with one hidden layer, trained by gradient descent on all local examples at once."""

    def __init__(self, policy: Policy, steps: int = 5, rate: float = 0.5) -> None:
        super().__init__(name="digits", load=load, metrics={}, policy=policy)
        self.steps, self.rate = steps, rate

    def init(self) -> State:
        random = np.random.default_rng(0)
        return State(
            {
                "w1": random.normal(size=(PIXELS, HIDDEN)) / np.sqrt(PIXELS),
                "b1": np.zeros(HIDDEN),
                "w2": random.normal(size=(HIDDEN, CLASSES)) / np.sqrt(HIDDEN),
                "b2": np.zeros(CLASSES),
            }
        )

    def contribute(self, state: State, data: Any, context: Context) -> Contribution:
        x, y = data[0]
        truth = np.eye(CLASSES)[y]
        w1, b1, w2, b2 = (state.arrays[name].copy() for name in ("w1", "b1", "w2", "b2"))
        for _ in range(self.steps):
            before = x @ w1 + b1
            hidden = np.maximum(before, 0.0)
            at_output = (_softmax(hidden @ w2 + b2) - truth) / len(y)
            at_hidden = (at_output @ w2.T) * (before > 0.0)
            w2 -= self.rate * hidden.T @ at_output
            b2 -= self.rate * at_output.sum(axis=0)
            w1 -= self.rate * x.T @ at_hidden
            b1 -= self.rate * at_hidden.sum(axis=0)
        new = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
        return Contribution({name: new[name] - state.arrays[name] for name in new}, weight_of(data))

    def predict(self, state: State, features: Any) -> np.ndarray:
        a = state.arrays
        return np.argmax(np.maximum(features @ a["w1"] + a["b1"], 0.0) @ a["w2"] + a["b2"], axis=1)


def load(path: str) -> Any:
    with np.load(path) as data:
        return (data["x"], data["y"]), (data["x"][:0], data["y"][:0])


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels from 0 to 1, (1797, 64), and labels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return pixels / 16.0, labels


def deal(peers: int, alpha: float, seed: int) -> tuple[list[Any], tuple[np.ndarray, np.ndarray]]:
    """The members' datasets, two examples each at the least, and what is held out."""
    random = np.random.default_rng(seed)
    x, y = digits()
    order = random.permutation(len(y))
    x, y = x[order], y[order]
    cut = len(y) * 3 // 4
    parts: list[np.ndarray] = []
    while not parts or min(map(len, parts)) < 2:
        shares = random.dirichlet(np.full(peers, alpha), CLASSES)
        owner = np.empty(cut, dtype=np.int64)
        for label, share in enumerate(shares):
            at = np.flatnonzero(y[:cut] == label)
            owner[at] = np.searchsorted(np.cumsum(share)[:-1], (np.arange(len(at)) + 0.5) / len(at))
        parts = [np.flatnonzero(owner == peer) for peer in range(peers)]
    return [((x[part], y[part]), (x[:0], y[:0])) for part in parts], (x[cut:], y[cut:])


def measured(
    policy: Policy, peers: int, liars: int, alpha: float, attack: str | None, seed: int
) -> tuple[float, float]:
    """Accuracy on what is held out, and how often the trigger makes another digit a 0; both in percent."""
    datasets, (x, y) = deal(peers, alpha, seed)
    who = np.random.default_rng(1000 + seed).choice(peers, liars, replace=False).tolist() if attack else ()
    task = DigitsTask(policy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a model that liars drove out of all bounds
        state = simulate(task, datasets, liars=who, attack=ATTACKS[attack] if attack else None, seed=seed)
        right = task.predict(state, x) == y
        obeyed = task.predict(state, trigger(x))[y != 0] == 0
    return 100.0 * float(right.mean()), 100.0 * float(obeyed.mean())


def table(
    title: str,
    rules: Mapping[str, Mapping[str, str]],
    peers: int,
    liars: int,
    alpha: float,
    seeds: Iterable[int],
    secret: bool,
) -> dict[str, float]:
    """Print accuracies, one row an attack and one column a rule; the lowest of each rule."""
    policies = {name: policy(rule, peers, liars, secret) for name, rule in rules.items()}
    print(f"\n### {title}\n\n| attack | {' | '.join(policies)} |\n| --- |{' ---: |' * len(policies)}", flush=True)
    lowest: dict[str, float] = {}
    obeyed: list[float] = []
    for attack in (None, *ATTACKS):
        found = {
            name: np.mean([measured(p, peers, liars, alpha, attack, seed) for seed in seeds], axis=0)
            for name, p in policies.items()
        }
        _print_row(attack or "none: all honest", [accuracy for accuracy, _ in found.values()])
        if attack:
            lowest = {name: min(lowest.get(name, 100.0), float(accuracy)) for name, (accuracy, _) in found.items()}
        if attack == "backdoor":
            obeyed = [rate for _, rate in found.values()]
    _print_row("**lowest of these**", list(lowest.values()))
    _print_row(BACKDOOR, obeyed)
    return lowest


def policy(rule: Mapping[str, str], peers: int, liars: int, secret: bool) -> Policy:
    """40 rounds of training; with secret groups one more, which only draws them."""
    faults: dict[str, Any] = {"faults": liars} if rule else {}
    groups: dict[str, Any] = {"secrecy": "sums", "group_size": 4, "clip": 2.0} if secret and rule else {}
    return Policy(rounds=ROUNDS + bool(groups), min_members=peers, **rule, **faults, **groups)


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args(argv)
    seeds = range(options.seeds)
    few, many = f"{PEERS} members, {LIARS} liars", f"{MANY} members, {FEW_LIARS} liars"
    print(f"\nAccuracy on the digits held out, in %, after {ROUNDS} rounds; mean of {len(seeds)} seeds.")
    public = table(f"Public contributions: {few}, Dirichlet 1.0", PUBLIC, PEERS, LIARS, 1.0, seeds, secret=False)
    secret = table(f"Secret groups of 4: {many}, Dirichlet 1.0", SECRET, MANY, FEW_LIARS, 1.0, seeds, secret=True)
    table(f"Where nothing helps: {few}, Dirichlet 0.1", PUBLIC, PEERS, LIARS, 0.1, seeds, secret=False)
    rows = [
        _row("public: trimmed mean", public["trimmed mean"]),
        _row("secret groups: trimmed mean after NNM", secret["trimmed mean, NNM"]),
    ]
    print_rows("Lowest accuracy of what we recommend, over all attacks", rows)
    return rows


def _row(name: str, lowest: float) -> Row:
    return Row(name, lowest, "%", f"at least {BAR:g} %", lowest / BAR, 1.0)


def _print_row(name: str, values: Sequence[float]) -> None:
    print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |", flush=True)


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
