"""The tests' own task: a vector moves half-way to the mean of everyone's numbers in each round.

A word in the first line of a member's data file makes its contribution go wrong in that way.
"""

import os
import time
from pathlib import Path

import numpy as np

from folkmoot.errors import DataError
from folkmoot.task import Contribution, Policy, State

SIZE, PAUSE, NAME, TERMS = 4, 0.0, "tiny", {}


class Tiny:
    name = NAME
    policy = Policy(**TERMS)

    def init(self):
        return State({"mean": np.zeros(SIZE)})

    def schema(self, state):
        return {"mean": (SIZE,)}

    def load(self, path):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        wrong = lines.pop(0) if lines and lines[0].isalpha() else ""
        numbers = []
        for line, text in enumerate(lines, start=1):
            try:
                numbers.append(float(text))
            except ValueError:
                raise DataError(f"{path}, line {line}, column 1: {text!r} is not a number.") from None
        return wrong, np.array(numbers)

    def contribute(self, state, data, context):
        wrong, numbers = data
        time.sleep(PAUSE)
        if wrong == "raise":
            raise RuntimeError("the sky fell")
        if wrong == "hang":
            print("hang", flush=True)
            time.sleep(3600)
        if wrong == "die":
            os._exit(3)
        if wrong == "type":
            return {"mean": [1.0]}
        target = np.full(SIZE, numbers.mean()) + np.random.default_rng(list(context.seed)).normal(size=SIZE)
        if wrong == "nan":
            target[0] = np.nan
        if wrong == "infinity":
            target[0] = np.inf
        if wrong == "shape":
            return Contribution({"mean": np.zeros(SIZE + 1)}, 1)
        return Contribution({"mean": target - state.arrays["mean"]}, len(numbers))

    def update(self, state, aggregate):
        moved = state.arrays["mean"] + 0.5 * aggregate.arrays["mean"]
        return State({"mean": moved}, state.round + 1, state.exponents)

    def metrics(self):
        return {}

    def evaluate(self, state, data):
        return {}


task = Tiny()
